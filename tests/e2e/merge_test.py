"""Types whose fields are merged: two devices, a service that is configured so."""
import json
import os
import unittest

from harness import Device, World

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class MergeTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b", "c")
        self.config = self.world.root / "service.toml"
        self.config.write_text('[[entity]]\ntype = "Patient"\npolicy = "merge_fields"\n')
        self.world.start_service("--config", self.config)
        self.a, self.b, self.c = (self.device(name) for name in "abc")
        self.a.shell("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                     "VALUES('p1', 'Ana', 'Base', '1980-01-01');")
        self.sync_all()

    def tearDown(self):
        self.world.__exit__()

    def device(self, name):
        device = Device(self.world, name, interval="1h")
        device.init()
        return device

    def sync_all(self):
        for _ in range(2):
            for device in (self.a, self.b, self.c):
                device.agent_run("run", check=False)

    def edit(self, device, sets):
        device.shell(f"UPDATE Patient SET {sets} WHERE Id = 'p1';")

    def names(self, device):
        return device.rows("SELECT FirstName, LastName, DateOfBirth FROM Patient")

    def service_json(self, *args):
        return json.loads(self.world.service_run(*args, "--json").stdout)

    def test_edits_of_different_fields_all_stand_and_nobody_is_asked(self):
        self.edit(self.a, "FirstName = 'Anna'")
        self.edit(self.b, "LastName = 'Berg'")
        self.edit(self.c, "DateOfBirth = '1980-02-02'")
        self.a.agent_run("run")

        run = self.b.json("run", check=False)
        self.sync_all()

        self.assertEqual([(c["resolution"], c["entityId"]) for c in run["conflicts"]],
                         [("Merged", "p1")])
        for device in (self.a, self.b, self.c):
            self.assertEqual(self.names(device), [("Anna", "Berg", "1980-02-02")], device.name)
            self.assertTrue(device.queue_empty())
        self.assertEqual(self.service_json("conflicts", "list")["items"], [])
        merged = self.service_json("conflicts", "list", "--all")["items"]
        self.assertEqual([(c["resolutionType"], c["rule"], c["archivedDeviceId"]) for c in merged],
                         [("Merged", "9", "b"), ("Merged", "9", "c")])
        mine = self.b.json("conflicts", "list", "--all")["items"]
        self.assertEqual([c["conflictId"] for c in mine], [merged[0]["conflictId"]])
        self.assertEqual(self.b.json("conflicts", "list")["items"], [])

    def test_the_later_value_of_a_field_stands_and_the_other_waits_for_a_reviewer(self):
        self.edit(self.a, "LastName = 'Earlier'")
        self.edit(self.b, "LastName = 'Later', FirstName = 'Anna'")
        self.a.agent_run("run")

        self.b.agent_run("run", check=False)
        self.sync_all()

        for device in (self.a, self.b, self.c):
            self.assertEqual(self.names(device)[0][:2], ("Anna", "Later"), device.name)
        open_ones = self.service_json("conflicts", "list")["items"]
        self.assertEqual([c["archivedDeviceId"] for c in open_ones], ["a"])
        conflict = open_ones[0]["conflictId"]
        self.assertEqual(self.a.ledger("SELECT ConflictId, Rule, IsResolved FROM "
                                       "SyncConflictArchives"), [(conflict, "9", 0)])
        self.assertEqual(self.b.ledger("SELECT count(*) FROM SyncConflictArchives"), [(0,)])
        shown = self.service_json("conflicts", "show", conflict)
        self.assertEqual(shown["archivedData"]["LastName"], "Earlier")
        self.assertEqual(shown["chosenData"]["LastName"], "Later")
        self.assertEqual(shown["baseData"]["LastName"], "Base")
        told = self.world.service_run("why", "Patient", "p1", "--config", self.config).stdout
        self.assertIn("Merged (rule 9): the version of a is archived", told)
        self.assertIn("edits made from one base are merged", told)

    def test_a_deletion_and_an_edit_are_decided_by_the_later_time(self):
        self.b.shell("DELETE FROM Patient WHERE Id = 'p1';")
        self.edit(self.a, "LastName = 'Kept'")
        self.b.agent_run("run")

        run = self.a.json("run", check=False)
        self.sync_all()

        self.assertEqual(run["conflicts"][0]["resolution"], "LocalWins")
        for device in (self.a, self.b, self.c):
            self.assertEqual(self.names(device)[0][1], "Kept", device.name)

    def test_a_service_that_merged_goes_on_with_another_policy_and_back(self):
        self.edit(self.a, "FirstName = 'Anna'")
        self.edit(self.b, "LastName = 'Berg'")
        self.sync_all()
        self.world.service.stop()
        self.config.write_text('[[entity]]\ntype = "Patient"\npolicy = "last_write_wins"\n')
        self.world.start_service("--config", self.config)
        self.edit(self.a, "FirstName = 'A'")
        self.edit(self.b, "LastName = 'B'")
        self.a.agent_run("run")

        run = self.b.json("run", check=False)
        self.sync_all()

        self.assertEqual(run["conflicts"][0]["resolution"], "LocalWins")
        self.assertEqual(self.names(self.a)[0][:2], ("Anna", "B"))
        self.assertEqual(self.names(self.a), self.names(self.c))


if __name__ == "__main__":
    unittest.main()
