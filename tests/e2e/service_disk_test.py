"""sync-service on a disk that is full, and on one that is read-only.

The disk is a real one: a tmpfs of a few MiB, which only root can mount.
"""
import contextlib
import os
import pathlib
import subprocess
import unittest

import grpc

from harness import World, wait_until
from stubs import Client, change, new_batch_id, reason_of, sync, types

BIN = os.environ.get("PTDOC_BIN", "build/bin")
SMALL = "size=3m"
LARGE = "size=32m"
ROW_BYTES = 60_000
ROWS_MAX = 200  # four times what fits


class SmallDiskWorld(World):
    """Tokens and logs stand on the ordinary disk, the store on a small one."""

    @property
    def disk(self):
        return self.root / "disk"

    @property
    def store(self):
        return f"sqlite:///{self.disk}/store.db"

    def mount(self):
        self.disk.mkdir()
        return subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", self.disk],
                              capture_output=True, text=True).returncode == 0

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.disk], check=True,
                       capture_output=True)

    def unmount(self):
        subprocess.run(["umount", self.disk], check=True, capture_output=True)


class ServiceDiskTest(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small file system")
        self.world = SmallDiskWorld(BIN)
        self.addCleanup(self.world.__exit__)
        if not self.world.mount():
            self.skipTest("mounting a tmpfs is not permitted here")
        self.addCleanup(self.world.unmount)
        self.addCleanup(self.stop_service)
        self.world.setup("a", "b")
        self.world.start_service()
        self.a = self.client("a")
        self.b = self.client("b")

    def stop_service(self):
        if self.world.service and self.world.service.alive():
            self.world.service.kill()

    def client(self, device):
        client = Client(self.world.port, self.world.token(device))
        self.addCleanup(client.close)
        return client

    def request(self, number):
        return sync.PushRequest(batch_id=new_batch_id(), changes=[
            change("Patient", f"p{number}", {"Id": f"p{number}", "Text": "x" * ROW_BYTES},
                   "CREATE")])

    def fill(self):
        """Pushes until the disk is full: the ids acknowledged, the batch refused, its error."""
        acknowledged = []
        for number in range(ROWS_MAX):
            request = self.request(number)
            try:
                answer = self.a.push(request)[0]
            except grpc.RpcError as error:
                return acknowledged, request, error
            self.assertEqual(answer.results[0].outcome, types.OUTCOME_ACCEPTED)
            acknowledged.append(f"p{number}")
        raise AssertionError("the disk never filled up")

    def ids(self, client):
        return sorted(version.entity_id for page in client.pull() for version in page.versions)

    def test_full_disk_refuses_by_name_loses_nothing_and_heals_without_a_restart(self):
        acknowledged, refused, error = self.fill()

        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(reason_of(error), "STORE_FULL")
        self.assertIn("Free disk space", error.details())
        self.assertNotIn("xxx", error.details())
        self.assertGreater(len(acknowledged), 5)
        self.assertEqual(self.ids(self.b), sorted(acknowledged))
        self.b.status()
        with self.assertRaises(grpc.RpcError) as again:
            self.a.push(refused)
        self.assertEqual(reason_of(again.exception), "STORE_FULL")
        with self.assertRaises(grpc.RpcError) as run:
            self.a.run(*refused.changes)
        self.assertEqual(reason_of(run.exception), "STORE_FULL")

        self.world.remount(LARGE)
        healed = self.a.push(refused)[0]

        self.assertEqual(healed.results[0].outcome, types.OUTCOME_ACCEPTED)
        everything = sorted(acknowledged + [refused.changes[0].entity_id])
        self.assertEqual(self.ids(self.b), everything)
        self.assertTrue(self.world.service.alive())
        self.assertIn("intact", self.world.service_run("audit", "verify").stdout)
        # What was acknowledged while the disk was filling survives a power cut.
        self.a.close()
        self.b.close()
        self.world.service.kill()
        self.world.start_service()
        self.assertEqual(self.ids(self.client("b")), everything)

    def test_followers_go_on_when_the_disk_is_full_and_after_it(self):
        stream = self.b.pull(follow=True)
        next(stream)
        acknowledged, refused, _ = self.fill()
        seen = []
        while len(seen) < len(acknowledged):
            seen += [version.entity_id for version in next(stream).versions]
        self.assertEqual(seen, acknowledged)

        self.world.remount(LARGE)
        self.a.push(refused)

        self.assertEqual([v.entity_id for v in next(stream).versions],
                         [refused.changes[0].entity_id])
        stream.cancel()

    def test_space_that_others_free_is_used_at_once(self):
        filler = pathlib.Path(self.world.disk) / "filler"
        self.a.push(self.request("first"))
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        request = self.request("second")

        def is_full():
            try:
                self.a.push(self.request(new_batch_id()))
                return False
            except grpc.RpcError as error:
                self.assertEqual(reason_of(error), "STORE_FULL")
                return True
        wait_until("the room that the files have left is used up", is_full)
        with self.assertRaises(grpc.RpcError):
            self.a.push(request)

        filler.unlink()

        self.assertEqual(self.a.push(request)[0].results[0].outcome, types.OUTCOME_ACCEPTED)

    def test_read_only_disk_is_said_at_the_start_and_changes_nothing(self):
        self.a.push(self.request(1))
        self.world.service.stop()
        self.world.remount("ro")

        done = self.world.service_run("serve", "--listen", "127.0.0.1:0", check=False, timeout_s=30)

        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.world.remount("rw")
        self.world.start_service()
        self.assertEqual(self.ids(self.client("b")), ["p1"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
