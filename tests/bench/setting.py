"""What every measurement needs: the programs, places to work in, devices, waiting."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading

import grpc

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from harness import Device, World, wait_until  # noqa: E402

SCHEMA = HERE / "patients.sql"
UNIQUE_INDEX = "CREATE UNIQUE INDEX Patient_Record ON Patient(RecordNumber);"
STEP_LIMIT_S = 3600
FLOOR_LIMIT_S = 900
LOOK_S = 0.002
# Of `sync-service setup` with many devices.
TOKENS_A_CALL = 100


class Sizes:
    """How much is done; a smaller run shows that everything works, not how fast."""

    def __init__(self, rows=None, devices=None, writes=None):
        self.rows = rows or 20_000
        self.rows_large = rows or 1_000_000
        # So long as an agent is at full speed, the app must get enough transactions in.
        self.rows_busy = 5 * self.rows
        self.writes = writes or 500
        self.quiet_devices = min(devices or 1000, 1000)
        self.live_devices = min(devices or 200, 200)
        self.pushing_devices = min(devices or 50, 50)


class Helper:
    """A verb of floor.cc that runs beside a measurement: lines out, its input ends it."""

    def __init__(self, argv):
        self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise AssertionError(f"{self.process.args[1]}: {self.process.stderr.read().strip()}")
        return line.strip()

    def result(self):
        """Its next line, from JSON."""
        return json.loads(self.line())

    def ask(self):
        """What it answers to an empty line, from JSON."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.result()

    def finish(self):
        """Ends its input; its last line, from JSON."""
        with contextlib.suppress(BrokenPipeError):  # It has ended already.
            self.process.stdin.close()
        return self.result()

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Bench:
    """One run of the bench. `scratch` must be on a disk, not in memory."""

    def __init__(self, binaries, floor, scratch, sizes):
        self.bin = binaries
        self.floor_program = floor
        self.scratch = scratch
        self.sizes = sizes
        self.seed = 0

    # --- The straight-line programs.

    def _argv(self, verb, options):
        self.seed += 1
        argv = [self.floor_program, verb, "--seed", self.seed]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-"), value]
        return [str(part) for part in argv]

    def floor(self, verb, **options):
        """Runs floor.cc; its answer, from JSON."""
        done = subprocess.run(self._argv(verb, options), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=FLOOR_LIMIT_S)
        if done.returncode != 0:
            raise AssertionError(f"floor {verb}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def helper(self, verb, **options):
        helper = Helper(self._argv(verb, options))
        try:
            yield helper
        finally:
            helper.close()

    def floor_run(self, verb, rows, **options):
        with self.directory() as place:
            return self.floor(verb, dir=place, schema=SCHEMA, rows=rows, **options)

    def plain_insert(self, rows, per_transaction):
        """Seconds for `rows` rows into the app's table, without anybody's triggers."""
        with self.directory() as place:
            make_table(place / "plain.db")
            return self.floor("insert", db=place / "plain.db", rows=rows,
                              per_transaction=per_transaction)["seconds"]

    # --- Places and devices.

    @contextlib.contextmanager
    def directory(self):
        path = tempfile.mkdtemp(dir=self.scratch)
        try:
            yield pathlib.Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def world(self, *devices, service=True):
        with self.directory() as root, World(self.bin, root=root) as world:
            for first in range(0, len(devices), TOKENS_A_CALL):
                world.setup(*devices[first:first + TOKENS_A_CALL])
            if service:
                world.start_service()
            yield world

    def device(self, world, name, unique=False, address=None, type_name=None, compression="auto"):
        device = Device(world, name, tables=("Patient",), stamps=False, schema=SCHEMA,
                        address=address)
        device.config.write_text(device.config.read_text().replace(
            "[service]", f'[service]\ncompression = "{compression}"'))
        if type_name:
            with open(device.config, "a", encoding="utf-8") as config:
                config.write(f'type = "{type_name}"\n')
        if unique:
            device.shell(UNIQUE_INDEX)
        device.init()
        return device

    def paused(self, world, name, **options):
        """A device whose running agent has never spoken to the service."""
        device = self.device(world, name, **options)
        device.agent_run("pause")
        device.start()
        return device

    def insert_offline(self, device, rows):
        """Rows that the app of a paused device commits; returns when the queue has them."""
        before = queued(device)
        self.floor("insert", db=device.db, rows=rows, per_transaction=1000)
        wait_until("the queue holds every row", lambda: queued(device) - before == rows,
                   STEP_LIMIT_S, 0.1 + rows / 2_000_000)

    def fill(self, world, name, rows):
        """A device that brings `rows` rows to the service."""
        device = self.paused(world, name)
        self.insert_offline(device, rows)
        resume(device)
        wait_pushed(device)
        return device


def queued(device):
    return device.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status = 0")[0][0]


@contextlib.contextmanager
def connection(path):
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as opened:
        yield opened


def one(opened, sql):
    return opened.execute(sql).fetchone()[0]


def is_pushed(ledger):
    """No item of the queue waits or is under way."""
    # By an index: to go through what is done already at each look took half a
    # processor from the programs that are measured.
    if not one(ledger, "SELECT NOT EXISTS(SELECT 1 FROM SyncQueueItems "
               "WHERE CompletedAt IS NULL)"):
        return False
    if not one(ledger, "SELECT NOT EXISTS(SELECT 1 FROM SyncQueueItems "
               "WHERE Status IN (0, 1, 3))"):
        raise AssertionError("an item is open that the index of open items does not have")
    return True


def wait_pushed(device, limit_s=STEP_LIMIT_S):
    with connection(f"{device.db}.sync") as ledger:
        wait_until("the queue is empty", lambda: is_pushed(ledger), limit_s, LOOK_S)


def wait_pulled(device, rows, limit_s=STEP_LIMIT_S):
    """Until `rows` rows can be read and the agent has booked them."""
    with connection(device.db) as app, connection(f"{device.db}.sync") as ledger:
        wait_until("the rows are here", lambda: one(
            app, "SELECT coalesce(max(rowid), 0) FROM Patient") >= rows, limit_s, LOOK_S)
        wait_until("the last page is booked", lambda: one(
            ledger, "SELECT NOT EXISTS(SELECT 1 FROM SyncIntents)"), limit_s, LOOK_S)
        if one(app, "SELECT count(*) FROM Patient") < rows:
            raise AssertionError("the device does not have every row")


def make_table(path, unique=False):
    with connection(path) as opened:
        opened.executescript(SCHEMA.read_text() + (UNIQUE_INDEX if unique else ""))


@contextlib.contextmanager
def agent_method(device, method):
    """Over the control socket, connected: a call costs less than a process."""
    with grpc.insecure_channel(f"unix://{device.dir}/agent.sock") as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield channel.unary_unary(f"/ptdoc.sync.v1.AgentService/{method}")


def resume(device):
    with agent_method(device, "Resume") as call:
        call(b"", timeout=30)


def in_threads(actions):
    """Runs all at once; their results in order."""
    results = [None] * len(actions)

    def run(place, action):
        try:
            results[place] = action()
        except Exception as error:  # Told below, in the caller's thread.
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def in_turn(ours, floor, ours_first):
    """Runs both, in either order; returns (ours, floor)."""
    if ours_first:
        first = ours()
        return first, floor()
    second = floor()
    return ours(), second


def memory_mib(process, what="VmHWM"):
    """What a process has (VmRSS), or had at most so far (VmHWM)."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status).group(1)) / 1024


def processor_seconds(process):
    """What it has used so far, in user and system mode."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
