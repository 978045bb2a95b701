"""wire and link: what goes over a connection, and what a slow one costs."""
import contextlib
import time

from report import Figure
from setting import (LOOK_S, STEP_LIMIT_S, Device, connection, in_turn, one, resume, wait_pulled,
                     wait_pushed, wait_until)

WIDE_ROWS = 1_000
WIDE_COLUMNS = 40
# A sender of this kind has so many messages unanswered.
WINDOW = 8


class Wire:
    """A counting link to the service of a world."""

    def __init__(self, helper):
        self.helper = helper
        self.address = f"127.0.0.1:{helper.line()}"

    @contextlib.contextmanager
    def counted(self, into):
        """Puts the bytes that go over it meanwhile into `into`, by way."""
        before = self.helper.ask()
        yield
        after = self.helper.ask()
        into.update({way: after[way] - before[way] for way in ("up", "down")})


def link(bench, world, **how):
    return bench.helper("link", to=world.port, **how)


def wire(bench, _ours_first):
    row_bytes = bench.floor("size", rows=2000)["bytes"]
    plain, small = (bytes_a_row(bench, how) for how in ("off", "on"))
    return {"wire_push": Figure(plain[0], row_bytes), "wire_pull": Figure(plain[1], row_bytes),
            "wire_push_small": Figure(small[0], row_bytes),
            "wire_pull_small": Figure(small[1], row_bytes),
            "wire_push_back": Figure(plain[2]), **wire_edit(bench)}


def bytes_a_row(bench, compression):
    """Of a row that is pushed, of one that is pulled, and what comes back for one pushed."""
    rows = bench.sizes.rows
    pushed, pulled = {}, {}
    with bench.world("a", "b") as world, link(bench, world) as up, link(bench, world) as down:
        wires = Wire(up), Wire(down)
        a = bench.paused(world, "a", address=wires[0].address, compression=compression)
        bench.insert_offline(a, rows)
        with wires[0].counted(pushed):
            resume(a)
            wait_pushed(a)
        b = bench.paused(world, "b", address=wires[1].address, compression=compression)
        with wires[1].counted(pulled):
            resume(b)
            wait_pulled(b, rows)
    return pushed["up"] / rows, pulled["down"] / rows, pushed["down"] / rows


def wire_edit(bench):
    """One field of a wide row, against the whole row."""
    rows = min(WIDE_ROWS, bench.sizes.rows)
    whole, edit = ({"up": {}, "down": {}} for _ in range(2))
    with bench.world("a", "b") as world, link(bench, world) as up, link(bench, world) as down:
        wires = Wire(up), Wire(down)
        a, b = (wide_device(world, name, wire_.address) for name, wire_ in zip("ab", wires))
        for sql, counts in ((wide_rows(rows), whole),
                            ("UPDATE Wide SET C7 = 'changed ' || Id;", edit)):
            with wires[0].counted(counts["up"]), wires[1].counted(counts["down"]):
                a.shell(sql)
                wait_until("both devices hold the same", lambda: a.queue_empty() and newest(
                    a) == newest(b) is not None, STEP_LIMIT_S, LOOK_S)
    return {f"wire_edit_{name}": Figure(edit[way][way] / rows, whole[way][way] / rows)
            for name, way in (("push", "up"), ("pull", "down"))}


def newest(device):
    with connection(device.db) as opened:
        return one(opened, "SELECT count(*) || ' ' || sum(C7 GLOB 'changed *') FROM Wide")


def wide_device(world, name, address):
    schema = world.root / "wide.sql"
    columns = ", ".join(f"C{i} TEXT" for i in range(WIDE_COLUMNS - 1))
    schema.write_text(f"PRAGMA journal_mode = WAL; "
                      f"CREATE TABLE Wide(Id TEXT PRIMARY KEY NOT NULL, {columns});")
    device = Device(world, name, tables=("Wide",), stamps=False, schema=schema, address=address)
    device.init()
    device.start()
    device.agent_run("run")
    return device


def wide_rows(rows):
    values = ", ".join(f"'value {i} ' || hex(randomblob(4))" for i in range(WIDE_COLUMNS - 1))
    return (f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
            f"INSERT INTO Wide SELECT lower(hex(randomblob(16))), {values} FROM n;")


# --- link

LINKS = {
    "link_0": {"round_trip_us": 0},
    "link_50": {"round_trip_us": 50_000},
    "link_50_loss": {"round_trip_us": 50_000, "lost_of_1000": 10},
    "link_300": {"round_trip_us": 300_000},
}
LONG_TRIP_S = 0.3


def slow_links(bench, ours_first):
    rows = bench.sizes.rows

    def ours(how):
        with bench.world("a") as world, link(bench, world, **how) as way:
            device = bench.paused(world, "a", address=Wire(way).address)
            bench.insert_offline(device, rows)
            start = time.perf_counter()
            resume(device)
            wait_pushed(device)
            return rows / (time.perf_counter() - start)

    def floor(how):
        return rows / bench.floor_run("push", rows, window=WINDOW, **how)["seconds"]

    rates = {name: in_turn(lambda how=how: ours(how), lambda how=how: floor(how), ours_first)
             for name, how in LINKS.items()}
    trips = [(rows / far - rows / near) / LONG_TRIP_S
             for far, near in zip(rates["link_300"], rates["link_0"])]
    return {"link_trips": Figure(*trips),
            **{name: Figure(*pair) for name, pair in rates.items()}}
