"""Verbs: what is shown, offered and asked of people works."""
import contextlib
import datetime
import fcntl
import json
import os
import shlex
import signal
import sqlite3
import stat
import unittest

from cli_case import CliCase
from harness import Device, Program


class CliVerbsTest(CliCase):
    def test_agents_check_asks_the_daemon_and_opens_nothing(self):
        device = self.initialised()
        check = ("status", "--check", "--config", device.config)
        with open(f"{device.db}.sync.lock", "rb+") as lock:
            # As an agent that is just starting has it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_check(self.agent(*check), "CRITICAL", "(NO_AGENT)", device.db,
                              f"device-agent serve --config {device.config}")

        device.start()
        done = self.agent(*check)
        self.assertIn(done.returncode, (0, 1), done.stdout)
        self.assertIn("0 pending", done.stdout)

        device.agent.kill()
        self.assert_check(self.agent(*check), "CRITICAL", "(NO_AGENT)")
        self.assert_check(self.agent("status", "--check", "--config", "/nowhere.toml"), "UNKNOWN",
                          "(CONFIG)", "/nowhere.toml")

    def test_agent_that_is_stuck_is_critical(self):
        device = self.initialised()
        device.start()
        device.agent.process.send_signal(signal.SIGSTOP)
        try:
            done = self.agent("status", "--check", "--config", device.config)
        finally:
            device.agent.process.send_signal(signal.SIGCONT)

        self.assertEqual(done.returncode, 2, done.stdout)

    def test_services_check_needs_a_service_that_answers(self):
        self.world.setup("a")
        self.world.start_service()
        check = ("status", "--check", "--store", self.world.store, "--listen")

        self.assert_check(self.service(*check, self.world.address), "OK", "0 pending")
        self.assert_check(self.service(*check, f"0.0.0.0:{self.world.port}"), "OK")
        self.assert_check(self.service(*check, "127.0.0.1:0"), "UNKNOWN", "(CONFIG)", "--listen")
        self.world.service.stop()
        self.assert_check(self.service(*check, self.world.address), "CRITICAL",
                          "(SERVICE_UNREACHABLE)", self.world.address, "sync-service serve")

    def test_only_ways_that_are_not_refused_are_offered(self):
        a, b, form, conflict = self.conflict_on_a_form()
        loser = b if b.json("conflicts", "list", "--all")["items"] else a
        show = ("conflicts", "show", conflict)
        service = self.world.service_run
        self.assertEqual(self.offered(service(*show).stdout), ["--keep", "--restore", "--content"])
        self.assertEqual(self.offered(loser.agent_run(*show).stdout), ["--keep", "--restore"])

        a.shell(f"UPDATE IntakeForm SET IsLocked = 1 WHERE Id = '{form}';")
        a.agent_run("run", check=False)
        locked = service(*show).stdout
        self.assertEqual(self.offered(locked), ["--keep"])
        unlock = [line for line in locked.splitlines() if "sync-service unlock" in line][0]
        self.assertIn(form, unlock)
        service("unlock", "--type", "IntakeForm", "--id", form, "--reason", "TEST")
        self.assertEqual(self.offered(service(*show).stdout), ["--keep", "--restore", "--content"])

        collide = "UPDATE SyncConflictArchives SET ResolutionType = 'KeyCollision'"
        with contextlib.closing(sqlite3.connect(self.world.root / "store.db")) as store, store:
            store.execute(collide)
        loser.ledger(collide)
        self.assertEqual(self.offered(service(*show).stdout), ["--keep", "--content"])
        self.assertEqual(self.offered(loser.agent_run(*show).stdout), ["--keep"])
        self.assert_error(self.service("conflicts", "resolve", conflict, "--restore", "--reason",
                                       "TEST", "--store", self.world.store), 1, "KEY_COLLISION")

    def test_uninstalled_file_stays_so_until_init(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "u")
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        before = device.rows(schema)
        self.assertEqual(device.init().returncode, 0)
        self.assertNotEqual(device.rows(schema), before)

        done = device.agent_run("uninstall")

        self.assertEqual(done.returncode, 0, done.stderr)
        for verb in (("status",), ("run",), ("push",), ("queue", "list"), ("serve",)):
            self.assert_error(device.agent_run(*verb, check=False), 1, "NOT_INITIALISED",
                              "device-agent init")
            self.assertEqual(device.rows(schema), before, verb)
        self.assertEqual(device.agent_run("uninstall").returncode, 0)
        self.assertEqual(device.init().returncode, 0)
        self.assertNotEqual(device.rows(schema), before)
        self.assertEqual(device.agent_run("status").returncode, 0)

    def test_uninstall_says_that_the_app_holds_its_file(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "h")
        self.assertEqual(device.init().returncode, 0)
        for mode, hold in (("DELETE", "BEGIN EXCLUSIVE"), ("WAL", "BEGIN IMMEDIATE"),
                           ("WAL", "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE")):
            with self.subTest(mode=mode, hold=hold), contextlib.closing(
                    sqlite3.connect(device.db, isolation_level=None)) as app:
                app.execute(f"PRAGMA journal_mode = {mode}")
                app.executescript(hold)

                self.assert_error(device.agent_run("uninstall", check=False), 4, "BLOCKED_BY_APP",
                                  device.db, "Run uninstall again")

        self.assertEqual(device.agent_run("uninstall").returncode, 0)

    def test_init_after_the_printed_script_says_that_it_compares(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);"
                               "INSERT INTO Good VALUES('g1', 1);", "p")
        script = device.init("--print-sql").stdout
        device.shell(script)

        done = device.init()

        self.assertNotIn("0 rows", done.stdout)
        self.assertIn("compared with the service's", done.stdout)
        status = device.agent_run("status", check=False).stdout
        self.assertNotIn("set back", status)
        self.assertIn("compared with the service's", status.splitlines()[0])

    def test_status_without_a_daemon_says_so_and_what_waits(self):
        device = self.initialised("s")
        first = device.agent_run("status").stdout.splitlines()[0]
        self.assertIn("no agent runs; nothing waits, last sync never", first)
        self.assertNotIn("connecting", first)
        self.assertNotIn("safely", first)

        device.shell("INSERT INTO Good VALUES('g1', 1), ('g2', 2);")
        first = device.agent_run("status").stdout.splitlines()[0]
        self.assertIn("no agent runs; 2 changes wait safely on this device", first)

        device.ledger("UPDATE SyncQueueItems SET Status = 3 WHERE EntityId = 'g1'")
        done = device.agent_run("status", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("WARNING", done.stdout.splitlines()[0])
        self.assertIn("1 change waits safely on this device, 1 change failed",
                      done.stdout.splitlines()[0])
        self.assertFalse(device.json("status", check=False)["agentRuns"])

    def test_watch_ends_with_0_when_it_is_told_to(self):
        device = self.initialised("w")
        device.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            watch = Program([self.world.bin / "device-agent", "status", "--watch", "--json",
                             "--config", device.config], self.world.root / "watch.log")
            self.world.programs.append(watch)
            self.assertTrue(json.loads(watch.ready)["agentRuns"])
            watch.process.send_signal(number)
            self.assertEqual(watch.stop(), 0)

    def test_versions_that_the_schema_refuses_are_named_and_wait_for_a_person(self):
        self.world.setup("a", "b")
        self.world.start_service()
        a = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "a")
        b = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, "
                          "V CONSTRAINT Small CHECK (V < 10));", "b")
        for device in (a, b):
            device.__init__(self.world, device.name, tables=("Good",), stamps=False)
            device.init()
        a.shell("INSERT INTO Good VALUES('fits', 1), ('large', 11);")
        a.agent_run("run")

        done = b.agent_run("run", check=False)

        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertNotIn("already here", done.stdout)
        self.assertIn("1 version is set aside", done.stdout)
        line = [line for line in done.stdout.splitlines() if "Good large" in line][0]
        self.assertIn("Small", line)
        command = line.split(": device-agent ")[1].split()
        self.assertEqual(self.agent(*command).returncode, 0)
        self.assertEqual(b.agent_run("run", "--json", check=False).returncode, 3)
        shown = b.json("status", check=False)
        self.assertEqual(shown["setAside"], 1)
        self.assertEqual(shown["setAsideVersions"][0]["entityId"], "large")
        status = b.agent_run("status", check=False)
        self.assertEqual(status.returncode, 3)
        self.assertIn("Good large", status.stdout)

    def test_one_cycle_of_serve_prints_what_run_prints(self):
        self.world.setup("a")
        self.world.start_service()
        a = Device(self.world, "a")
        a.init()
        a.shell("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                "VALUES('p1', 'Ana', 'Alvarez', '1980-01-01');")

        done = a.agent_run("serve", "--once", "--json")

        self.assertEqual(json.loads(done.stdout)["push"]["success"], 1)
        self.assertIn("ready", a.agent_run("serve", "--once").stdout)

    def test_device_resolves_a_conflict_with_another_content_and_a_reason(self):
        a, b, form, _ = self.conflict_on_a_form()
        loser, winner = (b, a) if b.json("conflicts", "list")["items"] else (a, b)
        conflict = loser.json("conflicts", "list")["items"][0]["conflictId"]
        content = json.loads(loser.agent_run("conflicts", "show", conflict, "--json").stdout)
        content = {**content["chosenData"], "Complaint": "both knees"}
        file = self.world.root / "content.json"
        resolve = ("conflicts", "resolve", conflict, "--content", file, "--reason")

        file.write_text(json.dumps({**content, "Id": "another"}))
        self.assert_error(loser.agent_run(*resolve, "BOTH", check=False), 1, "FIELD", "key")
        file.write_text(json.dumps({**content, "Nonsense": 1}))
        self.assert_error(loser.agent_run(*resolve, "BOTH", check=False), 1, "FIELD", "Nonsense")
        file.write_text(json.dumps({**content, "PatientId": "nobody"}))
        self.assert_error(loser.agent_run(*resolve, "BOTH", check=False), 1, "SCHEMA_REFUSES")
        self.assert_error(loser.agent_run("conflicts", "resolve", conflict, "--content", "/nowhere",
                                          check=False), 1, "FILE", "/nowhere")
        self.assertEqual(len(loser.json("conflicts", "list")["items"]), 1)
        file.write_text(json.dumps(content))
        done = loser.json(*resolve, "BOTH")
        self.assertEqual(done["resolvedAction"], "Edited: BOTH")
        for device in (loser, winner):
            device.agent_run("run", check=False)

        complaint = f"SELECT Complaint FROM IntakeForm WHERE Id = '{form}'"
        self.assertEqual(winner.rows(complaint), [("both knees",)])
        self.assertEqual(loser.rows(complaint), [("both knees",)])
        self.assertEqual(loser.json("conflicts", "list")["items"], [])

    def test_commands_that_are_shown_work_as_they_stand(self):
        a, b, form, conflict = self.conflict_on_a_form()
        loser = b if b.json("conflicts", "list")["items"] else a
        shown = loser.agent_run("conflicts", "show", conflict).stdout
        why = [line for line in shown.splitlines() if line.startswith("device-agent why")][0]
        keep = [line for line in shown.splitlines() if " --keep" in line][0]
        for line in (why, keep):
            done = self.agent(*shlex.split(line)[1:])
            self.assertEqual(done.returncode, 0, line + done.stderr)

        shown = self.service("conflicts", "show", conflict, "--tenant", "clinic", "--store",
                             self.world.store).stdout
        keep = [line for line in shown.splitlines() if " --keep" in line][0]
        self.assertIn("--tenant clinic", keep)
        done = self.service(*shlex.split(keep)[1:])
        self.assertEqual(done.returncode, 0, keep + done.stderr)

    def test_cancelled_row_that_was_never_sent_has_no_time_of_theirs(self):
        device = self.initialised("c")
        device.shell("INSERT INTO Good VALUES('g1', 1);")
        item = device.json("queue", "list")["items"][0]["id"]
        device.agent_run("queue", "cancel", item)
        conflict = device.json("conflicts", "list", "--all")["items"][0]["conflictId"]

        shown = device.agent_run("conflicts", "show", conflict).stdout

        self.assertNotIn("1970", shown)
        self.assertIn("theirs: (not known on this device)", shown)

    def test_names_that_nobody_can_read_are_refused(self):
        self.world.setup("a")
        store = ("--store", self.world.store)
        for flag, value in (("--device", ""), ("--device", "a\nb"), ("--device", "a\x1b[2J"),
                            ("--tenant", ""), ("--tenant", "x\ty"), ("--user", "u\nv")):
            with self.subTest(flag=flag, value=value):
                given = {"--device": "d", "--tenant": "clinic", flag: value}
                done = self.service("token", "create", *store,
                                    *[word for pair in given.items() for word in pair])
                self.assert_error(done, 2, "USAGE", flag, "Nothing was done")
        tokens = json.loads(self.service("token", "list", "--json", *store).stdout)["items"]
        self.assertEqual(sorted(token["device"] for token in tokens), ["a", "admin"])

    def test_people_have_tokens_for_12_hours_and_devices_for_a_year(self):
        self.world.setup("a")
        store = ("--store", self.world.store)
        self.service("token", "create", "--device", "desk", "--role", "admin", *store)
        hours = {}
        for token in json.loads(self.service("token", "list", "--json", *store).stdout)["items"]:
            created, expires = (datetime.datetime.fromisoformat(token[name].rstrip("Z"))
                                for name in ("createdAt", "expiresAt"))
            hours[token["device"]] = (expires - created).total_seconds() / 3600
        self.assertEqual(hours, {"a": 365 * 24, "admin": 12, "desk": 12})

    def test_setup_replaces_a_token_whose_time_is_over(self):
        self.world.setup("a")
        admin, a = self.world.token("admin"), self.world.token("a")
        with contextlib.closing(sqlite3.connect(self.world.root / "store.db")) as store, store:
            changed = store.execute("UPDATE SyncTokens SET ExpiresAt = '2020-01-01T00:00:00.000Z' "
                                    "WHERE DeviceId = 'admin'").rowcount
        self.assertEqual(changed, 1)

        self.world.setup("a")

        self.assertNotEqual(self.world.token("admin"), admin)
        self.assertEqual(self.world.token("a"), a)
        mode = stat.S_IMODE(os.stat(self.world.root / "tokens" / "admin.token").st_mode)
        self.assertEqual(mode, 0o600)

    def test_unknown_tenant_is_an_error(self):
        self.world.setup("a")
        for verb in (("status",), ("devices", "list"), ("conflicts", "list"), ("audit", "list"),
                     ("audit", "verify"), ("why", "T", "1")):
            self.assert_error(self.service(*verb, "--tenant", "nope", "--store", self.world.store),
                              1, "TENANT_UNKNOWN", "clinic")
            self.assertEqual(self.service(*verb, "--tenant", "clinic", "--store",
                                          self.world.store).returncode, 0)

    def test_ledger_that_breaks_under_the_daemon_is_named_and_not_the_apps_file(self):
        device = self.initialised()
        device.shell("INSERT INTO Good VALUES('g1', 1);")
        device.start()
        with contextlib.closing(sqlite3.connect(f"{device.db}.sync")) as ledger, ledger:
            ledger.execute("PRAGMA writable_schema = ON")
            ledger.execute("UPDATE sqlite_master SET rootpage = 99999 WHERE type = 'table'")
            version = ledger.execute("PRAGMA schema_version").fetchone()[0]
            ledger.execute(f"PRAGMA schema_version = {version + 1}")

        run = device.agent_run("run", check=False)

        self.assert_error(run, 1, "LOCAL_STORE", f"{device.db}.sync", "SQLITE_CORRUPT")
        self.assertNotIn("The app's file", run.stderr)
        self.assert_check(device.agent_run("status", "--check", check=False), "CRITICAL",
                          f"{device.db}.sync")


if __name__ == "__main__":
    unittest.main(verbosity=2)
