"""The command lines: plans, refusals, configuration errors, exit codes."""
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
import uuid

from harness import Device, Program, World

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
        other = f"sqlite:///{self.world.root}/other.db"
        self.assert_error(self.service("serve", "--store", other, "--listen", self.world.address),
                          1, "LISTEN_FAILED", "--listen")

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

    # --- Configurations.

    def agent_config(self, text, name="agent.toml"):
        config = self.world.root / name
        config.write_text(text)
        return config

    def test_every_key_of_the_configurations_is_taken_in_its_plain_form(self):
        agent = self.agent_config(
            '[service]\naddress = "127.0.0.1:1"\ntoken_file = ""\nca_file = ""\n'
            'client_cert_file = ""\nclient_key_file = ""\n'
            '[device]\ndatabase = "x.db"\nstate = ""\nid = ""\nuser = ""\n'
            '[sync]\ninterval = "30s"\nbatch_changes = 1000\nbatch_bytes = "1MiB"\n'
            'max_retries = 3\nentity_types = ["Good"]\n'
            '[control]\nlisten = "unix:///run/ptdoc/agent.sock"\nhttp_listen = ""\n'
            '[archive]\ndevice_retention = "30d"\n'
            '[log]\nlevel = "info"\nformat = "console"\nentity_ids = "hash"\n'
            '[[entity]]\ntype = "Good"\ntable = "Good"\nkey = "Id"\nexclude_columns = []\n'
            'after_apply = "UPDATE Other SET N = N + 1, M = 2"\nlast_modified_column = ""\n'
            'modified_by_column = ""\nsync_state_column = ""\ntime_format = "auto"\n'
            'integer_key = "refuse"\nid_range = ""\nreferences = {}\n')
        done = self.agent("config", "check", "--config", agent)
        self.assertEqual(done.returncode, 0, done.stderr)

        service = self.agent_config(
            '[server]\nlisten = "127.0.0.1:5171"\nhttp_listen = ""\ntls_cert_file = ""\n'
            'tls_key_file = ""\ntls_client_ca_file = ""\n[store]\nurl = "sqlite:///store.db"\n'
            '[auth]\n[sync]\nmax_clock_skew = "1m"\ntombstone_retention = "90d"\n'
            'max_row_bytes = "3MiB"\n[[entity]]\ntype = "Good"\npolicy = "manual"\n'
            'signature_field = "SignatureHash"\nlocked_field = "IsLocked"\n', "service.toml")
        done = self.service("config", "check", "--config", service)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_after_apply_as_one_text_is_one_statement(self):
        device = self.database(
            "CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);"
            "CREATE TABLE Applied(N, M); INSERT INTO Applied VALUES(0, 0);", "b")
        other = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);", "a")
        self.world.setup("a", "b")
        self.world.start_service()
        other.__init__(self.world, "a", tables=("Good",), stamps=False)
        device.__init__(self.world, "b", tables=("Good",), stamps=False)
        device.config.write_text(device.config.read_text() +
                                 '\nafter_apply = "UPDATE Applied SET N = N + 1, M = 2"\n')
        for each in (other, device):
            each.init()
        other.shell("INSERT INTO Good VALUES('g1', 1);")
        other.agent_run("run")

        device.agent_run("run")

        self.assertEqual(device.rows("SELECT M FROM Applied"), [(2,)])

    def test_features_that_are_not_there_are_refused_by_file_line_and_key(self):
        for program, text, line, key in (
                ("agent", '[control]\nhttp_listen = "127.0.0.1:5170"\n', 2, "http_listen"),
                ("agent", '[[entity]]\ntable = "T"\ninteger_key = "range"\n', 3, "integer_key"),
                ("agent", '[[entity]]\ntable = "T"\nid_range = "1-9"\n', 3, "id_range"),
                ("agent", '[[entity]]\ntable = "T"\nreferences = {a = "B"}\n', 3, "references"),
                ("service", '[server]\nhttp_listen = "127.0.0.1:5170"\n', 2, "http_listen"),
                ("service", '[server]\ntls_cert_file = "/x.pem"\n', 2, "tls_cert_file"),
                ("service", '[auth]\ntokens = "x"\n', 1, "[auth]")):
            with self.subTest(key=key):
                config = self.agent_config(text, "off.toml")
                flags = ("--database", "x.db") if program == "agent" else ()
                self.assert_error(getattr(self, program)("config", "check", "--config", config,
                                                         *flags),
                                  2, "CONFIG", f"off.toml:{line}", key)

    def test_entities_that_cannot_be_meant_are_refused_by_file_line_and_key(self):
        for text, line, key in (
                ('[[entity]]\ntype = "T"\n', 1, "table"),
                ('[[entity]]\n', 1, "table"),
                ('[[entity]]\ntable = "T"\n[[entity]]\ntype = "U"\ntable = "t"\n', 5, "table"),
                ('[[entity]]\ntable = "T"\n[[entity]]\ntable = "U"\ntype = "T"\n', 5, "type"),
                ('[[entity]]\ntable = "T"\ntime_format = "zz"\n', 3, "time_format"),
                ('[control]\nlisten = "foo"\n', 2, "listen"),
                ('[control]\nlisten = "unix://agent.sock"\n', 2, "listen")):
            with self.subTest(text=text):
                config = self.agent_config(text, "entity.toml")
                self.assert_error(self.agent("config", "check", "--config", config, "--database",
                                             "x.db"), 2, "CONFIG", f"entity.toml:{line}", key)

    def test_odd_names_are_written_so_that_they_are_read_again(self):
        folder = self.world.root / 'a "quoted" \\ folder'
        folder.mkdir()
        database = folder / "odd.db"
        name = 'odd "na\tme" \\ é'
        quoted = name.replace('"', '""')
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute(f'CREATE TABLE "{quoted}"(Id TEXT PRIMARY KEY NOT NULL, V)')
            db.execute(f'INSERT INTO "{quoted}" VALUES(\'1\', 1)')
        token = folder / "the token"
        token.write_text("ptd_x\n")

        done = self.agent("init", "--database", database, "--all-tables", "--service",
                          "127.0.0.1:1", "--token-file", token)

        self.assertEqual(done.returncode, 0, done.stderr)
        status = self.agent("status", "--config", folder / "agent.toml", "--json")
        self.assertEqual(status.returncode, 0, status.stderr)
        self.assertEqual(json.loads(status.stdout)["pending"], 1)
        items = json.loads(self.agent("queue", "list", "--database", database, "--json").stdout)
        self.assertEqual(items["items"][0]["entityType"], name)

    # --- Capture comes and goes as it is asked to.

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

    # --- Status says what is true.

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

    # --- Conflicts.

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

    # --- Names, tenants, lives.

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
