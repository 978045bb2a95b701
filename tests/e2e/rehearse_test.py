"""init --rehearse on files with functions and collations that only the app has: it tells the truth."""
import contextlib
import json
import os
import sqlite3
import unittest

from cli_case import CliCase
from harness import Device

TWO_WAY, OFF, CAPTURED, REFUSED = "two-way", "triggers off", "captured only", "refused"
FN = "CREATE TRIGGER \"{0} t\" {1} ON \"{0}\" BEGIN {2}; END;"
LOG = "INSERT INTO Log VALUES(hex(randomblob(8)), {0})"
# Table, what stands after its columns Id and A, further SQL, and what becomes of it.
TABLES = (
    ("Plain", "", "", TWO_WAY),
    ("InsertCalls", "", FN.format("InsertCalls", "AFTER INSERT", LOG.format("lift(NEW.A)")), OFF),
    ("UpdateCalls", "", FN.format("UpdateCalls", "AFTER UPDATE OF A", LOG.format("lift(NEW.A)")),
     OFF),
    ("DeleteCalls", "", FN.format("DeleteCalls", "BEFORE DELETE", LOG.format("lift(OLD.A)")), OFF),
    ("WhenCalls", "", FN.format("WhenCalls", "AFTER INSERT", LOG.format("NEW.A")).replace(
        " BEGIN", " WHEN lift(NEW.A) = '^x' BEGIN"), OFF),
    ("RefusesByCall", "", FN.format("RefusesByCall", "BEFORE INSERT",
                                    "SELECT RAISE(ABORT, 'no') WHERE lift(NEW.A) = 'never'"), OFF),
    ("TriggerCompares", "", FN.format(
        "TriggerCompares", "AFTER INSERT",
        LOG.format("(SELECT count(*) FROM Plain WHERE A > NEW.A COLLATE BACKWARDS)")), OFF),
    # Another table's index, to which this one's trigger writes.
    ("WritesToIndexed", "", FN.format("WritesToIndexed", "AFTER INSERT",
                                      "INSERT INTO IndexCalls(Id, A) VALUES('w' || NEW.Id, 'w')"),
     OFF),
    ("IndexCalls", "", "CREATE INDEX ic ON IndexCalls(lift(A));", CAPTURED),
    ("PartOfIndexCalls", "", "CREATE INDEX pc ON PartOfIndexCalls(A) WHERE lift(A) <> '';", CAPTURED),
    ("IndexCompares", "", "CREATE INDEX ix ON IndexCompares(A COLLATE BACKWARDS);", CAPTURED),
    ("UniqueCompares", ", U TEXT COLLATE BACKWARDS UNIQUE", "", CAPTURED),
    ("CheckCalls", ", CHECK(lift(A) <> 'never')", "", CAPTURED),
    ("CheckMatches", ", CHECK(A REGEXP 'x')", "", CAPTURED),
    ("Generated", ", G TEXT AS (lift(A)) STORED", "", CAPTURED),
    ("ColumnCompares", ", B TEXT COLLATE BACKWARDS DEFAULT 'b'", "", TWO_WAY),
    ("DefaultCalls", ", B TEXT DEFAULT (lift('b'))", "", TWO_WAY),
    ("Searched", "", "CREATE VIRTUAL TABLE Search USING fts5(A, content='Searched');"
     + FN.format("Searched", "AFTER INSERT",
                 "INSERT INTO Search(rowid, A) VALUES(NEW.rowid, lift(NEW.A))"), OFF),
)
KEYED = 'CREATE TABLE KeyCompares(Id TEXT COLLATE BACKWARDS PRIMARY KEY NOT NULL, A TEXT);'


def backwards(left, right):
    left, right = left[::-1], right[::-1]
    return (left > right) - (left < right)


class RehearseTest(CliCase):
    @contextlib.contextmanager
    def app(self, device):
        """The app, which brings what its schema calls."""
        with contextlib.closing(sqlite3.connect(device.db, timeout=10)) as db:
            db.create_function("lift", 1, lambda text: f"^{text}", deterministic=True)
            db.create_function("regexp", 2, lambda pattern, text: pattern in text,
                               deterministic=True)
            db.create_collation("BACKWARDS", backwards)
            with db:
                yield db

    def device(self, name, rows):
        device = Device(self.world, name, interval="1h", tables=(), schema=None)
        with self.app(device) as db:
            db.executescript("CREATE TABLE Log(Id TEXT PRIMARY KEY, A TEXT);" + KEYED + "".join(
                f"CREATE TABLE {table}(Id TEXT PRIMARY KEY NOT NULL, A TEXT{more});"
                for table, more, _, _ in TABLES) + "".join(sql for _, _, sql, _ in TABLES))
        with open(device.config, "a", encoding="utf-8") as config:
            for table, _, _, _ in TABLES:
                config.write(f'[[entity]]\ntable = "{table}"\n')
        self.write(device, *rows)
        return device

    def write(self, device, *keys):
        with self.app(device) as db:
            for table, _, _, _ in TABLES:
                db.executemany(f"INSERT INTO {table}(Id, A) VALUES(?, 'x')",
                               [(f"{key}",) for key in keys])

    def verdicts(self, device):
        before = device.db.read_bytes()
        done = self.agent("init", "--rehearse", "--all-tables", "--config", device.config, "--json")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertEqual(device.db.read_bytes(), before)
        self.assertFalse(os.path.exists(f"{device.db}.sync"))
        self.assertTrue(json.loads(done.stdout)["schemaRestored"])
        return {item["table"]: OFF if "triggers off" in item["why"] else item["how"]
                for item in json.loads(done.stdout)["items"]}

    def test_what_it_says_is_what_happens(self):
        self.world.setup("a", "b")
        self.world.start_service()
        a, b = self.device("a", ("first",)), self.device("b", ("own",))

        said = self.verdicts(b)

        self.assertEqual({table: said[table] for table, _, _, _ in TABLES},
                         {table: verdict for table, _, _, verdict in TABLES})
        self.assertEqual(said["KeyCompares"], REFUSED)
        happened = self.what_happens(a, b)
        self.assertEqual(happened, {
            table: CAPTURED if verdict == CAPTURED else TWO_WAY for table, _, _, verdict in TABLES})

    def what_happens(self, a, b):
        """Created, edited and deleted on a: what of it stands on b."""
        for device in (a, b):
            device.init()
        self.write(a, "edited", "deleted")
        self.sync(a, b)
        with self.app(a) as db:
            for table, _, _, _ in TABLES:
                db.execute(f"UPDATE {table} SET A = 'xyz' WHERE Id = 'edited'")
                db.execute(f"DELETE FROM {table} WHERE Id = 'deleted'")
        self.sync(a, b)
        aside = {kind for kind, in b.ledger("SELECT DISTINCT EntityType FROM SyncSetAside")}
        happened = {}
        for table, _, _, _ in TABLES:
            rows = dict(b.rows(f"SELECT Id, A FROM {table} NOT INDEXED WHERE Id NOT GLOB 'w*'"))
            both = {"first": "x", "edited": "xyz", "own": "x"}
            happened[table] = (TWO_WAY if rows == both and table not in aside else
                               CAPTURED if rows.keys() == {"own"} and table in aside else rows)
            # What this device's app writes goes out in either case.
            there = {key for key, in a.rows(f"SELECT Id FROM {table} NOT INDEXED")}
            if happened[table] == TWO_WAY:
                self.assertIn("own", there, table)
        return happened

    def sync(self, *devices):
        for _ in range(2):
            for device in devices:
                device.agent_run("run", check=False)
        for device in devices:
            self.assertTrue(device.queue_empty(), device.name)


if __name__ == "__main__":
    unittest.main()
