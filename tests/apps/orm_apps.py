"""Programs on the ORMs that people write their own applications with."""
import os
import pathlib
import subprocess

from real_app import PYTHON, Missing, RealApp, check

HERE = pathlib.Path(__file__).resolve().parent


class People(RealApp):
    """People with visits, under keys that are texts; the ORM's migrations on top."""
    path = "app.db"
    script = ""
    runner = PYTHON

    def tool(self, home, *args):
        return home.call(self.runner, HERE / self.script, home.db, *args)

    def make(self, home):
        self.tool(home, "migrate", "1")
        self.tool(home, "add", "p0", "Zero")

    def write(self, home, number):
        self.tool(home, "add", f"p{number}", f"Name {number}")

    def change(self, home, number):
        self.tool(home, "rename", f"p{number}", f"Changed {number} on {home.name}")

    def remove(self, home, number):
        # Not every one of the scripts has a verb for it.
        visit, person = self.tables
        home.shell(f"PRAGMA foreign_keys=ON; DELETE FROM {visit} WHERE id = 'v-p{number}';"
                   f"DELETE FROM {person} WHERE id = 'p{number}';")

    def read(self, home):
        return "".join(self.tool(home, "show", f"p{number}") for number in range(5))

    def story(self, a, b):
        self.write(a, 6)
        self.sync(a, b)
        # One device migrates, long before the other.
        self.tool(a, "migrate", "2")
        self.change(a, 6)
        self.sync(a, b)
        self.change(b, 6)
        self.sync(a, b)
        self.tool(b, "migrate", "2")
        self.sync(a, b)
        super().story(a, b)


class Django(People):
    name = "django"
    version = (PYTHON, "-m", "django", "--version")
    modules = ("django",)
    script = "django_people.py"
    tables = ("people_visit", "people_person")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)


class Alembic(People):
    name = "alembic"
    version = (PYTHON, "-c", "import alembic; print(alembic.__version__)")
    modules = ("alembic",)
    script = "alembic_people.py"
    tables = ("visit", "person")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)


class Listed(People):
    """One whose script has a verb for everything."""

    def remove(self, home, number):
        self.tool(home, "remove", f"p{number}")

    def read(self, home):
        shown = self.tool(home, "list")
        check("p0" in shown, shown)
        return shown


class ActiveRecord(Listed):
    name = "rails"
    version = ("ruby", "-e", "require 'active_record'; puts ActiveRecord.version")
    programs = ("ruby",)
    script = "active_record.rb"
    runner = "ruby"
    tables = ("visits", "people")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)


class Eloquent(Listed):
    """Laravel's own ids, which stay local; the uuid beside them is the key."""
    name = "laravel"
    version = ("dpkg-query", "-W", "php-illuminate-database")
    programs = ("php",)
    script = "eloquent.php"
    runner = "php"
    entities = "".join(f'[[entity]]\ntable = "{table}"\nkey = "uuid"\n'
                       for table in ("people", "visits"))

    def require(self):
        super().require()
        if not pathlib.Path("/usr/share/php/Illuminate/Database").exists():
            raise Missing("php-illuminate-database")


class TypeOrm(Listed):
    """Generated ids, which stay local, and a table of links between them. Its modules
    are looked for in NODE_PATH."""
    name = "typeorm"
    version = ("node", "-p", "require('typeorm/package.json').version")
    programs = ("node",)
    script = "typeorm_people.js"
    runner = "node"
    entities = ("".join(f'[[entity]]\ntable = "{table}"\nkey = "{key}"\n' for table, key in
                        (("person", "uuid"), ("visit", "uuid"), ("group", "name"),
                         ("person_groups_group", "personId, groupId"))))

    def env(self):
        return {"NODE_PATH": os.environ.get("NODE_PATH", "")}

    def require(self):
        super().require()
        for module in ("typeorm", "better-sqlite3"):
            done = subprocess.run(["node", "-e", f"require.resolve('{module}')"], capture_output=True,
                                  env={**os.environ, **self.env()}, check=False)
            if done.returncode != 0:
                raise Missing(f"npm module {module}")

    def tool(self, home, *args):
        return home.call(self.runner, HERE / self.script, home.db, *args, env=self.env())


class TypeOrmMigrations(TypeOrm):
    """The same with the migrations that people write."""
    name = "typeorm-migrations"

    def env(self):
        return {**super().env(), "PEOPLE_MIGRATIONS": "1"}


class DjangoIds(RealApp):
    """Django's AutoField ids, which stay local: a uuid or a name is the key."""
    name = "django-ids"
    version = (PYTHON, "-m", "django", "--version")
    modules = ("django",)
    path = "app.db"
    entities = "".join(f'[[entity]]\ntable = "library_{table}"\nkey = "{key}"\n' for table, key in
                       (("author", "uuid"), ("book", "uuid"), ("tag", "name"),
                        ("book_tags", "book_id, tag_id")))

    def django(self, home, *args):
        return home.call(PYTHON, HERE / "django_library.py", home.db, *args)

    def make(self, home):
        self.django(home, "create")
        self.write(home, 0)

    def write(self, home, number):
        self.django(home, "add-author", f"Author {number}")
        self.django(home, "add-book", f"Book {number}", f"Author {number}")
        self.django(home, "tag", f"Book {number}", f"tag {number}")

    def change(self, home, number):
        self.django(home, "tag", f"Book {number}", f"of {home.name}")
        self.django(home, "rename", f"Book {number}", f"Changed {number} on {home.name}")

    def remove(self, home, number):
        self.django(home, "untag", f"Book {number}", f"tag {number}")
        self.django(home, "delete-book", f"Book {number}")

    def read(self, home):
        return self.django(home, "list")
