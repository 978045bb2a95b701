"""A library as Django writes one: AutoField keys, a uuid beside them, a foreign
key, one to the same table, and a many-to-many. Usage:
  python3 django_library.py app.db create
  python3 django_library.py app.db add-author NAME
  python3 django_library.py app.db add-book TITLE AUTHOR [SEQUEL_OF]
  python3 django_library.py app.db tag TITLE NAME
  python3 django_library.py app.db untag TITLE NAME
  python3 django_library.py app.db rename TITLE NEW
  python3 django_library.py app.db delete-book TITLE
  python3 django_library.py app.db list
"""
import os
import sys
import types
import uuid

import django
from django.conf import settings


def configure(database):
    # Relations are followed backwards only between models of installed apps.
    library = types.ModuleType("library")
    library.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["library"] = library
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database,
                               "OPTIONS": {"timeout": 20}}},
        INSTALLED_APPS=["library"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True)
    django.setup()


def models():
    from django.db import models as m  # needs settings first

    class Author(m.Model):
        uuid = m.UUIDField(default=uuid.uuid4, unique=True)
        name = m.TextField()

        class Meta:
            app_label = "library"

    class Tag(m.Model):
        name = m.CharField(max_length=40, unique=True)

        class Meta:
            app_label = "library"

    class Book(m.Model):
        uuid = m.UUIDField(default=uuid.uuid4, unique=True)
        title = m.TextField()
        author = m.ForeignKey(Author, m.CASCADE)
        sequel_of = m.ForeignKey("self", m.SET_NULL, null=True)
        tags = m.ManyToManyField(Tag)

        class Meta:
            app_label = "library"

    return Author, Tag, Book


def create(*classes):
    from django.db import connection
    with connection.schema_editor() as editor:
        for model in classes:
            editor.create_model(model)


def run(verb, args):
    from django.db import transaction
    authors, tags, books = models()
    if verb == "create":
        return create(authors, tags, books)
    with transaction.atomic():
        if verb == "add-author":
            authors.objects.create(name=args[0])
        elif verb == "add-book":
            sequel_of = books.objects.get(title=args[2]) if len(args) > 2 else None
            books.objects.create(title=args[0], author=authors.objects.get(name=args[1]),
                                 sequel_of=sequel_of)
        elif verb == "tag":
            books.objects.get(title=args[0]).tags.add(tags.objects.get_or_create(name=args[1])[0])
        elif verb == "untag":
            books.objects.get(title=args[0]).tags.remove(tags.objects.get(name=args[1]))
        elif verb == "rename":
            books.objects.filter(title=args[0]).update(title=args[1])
        elif verb == "delete-book":
            books.objects.get(title=args[0]).delete()
        elif verb == "list":
            for book in books.objects.order_by("title"):
                before = book.sequel_of.title if book.sequel_of else "-"
                names = ",".join(sorted(tag.name for tag in book.tags.all()))
                print(f"{book.title}|{book.author.name}|{before}|{names}")
        else:
            raise SystemExit(__doc__)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    configure(sys.argv[1])
    run(sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
