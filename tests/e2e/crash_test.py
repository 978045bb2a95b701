"""kill -9 of every side at random moments while 20,000 rows drain.

Killed are the service, the agent whose rows are sent, and the one that receives them;
a third of them again while they start, so that what recovers them dies, too.
"""
import collections
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

from harness import Device, World, counted, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
ROWS = int(os.environ.get("PTDOC_CRASH_ROWS", "20000"))
KILLS = int(os.environ.get("PTDOC_CRASH_KILLS", "60"))
SEED = int(os.environ.get("PTDOC_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SCHEMA = """PRAGMA journal_mode = WAL;
CREATE TABLE Item(Id TEXT PRIMARY KEY NOT NULL, Number INTEGER, Note TEXT);"""


class CrashTest(unittest.TestCase):
    def setUp(self):
        print(f"replay with PTDOC_SEED={SEED}", file=sys.stderr)
        self.random = random.Random(SEED)
        self.kills = collections.Counter()
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

    def kill(self, whom):
        """Kills it, perhaps while it starts, and starts it for good; no other repair."""
        program = self.world.service if whom == "service" else self.device(whom).agent
        program.kill()
        self.kills[whom] += 1
        while self.random.random() < 0.3:
            self.kill_while_it_starts(program.argv, program.log_path)
            self.kills[f"{whom} at its start"] += 1
        if whom == "service":
            self.world.start_service()
        else:
            self.device(whom).start()

    def kill_while_it_starts(self, argv, log_path):
        """Up to the moment when it would be ready, and a little beyond."""
        with open(log_path, "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        time.sleep(self.random.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        self.assertEqual(process.wait(), -signal.SIGKILL, "it ended before it was killed")

    def device(self, name):
        return {"a": self.a, "b": self.b}[name]

    def test_nothing_is_lost_or_doubled_when_every_side_is_killed(self):
        for device in self.devices:
            device.init()
            device.start()
        self.add_rows(self.b, 100, 0)
        chunk = max(1, ROWS // KILLS)
        written = 0
        while sum(self.kills.values()) < KILLS:
            self.add_rows(self.a, chunk, written)
            written += chunk
            time.sleep(self.random.uniform(0, 0.12))
            self.kill(("service", "a", "service", "a", "b")[sum(self.kills.values()) % 5])
        counted(**{f"kills of {whom}": times for whom, times in sorted(self.kills.items())})

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
