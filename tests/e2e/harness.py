"""Starts the built programs as a user would and waits for what they do.

Every process is started here and stopped here, by its pid; ports are free ones
that the programs choose themselves (port 0) and print in their ready line.
"""
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
APPS = SOURCE / "tests" / "apps"
PYTHON = "/usr/bin/python3"
DEADLINE_S = float(os.environ.get("PTDOC_TEST_DEADLINE_S", "60"))


def wait_until(what, condition, deadline_s=None, pause_s=0.02):
    """Returns condition()'s first true value; AssertionError naming `what` after the deadline."""
    end = time.monotonic() + (deadline_s or DEADLINE_S)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(pause_s)


class Program:
    """One process with its log; `ready` is the line that it printed."""

    def __init__(self, argv, log, env=None):
        self.argv = [str(part) for part in argv]
        self.log_path = pathlib.Path(log)
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
            env={**os.environ, **(env or {})}, start_new_session=True)
        self.ready = self._read_line()

    def _read_line(self):
        end = time.monotonic() + DEADLINE_S
        data = b""
        while not data.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise AssertionError(f"no ready line from {self.argv[0]}")
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                self.process.wait()
                self._close()
                raise AssertionError(f"{self.argv[:2]} ended with {self.process.returncode}: "
                                     f"{self.log_path.read_text()[-2000:]}")
            data += byte
        return data.decode()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9: what a power cut of the process looks like."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close()

    def stop(self, deadline_s=20):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv[0]} did not stop at SIGTERM")
        self._close()
        return code

    def _close(self):
        self.process.stdout.close()
        self.log.close()


class World:
    """A temporary directory with one service and any number of devices."""

    def __init__(self, binaries, root=None, keep=False):
        self.bin = pathlib.Path(binaries).resolve()
        self.keep = keep
        self.root = pathlib.Path(root or tempfile.mkdtemp(prefix="ptdoc-"))
        self.root.mkdir(parents=True, exist_ok=True)
        self.programs = []
        self.service = None
        self.port = 0
        self.tenant = "clinic"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            if program.alive():
                program.kill()
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def store(self):
        return f"sqlite:///{self.root}/store.db"

    def run(self, program, *args, check=True, env=None, timeout_s=120):
        done = subprocess.run([self.bin / program, *map(str, args)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout_s,
                              env={**os.environ, **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError(f"{program} {args[0]} exited {done.returncode}: "
                                 f"{done.stdout}{done.stderr}")
        return done

    def service_run(self, *args, **options):
        return self.run("sync-service", *args, "--store", self.store, **options)

    def setup(self, *devices):
        """Makes the store and a token file for each device."""
        self.service_run("setup", "--tenant", self.tenant, "--token-dir", self.root / "tokens",
                         *[part for device in devices for part in ("--device", device)])
        return self

    def token(self, device):
        return (self.root / "tokens" / f"{device}.token").read_text().strip()

    def start_service(self, *args, port=None):
        self.service = Program(
            [self.bin / "sync-service", "serve", "--store", self.store, "--listen",
             f"127.0.0.1:{self.port if port is None else port}", *args],
            self.root / "service.log")
        self.programs.append(self.service)
        self.port = int(re.search(r"grpc=127\.0\.0\.1:(\d+)", self.service.ready).group(1))
        return self.service

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Device:
    """An app database with its agent."""

    def __init__(self, world, name, interval="30s", tables=("Patient", "ClinicalNote",
                                                            "IntakeForm"), stamps=True,
                 schema=APPS / "clinic.sql", user=None, address=None):
        self.world = world
        self.name = name
        self.dir = world.root / name
        self.dir.mkdir(exist_ok=True)
        self.db = self.dir / "app.db"
        self.config = self.dir / "agent.toml"
        self.agent = None
        self.address = address or world.address
        if schema and not self.db.exists():
            self.shell(pathlib.Path(schema).read_text())
        self._write_config(interval, tables, stamps, user or f"user-{name}")

    def _write_config(self, interval, tables, stamps, user):
        lines = [
            "[service]", f'address = "{self.address}"',
            f'token_file = "{self.world.root}/tokens/{self.name}.token"', "",
            "[device]", f'database = "{self.db}"', f'id = "{self.name}"', f'user = "{user}"', "",
            "[sync]", f'interval = "{interval}"', "",
            "[control]", f'listen = "unix://{self.dir}/agent.sock"', ""]
        for table in tables:
            lines += ["[[entity]]", f'table = "{table}"']
            if stamps:
                lines += ['last_modified_column = "LastModifiedUtc"',
                          'modified_by_column = "ModifiedByUserId"',
                          'sync_state_column = "SyncState"']
            lines.append("")
        self.config.write_text("\n".join(lines))

    def shell(self, sql, check=True):
        """Runs SQL through the sqlite3 shell, as any other program would write."""
        done = subprocess.run(["sqlite3", "-cmd", ".timeout 5000", self.db], input=sql,
                              capture_output=True, text=True, timeout=120)
        if check and (done.returncode != 0 or done.stderr):
            raise AssertionError(f"sqlite3: {done.stderr}")
        return done.stdout.strip()

    def django(self, *args):
        done = subprocess.run([PYTHON, APPS / "django_clinic.py", self.db, *args],
                              capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"django: {done.stderr}")
        return done.stdout.strip()

    def agent_run(self, *args, **options):
        return self.world.run("device-agent", *args, "--config", self.config, **options)

    def json(self, *args, check=True):
        return json.loads(self.agent_run(*args, "--json", check=check).stdout)

    def init(self, *args):
        return self.agent_run("init", *args)

    def start(self):
        self.agent = Program([self.world.bin / "device-agent", "serve", "--config", self.config],
                             self.dir / "agent.log")
        self.world.programs.append(self.agent)
        return self.agent

    def ledger(self, sql, *params):
        """Reads (or writes) the agent's own file as any SQLite client would."""
        with contextlib.closing(sqlite3.connect(f"{self.db}.sync", timeout=10)) as connection:
            with connection:
                return connection.execute(sql, params).fetchall()

    def rows(self, sql, *params):
        with contextlib.closing(sqlite3.connect(self.db, timeout=10)) as connection:
            return connection.execute(sql, params).fetchall()

    def queue_empty(self):
        return self.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 1, 3)")[0][0] == 0

    def log_drained(self):
        """Nothing stands in the capture log that the queue has not taken."""
        told = self.agent_run("status", "--json", check=False).stdout
        # An agent that has just been killed, or is slow, says nothing: the caller asks again.
        status = json.loads(told) if told.strip() else {}
        return status.get("pending") == 0 and status.get("processing") == 0

    def content(self, tables=("Patient", "ClinicalNote", "IntakeForm")):
        """Every synced value with its type, for comparing two devices."""
        out = {}
        for table in tables:
            columns = [row[1] for row in self.rows(f'PRAGMA table_info("{table}")')
                       if row[1] not in ("LastModifiedUtc", "ModifiedByUserId", "SyncState")]
            picked = ", ".join(f'"{c}", typeof("{c}")' for c in columns)
            out[table] = sorted(self.rows(f'SELECT {picked} FROM "{table}"'), key=repr)
        return out


def counted(**figures):
    """Figures of a run, for people and for the soak: numbers, or lists of them."""
    print("counted: " + json.dumps(figures), file=sys.stderr, flush=True)


def fail(message):
    print(f"FAILED: {message}")
    sys.exit(1)
