"""doctor: each thing is broken for real, named with the command that mends it, and mended."""
import contextlib
import fcntl
import json
import os
import pathlib
import sqlite3
import subprocess
import time
import unittest
from concurrent import futures

import grpc

from cli_case import CliCase
from harness import Device
from stubs import sync

INSERT = ("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
          "VALUES('{}', 'Ana', 'Alvarez', '1980-01-01');")


class DoctorTest(CliCase):
    def setUp(self):
        super().setUp()
        self.world.setup("a", "b")
        self.world.start_service()
        self.a = Device(self.world, "a", interval="1h")
        self.a.init()
        self.a.shell(INSERT.format("p1"))
        self.a.agent_run("run")
        self.token_file = self.world.root / "tokens" / "a.token"

    def checkup(self, device=None, env=None):
        done = (device or self.a).agent_run("doctor", "--json", check=False, env=env)
        self.assertIn(done.returncode, (0, 3), done.stdout + done.stderr)
        object_ = json.loads(done.stdout)
        findings = [c for c in object_["checks"] if c["level"] != "OK"]
        self.assertEqual(object_["findings"], len(findings))
        self.assertEqual(done.returncode, 3 if findings else 0)
        for check in findings:
            self.assertTrue(check["command"], check)
        return object_["checks"]

    def assert_found(self, name, level, *words, device=None, command=None):
        checks = self.checkup(device)
        found = [c for c in checks if c["name"] == name and c["level"] == level]
        text = json.dumps(found or checks)
        self.assertTrue(found, f"{name} is not {level}: {text}")
        for word in words:
            self.assertIn(word, " ".join(c["message"] for c in found))
        if command:
            self.assertIn(command, " ".join(c["command"] for c in found))
        return found

    def assert_well(self, device=None):
        bad = [c for c in self.checkup(device) if c["level"] != "OK"]
        self.assertEqual(bad, [])

    def service_token(self, *args):
        return self.world.service_run("token", "create", "--tenant", "clinic", *args).stdout.strip()

    def use_token(self, token):
        self.token_file.write_text(token)

    def test_well_device_has_no_finding_and_a_line_for_each_thing(self):
        names = {c["name"] for c in self.checkup()}
        self.assertLessEqual({"config", "agent", "database", "lock", "schema", "triggers", "ledger",
                              "queue", "failed", "recovery", "disk", "token file", "network",
                              "service", "clock", "token"}, names)
        self.assert_well()
        self.a.start()
        self.assert_well()
        done = self.a.agent_run("doctor")
        self.assertEqual([line for line in done.stdout.splitlines() if not line.startswith("OK")], [])

    def test_network(self):
        self.world.service.stop()
        self.assert_found("network", "FAIL", "refuses connections", command="sync-service serve")
        text = self.a.config.read_text()
        self.a.config.write_text(text.replace(self.world.address, "no-such-host.invalid:5171")
                                 .replace("[service]", "[service]\nbehind_proxy = true"))
        self.assert_found("network", "FAIL", "DNS", command="getent hosts no-such-host.invalid")
        self.a.config.write_text(text)
        self.world.start_service()
        self.assert_well()

    def test_tokens(self):
        good = self.token_file.read_text()
        self.token_file.unlink()
        self.assert_found("token file", "FAIL", command="sync-service token create")
        self.use_token("")
        self.assert_found("token file", "FAIL", "holds no token")
        self.use_token("ptd_nonsense")
        os.chmod(self.token_file, 0o600)
        self.assert_found("token", "FAIL", "TOKEN_INVALID", command="sync-service token create")
        self.use_token(self.service_token("--device", "a", "--role", "reviewer"))
        self.assert_found("token", "FAIL", "ROLE")
        self.use_token(self.service_token("--device", "a", "--expires", "1s"))
        with contextlib.closing(sqlite3.connect(self.world.root / "store.db")) as store, store:
            store.execute("UPDATE SyncTokens SET ExpiresAt = '2020-01-01T00:00:00.000Z' "
                          "WHERE CreatedAt = (SELECT max(CreatedAt) FROM SyncTokens)")
        self.assert_found("token", "FAIL", "TOKEN_EXPIRED")
        self.use_token(good)
        os.chmod(self.token_file, 0o644)
        found = self.assert_found("token file", "WARN", "can be read by others",
                                  command="chmod 600")
        subprocess.run(found[0]["command"], shell=True, check=True)
        self.assert_well()
        self.world.service_run("devices", "revoke", "a", "--tenant", "clinic")
        self.world.service.stop()
        self.world.start_service()
        self.assert_found("token", "FAIL", "REVOKED")

    def test_clock(self):
        """Against a service of the test's own, whose clock is wrong."""
        wrong = {"seconds": 0}

        def status(_request, _context):
            answer = sync.StatusResponse()
            answer.server.server_time.FromSeconds(int(time.time()) + wrong["seconds"])
            return answer

        def method(handle, request, answer):
            return grpc.unary_unary_rpc_method_handler(
                handle, request_deserializer=request.FromString,
                response_serializer=answer.SerializeToString)

        server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "ptdoc.sync.v1.SyncService",
            {"Status": method(status, sync.StatusRequest, sync.StatusResponse),
             "DigestRows": method(lambda *_: sync.DigestRowsResponse(), sync.DigestRowsRequest,
                                  sync.DigestRowsResponse)}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(server.stop, None)
        self.a.config.write_text(self.a.config.read_text().replace(self.world.address,
                                                                   f"127.0.0.1:{port}"))
        self.assert_well()
        wrong["seconds"] = 300
        self.assert_found("clock", "FAIL", "differ by", command="timedatectl")
        wrong["seconds"] = -30
        self.assert_found("clock", "WARN", "the device is ahead")

    def test_queue(self):
        self.world.service.stop()
        self.a.shell("BEGIN;" + "".join(INSERT.format(f"q{i}") for i in range(101)) + "COMMIT;")
        self.a.agent_run("status")
        self.assert_found("queue", "WARN", "101 edits wait", command="device-agent run")
        self.a.shell("BEGIN;" + "".join(INSERT.format(f"r{i}") for i in range(400)) + "COMMIT;")
        self.a.agent_run("status")
        self.assert_found("queue", "FAIL", "501 edits wait")
        self.world.start_service()
        self.a.agent_run("run")
        self.a.shell(INSERT.format("late"))
        self.a.agent_run("status")
        self.a.ledger("UPDATE SyncQueueItems SET EnqueuedAt = '2020-01-01T00:00:00.000Z' "
                      "WHERE Status = 0")
        self.assert_found("queue", "WARN", "the oldest came")
        self.a.agent_run("run")
        self.assert_well()

    def test_failed_held_conflicts_and_paused(self):
        self.a.ledger("UPDATE SyncQueueItems SET Status = 3, RetryCount = 3, MaxRetries = 3, "
                      "ErrorMessage = 'TYPE_FORBIDDEN: this type is not allowed'")
        self.assert_found("failed", "WARN", "TYPE_FORBIDDEN", "1 item",
                          command="queue retry --all")
        self.a.agent_run("queue", "retry", "--all")
        self.a.agent_run("run")
        self.a.shell("BEGIN;" + "".join(INSERT.format(f"h{i}") for i in range(30)) + "COMMIT;")
        self.a.agent_run("run")
        self.a.shell("ALTER TABLE Patient ADD COLUMN Ward TEXT; DELETE FROM Patient;")
        self.a.agent_run("run", check=False)
        self.assert_found("held", "WARN", "HELD_DELETE", command="queue confirm")
        self.a.agent_run("queue", "confirm")
        self.a.agent_run("run")
        self.a.ledger("INSERT INTO SyncConflictArchives(ConflictId, EntityType, EntityId, "
                      "ResolutionType, Reason, DetectedAt) VALUES('c', 'Patient', 'p', "
                      "'ServerWins', 'x', '2026-01-01T00:00:00.000Z')")
        self.assert_found("conflicts", "WARN", "1 conflict", command="conflicts list")
        self.a.ledger("UPDATE SyncConflictArchives SET IsResolved = 1")
        self.a.agent_run("pause")
        self.assert_found("paused", "WARN", command="device-agent resume")
        self.a.agent_run("resume")
        self.assert_well()

    def test_version_that_the_schema_refuses(self):
        b = Device(self.world, "b", interval="1h")
        b.init()
        b.agent_run("run")
        b.shell("CREATE UNIQUE INDEX OnePerson ON Patient(FirstName);")
        self.a.shell(INSERT.format("p2"))
        self.a.agent_run("run")
        b.agent_run("run", check=False)

        self.assert_found("set aside", "WARN", "CONSTRAINT", device=b,
                          command="device-agent why Patient p2")

    def test_triggers(self):
        self.a.shell("DROP TRIGGER " + self.a.shell(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'SyncT*_au' "
            "LIMIT 1") + ";")
        self.assert_found("triggers", "FAIL", "_au", command="device-agent run")
        self.a.agent_run("run")
        self.assert_well()
        self.a.ledger("INSERT OR REPLACE INTO SyncMeta(Name, Value) VALUES('scan_found', 1)")
        self.assert_found("triggers", "WARN", "bypassed", command="device-agent verify")

    def test_program_that_was_caught_with_triggers_off(self):
        self.a.ledger("INSERT OR REPLACE INTO SyncMeta(Name, Value) VALUES('scan_found', 1)")
        self.a.shell(".dbconfig enable_trigger off\n" + INSERT.format("silent"))
        self.assertIn("sent      1: 1 taken", self.a.agent_run("run").stdout)

    def test_first_migration_of_rows_that_no_trigger_has_seen(self):
        b = Device(self.world, "b", interval="1h")
        b.shell("".join(INSERT.format(f"old{number}") for number in range(30)))
        b.init()
        b.agent_run("run")
        b.shell("ALTER TABLE Patient ADD COLUMN Ward TEXT; DELETE FROM Patient;")
        b.agent_run("run", check=False)
        self.assert_found("held", "WARN", "31 deletions", device=b, command="queue confirm")

    def test_schema(self):
        self.a.shell("ALTER TABLE IntakeForm RENAME TO Elsewhere;")
        self.assert_found("schema", "FAIL", "IntakeForm", command="init --dry-run")
        self.a.shell("ALTER TABLE Elsewhere RENAME TO IntakeForm;")
        self.a.agent_run("run", check=False)
        self.assert_well()

    def test_captured_only_and_uninstalled(self):
        self.a.agent_run("uninstall")
        self.assert_found("capture", "FAIL", command="device-agent init")
        self.a.agent_run("init")
        self.a.agent_run("run")
        self.assert_well()

    def test_locks_and_wal(self):
        holder = sqlite3.connect(self.a.db, isolation_level=None)
        self.addCleanup(holder.close)
        holder.execute("BEGIN IMMEDIATE")
        self.assert_found("lock", "WARN", "held for writing", str(os.getpid()), "runs since",
                          command="ps -fp")
        holder.execute("ROLLBACK")
        self.assert_well()
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM Patient").fetchall()
        self.a.shell("CREATE TABLE Big(x); INSERT INTO Big VALUES(zeroblob(70000000)); "
                     "DROP TABLE Big;")
        self.assert_found("wal", "WARN", "reader", command="ps -fp")
        holder.execute("ROLLBACK")

    def test_second_agent(self):
        with open(f"{self.a.db}.sync.lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_found("agent", "FAIL", "Another agent", str(os.getpid()), command="kill")
        self.assert_well()

    def test_ledger(self):
        ledger = pathlib.Path(f"{self.a.db}.sync")
        kept = ledger.read_bytes()
        for suffix in ("-wal", "-shm"):
            pathlib.Path(str(ledger) + suffix).unlink(missing_ok=True)
        ledger.write_bytes(b"no database at all" * 1000)
        self.assert_found("ledger", "FAIL", "cannot be read", command="device-agent init")
        ledger.unlink()
        self.assert_found("ledger", "FAIL", "There is no", command="device-agent init")
        ledger.write_bytes(kept)
        self.assert_well()

    def test_database(self):
        kept = self.a.db.read_bytes()
        self.a.db.unlink()
        self.assert_found("database", "FAIL", "cannot be read", command="ls -l")
        self.a.db.write_bytes(b"encrypted?" * 1000)
        self.assert_found("database", "FAIL", "cannot be read")
        self.a.db.write_bytes(kept)
        self.a.shell("PRAGMA wal_checkpoint(TRUNCATE);")
        root = int(self.a.shell("SELECT rootpage FROM sqlite_master WHERE name = 'Patient';"))
        size = int(self.a.shell("PRAGMA page_size;"))
        with open(self.a.db, "r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xa5" * size)
        self.assert_found("database", "FAIL", "integrity_check", command="integrity_check")
        self.a.db.write_bytes(kept)

    def test_restored_file_and_service(self):
        backup = self.a.db.read_bytes()
        self.a.shell("UPDATE SyncControl SET FileId = 'another';")
        self.assert_found("identity", "WARN", "another one", command="device-agent run")
        self.a.db.write_bytes(backup)
        self.assert_well()
        # As a backup tool does it: an older state of the same file.
        self.a.shell("PRAGMA wal_checkpoint(TRUNCATE);")
        backup = self.a.db.read_bytes()
        self.a.shell("UPDATE Patient SET LastName = 'Later';")
        self.a.agent_run("run")
        self.assert_well()
        for suffix in ("-wal", "-shm"):
            pathlib.Path(f"{self.a.db}{suffix}").unlink(missing_ok=True)
        self.a.db.write_bytes(backup)
        self.assert_found("identity", "WARN", "set back", command="device-agent run")
        self.a.agent_run("run", check=False)
        self.assert_well()
        self.world.service_run("backup", self.world.root / "backup.db")
        self.world.service.stop()
        self.world.service_run("restore", self.world.root / "backup.db")
        self.world.start_service()
        self.assert_found("history", "WARN", "EPOCH_CHANGED", command="device-agent run")
        self.a.agent_run("run", check=False)
        self.a.agent_run("run", check=False)
        self.assertNotIn("history", [c["name"] for c in self.checkup() if c["level"] != "OK"])

    def test_disk(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small file system")
        disk = self.world.root / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk],
                                 capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounting a tmpfs is not permitted here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        for suffix in ("", ".sync"):
            there = pathlib.Path(f"{self.a.db}{suffix}")
            (disk / f"app.db{suffix}").write_bytes(there.read_bytes())
        text = self.a.config.read_text()
        self.a.config.write_text(text.replace(str(self.a.db), f"{disk}/app.db"))

        self.assert_found("disk", "FAIL", str(disk), "make room", command=f"df -h {disk}")


class RehearseTest(CliCase):
    def rehearse(self, device, *args, code):
        before = device.db.read_bytes()
        done = self.agent("init", "--rehearse", "--database", device.db, "--config", device.config,
                          "--all-tables", "--json", *args)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(device.db.read_bytes(), before)
        self.assertEqual([p.name for p in device.dir.iterdir() if "rehears" in p.name], [])
        self.assertFalse(os.path.exists(f"{device.db}.sync"))
        object_ = json.loads(done.stdout)
        self.assertTrue(object_["schemaRestored"])
        return {item["table"]: item for item in object_["items"]}

    def test_each_table_is_tried_on_a_copy(self):
        device = self.database(
            "CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);"
            "INSERT INTO Good VALUES('g1', 1);"
            "CREATE TABLE Stamped(Id TEXT PRIMARY KEY NOT NULL, V, At TEXT);"
            "CREATE TRIGGER Stamp AFTER INSERT ON Stamped BEGIN UPDATE Stamped SET At = 'now' "
            "WHERE Id = new.Id; END;"
            "INSERT INTO Stamped(Id, V) VALUES('s1', 1);"
            "CREATE TABLE Empty(Id TEXT PRIMARY KEY NOT NULL, V);"
            "CREATE TABLE NoKey(V);"
            "CREATE TABLE Picky(Id TEXT PRIMARY KEY NOT NULL, V);"
            "INSERT INTO Picky VALUES('p1', 1);"
            "CREATE TRIGGER Refuse BEFORE INSERT ON Picky BEGIN SELECT raise(ABORT, 'secret'); "
            "END;")

        tables = self.rehearse(device, code=3)

        self.assertEqual({name: item["how"] for name, item in tables.items()},
                         {"Good": "two-way", "Stamped": "two-way", "Empty": "two-way",
                          "NoKey": "refused", "Picky": "captured only"})
        self.assertIn("NO_KEY", tables["NoKey"]["why"])
        self.assertIn("empty", tables["Empty"]["why"])
        self.assertNotIn("secret", json.dumps(tables))

    def test_all_two_way_exits_with_0(self):
        device = self.database("CREATE TABLE Good(Id TEXT PRIMARY KEY NOT NULL, V);"
                               "INSERT INTO Good VALUES('g1', 1);")

        self.assertEqual(self.rehearse(device, code=0)["Good"]["how"], "two-way")
        done = self.agent("init", "--rehearse", "--database", device.db, "--config", device.config)
        self.assertIn("byte for byte", done.stdout)
        self.assert_error(self.agent("init", "--rehearse", "--database", device.dir / "none.db",
                                     "--all-tables"), 1, "DATABASE_MISSING")

    def test_tables_whose_integers_stay_local_are_tried_by_what_they_mean(self):
        device = self.database(
            "CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE);"
            "INSERT INTO author VALUES(3, 'Ann'), (9, 'Bob');"
            "CREATE TABLE book(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
            " author INTEGER NOT NULL REFERENCES author(id));"
            "INSERT INTO book VALUES(5, 'b5', 3), (6, 'b6', 9);"
            "CREATE TABLE link(id INTEGER PRIMARY KEY, book INTEGER NOT NULL REFERENCES book(id),"
            " author INTEGER NOT NULL REFERENCES author(id), UNIQUE(book, author));"
            "INSERT INTO link VALUES(1, 5, 9), (2, 6, 3);"
            "CREATE TABLE note(id TEXT PRIMARY KEY, book INTEGER REFERENCES book(id));"
            "INSERT INTO note VALUES('n', 777);")
        keys = {"author": "name", "book": "uuid", "link": "book, author", "note": "id"}
        text = device.config.read_text()
        device.config.write_text(text[:text.index("[[entity]]")] + "".join(
            f'[[entity]]\ntable = "{table}"\nkey = "{key}"\n' for table, key in keys.items()))

        tables = self.rehearse(device, code=0)

        self.assertEqual({name: (item["how"], item["why"]) for name, item in tables.items()},
                         {"author": ("two-way", ""), "book": ("two-way", ""),
                          "link": ("two-way", ""),
                          "note": ("two-way", "by its schema; it is empty, or its first row refers "
                                   "to one that is not there")})

    def test_synced_file_can_be_rehearsed_too(self):
        device = self.initialised()
        device.shell("INSERT INTO Good VALUES('g1', 1);")
        before = device.db.read_bytes()
        done = self.agent("init", "--rehearse", "--database", device.db, "--config", device.config,
                          "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(device.db.read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
