#!/usr/bin/env python3
"""How long a verify takes, what it costs, and how the app fares meanwhile.

    tests/bench/verify.py [ROWS] [--bin build/release/bin]

One service, one device with a daemon, ROWS patients (1,000,000) that the service has. Prints what
was measured; nothing is compared with a goal.
"""
import argparse
import json
import pathlib
import re
import sqlite3
import statistics
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from harness import Device, World, wait_until  # noqa: E402

COMMITS_ALONE = 300


def peak_mib(program):
    status = pathlib.Path(f"/proc/{program.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) // 1024


class App:
    """Commits one edit after the other, as an app does that is busy."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=0.25, isolation_level=None,
                                  check_same_thread=False)
        self.keys = [row[0] for row in self.db.execute("SELECT Id FROM Patient LIMIT 500")]
        self.failed = 0

    def commits(self, going):
        took = []
        for i in range(10**9):
            if not going(i):
                return took
            begun = time.perf_counter()
            try:
                self.db.execute("UPDATE Patient SET Phone = ? WHERE Id = ?",
                                (f"n{i}", self.keys[i % len(self.keys)]))
            except sqlite3.OperationalError:
                self.failed += 1
            took.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.005)


def percentiles(took):
    took = sorted(took)
    return f"p50 {statistics.median(took):.2f} ms, p99 {took[len(took) * 99 // 100]:.2f} ms"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--bin", default="build/release/bin")
    arguments = parser.parse_args()
    with World(arguments.bin) as world:
        world.setup("a")
        service = world.start_service()
        device = Device(world, "a", interval="1h", tables=("Patient",), stamps=False,
                        schema=HERE / "patients.sql")
        with sqlite3.connect(device.db) as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(Patient)")]
            fill = ", ".join("lower(hex(randomblob(16)))" if c == "Id" else
                             f"'{c} ' || hex(randomblob(8))" for c in columns)
            db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                       f"INSERT INTO Patient SELECT {fill} FROM n", (arguments.rows,))
        db.close()
        device.init()
        agent = device.start()
        wait_until("the first upload", device.queue_empty, deadline_s=3600, pause_s=1)
        device.agent_run("run")
        app = App(device.db)
        alone = app.commits(lambda i: i < COMMITS_ALONE)
        wait_until("the edits are sent", device.queue_empty, deadline_s=60)
        before = peak_mib(service), peak_mib(agent)
        verifying = threading.Event()
        meanwhile = []
        writer = threading.Thread(
            target=lambda: meanwhile.extend(app.commits(lambda _: not verifying.is_set())))
        quiet_begun = time.monotonic()
        quiet = json.loads(device.agent_run("verify", "--json", check=False).stdout)
        quiet_s = time.monotonic() - quiet_begun
        writer.start()
        begun = time.monotonic()
        busy = json.loads(device.agent_run("verify", "--json", check=False).stdout)
        busy_s = time.monotonic() - begun
        verifying.set()
        writer.join()
        print(f"rows {quiet['types'][0]['rows']}, findings {quiet['found']} and {busy['found']}")
        print(f"verify: {quiet_s:.1f} s while the app is quiet, {busy_s:.1f} s while it writes")
        print(f"peak RSS, MiB: service {before[0]} before, {peak_mib(service)} after; "
              f"agent {before[1]} before, {peak_mib(agent)} after")
        print(f"the app's commits: alone {percentiles(alone)}; during a verify "
              f"{percentiles(meanwhile)} ({len(meanwhile)} commits, {app.failed} refused)")


if __name__ == "__main__":
    main()
