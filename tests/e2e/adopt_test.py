"""init --adopt: what PTDoc's in-process engine had not sent is sent; its tables stay as they are."""
import json
import re
import unittest
import uuid

from cli_case import CliCase
from harness import APPS, Device

OLD = "2026-01-05 08:00:00.0000000"
NEW = "2026-02-17 04:45:00.1234567"
NEW_NS = 1771303500123456700


class AdoptTest(CliCase):
    def setUp(self):
        super().setUp()
        self.world.setup("a", "b")
        self.world.start_service()
        self.a = self.device("a")
        self.keys = {name: str(uuid.uuid4()).upper()
                     for name in ("quiet", "edited", "failed", "gone", "done")}
        for name in ("quiet", "edited", "failed", "done"):
            self.patient(self.a, name)

    def device(self, name):
        device = Device(self.world, name, interval="1h", schema=APPS / "ef_clinic.sql", tables=())
        device.config.unlink()
        device.config = device.dir / "agent.toml"
        return device

    def patient(self, device, name, first="Ana"):
        device.shell(f"INSERT INTO Patients VALUES('{self.keys[name]}', '{first}', 'X', '{OLD}', "
                     "NULL, 0);")

    def enqueue(self, entity, operation, status, kind="Patient", at=NEW):
        self.a.shell("INSERT INTO SyncQueueItems VALUES("
                     f"'{str(uuid.uuid4()).upper()}', '{kind}', '{entity.lower()}', {operation}, "
                     f"'{at}', NULL, {status}, 0, 3, NULL);")

    def init(self, device, *args):
        done = self.agent("init", "--database", device.db, "--all-tables", "--service",
                          self.world.address, "--token-file",
                          self.world.root / "tokens" / f"{device.name}.token", *args)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def own_tables(self):
        return {table: self.a.rows(f"SELECT * FROM {table} ORDER BY Id")
                for table in ("SyncQueueItems", "SyncConflictArchives")}

    def test_open_items_become_items_of_the_ledger(self):
        self.enqueue(self.keys["edited"], 1, 0)
        self.enqueue(self.keys["failed"], 0, 3)
        self.enqueue(self.keys["gone"], 2, 0)
        self.enqueue(self.keys["done"], 1, 2)      # Completed
        self.enqueue(str(uuid.uuid4()), 1, 0)      # of a row that is not there
        self.enqueue(self.keys["edited"], 1, 0, kind="Appointment")
        self.a.shell("INSERT INTO SyncConflictArchives VALUES('1', 'Patient', 'x', "
                     f"'{OLD}', 'ServerWins', 'r', 'null', 0);")
        before = self.own_tables()

        done = self.init(self.a, "--adopt", "--json")

        adopted = json.loads(done.stdout)["adopted"]
        self.assertEqual(adopted, {"edits": 2, "deletions": 1, "notSynced": 1, "unknownRows": 1,
                                   "otherCase": 2, "openConflicts": 1, "before": False})
        self.assertEqual(self.own_tables(), before)
        items = {row[0]: row[1:] for row in self.a.ledger(
            "SELECT EntityId, Operation, Status, EnqueuedAt, LastModifiedNs, Flags & 8 "
            "FROM SyncQueueItems")}
        self.assertEqual(items[self.keys["edited"]],
                         (0, 0, "2026-02-17T04:45:00.123Z", NEW_NS, 0))
        self.assertEqual(items[self.keys["gone"]][0], 2)
        self.assertEqual(items[self.keys["gone"]][3], NEW_NS)
        self.assertEqual(items[self.keys["quiet"]][4], 8)  # only there before init
        self.assertNotIn("SyncQueueItem", self.a.config.read_text())

    def test_what_was_not_sent_wins_over_older_rows_elsewhere(self):
        b = self.device("b")
        for name in self.keys:
            self.patient(b, name, first="Old")
        self.init(b)
        b.agent_run("run")
        self.a.shell(f"UPDATE Patients SET FirstName = 'New' WHERE Id = '{self.keys['edited']}';")
        self.enqueue(self.keys["edited"], 1, 0)
        self.enqueue(self.keys["gone"], 2, 0)
        self.init(self.a, "--adopt")
        for device in (self.a, b, self.a):
            device.agent_run("run", check=False)

        name = "SELECT FirstName FROM Patients WHERE Id = ?"
        self.assertEqual(b.rows(name, self.keys["edited"]), [("New",)])
        self.assertEqual(b.rows(name, self.keys["gone"]), [])
        self.assertEqual(self.a.rows(name, self.keys["gone"]), [])

    def test_adopting_twice_takes_nothing_twice(self):
        self.enqueue(self.keys["edited"], 1, 0)
        words = self.init(self.a, "--adopt").stdout
        self.assertIn("1 edit and 0 deletions", words)
        self.assertIn("upper case", words)
        self.a.agent_run("run")
        done = self.init(self.a, "--adopt", "--json")
        self.assertTrue(json.loads(done.stdout)["adopted"]["before"])
        self.assertTrue(self.a.queue_empty())

    def test_items_that_were_being_sent_and_enums_as_names(self):
        """HasConversion<string>() in the model: Operation and Status are texts."""
        table = self.a.shell("SELECT sql FROM sqlite_master WHERE name = 'SyncQueueItems';")
        self.a.shell("DROP TABLE SyncQueueItems;"
                     + re.sub(r'"(Operation|Status)" INTEGER', r'"\1" TEXT', table) + ";")
        b = self.device("b")
        for name in self.keys:
            self.patient(b, name, first="Old")
        self.init(b)
        b.agent_run("run")
        for name, operation, status in (("edited", "'Update'", "'Processing'"),
                                        ("failed", "'create'", "'FAILED'"),
                                        ("gone", "'Delete'", "'Processing'"),
                                        ("done", "'Update'", "'Completed'"),
                                        ("quiet", "'Update'", "'Cancelled'")):
            self.enqueue(self.keys[name], operation, status)
            self.a.shell(f"UPDATE Patients SET FirstName = 'New' WHERE Id = '{self.keys[name]}';")
        before = self.own_tables()

        done = self.init(self.a, "--adopt", "--json")
        for device in (self.a, b, self.a):
            device.agent_run("run", check=False)

        adopted = json.loads(done.stdout)["adopted"]
        self.assertEqual((adopted["edits"], adopted["deletions"]), (2, 1))
        self.assertEqual(self.own_tables(), before)
        names = dict(b.rows("SELECT Id, FirstName FROM Patients"))
        self.assertEqual({name: names.get(key) for name, key in self.keys.items()},
                         {"edited": "New", "failed": "New", "gone": None, "done": "Old",
                          "quiet": "Old"})
        self.assertEqual(dict(self.a.rows("SELECT Id, FirstName FROM Patients")), names)

    def test_an_item_for_a_row_that_came_back_is_an_edit(self):
        """One row, several items: deleted while being sent, and made anew since."""
        for operation, status, at in ((2, 1, OLD), (0, 0, NEW)):
            self.enqueue(self.keys["edited"], operation, status, at=at)
        for operation, status, at in ((1, 1, OLD), (2, 0, NEW)):
            self.enqueue(self.keys["gone"], operation, status, at=at)

        adopted = json.loads(self.init(self.a, "--adopt", "--json").stdout)["adopted"]

        self.assertEqual((adopted["deletions"], adopted["unknownRows"]), (1, 1))
        items = {row[0]: row[1:] for row in self.a.ledger(
            "SELECT EntityId, Operation, LastModifiedNs, count(*) FROM SyncQueueItems GROUP BY 1")}
        self.assertEqual(items[self.keys["edited"]], (0, NEW_NS, 1))
        self.assertEqual(items[self.keys["gone"]], (2, NEW_NS, 1))

    def test_file_whose_migration_installed_the_capture_is_adopted_too(self):
        """As docs/EF_CORE.md advises: the script that init --print-sql makes is part of it."""
        b = self.device("b")
        for name in self.keys:
            self.patient(b, name, first="Old")
        self.init(b)
        b.agent_run("run")
        script = self.agent("init", "--database", self.a.db, "--all-tables", "--print-sql")
        self.assertEqual(script.returncode, 0, script.stderr)
        self.a.shell(f"BEGIN; {script.stdout} COMMIT;")
        self.a.shell(f"UPDATE Patients SET FirstName = 'New' WHERE Id = '{self.keys['edited']}';")
        self.enqueue(self.keys["failed"], 1, 1)
        self.a.shell(f"UPDATE Patients SET FirstName = 'New' WHERE Id = '{self.keys['failed']}';")
        self.enqueue(self.keys["gone"], 2, 1)

        done = self.init(self.a, "--adopt", "--json")
        for device in (self.a, b, self.a):
            device.agent_run("run", check=False)

        adopted = json.loads(done.stdout)["adopted"]
        self.assertEqual((adopted["edits"], adopted["deletions"]), (1, 1))
        names = dict(b.rows("SELECT Id, FirstName FROM Patients"))
        self.assertEqual({name: names.get(self.keys[name]) for name in ("edited", "failed", "gone")},
                         {"edited": "New", "failed": "New", "gone": None})
        self.assertEqual(dict(self.a.rows("SELECT Id, FirstName FROM Patients")), names)

    def test_file_without_a_queue_is_told(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);")
        self.assert_error(self.agent("init", "--adopt", "--database", device.db, "--config",
                                     device.config), 1, "NO_QUEUE")


if __name__ == "__main__":
    unittest.main()
