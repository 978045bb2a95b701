"""docs/THIN_CLIENT.md: its example, as printed there, syncs with a device that has an agent."""
import importlib.util
import os
import unittest

import grpc

from harness import SOURCE, Device, World
import stubs  # its messages are those of the page

BIN = os.environ.get("PTDOC_BIN", "build/bin")
SCHEMA = "CREATE TABLE Note(Id TEXT PRIMARY KEY NOT NULL, Body TEXT, SignatureHash TEXT);"


def load_example(folder):
    page = (SOURCE / "docs" / "THIN_CLIENT.md").read_text()
    code = page.split("```python\n", 1)[1].split("\n```", 1)[0]
    path = folder / "thin_client.py"
    path.write_text(code + "\n")
    spec = importlib.util.spec_from_file_location("thin_client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CutOff:
    """A link that loses the answer, once."""

    def __init__(self, call):
        self.call = call
        self.cut = True

    def __call__(self, request, **options):
        answer = self.call(request, **options)
        if self.cut:
            self.cut = False
            raise ConnectionError("the answer was lost")
        return answer


class ThinClientTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN)
        self.addCleanup(self.world.__exit__)
        self.world.setup("phone", "tablet")
        self.world.start_service()
        schema = self.world.root / "schema.sql"
        schema.write_text(SCHEMA)
        self.tablet = Device(self.world, "tablet", interval="1h", tables=("Note",), stamps=False,
                             schema=schema)
        self.tablet.init()
        self.thin = load_example(self.world.root)
        self.db = self.thin.open_database(str(self.world.root / "phone.db"))
        self.addCleanup(self.db.close)
        self.channel = grpc.insecure_channel(self.world.address)
        self.addCleanup(self.channel.close)

    def sync(self):
        self.thin.sync_all(self.db, self.channel, self.world.token("phone"))

    def notes(self):
        return dict(self.db.execute("SELECT Id, Body FROM Note WHERE Deleted = 0").fetchall())

    def tablet_notes(self):
        self.tablet.agent_run("run", check=False)
        return dict(self.tablet.rows("SELECT Id, Body FROM Note"))

    def test_rows_go_both_ways(self):
        for i in range(450):
            self.thin.edit(self.db, f"n{i}", f"body {i}")
        self.tablet.shell("INSERT INTO Note VALUES('t1', 'from the tablet', NULL);")
        self.tablet.agent_run("run")
        self.sync()
        self.assertEqual(len(self.notes()), 451)
        self.assertEqual(self.tablet_notes(), self.notes())

        self.thin.edit(self.db, "t1", None)
        self.thin.delete(self.db, "n7")
        self.sync()
        self.assertEqual(self.tablet_notes(), self.notes())
        self.tablet.shell("DELETE FROM Note WHERE Id = 'n8'; UPDATE Note SET Body = 'x';")
        self.tablet.agent_run("run")
        self.sync()
        self.assertEqual(self.tablet_notes(), self.notes())
        self.assertEqual(self.db.execute("SELECT count(*) FROM Note WHERE Edits > 0").fetchone(),
                         (0,))

    def test_conflict_is_decided_and_a_signed_note_stays(self):
        self.thin.edit(self.db, "n", "first")
        self.sync()
        self.tablet_notes()
        self.thin.edit(self.db, "n", "older, on the phone")
        self.tablet.shell("UPDATE Note SET Body = 'newer, signed', SignatureHash = 's';")
        self.tablet.agent_run("run")
        self.sync()

        self.assertEqual(self.notes(), {"n": "newer, signed"})
        self.assertEqual(self.tablet_notes(), {"n": "newer, signed"})
        lost = self.world.service_run("conflicts", "list", "--all", "--tenant", "clinic", "--json")
        self.assertIn("RejectedImmutable", lost.stdout)

    def test_lost_answer_costs_nothing(self):
        call = CutOff(self.channel.unary_unary(
            "/ptdoc.sync.v1.SyncService/Run",
            request_serializer=stubs.sync.RunRequest.SerializeToString,
            response_deserializer=stubs.sync.RunResponse.FromString))
        self.thin.edit(self.db, "n", "once")
        with self.assertRaises(ConnectionError):
            self.thin.run_once(self.db, call, self.world.token("phone"))
        self.thin.edit(self.db, "m", "meanwhile")
        self.sync()

        self.assertEqual(self.tablet_notes(), {"n": "once", "m": "meanwhile"})
        audit = self.world.service_run("why", "Note", "n", "--tenant", "clinic").stdout
        self.assertEqual(audit.count(": created"), 1, audit)
        self.assertNotIn(": changed", audit)

    def test_restored_service_is_met_from_the_start(self):
        self.thin.edit(self.db, "n", "kept")
        self.sync()
        self.world.service_run("backup", self.world.root / "backup.db")
        self.world.service.stop()
        self.world.service_run("restore", self.world.root / "backup.db")
        self.world.start_service()
        self.thin.edit(self.db, "m", "after")
        self.sync()

        self.assertEqual(self.tablet_notes(), {"n": "kept", "m": "after"})


if __name__ == "__main__":
    unittest.main()
