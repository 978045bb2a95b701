"""The command lines: plans, refusals, configuration errors, exit codes."""
import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import stat
import unittest
import uuid

from harness import Device, World

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class CliTest(unittest.TestCase):
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

    def test_every_verb_has_help(self):
        for program, verbs in (
                ("sync-service", ["serve", "setup", "token create", "token list", "token revoke",
                                  "status", "conflicts list", "conflicts show",
                                  "conflicts resolve", "unlock", "devices list", "audit list",
                                  "audit verify", "backup", "restore", "config check", "why"]),
                ("device-agent", ["init", "uninstall", "serve", "run", "push", "pull", "status",
                                  "queue list", "queue retry", "queue cancel", "queue confirm",
                                  "conflicts list", "conflicts show", "conflicts resolve", "pause",
                                  "resume", "why", "config check"])):
            self.assertIn(program, self.world.run(program, "--version").stdout)
            for verb in verbs:
                done = self.world.run(program, *verb.split(), "--help", check=False)
                self.assertEqual(done.returncode, 0, f"{program} {verb}")
                self.assertIn("--config", done.stdout)

    def test_unknown_configuration_key_is_named_with_its_line_and_the_nearest(self):
        config = self.world.root / "service.toml"
        config.write_text("[sync]\n\nmax_clock_skw = \"1m\"\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:3", "max_clock_skw", "max_clock_skew",
                          "Nothing was started or changed")
        config.write_text("[sync]\nmax_clock_skew = 5\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:2")
        self.assert_error(self.service("config", "check", "--config", "/nowhere.toml"), 2, "CONFIG",
                          "/nowhere.toml")
        config.write_text("[[entity]]\ntype = \"Note\"\npolicy = \"merge_fields\"\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:3")

    def test_address_that_is_none_is_said_by_file_and_line_before_anything_starts(self):
        config = self.world.root / "address.toml"
        config.write_text('[server]\nlisten = "5171"\n')
        for verb in (("config", "check"), ("serve", "--store", self.world.store)):
            self.assert_error(self.service(*verb, "--config", config), 2, "CONFIG",
                              "address.toml:2", "[server] listen", "host:port")
        config.write_text('[device]\ndatabase = "x.db"\n[service]\naddress = "nowhere"\n')
        for verb in (("config", "check"), ("serve",), ("run",)):
            self.assert_error(self.agent(*verb, "--config", config), 2, "CONFIG",
                              "address.toml:4", "[service] address", "host:port")

    def test_configuration_with_a_missing_certificate_is_not_in_order(self):
        config = self.world.root / "tls.toml"
        config.write_text('[device]\ndatabase = "x.db"\n[service]\nca_file = "/nowhere.pem"\n')
        self.assert_error(self.agent("config", "check", "--config", config), 2, "CONFIG",
                          "/nowhere.pem")

    def test_port_that_is_taken_ends_serve_as_failed(self):
        self.world.setup("a")
        self.world.start_service()
        self.assert_error(self.service("serve", "--store", self.world.store, "--listen",
                                       self.world.address), 1, "LISTEN_FAILED", "--listen")

    def test_environment_beats_the_file_and_flags_beat_both(self):
        config = self.world.root / "service.toml"
        config.write_text("[server]\nlisten = \"127.0.0.1:1\"\n")
        done = self.world.run("sync-service", "config", "check", "--config", config, "--json",
                              env={"PTDOC_SYNC_SERVER_LISTEN": "127.0.0.1:2"})
        self.assertEqual(json.loads(done.stdout)["listen"], "127.0.0.1:2")

    def test_usage_errors_exit_with_2(self):
        self.assert_error(self.agent("nonsense"), 2, "USAGE", "nonsense")
        self.assert_error(self.agent("queue", "retry", "--database", "x.db"), 2, "USAGE")
        self.assert_error(self.agent("status"), 2, "CONFIG", "database")

    def test_plan_refuses_what_it_must_and_says_the_way_out(self):
        device = self.database(
            "CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);"
            "CREATE TABLE Numbered(Id INTEGER PRIMARY KEY, V);"
            "CREATE TABLE Keyless(V);"
            "CREATE VIRTUAL TABLE Search USING fts5(V);")
        database = self.world.root / "all.db"
        device.db.rename(database)
        plan = json.loads(self.agent("init", "--database", database, "--all-tables", "--dry-run",
                                     "--json").stdout)
        reasons = {r["table"]: r["reason"] for r in plan["refused"]}
        self.assertEqual(reasons["Numbered"], "INTEGER_KEY")
        self.assertEqual(reasons["Keyless"], "NO_KEY")
        self.assertEqual([t["table"] for t in plan["tables"]], ["Good"])

    def test_named_table_that_is_refused_stops_init(self):
        database = self.world.root / "n.db"
        self.database("CREATE TABLE Numbered(Id INTEGER PRIMARY KEY, V);", "n").db.rename(database)
        done = self.agent("init", "--database", database, "--table", "Numbered")
        self.assertEqual(done.returncode, 1)
        self.assertIn("INTEGER_KEY", done.stderr)
        done = self.agent("init", "--database", database, "--table", "Absent")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Absent", done.stderr)

    def test_files_that_are_no_database_are_told_apart(self):
        text = self.world.root / "text.db"
        text.write_text("this is a letter, and long enough to hold a header of a hundred bytes " * 9)
        encrypted = self.world.root / "encrypted.db"
        encrypted.write_bytes(os.urandom(8192))
        self.assert_error(self.agent("init", "--database", text, "--table", "T"), 1,
                          "DATABASE_UNUSABLE", "text.db")
        self.assert_error(self.agent("init", "--database", encrypted, "--table", "T"), 1,
                          "DATABASE_UNUSABLE", "encrypted")
        self.assert_error(self.agent("init", "--database", "/nowhere/x.db", "--table", "T"), 1,
                          "DATABASE_MISSING")

    def test_init_without_configuration_writes_one_that_works(self):
        database = self.world.root / "plain.db"
        self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "p").db.rename(database)
        done = self.agent("init", "--database", database, "--all-tables", "--service",
                          "127.0.0.1:1")
        self.assertEqual(done.returncode, 0, done.stderr)

        status = self.agent("status", "--database", database, "--json")
        run = self.agent("run", "--database", database)

        self.assertEqual(json.loads(status.stdout)["pending"], 0)
        self.assert_error(run, 4, "SERVICE_UNREACHABLE", "safe")

    def test_print_sql_is_what_the_shell_can_run(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "q")
        database = self.world.root / "q.db"
        device.db.rename(database)
        script = self.agent("init", "--database", database, "--table", "Good", "--print-sql").stdout
        device.db = database
        device.shell(script)
        self.assertTrue(device.rows("SELECT 1 FROM sqlite_master WHERE name = 'SyncLog'"))

    def test_setup_is_idempotent_and_its_files_are_private(self):
        self.world.setup("a")
        token = self.world.token("a")

        self.world.setup("a", "b")

        self.assertEqual(self.world.token("a"), token)
        mode = stat.S_IMODE(os.stat(self.world.root / "tokens" / "b.token").st_mode)
        self.assertEqual(mode, 0o600)
        self.assertTrue(token.startswith("ptd_"))

    def test_other_hosts_are_not_served_without_tokens(self):
        done = self.service("serve", "--store", self.world.store, "--listen", "0.0.0.0:0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("LISTEN_FORBIDDEN", done.stderr)

    def test_missing_store_is_said_by_name(self):
        self.assert_error(self.service("status", "--store", "sqlite:////nowhere/store.db"), 1,
                          "NO_STORE", "/nowhere/store.db")
        done = self.service("status", "--check", "--store", "sqlite:////nowhere/store.db")
        self.assert_check(done, "UNKNOWN", "/nowhere/store.db", "(NO_STORE)", "--store")

    def test_store_that_is_damaged_is_said_by_name_with_the_way_out(self):
        store = self.world.root / "bad.db"
        store.write_bytes(os.urandom(8192))
        for verb in (("status",), ("devices", "list"), ("backup", self.world.root / "copy.db")):
            self.assert_error(self.service(*verb, "--store", f"sqlite:///{store}"), 1,
                              "STORE_UNUSABLE", store, "Nothing was changed", "restore")

    # --- Health checks.

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

    # --- What is offered works.

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

    # --- The file that is broken is the one that is named.

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
