"""The README's set-up, as it stands there: only its paths and its port are others here."""
import json
import os
import pathlib
import re
import shlex
import sqlite3
import unittest

from harness import APPS, Program, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def set_up_commands():
    block = re.search(r"## Set it up\n+```\n(.*?)```", README.read_text(), re.S).group(1)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN)
        self.root = self.world.root

    def tearDown(self):
        self.world.__exit__()

    def here(self, argument):
        for there, path in (("/var/lib/ptdoc", self.root), ("/etc/ptdoc", self.root),
                            ("app.db", self.root / "app.db"),
                            ("agent.toml", self.root / "agent.toml"),
                            ("127.0.0.1:5171", self.world.address)):
            argument = argument.replace(there, str(path))
        return argument

    def start(self, command):
        program, *args = command
        more = ["--listen", "127.0.0.1:0"] if program == "sync-service" else []
        started = Program([self.world.bin / program, *map(self.here, args), *more],
                          self.root / f"{program}.log")
        self.world.programs.append(started)
        if program == "sync-service":
            self.world.port = int(re.search(r"grpc=127\.0\.0\.1:(\d+)", started.ready).group(1))

    def status(self):
        return json.loads(self.world.run("device-agent", "status", "--json", "--database",
                                         self.root / "app.db", check=False).stdout)

    def test_the_lines_of_the_readme_give_a_synced_database(self):
        with sqlite3.connect(self.root / "app.db") as app:
            app.executescript((APPS / "clinic.sql").read_text())
            app.execute("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                        "VALUES ('p1', 'Ada', 'Byron', '1990-01-01')")
        for command in set_up_commands():
            program, verb = command[:2]
            if verb == "serve":
                self.start(command)
                continue
            done = self.world.run(program, *map(self.here, command[1:]))
            if verb == "init":
                self.assertIn("Patient", done.stdout)
            if verb == "init" and "--dry-run" not in command:
                # Doing it once more changes nothing.
                self.world.run(program, *map(self.here, command[1:]))

        wait_until("the row is on the service",
                   lambda: self.status()["pending"] == 0 and self.status()["link"] == "online")
        self.assertEqual(self.status()["deviceId"], "tablet-a")
        shown = self.world.run("sync-service", "status", "--tenant", "clinic", "--store",
                               f"sqlite:///{self.root}/store.db").stdout
        self.assertIn("tablet-a", shown)


if __name__ == "__main__":
    unittest.main()
