"""What the replays of real applications have in common (see replay.py)."""
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import PYTHON, Device, World, wait_until  # noqa: E402,F401
from synced_rows import SyncedRows  # noqa: E402


class Missing(Exception):
    """The application is not installed here."""


class Home(Device):
    """One device: a home directory in which the application keeps its file."""

    def __init__(self, world, name, path, entities):
        super().__init__(world, name, interval="1h", tables=(), schema=None)
        self.home = self.dir / "home"
        self.db = self.home / path
        lines = self.config.read_text().splitlines()
        lines = [f'database = "{self.db}"' if line.startswith("database =") else line
                 for line in lines]
        self.config.write_text("\n".join(lines) + "\n" + entities)

    def call(self, *argv, stdin="", check=True, env=None):
        """Runs a program of the application as its user would."""
        done = subprocess.run([str(part) for part in argv], input=stdin, capture_output=True,
                              text=True, timeout=180, cwd=self.home,
                              env={"HOME": str(self.home), "PATH": "/usr/bin:/bin:/usr/games",
                                   "LANG": "C.UTF-8", **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError(f"{argv[0]}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout.strip()


class RealApp:
    """A replay: two devices, the application's own verbs as the only writers."""
    name = ""
    version = ()      # argv that prints it
    programs = ()     # that must be installed
    modules = ()      # of /usr/bin/python3
    path = ""         # of the file below HOME
    entities = ""     # [[entity]] of agent.toml; empty = nothing can be synced
    prepare = ""      # SQL that a person runs once, before the file goes to other devices
    tables = ()       # those of `entities`, where refusals of others are told

    def require(self):
        for program in self.programs:
            if shutil.which(program) is None:
                raise Missing(program)
        for module in self.modules:
            if subprocess.run([PYTHON, "-c", f"import {module}"],
                              capture_output=True).returncode != 0:
                raise Missing(f"python3 module {module}")

    def shown_version(self):
        """What the application says of itself, in one line."""
        unknown = "version unknown"
        if not self.version:
            return unknown
        try:
            done = subprocess.run(self.version, capture_output=True, text=True, timeout=60,
                                  env={"PATH": "/usr/bin:/bin:/usr/games", "HOME": "/tmp",
                                       "NODE_PATH": os.environ.get("NODE_PATH", "")})
        except OSError:
            return unknown
        lines = (done.stdout or done.stderr).strip().splitlines()
        return lines[0] if lines and done.returncode == 0 else unknown

    # --- What an application brings along.

    def make(self, home):
        """Starts the application for the first time."""

    def write(self, home, number):
        """Makes an edit that tells `number` apart from others."""

    def change(self, home, number):
        """Changes what write(number) made, maybe on another device, to what names the home."""

    def remove(self, home, number):
        """Deletes what write(number) made."""

    def read(self, home):
        """What the application itself shows: text, the same on both devices."""
        return ""

    def own_check(self, home):
        """Runs the application's own look at its file; raises where that finds something."""

    # --- The story.

    def replay(self, binaries):
        """Returns (verdict, sentence): "two-way", "captured", "refused"."""
        self.require()
        with World(binaries).setup("a", "b") as world:
            world.start_service()
            a = Home(world, "a", self.path, self.entities)
            a.home.mkdir()
            self.make(a)
            if self.prepare:
                a.shell(self.prepare)
            plan = a.json("init", "--dry-run", "--all-tables", check=False)
            if not self.entities:
                return "refused", reasons_of(plan)
            b = Home(world, "b", self.path, self.entities)
            shutil.copytree(a.home, b.home, symlinks=True)
            for home in (a, b):
                home.init()
            self.sync(a, b)
            self.story(a, b)
            return "two-way", refused_beside(plan, self.tables)

    def story(self, a, b):
        self.write(a, 1)
        self.sync(a, b)
        self.write(b, 2)
        self.change(b, 1)
        self.sync(a, b)
        self.same(a, b)
        # Offline on both sides, then a deletion.
        self.write(a, 3)
        self.write(b, 4)
        self.sync(a, b)
        self.same(a, b)
        self.remove(b, 3)
        self.sync(a, b)
        self.same(a, b)
        # One thing, changed on both: the later one stays, the other is archived.
        self.write(a, 7)
        self.sync(a, b)
        self.change(a, 7)
        self.change(b, 7)
        self.sync(a, b, codes=(0, 3))
        self.same(a, b)
        conflicts = json.loads(a.world.service_run("conflicts", "list", "--all", "--json").stdout)
        check(conflicts, "nothing was archived")
        for home in (a, b):
            check(home.queue_empty(), f"{home.name}: items are left")
            check(self.integrity(home) == "ok", f"{home.name}: integrity_check")
            check(not home.ledger("SELECT * FROM SyncSetAside"), f"{home.name}: set aside")
            check(not home.rows("PRAGMA foreign_key_check"), f"{home.name}: foreign keys")
            self.own_check(home)
        before = self.schema(a)
        a.agent_run("uninstall")
        after = self.schema(a)
        ours = [row for row in before if row not in after]
        check(all(str(row[1]).startswith("Sync") for row in ours), "uninstall took more than ours")
        self.write(a, 5)

    def sync(self, *homes, codes=(0,)):
        """`codes` with 3 where a conflict is left for a person to look at."""
        for _ in range(2):
            for home in homes:
                done = home.agent_run("run", check=False)
                check(done.returncode in codes, f"{home.name}: {done.stdout}{done.stderr}"
                      f"{home.agent_run('queue', 'list', check=False).stdout}")

    def same(self, a, b):
        shown = self.read(a), self.read(b)
        check(shown[0] == shown[1], f"the application shows {shown[0]!r} and {shown[1]!r}")
        held = SyncedRows(a, self.entities).all(), SyncedRows(b, self.entities).all()
        check(held[0] == held[1], f"rows differ: {difference(*held)}")
        self.compared = {table: len(rows) for table, rows in held[0].items()}

    @staticmethod
    def integrity(home):
        return home.rows("PRAGMA integrity_check")[0][0]

    @staticmethod
    def schema(home):
        with contextlib.closing(sqlite3.connect(home.db)) as connection:
            return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master "
                                      "ORDER BY name").fetchall()


def check(what, message):
    if not what:
        raise AssertionError(message)


def difference(a, b):
    """By table, a few of the rows that only one of them has."""
    return {table: sorted(set(map(repr, a[table])) ^ set(map(repr, b[table])))[:4]
            for table in a if a[table] != b[table]}


def reasons_of(plan):
    counts = {}
    for refused in plan.get("refused", []):
        counts.setdefault(refused["reason"], []).append(refused["table"])
    return "; ".join(f"{reason}: {len(tables)} ({', '.join(tables[:4])}"
                     f"{', ...' if len(tables) > 4 else ''})"
                     for reason, tables in sorted(counts.items()))


def refused_beside(plan, tables):
    left = [refused for refused in plan.get("refused", []) if refused["table"] not in tables]
    return f"not synced: {reasons_of({'refused': left})}" if left else ""
