"""Plausible rows for clinic.sql, the same ones for the same seed.

Run as a program it prints an SQL script for the sqlite3 shell:
  python3 clinic_data.py --patients 1000 | sqlite3 app.db
"""
import argparse
import datetime
import random
import uuid

FIRST = ("Ana Ben Carla David Elena Felix Grace Hugo Ines Jonas Katja Liam Maria Noah Olga Paul "
         "Rosa Samuel Tara Victor Wanda Zoe").split()
LAST = ("Alvarez Becker Costa Dubois Evans Fischer Garcia Hansen Ivanova Jensen Keller Lopez Meyer "
        "Novak O'Brien Petrov Quinn Rossi Schmidt Tanaka Umar Vogel Weber Young Zimmermann").split()
STREETS = "Oak Maple Cedar Pine Elm Walnut Lake Hill River Park".split()
CITIES = [("Springfield", "IL", "62704"), ("Dayton", "OH", "45402"), ("Salem", "OR", "97301"),
          ("Portland", "ME", "04101"), ("Madison", "WI", "53703"), ("Austin", "TX", "78701")]
JOINTS = ["left knee", "right knee", "lower back", "left shoulder", "right hip", "neck"]
SUBJECTIVE = ["reports less pain on stairs", "slept badly, stiff in the morning",
              "could walk the dog for 20 minutes", "pain after standing for an hour"]
OBJECTIVE = ["flexion 110 degrees", "gait even, no limp", "strength 4/5", "swelling reduced"]
ASSESSMENT = ["progressing as planned", "plateau, adjust load", "ready for a home program"]
PLAN = ["continue twice a week", "add balance exercises", "reassess in two weeks"]


def new_id(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def patient(rng):
    first, last = rng.choice(FIRST), rng.choice(LAST)
    city, state, zip_code = rng.choice(CITIES)
    born = datetime.date(1935, 1, 1) + datetime.timedelta(days=rng.randrange(25000))
    return {
        "Id": new_id(rng), "FirstName": first, "LastName": last,
        "DateOfBirth": born.isoformat(), "Sex": rng.choice("MFX"),
        "Phone": f"({rng.randrange(200, 990)}) 555-{rng.randrange(10000):04d}",
        "Email": f"{first.lower()}.{rng.randrange(1000)}@example.org",
        "Street": f"{rng.randrange(1, 999)} {rng.choice(STREETS)} Street", "City": city,
        "State": state, "Zip": zip_code, "HeightCm": round(rng.uniform(148, 199), 1),
    }


def note(rng, patient_id, signed):
    joint = rng.choice(JOINTS)
    day = datetime.date(2026, 1, 1) + datetime.timedelta(days=rng.randrange(300))
    row = {
        "Id": new_id(rng), "PatientId": patient_id, "VisitDate": day.isoformat(),
        "Kind": rng.choice(["Evaluation", "Progress", "Progress", "Discharge"]),
        "Subjective": f"{joint}: {rng.choice(SUBJECTIVE)}",
        "Objective": f"{joint}: {rng.choice(OBJECTIVE)}", "Assessment": rng.choice(ASSESSMENT),
        "Plan": rng.choice(PLAN), "Minutes": rng.choice([15, 30, 45, 60]),
        "SignatureHash": None, "SignedBy": None,
    }
    if signed:
        row["SignatureHash"] = f"s1:{rng.getrandbits(256):064x}"
        row["SignedBy"] = "pt.morgan"
    return row


def intake(rng, patient_id, locked):
    return {
        "Id": new_id(rng), "PatientId": patient_id, "Complaint": f"pain, {rng.choice(JOINTS)}",
        "PainScale": rng.randrange(11), "Medications": rng.choice(["none", "ibuprofen", None]),
        "Allergies": rng.choice(["none", "latex", None]), "IsLocked": 1 if locked else 0,
    }


def rows(seed, patients, notes_per_patient=2):
    """Yields (table, row) in an order that foreign keys accept."""
    rng = random.Random(seed)
    for _ in range(patients):
        person = patient(rng)
        yield "Patient", person
        yield "IntakeForm", intake(rng, person["Id"], rng.random() < 0.3)
        for _ in range(notes_per_patient):
            yield "ClinicalNote", note(rng, person["Id"], rng.random() < 0.3)


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def insert(table, row):
    columns = ", ".join(row)
    values = ", ".join(literal(value) for value in row.values())
    return f"INSERT INTO {table}({columns}) VALUES({values});"


def script(seed, patients, rows_per_transaction=200):
    yield "PRAGMA foreign_keys = ON;"
    yield "BEGIN;"
    for number, (table, row) in enumerate(rows(seed, patients), start=1):
        yield insert(table, row)
        if number % rows_per_transaction == 0:
            yield "COMMIT;"
            yield "BEGIN;"
    yield "COMMIT;"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for line in script(args.seed, args.patients):
        print(line)


if __name__ == "__main__":
    main()
