"""Configurations: what is taken, and what is refused by file, line and key."""
import contextlib
import json
import sqlite3
import unittest

from cli_case import CliCase


class CliConfigTest(CliCase):
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
        config.write_text("[[entity]]\ntype = \"Note\"\npolicy = \"merge\"\n")
        self.assert_error(self.service("config", "check", "--config", config), 2, "CONFIG",
                          "service.toml:3", "policy", "merge_fields")
        config.write_text("[[entity]]\ntype = \"Note\"\npolicy = \"merge_fields\"\n")
        self.assertEqual(self.service("config", "check", "--config", config).returncode, 0)

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

    def test_compression_that_does_not_exist_is_refused_by_line(self):
        config = self.world.root / "compression.toml"
        config.write_text('[device]\ndatabase = "x.db"\n[service]\ncompression = "gzip"\n')
        self.assert_error(self.agent("config", "check", "--config", config), 2, "CONFIG",
                          "compression.toml:4", "compression", "auto")

    def test_configuration_with_a_missing_certificate_is_not_in_order(self):
        config = self.world.root / "tls.toml"
        config.write_text('[device]\ndatabase = "x.db"\n[service]\nca_file = "/nowhere.pem"\n')
        self.assert_error(self.agent("config", "check", "--config", config), 2, "CONFIG",
                          "/nowhere.pem")

    def test_environment_beats_the_file_and_flags_beat_both(self):
        config = self.world.root / "service.toml"
        config.write_text("[server]\nlisten = \"127.0.0.1:1\"\n")
        done = self.world.run("sync-service", "config", "check", "--config", config, "--json",
                              env={"PTDOC_SYNC_SERVER_LISTEN": "127.0.0.1:2"})
        self.assertEqual(json.loads(done.stdout)["listen"], "127.0.0.1:2")

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
