"""Programs on the ORMs that people write their own applications with."""
import pathlib

from real_app import PYTHON, RealApp, check

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
        self.tool(home, "rename", f"p{number}", f"Changed {number}")

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
    modules = ("django",)
    script = "django_people.py"
    tables = ("people_visit", "people_person")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)


class Alembic(People):
    name = "alembic"
    modules = ("alembic",)
    script = "alembic_people.py"
    tables = ("visit", "person")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)


class ActiveRecord(People):
    name = "rails"
    programs = ("ruby",)
    script = "active_record.rb"
    runner = "ruby"
    tables = ("visits", "people")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)

    def remove(self, home, number):
        self.tool(home, "remove", f"p{number}")

    def read(self, home):
        shown = self.tool(home, "list")
        check("p0" in shown, shown)
        return shown
