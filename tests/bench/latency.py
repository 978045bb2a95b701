"""live, capture and app_latency: what somebody waits for."""
import threading

from report import Figure
from setting import (LOOK_S, STEP_LIMIT_S, connection, in_threads, in_turn, make_table, resume,
                     wait_pushed, wait_until)

ROWS_ONE_BY_ONE = 1_000
# Each case of `capture` is cut into so many turns, ours and the floor's in turn.
CAPTURE_TURNS = 4
# More than an app can commit while a phase lasts.
APP_WRITES_MAX = 1_000_000
APP_PATIENCE_MS = 250
# A colleague on another device, who works as people do; and how many transactions
# the app makes beside him, in multiples of Sizes.writes.
COLLEAGUE_EVERY_S = 1.5
COLLEAGUE_WRITES = 8
COLLEAGUE_ROW = """
    INSERT INTO Patient(Id, RecordNumber, FirstName, LastName, DateOfBirth)
    VALUES(lower(hex(randomblob(16))), hex(randomblob(6)), 'Ada', 'Byron', '1990-01-01')"""


def live(bench, ours_first):
    writes = bench.sizes.writes

    def ours():
        with bench.world("a", "b") as world:
            a, b = (bench.device(world, name) for name in ("a", "b"))
            a.start()
            b.start()
            return bench.floor("probe", **{"from": a.db, "to": b.db, "rows": writes})

    measured, limit = in_turn(ours, lambda: bench.floor_run("live", writes), ours_first)
    plain = bench.plain_insert(writes, 1) / writes * 1000
    return {f"live_{part}": Figure(measured[f"{part}_ms"], limit[f"{part}_ms"], plain)
            for part in ("p50", "p99")}


# --- capture

def capture(bench, ours_first):
    found = {}
    for unique in (False, True):
        for per_transaction in (1000, 1):
            key = f"capture_{per_transaction}" + ("_unique" if unique else "")
            found[key] = capture_case(bench, unique, per_transaction, ours_first)
    return found


def capture_case(bench, unique, per_transaction, ours_first):
    rows = (bench.sizes.rows if per_transaction > 1 else ROWS_ONE_BY_ONE) // CAPTURE_TURNS
    with bench.world("a", service=False) as world:
        captured = bench.device(world, "a", unique).db
        plain = world.root / "plain.db"
        make_table(plain, unique)

        def insert(database):
            return bench.floor("insert", db=database, rows=rows,
                               per_transaction=per_transaction)["seconds"]

        turns = [in_turn(lambda: insert(captured), lambda: insert(plain),
                         (turn % 2 == 0) == ours_first) for turn in range(CAPTURE_TURNS)]
    ours, floor = (sum(side) / (rows * CAPTURE_TURNS) * 1e6 for side in zip(*turns))
    return Figure(ours, floor, floor)


# --- app_latency

class BusyDevice:
    """Two devices of one clinic; the app of `b` is measured while its agent works."""

    def __init__(self, bench, world):
        self.bench = bench
        self.a, self.b = (bench.device(world, name) for name in ("a", "b"))
        for device in (self.a, self.b):
            device.start()
            device.agent_run("run")

    def while_it_works(self, pushes, pulls, **app):
        """Figures of the app of b from the start of the work until it is done."""
        self.b.agent_run("pause")
        if pulls:
            self.a.agent_run("pause")
            self.bench.insert_offline(self.a, self.bench.sizes.rows_busy)
            # Sent last, so it comes last. Asked before rows of b come in behind it.
            last = self.a.rows("SELECT Id FROM Patient ORDER BY rowid DESC LIMIT 1")[0][0]
            resume(self.a)
            wait_pushed(self.a)
        if pushes:
            self.bench.insert_offline(self.b, self.bench.sizes.rows_busy)
            backlog = self.b.ledger("SELECT max(Id) FROM SyncQueueItems")[0][0]
        with self.bench.helper("app", db=self.b.db, rows=APP_WRITES_MAX, **app) as helper:
            resume(self.b)
            if pushes:
                wait_until("the backlog is pushed", lambda: not self.b.ledger(
                    "SELECT 1 FROM SyncQueueItems WHERE Status IN (0, 1, 3) AND Id <= ? LIMIT 1",
                    backlog), STEP_LIMIT_S, LOOK_S)
            if pulls:
                wait_until("the backlog is pulled", lambda: self.b.rows(
                    "SELECT 1 FROM Patient WHERE Id = ?", last), STEP_LIMIT_S, LOOK_S)
            return helper.finish()

    def beside_a_colleague(self, writes, **app):
        """The same while somebody commits on the other device now and then."""
        over = threading.Event()
        colleague = threading.Thread(target=self._commit_until, args=(over,))
        with self.bench.helper("app", db=self.b.db, rows=writes, **app) as helper:
            colleague.start()
            try:
                return helper.result()
            finally:
                over.set()
                colleague.join()

    def _commit_until(self, over):
        with connection(self.a.db) as app:
            while not over.wait(COLLEAGUE_EVERY_S):
                with app:
                    app.execute(COLLEAGUE_ROW)

    def at_rest(self, writes):
        """The same with the agent stopped."""
        self.b.agent.stop()
        with self.bench.helper("app", db=self.b.db, rows=writes,
                               timeout_ms=APP_PATIENCE_MS) as helper:
            figures = helper.result()
        self.b.start()
        self.b.agent_run("run")
        return figures


def beside_neighbours(bench):
    """The app, without an agent, while straight-line programs push and pull as many rows
    in files of their own: what sharing processors and disk costs by itself."""
    with bench.directory() as place:
        make_table(place / "app.db")
        with bench.helper("app", db=place / "app.db", rows=APP_WRITES_MAX,
                          timeout_ms=APP_PATIENCE_MS) as helper:
            in_threads([lambda verb=verb: bench.floor_run(verb, bench.sizes.rows_busy)
                        for verb in ("push", "pull")])
            return helper.finish()


def app_latency(bench, ours_first):
    neighbours = beside_neighbours(bench)
    with bench.world("a", "b") as world:
        devices = BusyDevice(bench, world)
        both, rest = in_turn(
            lambda: devices.while_it_works(True, True, timeout_ms=APP_PATIENCE_MS),
            lambda: devices.at_rest(bench.sizes.writes), ours_first)
        pushing = devices.while_it_works(True, False, reads_first=1)
        pulling = devices.while_it_works(False, True, reads_first=1)
        beside = devices.beside_a_colleague(COLLEAGUE_WRITES * bench.sizes.writes, reads_first=1)
    return {
        "app_latency_p99": Figure(both["p99_ms"], rest["p99_ms"]),
        "app_latency_neighbours": Figure(both["p99_ms"], neighbours["p99_ms"]),
        "app_latency_p50": Figure(both["p50_ms"], rest["p50_ms"]),
        "app_latency_busy": Figure(both["refused"], rest["refused"], of=both["writes"]),
        "app_latency_push": Figure(refused_of_1000(pushing), of=pushing["writes"]),
        "app_latency_pull": Figure(refused_of_1000(beside), of=beside["writes"]),
        "app_latency_flood": Figure(refused_of_1000(pulling), of=pulling["writes"]),
    }


def refused_of_1000(figures):
    return 1000 * figures["refused"] / figures["writes"]
