"""Migrations as Django and Alembic really do them, and the statements that EF Core makes, on
two devices at different times."""
import contextlib
import os
import sqlite3
import subprocess
import threading
import unittest

from harness import APPS, PYTHON, Device, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class Migrating(Device):
    """A device with an ORM's program on it; its types outlive the tables' names."""

    def __init__(self, world, name, script, tables, interval="1h"):
        super().__init__(world, name, interval=interval, tables=(), schema=None)
        self.script = script
        self.plain = self.config.read_text()
        self.configure(tables)
        self.orm("migrate", "1")

    def configure(self, tables):
        self.config.write_text(self.plain + "".join(
            f'[[entity]]\ntype = "{kind}"\ntable = "{table}"\n' for kind, table in tables.items()))

    def orm(self, *args):
        done = subprocess.run([PYTHON, APPS / self.script, self.db, *args], capture_output=True,
                              text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def add_thirty(self):
        """By one process: it starts for longer than it works."""
        self.orm("add", *(part for number in range(30)
                          for part in (f"p{number}", f"Name {number}")))

    def triggers(self):
        return {row[0] for row in self.rows("SELECT tbl_name FROM sqlite_master "
                                            "WHERE type = 'trigger' AND name LIKE 'SyncT%'")}


class MigrationsTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()

    def tearDown(self):
        self.world.__exit__()

    def sync(self, *devices):
        """3: a loser was archived, which a person may look at."""
        for _ in range(2):
            for device in devices:
                done = device.agent_run("run", check=False)
                self.assertIn(done.returncode, (0, 3), done.stdout + done.stderr)

    def names(self, device, person):
        return dict(device.rows(f"SELECT id, name FROM {person}"))

    def both_hold(self, a, b, tables):
        held = a.content(tables.values()), b.content(tables.values())
        self.assertEqual(held[0], held[1])
        for device in (a, b):
            self.assertEqual(device.triggers(), set(tables.values()))
            status = device.json("status", check=False)
            self.assertEqual((status["pending"], status["failed"]), (0, 0))
            self.assertEqual(device.ledger("SELECT * FROM SyncSetAside"), [])
            self.assertEqual(device.rows("PRAGMA foreign_key_check"), [])

    def story(self, script, prefix, needs_age):
        person = prefix + "person"
        before = {"Person": person, "Visit": prefix + "visit"}
        after = {"Person": person, "Visit": prefix + "meeting"}
        a, b = (Migrating(self.world, name, script, before) for name in ("a", "b"))
        for device in (a, b):
            device.init()
        a.add_thirty()  # More than the brake lets go unasked.
        a.shell(f"UPDATE {person} SET phone = '0' || id, age = '7';")
        self.sync(a, b)
        self.both_hold(a, b, before)

        # Added, retyped, renamed and rebuilt on a; nobody watches before its next cycle.
        a.orm("migrate", "2")
        self.assertLess(a.triggers(), set(before.values()))
        a.orm("rename", "p1", "Unwatched")
        a.orm("nick", "p2", "Nicky")
        a.orm("add", "unwatched", "New")
        b.orm("rename", "p3", "Of the old schema")
        b.shell(f"UPDATE {person} SET phone = 'typed on b' WHERE id = 'p4';")
        self.sync(a, b)
        self.assertEqual(a.triggers(), set(before.values()))
        self.assertEqual(self.names(a, person), self.names(b, person))
        self.assertEqual(self.names(b, person)["p1"], "Unwatched")
        self.assertEqual(self.names(a, person)["p3"], "Of the old schema")

        b.orm("migrate", "2")
        self.sync(b, a)
        self.both_hold(a, b, before)
        self.assertEqual(b.rows(f"SELECT nick FROM {person} WHERE id = 'p2'"), [("Nicky",)])
        self.assertEqual(b.rows(f"SELECT count(*) FROM {person} WHERE telephone IS NULL"), [(1,)])
        self.assertEqual(b.rows(f"SELECT telephone FROM {person} WHERE id = 'p4'"),
                         [("typed on b",)])

        # Dropped and renamed on b; its table goes on under the type that it had.
        b.orm("migrate", "3")
        b.configure(after)
        b.orm("rename", "p5", "On b without age")
        b.orm("add", "late", "Late")
        a.orm("rename", "p6", "On a with age")
        self.sync(b, a)
        waits = {"late": "Late"} if needs_age else {}
        self.assertEqual({**self.names(a, person), **waits}, self.names(b, person))
        self.assertEqual(a.ledger("SELECT EntityId, ConstraintName FROM SyncSetAside "
                                  "WHERE EntityType = 'Person'"),
                         [("late", f"{person}.age")] if needs_age else [])
        self.assertEqual(a.rows(f"SELECT count(*) FROM {person} WHERE age = '7'"), [(30,)])
        self.assertEqual(a.rows(f"SELECT count(*) FROM {prefix}visit"),
                         [(31 if needs_age else 32,)])

        a.orm("migrate", "3")
        a.configure(after)
        self.sync(a, b)
        self.both_hold(a, b, after)
        self.assertEqual(len(self.names(b, person)), 32)

    def test_django(self):
        # Django declares no default: without an age its old schema takes nobody.
        self.story("django_people.py", "people_", needs_age=True)

    def test_alembic(self):
        self.story("alembic_people.py", "", needs_age=False)

    def test_ef_core(self):
        self.story("ef_people.py", "", needs_age=True)

    def test_ef_core_keeps_its_history_and_lock_to_itself(self):
        a = Migrating(self.world, "a", "ef_people.py", {})
        plan = a.json("init", "--dry-run", "--all-tables")
        self.assertEqual([table["table"] for table in plan["tables"]], ["person", "visit"])
        self.assertEqual({one["table"]: one["reason"] for one in plan["refused"]},
                         {"__EFMigrationsHistory": "APP_MIGRATIONS",
                          "__EFMigrationsLock": "APP_MIGRATIONS"})

    def test_ef_core_while_agents_run_and_both_sides_write(self):
        """a migrates under its agent while b, on the first schema, goes on writing."""
        before = {"Person": "person", "Visit": "visit"}
        a, b = (Migrating(self.world, name, "ef_people.py", before, interval="1s")
                for name in ("a", "b"))
        for device in (a, b):
            device.init()
            device.start()
        a.add_thirty()
        wait_until("b has all of them", lambda: len(self.names(b, "person")) == 30)
        over = threading.Event()
        written = []

        def write():
            with contextlib.closing(sqlite3.connect(b.db, timeout=30,
                                                    isolation_level=None)) as connection:
                while not over.is_set() and len(written) < 2000:
                    number = len(written)
                    connection.execute("UPDATE person SET name = ? WHERE id = ?",
                                       (f"Of b {number}", f"p{number % 15}"))
                    written.append(number)
                    over.wait(0.01)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            wait_until("b writes", lambda: len(written) > 10)
            a.orm("migrate", "2")
            for number in range(15, 30):
                a.orm("rename", f"p{number}", f"Of a {number}")
            a.orm("nick", "p16", "Nicky")
            wait_until("triggers are back", lambda: a.triggers() == set(before.values()))
        finally:
            over.set()
            writer.join()
        last = {f"p{number % 15}": f"Of b {number}" for number in written}
        last |= {f"p{number}": f"Of a {number}" for number in range(15, 30)}
        for device in (a, b):
            wait_until(f"{device.name} has every edit",
                       lambda: self.names(device, "person") == last)
        b.orm("migrate", "2")
        wait_until("b's new column is filled", lambda: b.rows(
            "SELECT nick FROM person WHERE id = 'p16'") == [("Nicky",)])
        for device in (a, b):
            wait_until(f"{device.name} has sent all", device.queue_empty)
        self.both_hold(a, b, before)
        self.assertEqual(self.names(b, "person"), last)


if __name__ == "__main__":
    unittest.main()
