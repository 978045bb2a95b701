"""Speed, as ratios to floors measured in the same run: ./dev bench [KEY...]

A floor is a straight-line program (floor.cc) that does the same work with the
same rows, and with nothing but SQLite and gRPC. Ours are the built programs as
they ship: tokens, conflict check, receipts and audit on. Both alternate on this
machine, so that the ratio holds where the figures beside it do not.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import grpc

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from harness import Device, World, wait_until  # noqa: E402

SCHEMA = HERE / "patients.sql"
UNIQUE_INDEX = "CREATE UNIQUE INDEX Patient_Record ON Patient(RecordNumber);"
ROWS = 20_000
LIVE_WRITES = 500
ROWS_ONE_BY_ONE = 1_000
# Each case of `capture` is cut into so many turns, ours and the floor's in turn.
CAPTURE_TURNS = 4
STEP_LIMIT_S = 300
LOOK_S = 0.002


class Key:
    """One line of the table. The ratio is always ours / floor."""

    def __init__(self, what, unit, goal, at_least=False, digits=0):
        self.what, self.unit, self.goal = what, unit, goal
        self.at_least, self.digits = at_least, digits

    def met(self, ratio):
        return ratio >= self.goal if self.at_least else ratio <= self.goal

    def goal_text(self):
        return f"{'>=' if self.at_least else '<='} {self.goal:.2f}"


KEYS = {
    "push": Key("rows written offline go to the service", "rows/s", 0.8, at_least=True),
    "pull": Key("a fresh device takes all rows", "rows/s", 0.6, at_least=True),
    "live_p50": Key("COMMIT on A until readable on B, median", "ms", 1.4, digits=2),
    "live_p99": Key("the same, 99th percentile", "ms", 1.5, digits=2),
    "capture_1000": Key("the app's insert, 1,000 a transaction", "us/row", 1.7, digits=1),
    "capture_1000_unique": Key("the same with a UNIQUE index", "us/row", 1.9, digits=1),
    "capture_1": Key("the app's insert, 1 a transaction", "us/row", 1.3, digits=1),
    "capture_1_unique": Key("the same with a UNIQUE index", "us/row", 1.9, digits=1),
}
GROUPS = ("push", "pull", "live", "capture")


class Bench:
    def __init__(self, binaries, floor, scratch, rows):
        self.bin = binaries
        self.floor_program = floor
        self.scratch = scratch
        self.rows = rows
        self.seed = 0

    # --- What every measurement needs.

    def floor(self, verb, **options):
        """Runs floor.cc; its answer, from JSON."""
        self.seed += 1
        argv = [self.floor_program, verb, "--seed", self.seed]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-"), value]
        done = subprocess.run([str(part) for part in argv], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=STEP_LIMIT_S)
        if done.returncode != 0:
            raise AssertionError(f"floor {verb}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

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
            world.setup(*devices)
            if service:
                world.start_service()
            yield world

    def device(self, world, name, unique=False):
        device = Device(world, name, tables=("Patient",), stamps=False, schema=SCHEMA)
        if unique:
            device.shell(UNIQUE_INDEX)
        device.init()
        return device

    def paused(self, world, name):
        """A device whose running agent has never spoken to the service."""
        device = self.device(world, name)
        device.agent_run("pause")
        device.start()
        return device

    def floor_run(self, verb, rows):
        with self.directory() as place:
            return self.floor(verb, dir=place, schema=SCHEMA, rows=rows)

    def plain_insert(self, rows, per_transaction):
        """Seconds for `rows` rows into the app's table, without anybody's triggers."""
        with self.directory() as place:
            make_table(place / "plain.db")
            return self.floor("insert", db=place / "plain.db", rows=rows,
                              per_transaction=per_transaction)["seconds"]

    # --- The measurements: ours.

    def our_push(self, world):
        """Rows a second, from `resume` until every item of the queue is done."""
        device = self.paused(world, "a")
        self.floor("insert", db=device.db, rows=self.rows, per_transaction=1000)
        with connection(f"{device.db}.sync") as ledger:
            wait_until("the queue holds every row", lambda: one(
                ledger, "SELECT count(*) FROM SyncQueueItems WHERE Status = 0") == self.rows,
                STEP_LIMIT_S, 0.1)
            start = time.perf_counter()
            resume(device)
            wait_until("the queue is empty", lambda: one(
                ledger, "SELECT NOT EXISTS(SELECT 1 FROM SyncQueueItems "
                "WHERE Status IN (0, 1, 3))"), STEP_LIMIT_S, LOOK_S)
            seconds = time.perf_counter() - start
        # The queue keeps only the newest items that are done: count at the service.
        with connection(world.root / "store.db") as store:
            stored = one(store, "SELECT count(*) FROM Versions")
        if stored != self.rows:
            raise AssertionError(f"{stored} of {self.rows} rows were pushed")
        return self.rows / seconds

    def our_pull(self, world):
        """Rows a second, from `resume` until they can be read and the agent has booked them."""
        device = self.paused(world, "b")
        with connection(device.db) as app, connection(f"{device.db}.sync") as ledger:
            start = time.perf_counter()
            resume(device)
            wait_until("the rows are here", lambda: one(
                app, "SELECT coalesce(max(rowid), 0) FROM Patient") >= self.rows,
                STEP_LIMIT_S, LOOK_S)
            wait_until("the last page is booked", lambda: one(
                ledger, "SELECT NOT EXISTS(SELECT 1 FROM SyncIntents)"), STEP_LIMIT_S, LOOK_S)
            seconds = time.perf_counter() - start
            if one(app, "SELECT count(*) FROM Patient") != self.rows:
                raise AssertionError("the device does not have every row")
        return self.rows / seconds

    def our_live(self):
        with self.world("a", "b") as world:
            a, b = (self.device(world, name) for name in ("a", "b"))
            a.start()
            b.start()
            return self.floor("probe", **{"from": a.db, "to": b.db, "rows": LIVE_WRITES})

    # --- One round of each group: {key: (ours, floor, plain SQLite)}.

    def push_and_pull(self, wanted, ours_first):
        def ours():
            with self.world("a", "b") as world:
                rates = {"push": self.our_push(world)}
                if "pull" in wanted:
                    rates["pull"] = self.our_pull(world)
                return rates

        def floor():
            return {key: self.rows / self.floor_run(key, self.rows)["seconds"] for key in wanted}

        measured, limit = in_turn(ours, floor, ours_first)
        plain = self.rows / self.plain_insert(self.rows, 1000)
        return {key: (measured[key], limit[key], plain) for key in wanted}

    def live(self, ours_first):
        ours, floor = in_turn(self.our_live, lambda: self.floor_run("live", LIVE_WRITES),
                              ours_first)
        plain = self.plain_insert(LIVE_WRITES, 1) / LIVE_WRITES * 1000
        return {f"live_{part}": (ours[f"{part}_ms"], floor[f"{part}_ms"], plain)
                for part in ("p50", "p99")}

    def capture(self, ours_first):
        found = {}
        for unique in (False, True):
            for per_transaction in (1000, 1):
                key = f"capture_{per_transaction}" + ("_unique" if unique else "")
                found[key] = self.capture_case(unique, per_transaction, ours_first)
        return found

    def capture_case(self, unique, per_transaction, ours_first):
        rows = (self.rows if per_transaction > 1 else ROWS_ONE_BY_ONE) // CAPTURE_TURNS
        with self.world("a", service=False) as world:
            captured = self.device(world, "a", unique).db
            plain = world.root / "plain.db"
            make_table(plain, unique)

            def insert(database):
                return self.floor("insert", db=database, rows=rows,
                                  per_transaction=per_transaction)["seconds"]

            turns = [in_turn(lambda: insert(captured), lambda: insert(plain),
                             (turn % 2 == 0) == ours_first) for turn in range(CAPTURE_TURNS)]
        ours, floor = (sum(side) / (rows * CAPTURE_TURNS) * 1e6 for side in zip(*turns))
        return ours, floor, floor

    def round(self, groups, number):
        ours_first = number % 2 == 0
        found = {}
        transfers = [group for group in ("push", "pull") if group in groups]
        if transfers:
            found.update(self.push_and_pull(transfers, ours_first))
        if "live" in groups:
            found.update(self.live(ours_first))
        if "capture" in groups:
            found.update(self.capture(ours_first))
        return found


@contextlib.contextmanager
def connection(path):
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as opened:
        yield opened


def one(opened, sql):
    return opened.execute(sql).fetchone()[0]


def make_table(path, unique=False):
    with connection(path) as opened:
        opened.executescript(SCHEMA.read_text() + (UNIQUE_INDEX if unique else ""))


def resume(device):
    """Over the control socket: a call costs less than a process."""
    with grpc.insecure_channel(f"unix://{device.dir}/agent.sock") as channel:
        call = channel.unary_unary("/ptdoc.sync.v1.AgentService/Resume")
        call(b"", timeout=30)


def in_turn(ours, floor, ours_first):
    """Runs both, in either order; returns (ours, floor)."""
    if ours_first:
        first = ours()
        return first, floor()
    second = floor()
    return ours(), second


def summary(key, rounds):
    """rounds: [(ours, floor, plain)]. The ratio is the median of the rounds' own ratios."""
    ratios = [ours / floor for ours, floor, _ in rounds]
    ratio = statistics.median(ratios)
    return {
        "what": KEYS[key].what,
        "unit": KEYS[key].unit,
        "ours": statistics.median(row[0] for row in rounds),
        "floor": statistics.median(row[1] for row in rounds),
        "plainSqlite": statistics.median(row[2] for row in rounds),
        "ratio": ratio,
        "ratioMin": min(ratios),
        "ratioMax": max(ratios),
        "goal": KEYS[key].goal,
        "goalIs": "at least" if KEYS[key].at_least else "at most",
        "met": KEYS[key].met(ratio),
        "rounds": [{"ours": ours, "floor": floor, "ratio": ours / floor, "plainSqlite": plain}
                   for ours, floor, plain in rounds],
    }


def table(results):
    lines = [("key", "what", "", "ours", "floor", "ratio", "of rounds", "goal", "met",
              "plain SQLite")]
    for name, result in results.items():
        key = KEYS[name]
        figure = f",.{key.digits}f"
        lines.append((
            name, key.what, key.unit, format(result["ours"], figure),
            format(result["floor"], figure), f"{result['ratio']:.2f}",
            f"{result['ratioMin']:.2f}-{result['ratioMax']:.2f}", key.goal_text(),
            "yes" if result["met"] else "NO", format(result["plainSqlite"], figure)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = (0, 1, 2)
    return "\n".join("  ".join(
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def explain(rounds, rows):
    load, processors = os.getloadavg()[0], os.cpu_count()
    print(f"""
{rows:,} rows of a patient table (12 fields, 350 bytes as JSON), {rounds} rounds, medians.
ours: the programs as they ship. floor: the same work with nothing but SQLite and gRPC.
ratio: ours / floor. plain SQLite: the same rows inserted by one program without anything
else. Higher is better for rows/s, lower for ms and us.""")
    if load > processors:
        print(f"This machine is busy (load {load:.1f} on {processors} processors): the figures "
              "are low, and\nratios wander. Look at how far those of the rounds lie apart.")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="folder of sync-service and device-agent")
    parser.add_argument("--floor", help="the program floor (default: of --bin)")
    parser.add_argument("--out", required=True, help="where the JSON goes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS, help="of push, pull and capture")
    parser.add_argument("keys", nargs="*", metavar="KEY", help=f"of {', '.join(GROUPS)}; none: all")
    args = parser.parse_args()
    unknown = [key for key in args.keys if key not in GROUPS]
    if unknown:
        parser.error(f"no such key: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if args.rounds < 1 or args.rows < 1000:
        parser.error("at least 1 round and 1,000 rows")
    return args


def main():
    args = arguments()
    # So that the programs are stopped when this one is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    out = pathlib.Path(args.out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    binaries = pathlib.Path(args.bin).resolve()
    rounds = {}
    # Beside the result: a temporary folder in memory would make every fsync free.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=out.parent) as scratch:
        bench = Bench(binaries, args.floor or binaries / "floor", scratch, args.rows)
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds} ...", flush=True)
            for key, figures in bench.round(args.keys or GROUPS, number).items():
                rounds.setdefault(key, []).append(figures)
    results = {key: summary(key, rounds[key]) for key in KEYS if key in rounds}
    print("\n" + table(results))
    explain(args.rounds, args.rows)
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{out}")


if __name__ == "__main__":
    main()
