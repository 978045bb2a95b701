"""An app that holds its file's lock for long, or reads first and writes then; two agents.

PTDOC_HOLD_S is how long the app holds its file; PTDOC_DEFERRED how many deferred
transactions an app makes in each phase.
"""
import contextlib
import os
import pathlib
import random
import shutil
import sqlite3
import sys
import threading
import time
import unittest

from harness import Device, Program, World, counted, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
HOLD_S = float(os.environ.get("PTDOC_HOLD_S", "20"))
DEFERRED = int(os.environ.get("PTDOC_DEFERRED", "1200"))
COUNTED = max(DEFERRED // 6, 40)
SEED = int(os.environ.get("PTDOC_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
TABLE = "CREATE TABLE Item(Id TEXT PRIMARY KEY NOT NULL, Number INTEGER, Note TEXT);"
WAL = f"PRAGMA journal_mode = WAL; {TABLE}"
# Of a processor, while it waits. Five tries a second cost a tenth of it.
BUSY_LOOP = 0.10
# The goals are 5 s, and one in 1,000 while somebody else's changes come in.
CONVERGED_MAX_S = 50
# A sanitizer makes programs several times slower.
DEFERRED_BUSY_MAX = 0.050


def processor_seconds(program):
    """What the process has used so far, in user and system mode."""
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class LockingApp:
    """One connection of an app; counts what it was refused."""

    def __init__(self, device, draw, timeout_s=0.0):
        self.name, self.draw, self.made = device.name, draw, 0
        self.busy = {}
        self.db = sqlite3.connect(device.db, timeout=timeout_s, isolation_level=None)

    def close(self):
        self.db.close()

    def write(self, begin, pause_s=0.004):
        """Reads, thinks, writes, commits; once. False if it was refused."""
        self.made += 1
        return self.transact(begin, pause_s, self.insert)

    def count_up(self, begin, pause_s=0.004):
        """What it has read is what it writes upon. False if it was refused."""
        return self.transact(begin, pause_s, self.replace)

    def insert(self, _):
        self.db.execute("INSERT INTO Item VALUES(?, ?, 'app')",
                        (f"{self.name}-{self.draw.getrandbits(64):016x}", self.made))

    def replace(self, number):
        self.db.execute("INSERT INTO Item VALUES(?, ?, 'step')", (f"{self.name}-step-{number}",
                                                                  number))
        self.db.execute("UPDATE Item SET Number = ? WHERE Id = ?", (number + 1,
                                                                    f"{self.name}-count"))

    def transact(self, begin, pause_s, write):
        try:
            self.db.execute(begin)
            number, _ = self.db.execute(
                "SELECT ifnull(sum(Number), 0), (SELECT count(*) FROM Item) FROM Item "
                "WHERE Id = ?", (f"{self.name}-count",)).fetchone()
            time.sleep(self.draw.uniform(0, pause_s))
            write(number)
            self.db.execute("COMMIT")
            return True
        except sqlite3.OperationalError as error:
            name = error.sqlite_errorname
            if not name.startswith("SQLITE_BUSY"):
                raise
            self.busy[name] = self.busy.get(name, 0) + 1
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            return False


class Colleague:
    """Somebody who commits on another device, at this pace, until he is stopped."""

    def __init__(self, device, every_s, rows=1):
        self.commits = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(device, every_s, rows), daemon=True)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join(60)
        return self.commits

    def _run(self, device, every_s, rows):
        with contextlib.closing(sqlite3.connect(device.db, timeout=60,
                                                isolation_level=None)) as app:
            while not self._over.wait(every_s):
                app.execute("BEGIN IMMEDIATE")
                for _ in range(rows):
                    app.execute("INSERT INTO Item VALUES(?, 0, 'colleague')",
                                (f"{device.name}-{os.urandom(8).hex()}",))
                app.execute("COMMIT")
                self.commits += 1


class AppLocksTest(unittest.TestCase):
    def setUp(self):
        print(f"replay with PTDOC_SEED={SEED}", file=sys.stderr)
        self.draw = random.Random(SEED)
        self.world = World(BIN).setup("a", "b", "c")
        self.world.start_service()

    def tearDown(self):
        self.world.__exit__()

    def device(self, name, sql=WAL, start=True):
        schema = self.world.root / f"{name}.sql"
        schema.write_text(sql)
        device = Device(self.world, name, tables=("Item",), stamps=False, schema=schema)
        device.init()
        if start:
            device.start()
        return device

    def same(self, *devices):
        """Until all of them hold the same and nothing waits; how long it took."""
        begun = time.monotonic()
        wait_until("all devices hold the same", lambda: all(
            device.queue_empty() and device.content(("Item",)) == devices[0].content(("Item",))
            for device in devices), deadline_s=CONVERGED_MAX_S)
        return time.monotonic() - begun

    # --- The lock is held for long.

    def test_agents_wait_quietly_while_the_app_holds_its_file_for_long(self):
        wal, rollback, other = self.device("a"), self.device("b", sql=TABLE), self.device("c")
        wal.shell("INSERT INTO Item VALUES('before-a', 1, 'mine');")
        self.same(wal, rollback, other)
        held = [self.hold(wal, "BEGIN IMMEDIATE"), self.hold(rollback, "BEGIN EXCLUSIVE")]
        other.shell("BEGIN;" + "".join(
            f"INSERT INTO Item VALUES('c-{i}', {i}, 'theirs');" for i in range(500)) + "COMMIT;")
        for device in (wal, rollback):
            self.see_blocked(device)

        shares = self.processor_shares(wal, rollback, other)
        released = time.monotonic()
        for app in held:
            app.execute("COMMIT")
            app.close()
        took = self.same(wal, rollback, other)
        counted(**{"% of a processor while the app holds its WAL file": round(100 * shares[0], 2),
                   "% of a processor, rollback journal": round(100 * shares[1], 2),
                   "s to converge after the app let go": round(took, 2)})

        self.assertLess(max(shares), BUSY_LOOP)
        self.assertEqual(other.rows("SELECT count(*) FROM Item WHERE Id GLOB 'held-*'"),
                         [(40,)])
        self.assertEqual(other.rows("SELECT Note FROM Item WHERE Id = 'before-a'"), [("held",)])
        for device in (wal, rollback):
            wait_until("it is no longer said", lambda d=device: not d.json(
                "status", check=False)["blockedByApp"])
            self.assertTrue(device.agent.alive())
        self.assertLess(time.monotonic() - released, CONVERGED_MAX_S)

    def hold(self, device, begin):
        app = sqlite3.connect(device.db, timeout=30, isolation_level=None)
        app.execute(begin)
        for i in range(20):
            app.execute(f"INSERT INTO Item VALUES('held-{device.name}-{i}', {i}, 'held')")
        if device.name == "a":
            app.execute("UPDATE Item SET Note = 'held' WHERE Id = 'before-a'")
        return app

    def see_blocked(self, device):
        wait_until("status tells who is in the way", lambda: device.json(
            "status", check=False)["blockedByApp"])
        asked = time.monotonic()
        text = device.agent_run("status", check=False).stdout
        self.assertIn("the app holds its file", text)
        self.assertLess(time.monotonic() - asked, 10)

    def processor_shares(self, *devices):
        """Over the time that the app goes on holding its file."""
        before = [processor_seconds(device.agent) for device in devices]
        begun = time.monotonic()
        run = threading.Thread(target=self.ask_for_a_run, args=(devices[0],))
        if HOLD_S > 40:
            run.start()
        time.sleep(max(0.0, HOLD_S - 1))
        elapsed = time.monotonic() - begun
        shares = [(processor_seconds(device.agent) - was) / elapsed
                  for device, was in zip(devices, before)]
        if HOLD_S > 40:
            run.join()
            self.assertEqual(self.run_answer.returncode, 4)
            self.assertIn("BLOCKED_BY_APP", self.run_answer.stderr)
        return shares[:2]

    def ask_for_a_run(self, device):
        """Gives up after half a minute; the agent itself does not."""
        self.run_answer = device.agent_run("run", check=False)

    # --- An app that reads first and then writes.

    def test_app_that_reads_first_is_hardly_ever_refused(self):
        a, b = self.device("a"), self.device("b")

        pushing = self.write_all_day(a, "BEGIN", 0)
        colleague = Colleague(b, every_s=1.5)
        pulling = self.write_all_day(a, "BEGIN", 0)
        commits = colleague.stop()
        colleague = Colleague(b, every_s=0.02, rows=20)
        waiting = self.write_all_day(a, "BEGIN IMMEDIATE", 0.25, DEFERRED // 2)
        flooded = self.write_all_day(a, "BEGIN", 0, DEFERRED // 2)
        colleague.stop()
        self.same(a, b)

        counted(**{"app's transactions": 3 * DEFERRED,
                   "refused of 1,000, only pushing": round(1000 * pushing / DEFERRED, 2),
                   "refused of 1,000, a colleague writes": round(1000 * pulling / DEFERRED, 2),
                   "refused of 1,000, others at full speed": round(2000 * flooded / DEFERRED, 2),
                   "refused of 1,000, 250 ms of patience": round(2000 * waiting / DEFERRED, 2)})
        self.assertEqual((pushing, waiting), (0, 0))
        self.assertGreater(commits, 2)
        self.assertLessEqual(pulling, DEFERRED * DEFERRED_BUSY_MAX)

    def write_all_day(self, device, begin, timeout_s, times=DEFERRED):
        """How many of its transactions were refused."""
        app = LockingApp(device, self.draw, timeout_s)
        with contextlib.closing(app):
            for _ in range(times):
                app.write(begin)
                time.sleep(self.draw.uniform(0, 0.004))
        return sum(app.busy.values())

    def test_refused_transactions_leave_nothing_and_pass_when_they_are_repeated(self):
        """Every increment counts once, whatever was refused, and on every device."""
        wal, rollback, colleague = self.device("a"), self.device("c", sql=TABLE), self.device("b")
        for device in (wal, rollback):
            device.shell(f"INSERT INTO Item VALUES('{device.name}-count', 0, 'app');")
        flood = Colleague(colleague, every_s=0.02, rows=20)
        tries = {device.name: [] for device in (wal, rollback)}
        threads = [threading.Thread(target=self.count_up_many, args=(device, tries[device.name]))
                   for device in (wal, rollback)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreater(flood.stop(), 2)
        self.same(wal, rollback, colleague)

        counted(**{f"tries of a transaction on {name}, at most": max(done)
                   for name, done in tries.items()})
        for device in (wal, rollback):
            name, times = device.name, COUNTED
            self.assertEqual(len(tries[name]), times, f"{name} did not come through")
            steps = list(range(times))
            for here in (wal, rollback, colleague):
                self.assertEqual(here.rows("SELECT Number FROM Item WHERE Id = ?",
                                           f"{name}-count"), [(times,)])
                self.assertEqual([number for number, in here.rows(
                    "SELECT Number FROM Item WHERE Id GLOB ? ORDER BY Number",
                    f"{name}-step-*")], steps)
            self.assertEqual(device.ledger("SELECT EntityId FROM SyncConflictArchives"), [])

    def count_up_many(self, device, tries):
        """How often each transaction was tried; shorter than it should be if one never passed."""
        app = LockingApp(device, random.Random(SEED))
        with contextlib.closing(app):
            for i in range(COUNTED):
                # Now and then it thinks for longer than the agent waits.
                pause_s = 0.3 if i % 40 == 0 else 0.004
                end = time.monotonic() + CONVERGED_MAX_S
                done = 1
                while not app.count_up("BEGIN", pause_s):
                    done += 1
                    if time.monotonic() > end:
                        return
                tries.append(done)
                time.sleep(app.draw.uniform(0, 0.004))

    def test_reader_that_thinks_for_long_reads_one_state_and_is_told_when_it_is_old(self):
        """SQLite's own rule: what was read is not the newest any more, and may not be built on."""
        wal, other = self.device("a"), self.device("b")
        with contextlib.closing(sqlite3.connect(wal.db, timeout=0, isolation_level=None)) as app:
            app.execute("BEGIN")
            self.assertEqual(app.execute("SELECT count(*) FROM Item").fetchone(), (0,))
            other.shell("INSERT INTO Item VALUES('b', 1, 'theirs');")
            wait_until("it comes in all the same", lambda: wal.rows("SELECT 1 FROM Item"))

            self.assertEqual(app.execute("SELECT count(*) FROM Item").fetchone(), (0,))
            with self.assertRaises(sqlite3.OperationalError) as refused:
                app.execute("INSERT INTO Item VALUES('a', 1, 'mine')")
            self.assertEqual(refused.exception.sqlite_errorname, "SQLITE_BUSY_SNAPSHOT")
            app.execute("ROLLBACK")
            app.execute("INSERT INTO Item VALUES('a', 1, 'mine')")
        self.same(wal, other)
        self.assertEqual(other.rows("SELECT Id FROM Item ORDER BY Id"), [("a",), ("b",)])

    def test_reader_of_a_rollback_journal_writes_while_a_page_waits_for_it(self):
        """There a reader keeps others from committing: the agent lets go of the lock again."""
        rollback, other = self.device("a", sql=TABLE), self.device("b")
        with contextlib.closing(sqlite3.connect(rollback.db, timeout=0,
                                                isolation_level=None)) as app:
            for i in range(4):
                app.execute("BEGIN")
                app.execute("SELECT count(*) FROM Item").fetchone()
                other.shell(f"INSERT INTO Item VALUES('b-{i}', 1, 'theirs');")
                wait_until("a page waits", lambda: rollback.json(
                    "status", check=False)["blockedByApp"])
                wait_until("the app may write upon what it read",
                           lambda n=i: self.passes(
                               app, f"INSERT INTO Item VALUES('a-{n}', 1, 'mine')"), pause_s=0.001)
                # Whoever reads just then is waited for.
                wait_until("and commits", lambda: self.passes(app, "COMMIT"), pause_s=0.001)
        self.same(rollback, other)
        self.assertEqual(other.rows("SELECT count(*) FROM Item"), [(8,)])

    def passes(self, app, sql):
        try:
            app.execute(sql)
            return True
        except sqlite3.OperationalError as error:
            self.assertTrue(error.sqlite_errorname.startswith("SQLITE_BUSY"), error)
            return False

    # --- Two agents.

    def test_second_agent_of_one_file_stands_back_and_disturbs_nobody(self):
        a, b = self.device("a"), self.device("b")
        for round_ in range(3):
            first = a.agent
            for _ in range(3):
                second = self.world.run("device-agent", "serve", "--config", a.config, check=False)
                self.assertEqual(second.returncode, 1)
                self.assertIn("SECOND_AGENT", second.stderr)
                self.assertIn("Another agent works on", second.stderr)
            a.shell(f"INSERT INTO Item VALUES('a-{round_}', 1, 'beside');")
            self.same(a, b)
            self.assertTrue(first.alive())
            self.assertEqual(a.agent_run("status", check=False).returncode, 0)
            # The lock dies with its holder, however he dies.
            first.kill()
            a.start()
            self.assertNotEqual(a.agent.process.pid, first.process.pid)
        b.shell("INSERT INTO Item VALUES('b', 1, 'last');")
        self.same(a, b)

    def test_second_agent_by_another_name_of_the_file_stands_back(self):
        a, b = self.device("a"), self.device("b")
        (a.dir / "link.db").symlink_to(a.db)
        (a.dir / "link.toml").write_text(a.config.read_text().replace("app.db", "link.db")
                                         .replace("agent.sock", "link.sock"))

        second = self.world.run("device-agent", "serve", "--config", a.dir / "link.toml",
                                check=False, timeout_s=20)

        self.assertEqual(second.returncode, 1)
        self.assertIn("SECOND_AGENT", second.stderr)
        a.shell("INSERT INTO Item VALUES('a', 1, 'beside');")
        self.same(a, b)

    def test_of_agents_that_start_together_one_wins(self):
        a, b = self.device("a", start=False), self.device("b")
        for _ in range(5):
            with contextlib.ExitStack() as stack:
                started = []
                threads = [threading.Thread(target=self.try_to_serve, args=(a, i, started))
                           for i in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                for program in started:
                    stack.callback(program.kill)
                self.assertEqual(len(started), 1)
                a.shell(f"INSERT INTO Item VALUES('{os.urandom(8).hex()}', 1, 'once');")
                self.same(a, b)

    def try_to_serve(self, device, number, started):
        with contextlib.suppress(AssertionError):  # It ended: another one was first.
            program = Program([self.world.bin / "device-agent", "serve", "--config", device.config],
                              device.dir / f"agent-{number}.log")
            self.world.programs.append(program)
            started.append(program)

    def test_copied_device_and_its_original_lose_nothing(self):
        for token in ("c", "a"):  # A device of its own, and one that claims to be the other.
            with self.subTest(token=token):
                self.copy_and_go_on(token)
                self.world.__exit__()
                self.world = World(BIN).setup("a", "b", "c")
                self.world.start_service()

    def copy_and_go_on(self, token):
        a, b = self.device("a"), self.device("b")
        a.shell("BEGIN;" + "".join(
            f"INSERT INTO Item VALUES('a-{i}', {i}, 'first');" for i in range(50)) + "COMMIT;")
        self.same(a, b)
        self.world.service.kill()
        a.shell("BEGIN;" + "".join(
            f"INSERT INTO Item VALUES('waits-{i}', {i}, 'late');" for i in range(30)) +
            "UPDATE Item SET Note = 'late' WHERE Id = 'a-3'; COMMIT;")
        wait_until("it waits", lambda: not a.queue_empty())
        a.agent.stop()
        c = self.copy_of(a, token)
        for device in (a, c):
            device.start()
        self.world.start_service()

        for device in (a, c):
            device.shell(f"INSERT INTO Item VALUES('own-{device.name}', 1, 'own');"
                         f"UPDATE Item SET Note = '{device.name}' WHERE Id = 'a-5';")
        self.same(a, b, c)

        rows = dict(b.rows("SELECT Id, Note FROM Item"))
        self.assertEqual(len(rows), 50 + 30 + 2)
        self.assertEqual((rows["a-3"], rows["own-a"], rows["own-c"]), ("late", "own", "own"))
        self.assertIn(rows["a-5"], ("a", "c"))
        conflicts = {row[0] for device in (a, b, c) for row in device.ledger(
            "SELECT EntityId FROM SyncConflictArchives")}
        self.assertLessEqual(conflicts, {"a-5"})
        self.check_identities(a, c, token)

    def copy_of(self, device, token):
        folder = self.world.root / "c"
        folder.mkdir()
        for suffix in ("", "-wal", ".sync", ".sync-wal"):
            source = pathlib.Path(f"{device.db}{suffix}")
            if source.exists():
                shutil.copy(source, folder / source.name)
        copy = Device(self.world, "c", tables=("Item",), stamps=False, schema=None)
        copy.config.write_text(copy.config.read_text().replace('id = "c"', f'id = "{token}"')
                               .replace("c.token", f"{token}.token"))
        return copy

    def check_identities(self, a, c, token):
        """With a token of its own the copy is another device, whatever its files say."""
        self.assertEqual((a.json("status", check=False)["deviceId"],
                          c.json("status", check=False)["deviceId"]), ("a", token))


if __name__ == "__main__":
    unittest.main(verbosity=2)
