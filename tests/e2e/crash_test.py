"""kill -9 of either side at random moments while 20,000 rows drain."""
import collections
import os
import random
import sys
import time
import unittest

from harness import Device, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
ROWS = int(os.environ.get("PTDOC_CRASH_ROWS", "20000"))
KILLS = int(os.environ.get("PTDOC_CRASH_KILLS", "20"))
SEED = int(os.environ.get("PTDOC_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SCHEMA = """PRAGMA journal_mode = WAL;
CREATE TABLE Item(Id TEXT PRIMARY KEY NOT NULL, Number INTEGER, Note TEXT);"""


class CrashTest(unittest.TestCase):
    def setUp(self):
        print(f"replay with PTDOC_SEED={SEED}", file=sys.stderr)
        self.random = random.Random(SEED)
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()
        schema = self.world.root / "item.sql"
        schema.write_text(SCHEMA)
        self.devices = [Device(self.world, name, interval="2s", tables=("Item",), stamps=False,
                               schema=schema) for name in ("a", "b")]
        self.a, self.b = self.devices

    def tearDown(self):
        self.world.__exit__()

    def add_rows(self, device, count, start):
        device.shell("BEGIN;" + "".join(
            f"INSERT INTO Item VALUES('{device.name}-{i:06d}', {i}, 'n{i}');"
            for i in range(start, start + count)) + "COMMIT;")

    def kill_service(self):
        self.world.service.kill()
        self.world.start_service()

    def kill_agent(self):
        self.a.agent.kill()
        self.a.start()

    def test_nothing_is_lost_or_doubled_when_both_sides_are_killed(self):
        for device in self.devices:
            device.init()
            device.start()
        self.add_rows(self.b, 100, 0)
        chunk = max(1, ROWS // (2 * KILLS))
        written = 0
        for step in range(2 * KILLS):
            self.add_rows(self.a, chunk, written)
            written += chunk
            time.sleep(self.random.uniform(0, 0.12))
            (self.kill_service if step % 2 == 0 else self.kill_agent)()

        wait_until("a's queue is empty", lambda: self.a.log_drained() and self.a.queue_empty(),
                   deadline_s=120)
        wait_until("b has every row", lambda: self.b.rows("SELECT count(*) FROM Item") ==
                   [(written + 100,)], deadline_s=120)
        wait_until("a has b's rows", lambda: self.a.content(("Item",)) == self.b.content(("Item",)),
                   deadline_s=60)
        self.check_service(written + 100)

    def check_service(self, expected):
        """One version an entity: nothing took effect twice."""
        self.world.service.stop()
        import contextlib
        import sqlite3
        with contextlib.closing(sqlite3.connect(self.world.root / "store.db")) as store:
            ids = [row[0] for row in store.execute("SELECT EntityId FROM Versions")]
            conflicts = store.execute("SELECT count(*) FROM SyncConflictArchives").fetchone()[0]
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        doubled = [i for i, n in collections.Counter(ids).items() if n > 1]
        self.assertEqual((len(ids), doubled, conflicts), (expected, [], 0))
        self.assertIn("intact", self.world.service_run("audit", "verify").stdout)
        for device in self.devices:
            self.assertEqual(device.rows("PRAGMA integrity_check"), [("ok",)])
            self.assertEqual(device.ledger("PRAGMA integrity_check"), [("ok",)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
