"""What the tests of the command lines have in common."""
import json
import os
import unittest
import uuid

from harness import Device, World

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class CliCase(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN)

    def tearDown(self):
        self.world.__exit__()

    def agent(self, *args):
        return self.world.run("device-agent", *args, check=False)

    def service(self, *args):
        return self.world.run("sync-service", *args, check=False)

    def database(self, sql, name="d"):
        schema = self.world.root / f"{name}.sql"
        schema.write_text(sql)
        device = Device(self.world, name, schema=schema)
        self.database_config(device)
        return device

    def assert_error(self, done, code, reason, *words):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(f"({reason})", lines[0])
        for word in words:
            self.assertIn(str(word), lines[0])
        # What happened (REASON). What it means. What to do.
        parts = lines[0].split(f"({reason}). ", 1)[1]
        self.assertRegex(parts, r"^[A-Z][^.].*\. .*[A-Za-z`].*\.$", lines[0])

    def assert_check(self, done, state, *words):
        self.assertEqual(done.returncode, ["OK", "WARNING", "CRITICAL", "UNKNOWN"].index(state),
                         done.stdout + done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        self.assertTrue(done.stdout.startswith(f"PTDOC {state} - "), done.stdout)
        for word in words:
            self.assertIn(str(word), done.stdout)

    def initialised(self, name="good"):
        """A device with one table, whose agent finds no service."""
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", name)
        self.assertEqual(self.agent("init", "--database", device.db, "--table", "Good", "--config",
                                    device.config).returncode, 0)
        return device

    def database_config(self, device):
        device.config.write_text(
            f'[service]\naddress = "127.0.0.1:1"\n[device]\ndatabase = "{device.db}"\n'
            f'[control]\nlisten = "unix://{device.dir}/agent.sock"\n[[entity]]\ntable = "Good"\n')

    def conflict_on_a_form(self):
        """The ConflictId of an edit of b's that lost against a's."""
        self.world.setup("a", "b")
        self.world.start_service()
        a, b = Device(self.world, "a", interval="1h"), Device(self.world, "b", interval="1h")
        patient, form = str(uuid.uuid4()), str(uuid.uuid4())
        for device in (a, b):
            device.init()
        a.shell("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                f"VALUES('{patient}', 'Ana', 'Alvarez', '1980-01-01');"
                f"INSERT INTO IntakeForm(Id, PatientId, Complaint) VALUES('{form}', '{patient}', "
                "'knee');")
        for device in (a, b):
            device.agent_run("run")
        b.shell(f"UPDATE IntakeForm SET Complaint = 'left knee' WHERE Id = '{form}';")
        a.shell(f"UPDATE IntakeForm SET Complaint = 'right knee' WHERE Id = '{form}';")
        for device in (a, b, a, b):
            device.agent_run("run", check=False)
        conflicts = json.loads(self.world.service_run("conflicts", "list", "--json").stdout)
        return a, b, form, conflicts["items"][0]["conflictId"]

    def offered(self, text):
        return [line.split(" resolve ")[1].split()[1] for line in text.splitlines()
                if " conflicts resolve " in line]

    def agent_config(self, text, name="agent.toml"):
        config = self.world.root / name
        config.write_text(text)
        return config
