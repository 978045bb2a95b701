"""A small SQLAlchemy application whose schema Alembic migrates, in batch mode
(the table is made anew, copied and renamed). Usage as django_people.py.
"""
import sys

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations


def upgrade_1(op):
    op.create_table("person", sa.Column("id", sa.String(36), primary_key=True),
                    sa.Column("name", sa.String(50), nullable=False),
                    sa.Column("phone", sa.String(20)),
                    sa.Column("age", sa.String(9), server_default="0"))
    op.create_table("visit", sa.Column("id", sa.String(36), primary_key=True),
                    sa.Column("person_id", sa.String(36),
                              sa.ForeignKey("person.id", name="fk_person", ondelete="CASCADE")),
                    sa.Column("note", sa.Text()))


def upgrade_2(op):
    with op.batch_alter_table("person", recreate="always") as batch:
        batch.add_column(sa.Column("nick", sa.String(20), server_default=""))
        batch.alter_column("name", type_=sa.String(200))
        batch.alter_column("phone", new_column_name="telephone")
    with op.batch_alter_table("visit") as batch:
        batch.alter_column("note", type_=sa.String(500), server_default="none")
    op.create_index("person_name", "person", ["name"])
    op.create_table("label", sa.Column("id", sa.String(36), primary_key=True),
                    sa.Column("text", sa.Text()))


def upgrade_3(op):
    with op.batch_alter_table("person") as batch:
        batch.drop_column("age")
    op.rename_table("visit", "meeting")


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    database, verb, args = sys.argv[1], sys.argv[2], sys.argv[3:]
    engine = sa.create_engine(f"sqlite:///{database}", connect_args={"timeout": 20})
    with engine.begin() as connection:
        if verb == "migrate":
            op = Operations(MigrationContext.configure(connection))
            {"1": upgrade_1, "2": upgrade_2, "3": upgrade_3}[args[0]](op)
            return
        meta = sa.MetaData()
        person = sa.Table("person", meta, autoload_with=connection)
        if verb == "add":
            there = sa.inspect(connection).get_table_names()
            visit = sa.Table("meeting" if "meeting" in there else "visit", meta,
                             autoload_with=connection)
            for key, name in zip(args[::2], args[1::2]):
                connection.execute(person.insert().values(id=key, name=name))
                connection.execute(visit.insert().values(id=f"v-{key}", person_id=key,
                                                         note="first"))
        elif verb in ("rename", "nick"):
            column = {"rename": "name", "nick": "nick"}[verb]
            connection.execute(person.update().where(person.c.id == args[0])
                               .values({column: args[1]}))
        elif verb == "show":
            for row in connection.execute(sa.select(person).where(person.c.id == args[0])):
                print("".join(f"{name}={value};" for name, value in row._mapping.items()))
        else:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
