"""verify: what differs between a device and the service is found and mended."""
import json
import subprocess
import unittest

from cli_case import CliCase
from harness import Device, wait_until

SECRET = "Zebedee"  # content: stands in no report


class VerifyTest(CliCase):
    def setUp(self):
        super().setUp()
        self.world.setup("a", "b")
        self.world.start_service()
        self.a = Device(self.world, "a", interval="1h")
        self.b = Device(self.world, "b", interval="1h")
        for device in (self.a, self.b):
            device.init()
        self.a.shell("BEGIN;" + "".join(
            "INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
            f"VALUES('p{i:04}', 'Ana', 'Alvarez', '1980-01-01');" for i in range(1500)) + "COMMIT;")
        self.a.agent_run("run")
        self.b.agent_run("run")

    def silently(self, device, sql):
        """As a program that switches triggers off."""
        device.shell(f".dbconfig enable_trigger off\n{sql}")

    def report(self, device, *args, code=0):
        done = device.agent_run("verify", *args, "--json", check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn(SECRET, done.stdout)
        return json.loads(done.stdout)

    def patients(self, report):
        return [kind for kind in report["types"] if kind["entityType"] == "Patient"][0]

    def name_of(self, device, key):
        return device.rows("SELECT FirstName FROM Patient WHERE Id = ?", key)[0][0]

    def test_equal_databases_have_no_finding(self):
        report = self.report(self.b)

        self.assertEqual(report["found"], 0)
        self.assertEqual(self.patients(report)["rows"], 1500)
        self.assertEqual(self.patients(report)["equal"], 1500)
        done = self.b.agent_run("verify")
        self.assertIn("Every row is what the service holds", done.stdout)

    def test_flipped_byte_is_found_and_put_back(self):
        self.silently(self.b, f"UPDATE Patient SET FirstName = '{SECRET}' WHERE Id = 'p0700';")

        report = self.report(self.b, code=3)
        self.assertEqual([(f["entityId"], f["kind"], f["columns"]) for f in report["findings"]],
                         [("p0700", "different", ["FirstName"])])
        self.assertEqual(self.patients(report)["equal"], 1499)
        words = self.b.agent_run("verify", check=False)
        self.assertEqual(words.returncode, 3)
        self.assertIn("p0700 differs in FirstName", words.stdout)
        self.assertNotIn(SECRET, words.stdout)
        self.assertEqual(self.name_of(self.b, "p0700"), SECRET)

        repaired = self.report(self.b, "--repair", code=3)
        self.assertEqual(repaired["repaired"], 1)
        self.assertEqual(self.name_of(self.b, "p0700"), "Ana")
        self.assertEqual(self.b.ledger("SELECT EntityId, ResolutionType FROM SyncConflictArchives"),
                         [("p0700", "Repaired")])
        archived = self.b.ledger("SELECT ArchivedDataJson FROM SyncConflictArchives")
        self.assertIn(SECRET, archived[0][0])
        self.assertEqual(self.report(self.b)["found"], 0)

    def test_daemon_sends_what_was_changed_here_if_asked(self):
        self.silently(self.b, f"UPDATE Patient SET FirstName = '{SECRET}' WHERE Id = 'p0001';"
                              "DELETE FROM Patient WHERE Id = 'p0002';"
                              "INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                              "VALUES('q', 'New', 'Row', '1990-01-01');")
        self.b.start()

        report = self.report(self.b, "--repair=push", code=3)

        self.assertEqual({(f["entityId"], f["kind"]) for f in report["findings"]},
                         {("p0001", "different"), ("p0002", "missingHere"), ("q", "missingThere")})
        wait_until("the queue is empty", self.b.queue_empty)
        self.a.agent_run("run")
        self.assertEqual(self.name_of(self.a, "p0001"), SECRET)
        self.assertEqual(self.a.rows("SELECT count(*) FROM Patient WHERE Id = 'p0002'"), [(0,)])
        self.assertEqual(self.name_of(self.a, "q"), "New")
        self.assertEqual(self.report(self.b)["found"], 0)
        self.assertEqual(self.report(self.a)["found"], 0)

    def test_edits_wait_and_are_no_findings(self):
        # Paused, verify sends and pulls nothing by itself.
        self.b.agent_run("pause")
        self.b.shell("UPDATE Patient SET FirstName = 'Eva' WHERE Id = 'p0003';")
        self.a.shell("UPDATE Patient SET FirstName = 'Ida' WHERE Id = 'p0004';")
        self.a.agent_run("run")

        report = self.report(self.b)

        self.assertEqual(report["found"], 0)
        self.assertEqual(self.patients(report)["waiting"], 2)
        self.assertEqual(self.patients(report)["equal"], 1498)

    def verify_until_it_stands_in_the_ledger(self, device):
        """Kills one after it has saved where it is; False if it ended before."""
        verify = subprocess.Popen(
            [self.world.bin / "device-agent", "verify", "--config", device.config],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while verify.poll() is None:
                if device.ledger("SELECT 1 FROM SyncMeta WHERE Name = 'verify'"):
                    break
        finally:
            verify.kill()
            verify.wait()
        return bool(device.ledger("SELECT 1 FROM SyncMeta WHERE Name = 'verify'"))

    def test_killed_in_the_middle_it_goes_on_and_forgets_nothing(self):
        self.world.setup("c")
        rows = 60_000  # Where it is is saved after each 20,000.
        c = Device(self.world, "c", interval="1h", tables=("T",), stamps=False, schema=None)
        c.shell("CREATE TABLE T(K TEXT PRIMARY KEY, V TEXT);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                f"{rows}) INSERT INTO T SELECT printf('k%06d', i), 'value' FROM n;")
        c.init()
        c.agent_run("run")
        # In what it has seen before it is killed, and in what it has not.
        self.silently(c, f"UPDATE T SET V = '{SECRET}' WHERE K IN ('k000007', 'k059999');"
                         "DELETE FROM T WHERE K = 'k000009';")

        killed = any(self.verify_until_it_stands_in_the_ledger(c) for _ in range(20))
        self.assertTrue(killed, "it always ended before it could be killed")
        report = self.report(c, code=3)

        self.assertTrue(report["resumed"])
        self.assertEqual({(f["entityId"], f["kind"]) for f in report["findings"]},
                         {("k000007", "different"), ("k059999", "different"),
                          ("k000009", "missingHere")})
        self.assertEqual([kind["equal"] for kind in report["types"]], [rows - 3])
        whole = self.report(c, "--repair", code=3)
        self.assertFalse(whole["resumed"])
        self.assertEqual([kind["rows"] for kind in report["types"]],
                         [kind["rows"] for kind in whole["types"]])
        self.assertEqual(self.report(c)["found"], 0)

    def flip(self, device, *texts):
        """One bit of each of these in the file itself, as a bad disk does it."""
        device.shell("PRAGMA wal_checkpoint(TRUNCATE);")
        data = bytearray(device.db.read_bytes())
        for text in texts:
            at = data.find(text.encode())
            self.assertGreater(at, 0, text)
            data[at + len(text) - 1] ^= 1
        device.db.write_bytes(data)

    def test_flipped_bytes_far_apart_in_many_rows_are_all_found(self):
        self.world.setup("c")
        rows = 101_000
        c = Device(self.world, "c", interval="1h", tables=("T",), stamps=False, schema=None)
        c.shell("CREATE TABLE T(K TEXT PRIMARY KEY, V TEXT, N INTEGER);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                f"{rows}) INSERT INTO T SELECT printf('k%06d', i), printf('value %06d.', i), i "
                "FROM n;")
        c.init()
        c.agent_run("run")
        # The ends, both sides of a slice of 1,000 and of what is saved at once, a few beside.
        flipped = [1, 2, 999, 1000, 1001, 20_000, 20_001, 59_999, 77_777, 100_000, 100_999, rows]
        self.flip(c, *(f"value {i:06}." for i in flipped))
        self.silently(c, "DELETE FROM T WHERE K IN ('k000003', 'k065000');"
                         f"INSERT INTO T VALUES('k050000a', '{SECRET}', 1);"
                         "UPDATE T SET N = N + 1 WHERE K = 'k090000';")
        expected = {(f"k{i:06}", "different", "V") for i in flipped} | {
            ("k000003", "missingHere", ""), ("k065000", "missingHere", ""),
            ("k050000a", "missingThere", ""), ("k090000", "different", "N")}

        report = self.report(c, code=3)

        self.assertEqual({(f["entityId"], f["kind"], ",".join(f.get("columns", ())))
                          for f in report["findings"]}, expected)
        self.assertEqual((report["found"], report["types"][0]["equal"]),
                         (len(expected), rows - len(flipped) - 3))
        repaired = self.report(c, "--repair", code=3)
        self.assertEqual(repaired["repaired"], len(expected))
        self.assertEqual(self.report(c)["found"], 0)
        self.assertEqual(c.rows("SELECT count(*), sum(N), count(DISTINCT V) FROM T "
                                "WHERE K <> 'k050000a'"),  # Which went to the service.
                         [(rows, rows * (rows + 1) // 2, rows)])
        self.assertEqual(c.rows("SELECT V FROM T WHERE K IN ('k000001', 'k101000') ORDER BY 1"),
                         [("value 000001.",), ("value 101000.",)])

    def test_without_a_service_the_exit_code_is_4(self):
        self.world.service.stop()

        done = self.b.agent_run("verify", check=False)

        self.assert_error(done, 4, "SERVICE_UNREACHABLE")
        self.assert_error(self.b.agent_run("verify", "--repair=away", check=False), 2, "USAGE")


if __name__ == "__main__":
    unittest.main()
