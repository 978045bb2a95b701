"""What a person sees on the device when a file, a row, a disk or a server is bad."""
import contextlib
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import threading
import unittest
import uuid

from harness import Device, World, wait_until

BIN = os.environ.get("PTDOC_BIN", "build/bin")
CLINIC = "CREATE TABLE Note(Id TEXT PRIMARY KEY NOT NULL, Body);"
NOBODY = 65534


def in_own_mount_namespace():
    """Starts this program again where its mounts are seen by nobody and end with it."""
    if os.environ.get("PTDOC_MOUNTS") or os.geteuid() != 0:
        return
    works = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if works.returncode == 0:
        os.execvpe("unshare", ["unshare", "-m", sys.executable, *sys.argv],
                   {**os.environ, "PTDOC_MOUNTS": "1"})


class GarbageServer:
    """Takes connections, answers junk, and hangs up."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), connection:
                connection.settimeout(1)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n<html>" + os.urandom(2000))

    def close(self):
        self.socket.close()


class DeviceBadInputTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN)
        self.mounts = []

    def tearDown(self):
        for program in self.world.programs:
            if program.alive():
                program.kill()
        for mount in reversed(self.mounts):
            subprocess.run(["umount", "-l", mount], check=False)
        self.world.__exit__()

    def mount(self, *args):
        if not os.environ.get("PTDOC_MOUNTS"):
            self.skipTest("mounting needs root and mount namespaces")
        done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            self.skipTest(f"mount: {done.stderr.strip()}")
        if str(args[-1]) not in self.mounts:
            self.mounts.append(str(args[-1]))

    def agent(self, *args):
        return self.world.run("device-agent", *args, check=False)

    def assert_error(self, done, code, reason, *words):
        """One line: what happened (REASON). The effect. What to do."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(f"({reason}).", lines[0])
        for word in words:
            self.assertIn(str(word), lines[0])

    def device(self, name="a", sql=CLINIC, service=True, **options):
        if service and self.world.service is None:
            self.world.setup("a", "b")
            self.world.start_service()
        schema = self.world.root / f"{name}.sql"
        schema.write_text(sql)
        device = Device(self.world, name, schema=schema, tables=("Note",), stamps=False,
                        **options)
        device.init()
        return device

    def add_note(self, device, body="'text'"):
        note = str(uuid.uuid4())
        device.shell(f"INSERT INTO Note VALUES('{note}', {body});")
        return note

    def warning(self, device, word):
        """The line of `status` that tells of it."""
        def look():
            text = device.agent_run("status", check=False).stdout
            return next((line for line in text.splitlines()
                         if "warning" in line and word in line), None)
        return wait_until(f"status warns of {word}", look)

    def arrives(self, device, note):
        wait_until("the row arrives", lambda: device.rows(
            "SELECT 1 FROM Note WHERE Id = ?", note))

    # --- Files that are no database of an app.

    def test_files_that_are_no_database_are_named_with_what_is_wrong(self):
        root = self.world.root
        (root / "letter.db").write_text("a letter, long enough to be taken for a header " * 9)
        (root / "secret.db").write_bytes(os.urandom(16384))
        (root / "folder.db").mkdir()
        for name, words in (("letter.db", "not an SQLite database"), ("secret.db", "encrypted"),
                            ("folder.db", "directory")):
            before = sorted(p.name for p in root.iterdir())
            for verb in (("init", "--all-tables"), ("status",), ("run",)):
                done = self.agent(*verb, "--database", root / name)
                self.assert_error(done, 1, "DATABASE_UNUSABLE", root / name, words,
                                  "Nothing was changed")
            self.assertEqual(sorted(p.name for p in root.iterdir()), before)

    def test_file_that_is_not_there_is_said_and_not_made(self):
        missing = self.world.root / "missing.db"

        for verb in (("init", "--all-tables"), ("status",), ("run",), ("queue", "list")):
            self.assert_error(self.agent(*verb, "--database", missing), 1, "DATABASE_MISSING",
                              missing, "Nothing was changed")

        self.assertEqual(list(self.world.root.iterdir()), [])

    def test_empty_file_has_nothing_to_sync(self):
        empty = self.world.root / "empty.db"
        empty.touch()

        self.assert_error(self.agent("init", "--database", empty, "--all-tables"), 1,
                          "NOTHING_TO_SYNC", empty, "no table", "Nothing was changed")
        self.assert_error(self.agent("status", "--database", empty), 1, "NOT_INITIALISED", empty,
                          "init")

        self.assertEqual(empty.stat().st_size, 0)

    def test_tables_without_a_key_or_with_numbers_as_keys_are_refused_by_name(self):
        for sql, reason, words in (
                ("CREATE TABLE Loose(A, B);", "NO_KEY", "PRIMARY KEY"),
                ("CREATE TABLE Loose(Id INTEGER PRIMARY KEY, B);", "INTEGER_KEY", "uuid")):
            database = self.world.root / f"{reason}.db"
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.executescript(sql)
            done = self.agent("init", "--database", database, "--table", "Loose")
            self.assert_error(done, 1, reason, "Loose", words, "Nothing was changed")
            with contextlib.closing(sqlite3.connect(database)) as connection:
                names = connection.execute("SELECT name FROM sqlite_master").fetchall()
            self.assertEqual(names, [("Loose",)])

    def test_database_that_turns_into_something_else_stops_nothing_but_itself(self):
        device = self.device()
        note = self.add_note(device)
        device.agent_run("status")
        good = device.db.read_bytes()
        for extra in ("-wal", "-shm"):
            pathlib.Path(f"{device.db}{extra}").unlink(missing_ok=True)
        device.db.write_bytes(os.urandom(8192))

        status = device.agent_run("status", check=False)
        run = device.agent_run("run", check=False)

        self.assertIn(str(device.db), status.stdout)
        self.assertIn("not an SQLite database or is encrypted", status.stdout)
        self.assertIn("1 pending", status.stdout)
        self.assert_error(run, 1, "FILE_AWAY", device.db, "stays in the queue")
        device.db.write_bytes(good)
        device.agent_run("run", check=False)
        wait_until("the row is sent", device.queue_empty)
        self.assertEqual(device.rows("SELECT Id FROM Note"), [(note,)])

    # --- Configuration and token.

    def test_configuration_errors_name_file_line_and_key(self):
        config = self.world.root / "agent.toml"
        for text, words in (
                ('[service]\n\nadress = "x"\n', ("agent.toml:3", "adress", '"address"')),
                ("[sync]\ninterval = 5\n", ("agent.toml:2", "interval", "duration")),
                ('[device]\ndatabase = ["a"]\n', ("agent.toml:2", "database", "text")),
                ("[device\n", ("agent.toml:1", "not TOML"))):
            config.write_text(text)
            for verb in (("config", "check"), ("status",), ("serve",)):
                self.assert_error(self.agent(*verb, "--config", config), 2, "CONFIG", *words)

    def test_token_file_that_is_of_no_use_is_named(self):
        device = self.device(service=False)
        token = self.world.root / "tokens" / "a.token"
        token.parent.mkdir()
        for prepare, words in ((lambda: None, "no such token file"),
                               (token.mkdir, "cannot be read"),
                               (lambda: token.write_bytes(b"\x01\x02 two words\n"), "no token"),
                               (lambda: token.write_bytes(os.urandom(100_000)), "too long")):
            if token.is_dir():
                token.rmdir()
            prepare()
            for verb in ("status", "run", "serve"):
                self.assert_error(device.agent_run(verb, check=False), 2, "CONFIG", token, words)

    def test_token_file_that_may_not_be_read_is_named(self):
        device = self.device(service=False)
        token = self.world.root / "tokens" / "a.token"
        token.parent.mkdir()
        token.write_text("ptd_something\n")
        token.chmod(0)
        argv = [self.world.bin / "device-agent", "status", "--config", device.config]
        if os.geteuid() == 0:
            # Root reads everything: somebody else looks.
            self.world.root.chmod(0o755)
            for path in (device.dir, *device.dir.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]

        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

        self.assert_error(done, 2, "CONFIG", token, "cannot be read")

    def test_token_that_the_service_does_not_know_keeps_everything_on_the_device(self):
        device = self.device()
        (self.world.root / "tokens" / "a.token").write_text("ptd_garbage\n")
        note = self.add_note(device)

        run = device.agent_run("run", check=False)
        item = device.json("queue", "list")["items"][0]

        self.assert_error(run, 5, "TOKEN_INVALID")
        self.assertEqual((item["entityId"], item["status"], item["retryCount"]),
                         (note, "Pending", 0))

    # --- Servers.

    def test_server_that_answers_junk_counts_as_away_and_costs_no_retry(self):
        server = GarbageServer()
        self.addCleanup(server.close)
        self.world.port = server.port
        (self.world.root / "tokens").mkdir()
        (self.world.root / "tokens" / "a.token").write_text("ptd_something\n")
        device = self.device(service=False)
        note = self.add_note(device)
        device.start()

        wait_until("it was tried twice", lambda: server.connections >= 2)
        status = wait_until("it is offline", lambda: (
            s := device.json("status", check=False))["link"] == "offline" and s)
        run = device.agent_run("run", check=False)

        self.assertEqual((status["pending"] + status["processing"], status["failed"]), (1, 0))
        self.assert_error(run, 4, "SERVICE_UNREACHABLE", "safe on this device")
        items = device.json("queue", "list")["items"]
        self.assertEqual([(i["entityId"], i["retryCount"]) for i in items], [(note, 0)])

    # --- Rows.

    def test_row_above_the_limit_fails_alone_and_says_so(self):
        a, b = self.device("a"), self.device("b")
        huge = self.add_note(a, "zeroblob(17000000)")
        small = self.add_note(a)

        run = a.agent_run("run", check=False)
        b.agent_run("run", check=False)

        self.assertEqual(run.returncode, 3, run.stdout + run.stderr)
        item = a.json("queue", "list", check=False)["items"][0]
        self.assertEqual((item["entityId"], item["status"]), (huge, "Failed"))
        for word in ("ROW_TOO_LARGE", "Note", "17000", "3145728", "stays on this device"):
            self.assertIn(word, item["errorMessage"])
        self.assertEqual(b.rows("SELECT Id FROM Note"), [(small,)])
        a.shell(f"UPDATE Note SET Body = 'short' WHERE Id = '{huge}';")
        self.assertEqual(a.agent_run("run", check=False).returncode, 0)
        b.agent_run("run")
        self.assertEqual(len(b.rows("SELECT Id FROM Note")), 2)

    def test_row_that_is_too_long_to_be_read_fails_alone_and_stops_nothing(self):
        long_row = "INSERT INTO Note VALUES('long', zeroblob(140000000));"
        a, b = self.device("a", CLINIC + long_row), self.device("b")
        note = self.add_note(a)

        run = a.agent_run("run", check=False)
        b.agent_run("run")

        self.assertEqual(run.returncode, 3, run.stdout + run.stderr)
        item = a.json("queue", "list", check=False)["items"][0]
        self.assertEqual((item["entityId"], item["status"]), ("long", "Failed"))
        self.assertIn("ROW_TOO_LARGE", item["errorMessage"])
        self.assertEqual(b.rows("SELECT Id FROM Note"), [(note,)])
        self.assert_error(a.agent_run("queue", "cancel", item["id"], check=False), 1,
                          "ROW_TOO_LARGE", "Nothing was changed")
        # A change of the schema compares every row.
        a.shell("ALTER TABLE Note ADD COLUMN Extra; UPDATE Note SET Body = 'more' "
                f"WHERE Id = '{note}';")
        a.agent_run("run", check=False)
        b.agent_run("run")
        self.assertEqual(b.rows("SELECT Body FROM Note"), [("more",)])
        a.shell("UPDATE Note SET Body = 'short' WHERE Id = 'long';")
        self.assertEqual(a.agent_run("run", check=False).returncode, 0)

    def test_triggers_that_vanish_are_noticed_even_if_the_schema_version_goes_down(self):
        a, b = self.device("a"), self.device("b")
        note = self.add_note(a)
        a.agent_run("run")
        triggers = [row[0] for row in a.rows(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        self.assertTrue(triggers)
        a.shell("".join(f"DROP TRIGGER {name};" for name in triggers) +
                f"UPDATE Note SET Body = 'unseen' WHERE Id = '{note}'; PRAGMA schema_version = 1;")

        a.agent_run("run")
        b.agent_run("run")

        self.assertEqual(b.rows("SELECT Body FROM Note"), [("unseen",)])
        self.assertEqual({row[0] for row in a.rows(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'")}, set(triggers))

    # --- Devices that begin with the same rows.

    def test_copied_file_without_sync_state_sends_nothing_that_the_service_has(self):
        a = self.device("a")
        a.shell("BEGIN;" + "".join(
            f"INSERT INTO Note VALUES('{uuid.uuid4()}', 'note {i}');" for i in range(500)) +
            "COMMIT;")
        plain = self.world.root / "plain.db"
        a.shell(f"ATTACH '{plain}' AS p; CREATE TABLE p.Note(Id TEXT PRIMARY KEY NOT NULL, Body);"
                "INSERT INTO p.Note SELECT * FROM main.Note;")
        a.agent_run("run")
        (self.world.root / "b").mkdir()
        (self.world.root / "b" / "app.db").write_bytes(plain.read_bytes())
        b = self.device("b")
        self.assertEqual(b.json("status")["pending"], 500)
        self.add_note(b)

        run = b.json("run")

        self.assertEqual(run["push"]["total"], 1)
        self.assertTrue(b.queue_empty())
        self.assertEqual(len(b.rows("SELECT Id FROM Note")), 501)

    # --- Disks.

    def full_disk(self, path, size):
        path.mkdir(exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)
        return path

    def fill(self, path):
        filler = path / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as out:
            while True:
                out.write(b"\0" * 4096)
        return filler

    def test_full_disk_of_the_agents_own_file_loses_nothing(self):
        disk = self.full_disk(self.world.root / "disk", "3m")
        a, b = self.device("a"), self.device("b")
        text = a.config.read_text()
        for extra in ("", "-wal", "-shm", ".lock"):
            moved = pathlib.Path(f"{a.db}.sync{extra}")
            if moved.exists():
                (disk / f"state{extra}").write_bytes(moved.read_bytes())
                moved.unlink()
        a.config.write_text(text.replace("[device]", f'[device]\nstate = "{disk}/state"'))
        a.start()
        self.arrives_from(a, b)
        filler = self.fill(disk)
        notes = [self.add_note(a, f"'{'x' * 1000}{i}'") for i in range(300)]

        self.warning(a, "disk")
        filler.unlink()
        run = a.agent_run("run", check=False)

        self.assertEqual(run.returncode, 0, run.stderr + (a.dir / "agent.log").read_text())
        b.agent_run("run")
        self.assertEqual(set(b.rows("SELECT Id FROM Note")) & {(n,) for n in notes},
                         {(n,) for n in notes})
        self.assertNotIn("warning", a.agent_run("status").stdout)

    def arrives_from(self, a, b):
        note = self.add_note(a)
        wait_until("it is sent", lambda: a.json("status", check=False)["pending"] == 0 and
                   a.json("status", check=False)["processing"] == 0)
        b.agent_run("run")
        self.assertTrue(b.rows("SELECT 1 FROM Note WHERE Id = ?", note))

    def test_full_disk_under_the_app_stops_its_commits_and_later_everything_goes_on(self):
        self.full_disk(self.world.root / "a", "4m")
        a, b = self.device("a"), self.device("b")
        a.start()
        self.arrives_from(a, b)
        from_b = [self.add_note(b, f"'{'y' * 900}{i}'") for i in range(400)]
        filler = self.fill(a.dir)
        b.agent_run("run")

        failed = self.fail_to_write(a)
        self.warning(a, "disk")
        before = a.rows("SELECT count(*) FROM Note")
        filler.unlink()
        note = self.add_note(a)
        a.agent_run("run", check=False)
        b.agent_run("run")

        self.assertIn("full", failed)
        self.assertGreaterEqual(before[0][0], 1)
        self.assertEqual(set(a.rows("SELECT Id FROM Note")), set(b.rows("SELECT Id FROM Note")))
        self.assertIn((note,), b.rows("SELECT Id FROM Note"))
        self.assertLessEqual({(n,) for n in from_b}, set(a.rows("SELECT Id FROM Note")))
        self.assertEqual(a.json("status", check=False)["failed"], 0)

    def fail_to_write(self, device):
        done = subprocess.run(["sqlite3", device.db], capture_output=True, text=True, timeout=60,
                              input=f"INSERT INTO Note VALUES('{uuid.uuid4()}', zeroblob(300000));",
                              check=False)
        self.assertNotEqual(done.stderr, "")
        return done.stderr

    def test_read_only_file_of_the_app_is_said_by_name_and_goes_on_when_it_is_writable(self):
        a, b = self.device("a"), self.device("b")
        self.add_note(a)
        a.agent_run("run")
        state = self.world.root / "state"
        state.mkdir()
        for extra in ("", "-wal", "-shm"):
            moved = pathlib.Path(f"{a.db}.sync{extra}")
            if moved.exists():
                moved.rename(state / f"s{extra}")
        a.config.write_text(a.config.read_text().replace(
            "[device]", f'[device]\nstate = "{state}/s"').replace(
            f"unix://{a.dir}/agent.sock", f"unix://{state}/agent.sock"))
        note = self.add_note(b)
        b.agent_run("run")
        self.mount("--bind", a.dir, a.dir)
        self.mount("-o", "remount,ro,bind", a.dir)

        run = a.agent_run("run", check=False)

        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn(str(a.db), run.stderr)
        self.assertIn("read-only", run.stderr.lower())
        self.assertIn("Nothing was changed", run.stderr)
        self.mount("-o", "remount,rw,bind", a.dir)
        self.assertEqual(a.agent_run("run", check=False).returncode, 0)
        self.assertIn((note,), a.rows("SELECT Id FROM Note"))

    def test_init_on_a_read_only_file_changes_nothing(self):
        folder = self.world.root / "ro"
        folder.mkdir()
        with contextlib.closing(sqlite3.connect(folder / "app.db")) as connection:
            connection.executescript(CLINIC)
        before = (folder / "app.db").read_bytes()
        self.mount("--bind", folder, folder)
        self.mount("-o", "remount,ro,bind", folder)

        done = self.agent("init", "--database", folder / "app.db", "--all-tables")

        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(str(folder), done.stderr)
        self.assertIn("Nothing was changed", done.stderr)
        self.assertIn("read-only", done.stderr.lower())
        self.assertEqual((folder / "app.db").read_bytes(), before)

    def test_read_only_file_of_the_agent_is_said_by_name(self):
        a = self.device("a")
        note = self.add_note(a)
        state = self.world.root / "state"
        state.mkdir()
        for extra in ("", "-wal", "-shm"):
            moved = pathlib.Path(f"{a.db}.sync{extra}")
            if moved.exists():
                moved.rename(state / f"s{extra}")
        a.config.write_text(a.config.read_text().replace(
            "[device]", f'[device]\nstate = "{state}/s"'))
        self.mount("--bind", state, state)
        self.mount("-o", "remount,ro,bind", state)

        for verb in ("run", "status"):
            done = a.agent_run(verb, check=False)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn(f"{state}/s", done.stderr)
            self.assertIn("read-only", done.stderr.lower())
        self.mount("-o", "remount,rw,bind", state)
        self.assertEqual(a.agent_run("run", check=False).returncode, 0)
        self.assertEqual(a.rows("SELECT Id FROM Note"), [(note,)])


if __name__ == "__main__":
    in_own_mount_namespace()
    unittest.main(verbosity=2)
