"""Rows of several MB go through agents and service in bounded memory."""
import os
import pathlib
import re
import unittest

from harness import Device, World, counted, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")

ROWS = 80
ROW_BYTES = 2_900_000  # a little below max_row_bytes
PEAK_MIB_MAX = 200     # of each program; all rows together are 221 MiB


def peak_mib(program):
    status = pathlib.Path(f"/proc/{program.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) // 1024


class MemoryTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.service = self.world.start_service()

    def tearDown(self):
        self.world.__exit__()

    def device(self, name):
        device = Device(self.world, name, interval="1h", tables=("T",), stamps=False, schema=None)
        device.shell("PRAGMA journal_mode=WAL; CREATE TABLE T(K TEXT PRIMARY KEY, V BLOB);")
        return device

    def test_many_rows_of_megabytes(self):
        a, b = self.device("a"), self.device("b")
        a.shell("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                f"{ROWS}) INSERT INTO T SELECT 'k' || i, randomblob({ROW_BYTES}) FROM n;")
        programs = [self.service]
        for device in (a, b):
            device.init()
            programs.append(device.start())
        held = [(ROWS, ROWS * ROW_BYTES)]
        wait_until("b has all of them", lambda: b.rows(
            "SELECT count(*), sum(length(V)) FROM T") == held, deadline_s=300)
        wait_until("a's queue is empty", a.queue_empty)
        # Changed in one transaction, and compared.
        b.shell(f"UPDATE T SET V = randomblob({ROW_BYTES});")
        same = "SELECT group_concat(hex(substr(V, 1, 8)), ' ') FROM (SELECT V FROM T ORDER BY K)"
        wait_until("a has the changes", lambda: a.rows(same) == b.rows(same), deadline_s=300)
        b.agent_run("verify")

        peaks = [peak_mib(program) for program in programs]
        counted(peak_mib=peaks)
        if "ASAN_OPTIONS" not in os.environ:  # Which keeps what was freed.
            self.assertLess(max(peaks), PEAK_MIB_MAX)


if __name__ == "__main__":
    unittest.main()
