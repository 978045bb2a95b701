"""Two devices and a service, written to by the sqlite3 shell and by Django."""
import contextlib
import json
import os
import sqlite3
import subprocess
import unittest
import uuid

from harness import Device, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
PHI = "Zxq7CanaryPatient"


def new_id():
    return str(uuid.uuid4())


class PairTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()
        self.a = self.device("a")
        self.b = self.device("b")

    def tearDown(self):
        self.world.__exit__()

    def device(self, name):
        device = Device(self.world, name, interval="1h")
        device.init()
        return device

    def start(self, *devices):
        for device in devices or (self.a, self.b):
            device.start()

    def sync_all(self, *devices):
        """Runs every agent until all have what the others sent."""
        for _ in range(2):
            for device in devices or (self.a, self.b):
                device.agent_run("run", check=False)

    def add_patient(self, device, last, patient=None):
        patient = patient or new_id()
        device.shell("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                     f"VALUES('{patient}', 'Ana', '{last}', '1980-01-01');")
        return patient

    def last_name(self, device, patient):
        rows = device.rows("SELECT LastName FROM Patient WHERE Id = ?", patient)
        return rows[0][0] if rows else None

    def set_name(self, device, patient, last):
        device.shell(f"UPDATE Patient SET LastName = '{last}' WHERE Id = '{patient}';")

    def test_commit_becomes_visible_on_the_other_device_without_waiting_for_the_timer(self):
        self.start()

        patient = self.add_patient(self.a, "Live")

        wait_until("the row is on b", lambda: self.last_name(self.b, patient) == "Live")
        self.set_name(self.b, patient, "Back")
        wait_until("the edit is on a", lambda: self.last_name(self.a, patient) == "Back")

    def test_everything_converges_when_both_write_offline_with_django_and_the_shell(self):
        self.a.django("migrate")
        self.b.django("migrate")
        shared = self.add_patient(self.a, "Shared")
        self.sync_all()
        self.world.service.stop()
        ours, note = new_id(), new_id()
        self.a.django("add-patient", ours, "Ben", "O'Neil")
        self.a.django("add-note", note, ours, "left knee: better")
        self.a.django("bulk-rename", "Shared", "Django")
        self.b.shell(f"""
            BEGIN;
            INSERT INTO IntakeForm(Id, PatientId, Complaint, PainScale)
              VALUES('{new_id()}', '{shared}', 'pain', 3);
            INSERT OR REPLACE INTO Patient(Id, FirstName, LastName, DateOfBirth)
              VALUES('{new_id()}', 'Zoe', 'Quinn', '1990-02-02');
            COMMIT;""")
        self.assertEqual(self.a.agent_run("run", check=False).returncode, 4)
        self.world.start_service()

        self.sync_all()

        self.assertEqual(self.a.content(), self.b.content())
        self.assertEqual(self.last_name(self.b, shared), "Django")
        self.assertEqual(self.b.rows("SELECT count(*) FROM NoteSearch WHERE NoteSearch MATCH 'knee'"),
                         [(1,)])
        self.assertTrue(self.a.queue_empty() and self.b.queue_empty())

    def conflict(self):
        """Both edit one patient offline: b at once, a later. Returns the patient."""
        patient = self.add_patient(self.a, "Base")
        self.sync_all()
        self.world.service.stop()
        self.set_name(self.b, patient, "FromB")
        self.set_name(self.a, patient, "FromA")
        self.world.start_service()
        return patient

    def test_earlier_edit_loses_and_stands_in_both_archives(self):
        patient = self.conflict()
        self.a.agent_run("run", check=False)

        run = self.b.json("run", check=False)
        self.sync_all()

        self.assertEqual(run["conflicts"][0]["resolution"], "ServerWins")
        self.assertEqual(self.last_name(self.b, patient), "FromA")
        self.assertEqual(self.last_name(self.a, patient), "FromA")
        mine = self.b.json("conflicts", "list")["items"]
        self.assertEqual(len(mine), 1)
        shown = self.b.json("conflicts", "show", mine[0]["conflictId"])
        self.assertEqual(shown["archivedData"]["LastName"], "FromB")
        self.assertEqual(shown["chosenData"]["LastName"], "FromA")
        theirs = json.loads(self.world.service_run("conflicts", "show", mine[0]["conflictId"],
                                                   "--json").stdout)
        self.assertEqual(theirs["archivedData"]["LastName"], "FromB")
        self.assertEqual(theirs["baseData"]["LastName"], "Base")

    def test_later_edit_wins_and_the_loser_keeps_its_row(self):
        patient = self.conflict()
        self.b.agent_run("run", check=False)

        run = self.a.json("run", check=False)
        self.sync_all()

        self.assertEqual(run["conflicts"][0]["resolution"], "LocalWins")
        self.assertEqual(self.last_name(self.b, patient), "FromA")
        lost = self.b.ledger("SELECT ArchivedDataJson, ResolutionType FROM SyncConflictArchives")
        self.assertEqual(len(lost), 1)
        self.assertEqual(json.loads(lost[0][0])["LastName"], "FromB")
        self.assertEqual(lost[0][1], "LocalWins")

    def test_restored_archive_row_is_an_edit_like_any_other(self):
        patient = self.conflict()
        self.a.agent_run("run", check=False)
        self.b.agent_run("run", check=False)
        conflict = self.b.json("conflicts", "list")["items"][0]["conflictId"]

        self.b.agent_run("conflicts", "resolve", conflict, "--restore")
        self.sync_all()

        self.assertEqual(self.last_name(self.a, patient), "FromB")
        self.assertEqual(self.last_name(self.b, patient), "FromB")

    def test_refused_edits_are_put_back_and_archived(self):
        patient, note, form = new_id(), new_id(), new_id()
        self.add_patient(self.a, "Signed", patient)
        self.a.django("add-note", note, patient, "as signed")
        self.a.django("sign-note", note)
        self.a.shell(f"INSERT INTO IntakeForm(Id, PatientId, Complaint, IsLocked) "
                     f"VALUES('{form}', '{patient}', 'as locked', 1);")
        self.sync_all()

        self.b.django("edit-note", note, "changed afterwards")
        self.b.shell(f"UPDATE IntakeForm SET Complaint = 'changed' WHERE Id = '{form}';")
        run = self.b.json("run", check=False)

        self.assertEqual({c["resolution"] for c in run["conflicts"]},
                         {"RejectedImmutable", "RejectedLocked"})
        self.assertEqual(self.b.rows("SELECT Subjective FROM ClinicalNote"), [("as signed",)])
        self.assertEqual(self.b.rows("SELECT Complaint FROM IntakeForm"), [("as locked",)])
        self.assertEqual(self.b.rows("SELECT count(*) FROM NoteSearch WHERE NoteSearch MATCH "
                                     "'afterwards'"), [(0,)])
        kept = {json.loads(row[0]).get("Subjective") or json.loads(row[0]).get("Complaint")
                for row in self.b.ledger("SELECT ArchivedDataJson FROM SyncConflictArchives")}
        self.assertEqual(kept, {"changed afterwards", "changed"})
        self.b.shell(f"DELETE FROM ClinicalNote WHERE Id = '{note}';")
        self.b.agent_run("run", check=False)
        self.sync_all()
        self.assertEqual(self.b.rows("SELECT Subjective FROM ClinicalNote"), [("as signed",)])

    def test_deletion_and_changed_key_travel(self):
        first, second, renamed = new_id(), new_id(), new_id()
        self.add_patient(self.a, "Gone", first)
        self.add_patient(self.a, "Moved", second)
        self.sync_all()

        self.b.shell(f"DELETE FROM Patient WHERE Id = '{first}';"
                     f"UPDATE Patient SET Id = '{renamed}' WHERE Id = '{second}';")
        self.sync_all(self.b, self.a)

        self.assertEqual(self.a.rows("SELECT Id FROM Patient"), [(renamed,)])

    def test_run_answers_with_the_fields_of_the_design(self):
        self.add_patient(self.a, "Fields")

        run = self.a.json("run")

        self.assertEqual(list(run), ["success", "completedAt", "durationMs", "push", "pull",
                                     "conflicts"])
        self.assertEqual(list(run["push"]), ["total", "success", "failed", "conflicts"])
        self.assertEqual(list(run["pull"]), ["total", "applied", "skipped", "conflicts"])
        self.assertEqual(run["push"], {"total": 1, "success": 1, "failed": 0, "conflicts": 0})
        self.assertIs(run["success"], True)
        self.assertRegex(run["completedAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_every_statement_of_the_design_runs_on_the_agents_file(self):
        patient = self.conflict()
        self.a.agent_run("run", check=False)
        self.start(self.b)
        self.b.agent_run("run", check=False)
        design = [
            "SELECT * FROM SyncConflictArchives\nWHERE IsResolved = 0\nORDER BY DetectedAt DESC;",
            "SELECT\n  EntityType,\n  EntityId,\n  ResolutionType,\n  Reason,\n"
            "  ArchivedVersionLastModifiedUtc,\n  ChosenVersionLastModifiedUtc\n"
            f"FROM SyncConflictArchives\nWHERE EntityId = '{patient}';",
            "UPDATE SyncQueueItems\nSET Status = 0, RetryCount = 0\n"
            "WHERE Status = 3 AND RetryCount >= MaxRetries;",
            "SELECT ArchivedDataJson\nFROM SyncConflictArchives\nWHERE EntityType = 'Patient'\n"
            f"  AND EntityId = '{patient}'\nORDER BY DetectedAt DESC\nLIMIT 1;"]
        shown = []
        for sql in design:
            done = subprocess.run(["sqlite3", f"{self.b.db}.sync"], input=sql, text=True,
                                  capture_output=True, timeout=30)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            shown.append(done.stdout)
        self.assertIn("ServerWins", shown[1])
        self.assertIn("FromB", shown[3])

    def test_failed_item_is_sent_again_when_the_design_sql_resets_it(self):
        big = new_id()
        self.a.shell("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth, Street) VALUES("
                     f"'{big}', 'A', 'Big', '1980-01-01', hex(zeroblob(1700000)));")
        small = self.add_patient(self.a, "Small")
        self.a.agent_run("run", check=False)
        self.assertEqual(self.a.ledger("SELECT Status, RetryCount = MaxRetries FROM SyncQueueItems "
                                       "WHERE EntityId = ?", big), [(3, 1)])
        self.assertEqual(self.last_name_on_service(small), "Small")

        self.a.shell(f"UPDATE Patient SET Street = 'short' WHERE Id = '{big}';")
        self.a.agent_run("run", check=False)

        self.assertTrue(self.a.queue_empty())

    def last_name_on_service(self, patient):
        self.b.agent_run("run", check=False)
        return self.last_name(self.b, patient)

    def test_second_agent_stands_back_and_takes_over_at_once_after_kill(self):
        self.start(self.a)

        second = self.world.run("device-agent", "serve", "--config", self.a.config, check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn("SECOND_AGENT", second.stderr)
        self.a.agent.kill()
        self.a.start()

        patient = self.add_patient(self.a, "After")
        wait_until("sent", lambda: self.last_name_on_service(patient) == "After")

    def test_uninstall_leaves_the_schema_byte_for_byte(self):
        fresh = Device(self.world, "fresh")
        before = fresh.rows("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid")
        fresh.init()
        self.assertNotEqual(before, fresh.rows(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"))

        fresh.agent_run("uninstall")

        self.assertEqual(before, fresh.rows(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"))

    def test_content_stands_only_where_it_may(self):
        self.start()
        patient = self.add_patient(self.a, PHI)
        wait_until("on b", lambda: self.last_name(self.b, patient) == PHI)
        note = new_id()
        self.a.shell(f"INSERT INTO ClinicalNote(Id, PatientId, VisitDate, Kind, Subjective, "
                     f"SignatureHash) VALUES('{note}', '{patient}', 'd', 'Progress', '{PHI}', 's');")
        wait_until("note on b", lambda: self.b.rows("SELECT 1 FROM ClinicalNote WHERE Id = ?", note))
        self.b.shell(f"UPDATE ClinicalNote SET Subjective = '{PHI}2' WHERE Id = '{note}';")
        wait_until("refused", lambda: self.b.ledger("SELECT 1 FROM SyncConflictArchives"))
        self.a.agent_run("status")
        self.b.agent_run("queue", "list", "--all")
        for device in (self.a, self.b):
            device.agent.stop()
        self.world.service.stop()

        allowed = {"store.db": {"Versions", "SyncConflictArchives"},
                   "app.db.sync": {"SyncConflictArchives", "SyncIntents", "SyncSetAside"}}
        for path in self.world.root.rglob("*"):
            if path.is_file() and path.suffix == ".log":
                self.assertNotIn(PHI.encode(), path.read_bytes(), path)
            if path.name in allowed:
                self.assert_tables_without_phi(path, allowed[path.name])
        for device in (self.a, self.b):
            self.assert_tables_without_phi(device.db, {
                "Patient", "ClinicalNote", "NoteSearch", "NoteSearch_data", "NoteSearch_content"})
        audit = self.world.service_run("audit", "list", "--json").stdout
        self.assertNotIn(PHI, audit)

    def assert_tables_without_phi(self, path, allowed):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.text_factory = bytes
            tables = [row[0].decode() for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                if table in allowed:
                    continue
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    for cell in row:
                        if isinstance(cell, bytes):
                            self.assertNotIn(PHI.encode(), cell, f"{path}: {table}")

    def test_cancelled_edit_is_archived_and_the_services_row_put_back(self):
        patient = self.add_patient(self.a, "Stands")
        self.sync_all()
        self.world.service.stop()
        self.set_name(self.a, patient, "Regretted")
        item = self.a.json("queue", "list")["items"][0]["id"]

        self.a.agent_run("queue", "cancel", item)
        self.world.start_service()
        self.sync_all()

        self.assertEqual(self.last_name(self.a, patient), "Stands")
        archived = self.a.json("conflicts", "list", "--all")["items"]
        self.assertEqual([c["resolutionType"] for c in archived], ["Cancelled"])

    def test_triggers_dropped_by_a_migration_come_back_with_what_was_missed(self):
        patient = self.add_patient(self.a, "Before")
        self.sync_all()
        triggers = [row[0] for row in self.a.rows(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'Sync%' AND "
            "tbl_name = 'Patient'")]
        self.assertTrue(triggers)
        self.a.shell("".join(f'DROP TRIGGER "{name}";' for name in triggers) +
                     f"UPDATE Patient SET LastName = 'Missed' WHERE Id = '{patient}';")

        self.sync_all()

        self.assertEqual(self.last_name(self.b, patient), "Missed")
        self.assertEqual(len(self.a.rows(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'Sync%' AND "
            "tbl_name = 'Patient'")), len(triggers))

    def test_fleet_heals_a_service_restored_from_a_backup(self):
        kept = self.add_patient(self.a, "Kept")
        self.sync_all()
        backup = self.world.root / "backup.db"
        self.world.service_run("backup", backup)
        late = self.add_patient(self.a, "AfterBackup")
        self.set_name(self.a, kept, "EditedAfterBackup")
        self.sync_all()
        self.world.service.stop()
        self.world.service_run("restore", backup)
        self.world.start_service()

        self.sync_all()
        self.sync_all()

        fresh = self.device_without_rows("c")
        fresh.agent_run("run", check=False)
        self.assertEqual(self.last_name(fresh, late), "AfterBackup")
        self.assertEqual(self.last_name(fresh, kept), "EditedAfterBackup")
        self.assertEqual(self.a.content(), self.b.content())

    def device_without_rows(self, name):
        token = self.world.root / "tokens" / f"{name}.token"
        self.world.service_run("token", "create", "--tenant", "clinic", "--device", name, "--out",
                               token)
        return self.device(name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
