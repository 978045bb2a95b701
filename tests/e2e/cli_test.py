"""The command lines: plans, refusals, configuration errors, exit codes."""
import json
import os
import stat
import unittest

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
        return Device(self.world, name, schema=schema)

    def assert_error(self, done, code, reason, *words):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(f"({reason})", lines[0])
        for word in words:
            self.assertIn(word, lines[0])

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
                          "service.toml:3", "max_clock_skw", "max_clock_skew")
        config.write_text("[sync]\nmax_clock_skew = 5\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:2")
        self.assert_error(self.service("config", "check", "--config", "/nowhere.toml"), 2, "CONFIG",
                          "/nowhere.toml")
        config.write_text("[[entity]]\ntype = \"Note\"\npolicy = \"merge_fields\"\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:3")

    def test_environment_beats_the_file_and_flags_beat_both(self):
        config = self.world.root / "service.toml"
        config.write_text("[server]\nlisten = \"127.0.0.1:1\"\n")
        done = self.world.run("sync-service", "config", "check", "--config", config, "--json",
                              env={"PTDOC_SYNC_SERVER_LISTEN": "127.0.0.1:2"})
        self.assertEqual(json.loads(done.stdout)["listen"], "127.0.0.1:2")

    def test_usage_errors_exit_with_2(self):
        self.assert_error(self.agent("nonsense"), 2, "USAGE")
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
        self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stdout.startswith("PTDOC UNKNOWN"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
