"""What EF Core's SQLite provider sends to the file, statement by statement, as its
documentation and its own tests print it: migrations, the table that rebuilds copy
into, the history and the lock. (.NET itself is not needed.) Usage as django_people.py.
"""
import sqlite3
import sys

HISTORY = """CREATE TABLE IF NOT EXISTS "__EFMigrationsHistory" (
    "MigrationId" TEXT NOT NULL CONSTRAINT "PK___EFMigrationsHistory" PRIMARY KEY,
    "ProductVersion" TEXT NOT NULL
);"""
LOCK = """CREATE TABLE IF NOT EXISTS "__EFMigrationsLock" (
    "Id" INTEGER NOT NULL CONSTRAINT "PK___EFMigrationsLock" PRIMARY KEY,
    "Timestamp" TEXT NOT NULL
);"""
TAKE_LOCK = """INSERT OR IGNORE INTO "__EFMigrationsLock"("Id", "Timestamp")
VALUES(1, '2026-02-17 04:45:00.1234567+00:00');"""
GIVE_LOCK = 'DELETE FROM "__EFMigrationsLock";'

# A rebuild copies in the migration's transaction, commits it, and swaps the tables in
# a second one, because foreign keys cannot be switched off inside of a transaction.
SWAP = ("COMMIT;", "PRAGMA foreign_keys = 0;", "BEGIN TRANSACTION;")
SWAPPED = ("COMMIT;", "PRAGMA foreign_keys = 1;", "BEGIN TRANSACTION;")

PERSON = """CREATE TABLE "{name}" (
    "id" TEXT NOT NULL CONSTRAINT "PK_person" PRIMARY KEY,
    {columns}
);"""
VISIT = """CREATE TABLE "{name}" (
    "id" TEXT NOT NULL CONSTRAINT "PK_visit" PRIMARY KEY,
    "note" TEXT {note},
    "person_id" TEXT NOT NULL,
    CONSTRAINT "FK_visit_person_person_id" FOREIGN KEY ("person_id")
        REFERENCES "person" ("id") ON DELETE CASCADE
);"""


def person(name, *columns):
    return PERSON.format(name=name, columns=",\n    ".join(columns))


def copy(table, columns, values=None):
    names = ", ".join(f'"{column}"' for column in columns)
    return (f'INSERT INTO "ef_temp_{table}" ({names})\nSELECT {values or names}\n'
            f'FROM "{table}";')


def swap(table):
    return f'DROP TABLE "{table}";', f'ALTER TABLE "ef_temp_{table}" RENAME TO "{table}";'


MIGRATIONS = {
    # CreateTable, CreateIndex.
    "1": (person("person", '"age" TEXT NOT NULL', '"name" TEXT NOT NULL', '"phone" TEXT NULL'),
          VISIT.format(name="visit", note="NULL"),
          'CREATE INDEX "IX_visit_person_id" ON "visit" ("person_id");'),
    # AddColumn, RenameColumn, CreateTable; AlterColumn of both tables.
    "2": ("""ALTER TABLE "person" ADD "nick" TEXT NOT NULL DEFAULT '';""",
          'ALTER TABLE "person" RENAME COLUMN "phone" TO "telephone";',
          """CREATE TABLE "label" (
    "id" TEXT NOT NULL CONSTRAINT "PK_label" PRIMARY KEY,
    "text" TEXT NOT NULL
);""",
          person("ef_temp_person", '"age" TEXT NOT NULL', '"name" TEXT COLLATE NOCASE NOT NULL',
                 """"nick" TEXT NOT NULL DEFAULT ''""", '"telephone" TEXT NULL'),
          copy("person", ("id", "age", "name", "nick", "telephone")),
          VISIT.format(name="ef_temp_visit", note="NOT NULL DEFAULT 'none'"),
          copy("visit", ("id", "note", "person_id"), """"id", IFNULL("note", 'none'), "person_id\""""),
          *SWAP, *swap("person"), *swap("visit"), *SWAPPED,
          'CREATE INDEX "IX_person_name" ON "person" ("name");',
          'CREATE INDEX "IX_visit_person_id" ON "visit" ("person_id");'),
    # RenameTable (with its index), DropColumn.
    "3": ('ALTER TABLE "visit" RENAME TO "meeting";',
          'DROP INDEX "IX_visit_person_id";',
          'CREATE INDEX "IX_meeting_person_id" ON "meeting" ("person_id");',
          person("ef_temp_person", '"name" TEXT COLLATE NOCASE NOT NULL',
                 """"nick" TEXT NOT NULL DEFAULT ''""", '"telephone" TEXT NULL'),
          copy("person", ("id", "name", "nick", "telephone")),
          *SWAP, *swap("person"), *SWAPPED,
          'CREATE INDEX "IX_person_name" ON "person" ("name");'),
}


def migrate(connection, number):
    """`number` alone, as Migrate() of an app whose newest migration it is."""
    for sql in (LOCK, TAKE_LOCK, HISTORY):
        connection.execute(sql)
    applied = (f"INSERT INTO \"__EFMigrationsHistory\" (\"MigrationId\", \"ProductVersion\")\n"
               f"VALUES ('2026021704450{number}_Step{number}', '9.0.0');")
    for sql in ("BEGIN TRANSACTION;", *MIGRATIONS[number], applied, "COMMIT;", GIVE_LOCK):
        connection.execute(sql)


def save(connection, *statements):
    """SaveChanges: one transaction, and it looks at how many rows were met."""
    connection.execute("BEGIN IMMEDIATE")
    for sql, *values in statements:
        if connection.execute(sql, values).fetchall() == []:
            raise SystemExit("DbUpdateConcurrencyException")
    connection.execute("COMMIT")


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    database, verb, args = sys.argv[1], sys.argv[2], sys.argv[3:]
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = 'wal'")
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if verb == "migrate":
        migrate(connection, args[0])
    elif verb == "add":
        columns = [row[1] for row in connection.execute('PRAGMA table_info("person")')]
        with_age = "age" in columns
        visit = "meeting" if "meeting" in tables else "visit"
        names, marks = ('"id", "name", "age"', "?, ?, 0") if with_age else ('"id", "name"', "?, ?")
        for key, name in zip(args[::2], args[1::2]):
            save(connection,
                 (f'INSERT INTO "person" ({names}) VALUES ({marks}) RETURNING 1;', key, name),
                 (f'INSERT INTO "{visit}" ("id", "note", "person_id") VALUES (?, ?, ?) '
                  'RETURNING 1;', f"v-{key}", "first", key))
    elif verb in ("rename", "nick"):
        column = {"rename": "name", "nick": "nick"}[verb]
        save(connection, (f'UPDATE "person" SET "{column}" = ?\nWHERE "id" = ?\nRETURNING 1;',
                          args[1], args[0]))
    elif verb == "show":
        row = connection.execute('SELECT * FROM "person" WHERE "id" = ?', args)
        for values in row:
            print("".join(f"{d[0]}={v};" for d, v in zip(row.description, values)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
