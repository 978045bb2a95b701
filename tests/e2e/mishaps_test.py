"""Mishaps of the app's file beside a daemon: its -wal deleted, its pages moved by VACUUM, its journal
mode changed, held by an exclusive holder, damaged and put back."""
import contextlib
import os
import pathlib
import sqlite3
import unittest

from harness import Device, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
TABLES = ("Item",)
SCHEMA = """PRAGMA journal_mode = WAL;
CREATE TABLE Item(Id TEXT PRIMARY KEY NOT NULL, Number INTEGER, Note TEXT);"""
# A damaged file is looked at every 10 s.
CONVERGED_MAX_S = 60


class MishapsTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.addCleanup(self.world.__exit__)
        self.world.start_service()
        schema = self.world.root / "items.sql"
        schema.write_text(SCHEMA)
        self.a, self.b = (Device(self.world, name, interval="1s", tables=TABLES, stamps=False,
                                 schema=schema) for name in ("a", "b"))
        for device in (self.a, self.b):
            device.init()
            device.start()

    def insert(self, device, *ids, note="x"):
        for entity in ids:
            device.shell(f"INSERT INTO Item VALUES('{entity}', 1, '{note}');")

    def converged(self):
        def same():
            try:
                return (self.a.queue_empty() and self.b.queue_empty() and
                        self.a.content(TABLES) == self.b.content(TABLES))
            except sqlite3.DatabaseError:
                return False
        wait_until("both devices hold the same", same, CONVERGED_MAX_S)
        for device in (self.a, self.b):
            self.assertEqual(device.shell("PRAGMA integrity_check;"), "ok")

    def ids(self, device):
        return {row[0] for row in device.rows("SELECT Id FROM Item")}

    def test_wal_deleted(self):
        self.insert(self.a, "a1")
        self.converged()
        # So that a1 stands in the database itself, and a2 in the -wal file alone.
        self.a.shell("PRAGMA wal_checkpoint(TRUNCATE);")
        self.insert(self.a, "a2")
        self.converged()
        pathlib.Path(f"{self.a.db}-wal").unlink()
        pathlib.Path(f"{self.a.db}-shm").unlink()
        self.insert(self.a, "a3")
        self.insert(self.b, "b1")

        self.converged()

        # What the service has taken comes back.
        self.assertEqual(self.ids(self.a), {"a1", "a2", "a3", "b1"})
        self.assertIn("replica.wal_gone", (self.a.dir / "agent.log").read_text())
        self.assertIsNone(self.a.agent.process.poll())

    def test_journal_mode_and_vacuum(self):
        # Of a file that somebody else has open SQLite itself does not change the mode.
        for number, (sql, stops) in enumerate((
                ("PRAGMA wal_checkpoint(TRUNCATE);", False), ("VACUUM;", False),
                ("PRAGMA journal_mode = DELETE;", True), ("VACUUM;", False),
                ("PRAGMA journal_mode = WAL;", True), ("VACUUM;", False))):
            with self.subTest(sql=sql, number=number):
                self.insert(self.a, f"a{number}")
                if stops:
                    self.a.agent.stop()
                self.a.shell(sql)
                self.insert(self.a, f"after{number}")
                if stops:
                    self.a.start()
                self.insert(self.b, f"b{number}")

                self.converged()

                self.assertLessEqual({f"a{number}", f"after{number}", f"b{number}"},
                                     self.ids(self.a))

    def test_exclusive_holder(self):
        self.a.agent.stop()
        with contextlib.closing(sqlite3.connect(self.a.db, isolation_level=None)) as app:
            app.execute("PRAGMA locking_mode = EXCLUSIVE")
            app.execute("INSERT INTO Item VALUES('held', 1, 'x')")
            self.a.start()
            self.insert(self.b, "b1")
            wait_until("status says who holds it", lambda: "the app holds its file" in
                       self.a.agent_run("status", check=False).stdout, CONVERGED_MAX_S)
            app.execute("INSERT INTO Item VALUES('held2', 1, 'x')")

        self.converged()

        self.assertEqual(self.ids(self.a), {"held", "held2", "b1"})

    def put_back(self, kept, in_place):
        if in_place:  # As cp does it.
            with open(self.a.db, "r+b") as file:
                file.write(kept)
                file.truncate()
            return
        backup = self.a.dir / "backup"
        backup.write_bytes(kept)
        for suffix in ("-wal", "-shm"):
            pathlib.Path(f"{self.a.db}{suffix}").unlink(missing_ok=True)
        os.replace(backup, self.a.db)

    def test_damaged_and_put_back(self):
        self.insert(self.a, *(f"a{number}" for number in range(20)), note="y" * 3000)
        for number, in_place in enumerate((True, False), 1):
            with self.subTest(in_place=in_place):
                self.converged()
                self.a.shell("PRAGMA wal_checkpoint(TRUNCATE);")
                kept = self.a.db.read_bytes()
                root = int(self.a.shell("SELECT rootpage FROM sqlite_master WHERE name = 'Item';"))
                size = int(self.a.shell("PRAGMA page_size;"))
                with open(self.a.db, "r+b") as file:
                    file.seek((root - 1) * size)
                    file.write(b"\xa5" * size)
                self.insert(self.b, f"b{number}")
                wait_until("status says that it is damaged", lambda: "integrity_check" in
                           self.a.agent_run("status", check=False).stdout, CONVERGED_MAX_S)
                # Nothing of it went out: to the others all rows are there.
                self.assertEqual(len(self.ids(self.b)), 20 + number)

                self.put_back(kept, in_place)

                self.converged()
                self.assertEqual(len(self.ids(self.a)), 20 + number)


if __name__ == "__main__":
    unittest.main()
