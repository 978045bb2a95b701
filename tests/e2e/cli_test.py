"""The command lines: plans, refusals, exit codes."""
import contextlib
import json
import os
import sqlite3
import stat
import unittest

from cli_case import CliCase


class CliTest(CliCase):
    def test_every_verb_has_help(self):
        for program, verbs in (
                ("sync-service", ["serve", "setup", "token create", "token list", "token revoke",
                                  "status", "conflicts list", "conflicts show",
                                  "conflicts resolve", "unlock", "devices list", "audit list",
                                  "audit verify", "backup", "restore", "config check", "why"]),
                ("device-agent", ["init", "uninstall", "serve", "run", "push", "pull", "status",
                                  "queue list", "queue retry", "queue cancel", "queue confirm",
                                  "conflicts list", "conflicts show", "conflicts resolve", "pause",
                                  "resume", "why", "verify", "doctor", "config check"])):
            self.assertIn(program, self.world.run(program, "--version").stdout)
            for verb in verbs:
                done = self.world.run(program, *verb.split(), "--help", check=False)
                self.assertEqual(done.returncode, 0, f"{program} {verb}")
                self.assertIn("--config", done.stdout)

    def test_port_that_is_taken_ends_serve_as_failed(self):
        self.world.setup("a")
        self.world.start_service()
        other = f"sqlite:///{self.world.root}/other.db"
        self.assert_error(self.service("serve", "--store", other, "--listen", self.world.address),
                          1, "LISTEN_FAILED", "--listen")

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
        held = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL);", "held")
        with contextlib.closing(sqlite3.connect(held.db, isolation_level=None)) as app:
            app.execute("PRAGMA locking_mode = EXCLUSIVE")
            app.execute("INSERT INTO Good VALUES('kept')")
            self.assert_error(self.agent("init", "--database", held.db, "--all-tables"), 4,
                              "BLOCKED_BY_APP", held.db)

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
