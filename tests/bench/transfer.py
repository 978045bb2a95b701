"""push, pull, push_depth and snapshot: many rows from a device to the service and back."""
import statistics
import time

from report import Figure
from setting import (connection, in_turn, memory_mib, one, resume, wait_pulled, wait_pushed)

# A drain of the short queue is over in a moment: the median of some.
SHORT_DRAINS = 3
DEPTH = 100


def our_push(bench, world):
    """Rows a second, from `resume` until every item of the queue is done."""
    rows = bench.sizes.rows
    device = bench.paused(world, "a")
    bench.insert_offline(device, rows)
    seconds = drain(device)
    # The queue keeps only the newest items that are done: count at the service.
    with connection(world.root / "store.db") as store:
        stored = one(store, "SELECT count(*) FROM Versions")
    if stored != rows:
        raise AssertionError(f"{stored} of {rows} rows were pushed")
    return rows / seconds


def drain(device):
    start = time.perf_counter()
    resume(device)
    wait_pushed(device)
    return time.perf_counter() - start


def our_pull(bench, world, name, rows):
    """Rows a second, from `resume` until they can be read and the agent has booked them."""
    device = bench.paused(world, name)
    start = time.perf_counter()
    resume(device)
    wait_pulled(device, rows)
    return rows / (time.perf_counter() - start), memory_mib(device.agent.process)


def push_and_pull(bench, wanted, ours_first):
    rows = bench.sizes.rows

    def ours():
        with bench.world("a", "b") as world:
            rates = {"push": our_push(bench, world)}
            if "pull" in wanted:
                rates["pull"], _ = our_pull(bench, world, "b", rows)
            return rates

    def floor():
        return {key: rows / bench.floor_run(key, rows)["seconds"] for key in wanted}

    measured, limit = in_turn(ours, floor, ours_first)
    plain = rows / bench.plain_insert(rows, 1000)
    return {key: Figure(measured[key], limit[key], plain) for key in wanted}


# --- A million rows.

def depths(bench):
    """Rows that wait: very many, and few."""
    return bench.sizes.rows_large, max(100, bench.sizes.rows_large // DEPTH)


def straight_push(bench):
    """What as many rows make of the floor of `push`."""
    def rate(rows):
        return rows / bench.floor_run("push", rows)["seconds"]
    deep, shallow = depths(bench)
    return Figure(rate(deep), statistics.median(rate(shallow) for _ in range(SHORT_DRAINS)))


def deep_push(bench, world):
    """Figures of push_depth; leaves all those rows at the service."""
    deep, shallow = depths(bench)
    device = bench.fill(world, "a", shallow)
    short = []
    for _ in range(SHORT_DRAINS):
        device.agent_run("pause")
        bench.insert_offline(device, shallow)
        short.append(shallow / drain(device))
    device.agent_run("pause")
    bench.insert_offline(device, deep)
    rate = deep / drain(device)
    stored = deep + shallow * (SHORT_DRAINS + 1)
    figures = {
        "push_depth_rate": Figure(rate, statistics.median(short)),
        "push_depth_agent": Figure(memory_mib(device.agent.process)),
        "push_depth_service": Figure(memory_mib(world.service.process)),
    }
    device.agent.stop()
    return figures, stored


def large(bench, wanted, ours_first):
    """push_depth, and then snapshot from what it left at the service."""
    found = {}
    memory = {}

    def ours():
        with bench.world("a", "b") as world:
            figures, stored = deep_push(bench, world)
            if "push_depth" in wanted:
                found.update(figures)
            if "snapshot" not in wanted:
                return None
            # So that its memory is that of the snapshot.
            world.service.stop()
            world.start_service()
            rate, memory["agent"] = our_pull(bench, world, "b", stored)
            memory["service"] = memory_mib(world.service.process)
            return rate

    def floor():
        if "push_depth" in wanted:
            found["push_depth_straight"] = straight_push(bench)
        if "snapshot" not in wanted:
            return None
        return bench.floor_run("pull", bench.sizes.rows_large)

    rate, limit = in_turn(ours, floor, ours_first)
    if "snapshot" in wanted:
        found["snapshot_rate"] = Figure(rate, limit["rows"] / limit["seconds"])
        found["snapshot_agent"] = Figure(memory["agent"], limit["device_mib"])
        found["snapshot_service"] = Figure(memory["service"], limit["server_mib"])
    return found
