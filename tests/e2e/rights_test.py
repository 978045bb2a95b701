"""Tokens that are limited to some entity types: what a device sees, changes, and gets back."""
import json
import unittest
import uuid

from cli_case import CliCase
from harness import Device, wait_until


class RightsTest(CliCase):
    def setUp(self):
        super().setUp()
        self.world.setup("a", "b")
        self.world.start_service()
        self.a, self.b = (Device(self.world, name, interval="1h") for name in ("a", "b"))
        for device in (self.a, self.b):
            device.init()
        self.patient = str(uuid.uuid4())

    def give_token(self, *args, device="b"):
        """In place of the one that it has."""
        path = self.world.root / "tokens" / f"{device}.token"
        fresh = path.with_suffix(".fresh")
        self.world.service_run("token", "create", "--tenant", self.world.tenant, "--device", device,
                               "--out", fresh, *args)
        fresh.replace(path)

    def run_all(self):
        for device in (self.a, self.b, self.a, self.b):
            device.agent_run("run", check=False)

    def write_visit(self, device, text):
        note, form = str(uuid.uuid4()), str(uuid.uuid4())
        device.shell(
            f"INSERT OR IGNORE INTO Patient(Id, FirstName, LastName, DateOfBirth) VALUES("
            f"'{self.patient}', 'Ana', 'Alvarez', '1980-01-01');"
            f"INSERT INTO ClinicalNote(Id, PatientId, VisitDate, Kind, Plan) VALUES('{note}', "
            f"'{self.patient}', '2026-01-02', 'Progress', '{text}');"
            f"INSERT INTO IntakeForm(Id, PatientId, Complaint) VALUES('{form}', '{self.patient}', "
            f"'{text}');")
        return note, form

    def bodies(self, device, table, column):
        return sorted(row[0] for row in device.rows(f"SELECT {column} FROM {table}"))

    def test_device_gets_the_types_of_its_token_and_the_others_with_the_next_one(self):
        self.give_token("--types", "Patient,IntakeForm")
        self.write_visit(self.a, "of a")
        self.run_all()

        self.assertEqual(self.bodies(self.b, "IntakeForm", "Complaint"), ["of a"])
        self.assertEqual(self.bodies(self.b, "ClinicalNote", "Plan"), [])
        status = self.b.json("status", check=False)
        self.assertTrue([line for line in status["warnings"] if "ClinicalNote is not synced" in line],
                        status)
        doctor = self.b.agent_run("doctor", check=False).stdout
        self.assertIn("does not show these types to this device: ClinicalNote", doctor)
        self.assertNotIn("trigger is missing", doctor)

        self.give_token()
        self.run_all()

        self.assertEqual(self.bodies(self.b, "ClinicalNote", "Plan"), ["of a"])
        self.assertEqual(self.a.content(), self.b.content())
        self.assertEqual(self.b.json("status", check=False)["warnings"], [])

    def test_what_it_had_stays_and_what_it_captured_waits_until_its_token_has_the_type_again(self):
        note, _ = self.write_visit(self.a, "of a")
        self.run_all()
        self.b.shell(f"UPDATE ClinicalNote SET Plan = 'of b' WHERE Id = '{note}';")
        self.give_token("--types", "Patient", "--types", "IntakeForm")
        self.run_all()

        self.assertEqual(self.bodies(self.b, "ClinicalNote", "Plan"), ["of b"])
        self.assertEqual(self.bodies(self.a, "ClinicalNote", "Plan"), ["of a"])
        why = self.b.agent_run("why", "ClinicalNote", note).stdout
        self.assertIn("NOT_SYNCED: the service does not show this type", why)
        verified = self.b.agent_run("verify", check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

        self.give_token()
        self.run_all()

        self.assertEqual(self.bodies(self.a, "ClinicalNote", "Plan"), ["of b"])

    def test_daemon_follows_a_new_token(self):
        self.write_visit(self.a, "of a")
        self.a.agent_run("run")
        self.give_token("--types", "Patient")
        self.b.start()
        wait_until("the patient", lambda: self.bodies(self.b, "Patient", "LastName"))
        self.assertEqual(self.bodies(self.b, "ClinicalNote", "Plan"), [])

        self.give_token()
        wait_until("the note", lambda: self.bodies(self.b, "ClinicalNote", "Plan"))
        self.b.shell("UPDATE ClinicalNote SET Plan = 'of b';")
        wait_until("the edit at the other device",
                   lambda: self.a.agent_run("run", check=False) and
                   self.bodies(self.a, "ClinicalNote", "Plan") == ["of b"])

    def test_edit_of_a_type_that_may_only_be_seen_fails_and_says_why(self):
        _, form = self.write_visit(self.a, "of a")
        self.give_token("--types", "Patient,ClinicalNote", "--read-only-types", "IntakeForm")
        self.run_all()
        self.assertEqual(self.bodies(self.b, "IntakeForm", "Complaint"), ["of a"])

        self.b.shell(f"UPDATE IntakeForm SET Complaint = 'of b' WHERE Id = '{form}';")
        self.run_all()

        failed = self.b.ledger("SELECT EntityType, ErrorMessage FROM SyncQueueItems "
                               "WHERE Status = 3")
        self.assertEqual([row[0] for row in failed], ["IntakeForm"])
        self.assertIn("TYPE_FORBIDDEN", failed[0][1])
        self.assertIn("not change it", failed[0][1])
        self.assertEqual(self.bodies(self.a, "IntakeForm", "Complaint"), ["of a"])

    def test_token_that_has_none_of_the_devices_types_is_an_error_that_waits(self):
        self.give_token("--types", "Room")
        self.write_visit(self.b, "of b")
        done = self.agent("run", "--config", self.b.config)

        self.assert_error(done, 5, "TYPE_FORBIDDEN", "token create --types")
        pending = self.b.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status = 0")[0][0]
        self.assertEqual(pending, 3)

        self.give_token()
        self.run_all()
        self.assertEqual(self.bodies(self.a, "ClinicalNote", "Plan"), ["of b"])

    def test_list_shows_types_and_bad_ones_are_refused(self):
        self.give_token("--types", "Patient,IntakeForm", "--read-only-types", "Exercise")
        rows = json.loads(self.world.service_run("token", "list", "--json").stdout)["items"]
        limited = [row for row in rows if row["types"]]
        self.assertEqual([(row["device"], row["types"], row["readOnlyTypes"]) for row in limited],
                         [("b", ["IntakeForm", "Patient"], ["Exercise"])])
        self.assertIn("IntakeForm, Patient, Exercise (read)",
                      self.world.service_run("token", "list").stdout)

        def refused(*args):
            return self.service("token", "create", "--store", self.world.store, "--tenant", "clinic",
                                "--device", "x", *args)
        self.assert_error(refused("--types", "Patient", "--role", "admin"), 2, "USAGE", "--role")
        self.assert_error(refused("--types", "Patient", "--read-only-types", "Patient"), 2, "USAGE",
                          "both name Patient")
        for bad in ("", "a\nb"):
            self.assertEqual(refused("--types", bad).returncode, 2, bad)


if __name__ == "__main__":
    unittest.main()
