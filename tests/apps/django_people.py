"""A small Django application with migrations of its own, on uuid-like keys.

Usage:
  python3 django_people.py app.db migrate 1|2|3
  python3 django_people.py app.db add KEY NAME...    # pairs, each with a visit
  python3 django_people.py app.db rename KEY NAME
  python3 django_people.py app.db nick KEY NICK      # after migration 2
  python3 django_people.py app.db show KEY
"""
import sys
import types

import django
from django.conf import settings
from django.db import migrations, models

# --- The app `people`, made of modules in memory.


class Initial(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Person", [
            ("id", models.CharField(primary_key=True, max_length=36)),
            ("name", models.CharField(max_length=50)),
            ("phone", models.CharField(max_length=20, null=True)),
            ("age", models.CharField(max_length=9, default="0")),
        ]),
        migrations.CreateModel("Visit", [
            ("id", models.CharField(primary_key=True, max_length=36)),
            ("person", models.ForeignKey("people.Person", models.CASCADE)),
            ("note", models.TextField(default="")),
        ]),
    ]


def fill(apps, _schema_editor):
    for person in apps.get_model("people", "Person").objects.filter(nick=""):
        person.nick = ""
        person.save()


class Second(migrations.Migration):
    """Each of these rebuilds the table in SQLite."""
    dependencies = [("people", "0001_initial")]
    operations = [
        migrations.AddField("Person", "nick", models.CharField(max_length=20, default="")),
        migrations.AlterField("Person", "name", models.CharField(max_length=200, db_index=True)),
        migrations.RenameField("Person", "phone", "telephone"),
        migrations.AlterField("Visit", "note", models.CharField(max_length=500, default="none")),
        migrations.CreateModel("Label", [
            ("id", models.CharField(primary_key=True, max_length=36)),
            ("text", models.TextField()),
        ]),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]


class Third(migrations.Migration):
    """A column goes, a table has another name."""
    dependencies = [("people", "0002_second")]
    operations = [
        migrations.RemoveField("Person", "age"),
        migrations.RenameModel("Visit", "Meeting"),
    ]


def module(name, **content):
    made = types.ModuleType(name)
    made.__file__ = __file__
    made.__path__ = []
    made.__dict__.update(content)
    sys.modules[name] = made
    return made


def configure(database):
    module("people")
    module("people.migrations")
    module("people.migrations.0001_initial", Migration=Initial)
    module("people.migrations.0002_second", Migration=Second)
    module("people.migrations.0003_third", Migration=Third)
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database,
                               "OPTIONS": {"timeout": 20}}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True)
    django.setup()


class InMemory:
    """Django's loader of migrations, told of the three above."""

    @staticmethod
    def executor():
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor
        from django.db.migrations.loader import MigrationLoader
        disk = {("people", "0001_initial"): Initial("0001_initial", "people"),
                ("people", "0002_second"): Second("0002_second", "people"),
                ("people", "0003_third"): Third("0003_third", "people")}

        class Loader(MigrationLoader):
            def load_disk(self):
                self.disk_migrations = dict(disk)
                self.unmigrated_apps, self.migrated_apps = set(), {"people"}

        import django.db.migrations.executor as module_of_executor
        module_of_executor.MigrationLoader = Loader
        return MigrationExecutor(connection)


def migrate(number):
    target = {"1": "0001_initial", "2": "0002_second", "3": "0003_third"}[number]
    InMemory.executor().migrate([("people", target)])


def state_models():
    """The models as the file's migrations made them, whichever they are."""
    executor = InMemory.executor()
    applied = [key for key in executor.loader.applied_migrations if key[0] == "people"]
    apps = executor.loader.project_state(max(applied)).apps
    visit = "Meeting" if ("people", "0003_third") in applied else "Visit"
    return apps.get_model("people", "Person"), apps.get_model("people", visit)


def run(verb, args):
    from django.db import transaction
    person, visit = state_models()
    if verb == "add":
        for key, name in zip(args[::2], args[1::2]):
            with transaction.atomic():
                made = person.objects.create(id=key, name=name)
                visit.objects.create(id=f"v-{key}", person=made, note="first")
        return
    with transaction.atomic():
        if verb in ("rename", "nick"):
            found = person.objects.get(id=args[0])
            setattr(found, {"rename": "name", "nick": "nick"}[verb], args[1])
            found.save()
        elif verb == "show":
            for found in person.objects.filter(id=args[0]):
                print("".join(f"{field.name}={getattr(found, field.name)};"
                              for field in person._meta.fields), visit.objects.count())
        else:
            raise SystemExit(__doc__)


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    configure(sys.argv[1])
    if sys.argv[2] == "migrate":
        migrate(sys.argv[3])
    else:
        run(sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
