"""How the cost grows with the rows that are there, and with the devices that are connected."""
import contextlib
import json
import statistics
import sys
import time

import grpc

from crowd import followers, names
from setting import processor_seconds, resume, wait_pulled, wait_pushed

ROWS = (1_000, 10_000, 100_000)
ROWS_MOST = 1_000_000
DEVICES = (1, 10, 100)
DEVICES_MOST = 1_000
# With so many rows at the service the devices are added.
ROWS_BESIDE_DEVICES = 5_000
LIVE_WRITES = 200
STATUS_CALLS = 30
COLUMNS = ("push", "delivered", "pull", "live p50", "live p99", "status", "service")
UNITS = ("rows/s", "rows/s", "rows/s", "ms", "ms", "ms", "ms")
# A service that uses less of a processor over so long has nothing more to do.
QUIET_SHARE = 0.1
QUIET_S = 0.4


def growth(bench, devices_most, out):
    """Prints two tables and writes them to `out`, {"rows": {...}, "devices": {...}}."""
    rows = [n for n in (*ROWS, ROWS_MOST) if n <= (bench.sizes.rows if bench.sizes.rows !=
                                                   20_000 else ROWS[-1])]
    devices = [n for n in (*DEVICES, DEVICES_MOST) if n <= (devices_most or DEVICES[-1])]
    found = {"rows": {}, "devices": {}}
    for count in rows:
        found["rows"][count] = measure(bench, count, 0)
        print(line(f"{count:,} rows", found["rows"][count]), file=sys.stderr, flush=True)
    for count in devices:
        found["devices"][count] = measure(bench, ROWS_BESIDE_DEVICES, count)
        print(line(f"{count:,} devices", found["devices"][count]), file=sys.stderr, flush=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    print_tables(found)


def measure(bench, rows, devices):
    """Figures of COLUMNS with `rows` rows, while `devices` others follow the feed."""
    with bench.world("a", "b", *names(devices)) as world, contextlib.ExitStack() as stack:
        if devices:
            crowd = stack.enter_context(followers(bench, world, names(devices)))
            crowd.line()
        a = bench.paused(world, "a")
        bench.insert_offline(a, rows)
        start = time.perf_counter()
        push = timed(a, lambda: wait_pushed(a))
        wait_quiet(world.service.process)
        delivered = rows * devices / (time.perf_counter() - start - QUIET_S)
        b = bench.paused(world, "b")
        pull = timed(b, lambda: wait_pulled(b, rows))
        live = bench.floor("probe", **{"from": a.db, "to": b.db, "rows": LIVE_WRITES})
        figures = (rows / push, delivered, rows / pull, live["p50_ms"], live["p99_ms"],
                   call_ms(f"unix://{a.dir}/agent.sock", "AgentService"),
                   call_ms(world.address, "SyncService", world.token("admin")))
    return dict(zip(COLUMNS, figures))


def timed(device, wait):
    start = time.perf_counter()
    resume(device)
    wait()
    return time.perf_counter() - start


def wait_quiet(process):
    used, share = processor_seconds(process), 1.0
    while share > QUIET_SHARE:
        time.sleep(QUIET_S)
        before, used = used, processor_seconds(process)
        share = (used - before) / QUIET_S


def call_ms(address, service, token=None):
    """Milliseconds of a Status call, median."""
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/ptdoc.sync.v1.{service}/Status")
        times = []
        for _ in range(STATUS_CALLS):
            start = time.perf_counter()
            call(b"", timeout=30, metadata=metadata)
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def line(name, figures):
    cells = [f"{figures[column]:,.0f}" if unit == "rows/s" else f"{figures[column]:,.2f}"
             for column, unit in zip(COLUMNS, UNITS)]
    return f"{name:>16}" + "".join(f"{cell:>12}" for cell in cells)


def print_tables(found):
    head = "".join(f"{column:>12}" for column in COLUMNS)
    units = "".join(f"{unit:>12}" for unit in UNITS)
    print(f"\n{'':>16}{head}\n{'':>16}{units}")
    for count, figures in found["rows"].items():
        print(line(f"{count:,} rows", figures))
    print(f"\n{ROWS_BESIDE_DEVICES:,} rows, while so many other devices are connected and get each "
          "change:")
    for count, figures in found["devices"].items():
        print(line(f"{count:,} devices", figures))
    print("""
push, pull: all those rows, by one device. delivered: to all that are connected, together.
live: COMMIT on A until readable on B, the rows being there. status: a call to the agent,
and one to the service that lists all devices.""")
