"""The clinic as a Django application that works on the same SQLite file.

Django's own tables are made by its migrations; the clinic's tables were there
before, so its models are unmanaged. Usage:
  python3 django_clinic.py app.db migrate
  python3 django_clinic.py app.db add-patient ID FIRST LAST
  python3 django_clinic.py app.db rename-patient ID LAST
  python3 django_clinic.py app.db add-note ID PATIENT TEXT
  python3 django_clinic.py app.db sign-note ID
  python3 django_clinic.py app.db edit-note ID TEXT
  python3 django_clinic.py app.db delete-patient ID
  python3 django_clinic.py app.db bulk-rename FROM TO
  python3 django_clinic.py app.db count
"""
import hashlib
import sys

import django
from django.conf import settings


def configure(database):
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True)
    django.setup()


def models():
    from django.db import models as m  # needs settings first

    class Patient(m.Model):
        id = m.CharField(primary_key=True, max_length=36, db_column="Id")
        first_name = m.TextField(db_column="FirstName")
        last_name = m.TextField(db_column="LastName")
        born = m.TextField(db_column="DateOfBirth", default="1970-01-01")

        class Meta:
            managed = False
            db_table = "Patient"
            app_label = "clinic"

    class ClinicalNote(m.Model):
        id = m.CharField(primary_key=True, max_length=36, db_column="Id")
        patient = m.ForeignKey(Patient, m.DO_NOTHING, db_column="PatientId")
        visit_date = m.TextField(db_column="VisitDate", default="2026-02-17")
        kind = m.TextField(db_column="Kind", default="Progress")
        subjective = m.TextField(db_column="Subjective", null=True)
        signature_hash = m.TextField(db_column="SignatureHash", null=True)
        signed_by = m.TextField(db_column="SignedBy", null=True)

        class Meta:
            managed = False
            db_table = "ClinicalNote"
            app_label = "clinic"

    return Patient, ClinicalNote


def migrate():
    from django.core.management import call_command
    call_command("migrate", verbosity=0)


def sign(note):
    note.signature_hash = "s1:" + hashlib.sha256((note.subjective or "").encode()).hexdigest()
    note.signed_by = "pt.morgan"
    note.save(update_fields=["signature_hash", "signed_by"])


def run(verb, args):
    from django.db import transaction
    patients, notes = models()
    with transaction.atomic():
        if verb == "add-patient":
            patients.objects.create(id=args[0], first_name=args[1], last_name=args[2])
        elif verb == "rename-patient":
            patient = patients.objects.get(id=args[0])
            patient.last_name = args[1]
            patient.save()
        elif verb == "add-note":
            notes.objects.create(id=args[0], patient_id=args[1], subjective=args[2])
        elif verb == "sign-note":
            sign(notes.objects.get(id=args[0]))
        elif verb == "edit-note":
            notes.objects.filter(id=args[0]).update(subjective=args[1])
        elif verb == "delete-patient":
            patients.objects.filter(id=args[0]).delete()
        elif verb == "bulk-rename":
            print(patients.objects.filter(last_name=args[0]).update(last_name=args[1]))
        elif verb == "count":
            print(patients.objects.count(), notes.objects.count())
        else:
            raise SystemExit(__doc__)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    configure(sys.argv[1])
    if sys.argv[2] == "migrate":
        migrate()
    else:
        run(sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
