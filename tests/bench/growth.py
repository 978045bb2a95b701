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
COLUMNS = ("push", "delivered", "pull", "live p50", "live p99", "status", "status all")
UNITS = ("rows/s", "rows/s", "rows/s", "ms", "ms", "ms", "ms")
# Processor time, which another program on this machine hardly changes.
WORK = ("push agent", "push serv.", "pull agent", "pull serv.")
WORK_UNITS = ("us/row",) * len(WORK)
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
        push, push_all, push_work = timed(world, a, lambda: wait_pushed(a), rows)
        delivered = rows * devices / push_all
        b = bench.paused(world, "b")
        pull, _, pull_work = timed(world, b, lambda: wait_pulled(b, rows), rows)
        live = bench.floor("probe", **{"from": a.db, "to": b.db, "rows": LIVE_WRITES})
        figures = (rows / push, delivered, rows / pull, live["p50_ms"], live["p99_ms"],
                   call_ms(f"unix://{a.dir}/agent.sock", "AgentService"),
                   call_ms(world.address, "SyncService", world.token("admin")))
    return dict(zip(COLUMNS + WORK, (*figures, *push_work, *pull_work)))


def timed(world, device, wait, rows):
    """Seconds until `wait` returns, and until all is quiet; processor time for each row."""
    processes = device.agent.process, world.service.process
    before = [processor_seconds(process) for process in processes]
    start = time.perf_counter()
    resume(device)
    wait()
    done = time.perf_counter() - start
    wait_quiet(world.service.process)
    quiet = time.perf_counter() - start - QUIET_S
    work = [(processor_seconds(process) - was) / rows * 1e6
            for process, was in zip(processes, before)]
    return done, max(done, quiet), work


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


def line(name, figures, columns=COLUMNS, units=UNITS):
    cells = [f"{figures[column]:,.2f}" if unit == "ms" else f"{figures[column]:,.0f}"
             for column, unit in zip(columns, units)]
    return f"{name:>16}" + "".join(f"{cell:>12}" for cell in cells)


def print_tables(found):
    for columns, units in ((COLUMNS, UNITS), (WORK, WORK_UNITS)):
        head = "".join(f"{column:>12}" for column in columns)
        print(f"\n{'':>16}{head}\n{'':>16}" + "".join(f"{unit:>12}" for unit in units))
        for count, figures in found["rows"].items():
            print(line(f"{count:,} rows", figures, columns, units))
        for count, figures in found["devices"].items():
            print(line(f"{count:,} devices", figures, columns, units))
    print(f"\nOf the devices: {ROWS_BESIDE_DEVICES:,} rows, while so many others are connected and "
          "get each change.")
    print("""\
push, pull: all those rows, by one device. delivered: to all that are connected, together.
live: COMMIT on A until readable on B, the rows being there. status: a call to the agent,
and one to the service that lists all devices. us/row: processor time.""")
