"""uninstall leaves a file as it was, where integers stay local, too."""
import os
import subprocess
import unittest

from harness import Device, World

BIN = os.environ.get("PTDOC_BIN", "build/bin")
# Integers that another table's key is made of, that a search index knows rows by, that
# SQLite counts up itself; a table without rowids, one without an INTEGER PRIMARY KEY.
SCHEMA = """
PRAGMA user_version = 42;
PRAGMA application_id = 1234567;
CREATE TABLE author(id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, name TEXT);
CREATE TABLE "book ""1"" "(id INTEGER PRIMARY KEY, "the uuid" TEXT NOT NULL UNIQUE,
  author_id INTEGER REFERENCES author(id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE link (book INTEGER NOT NULL REFERENCES "book ""1"" "(id), author INTEGER NOT NULL
  REFERENCES author ON UPDATE CASCADE, n INT, PRIMARY KEY (book, author)) WITHOUT ROWID;
CREATE TABLE note(uuid TEXT NOT NULL UNIQUE, text TEXT, modified TEXT, by TEXT, state INTEGER);
CREATE VIRTUAL TABLE search USING fts5(text, content='note');
CREATE TRIGGER note_i AFTER INSERT ON note BEGIN
  INSERT INTO search(rowid, text) VALUES(NEW.rowid, NEW.text); END;
CREATE INDEX by_name ON author(name COLLATE NOCASE) WHERE name IS NOT NULL;
CREATE VIEW shelf AS SELECT a.name, b.id FROM author a, "book ""1"" " b WHERE b.author_id = a.id;
INSERT INTO author VALUES(7, 'ann', 'Ann'), (9, 'bob', 'Bob'), (30, 'eve', NULL);
DELETE FROM author WHERE id = 30;
INSERT INTO "book ""1"" " VALUES(5, 'b5', 7), (6, 'b6', 9), (-3, 'below zero', NULL);
INSERT INTO link VALUES(5, 9, 1), (6, 7, NULL), (-3, 7, 0);
INSERT INTO note(rowid, uuid, text, modified) VALUES(40, 'n40', 'forty', '2026-02-17 04:45:00');
INSERT INTO note(rowid, uuid, text) VALUES(3, 'n3', x'00ff');
ANALYZE;
"""
ENTITIES = """
[[entity]]
table = "author"
key = "uuid"

[[entity]]
table = 'book "1" '
key = "the uuid"

[[entity]]
table = "link"
key = "book, author"

[[entity]]
table = "note"
key = "uuid"
last_modified_column = "modified"
modified_by_column = "by"
sync_state_column = "state"
"""
OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
PRAGMAS = ("user_version", "application_id", "encoding", "auto_vacuum", "page_size",
           "journal_mode", "integrity_check", "foreign_key_check")
ROWIDS = "SELECT rowid, * FROM note ORDER BY rowid"


class UninstallTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()

    def tearDown(self):
        self.world.__exit__()

    def device(self, name, before=""):
        device = Device(self.world, name, interval="1h", tables=(), schema=None)
        device.shell(before + SCHEMA)
        with open(device.config, "a", encoding="utf-8") as config:
            config.write(ENTITIES)
        return device

    def dump(self, device):
        """As the shell writes it, statistics and sequences included; and what it leaves out."""
        text = subprocess.run(["sqlite3", device.db, ".dump"], capture_output=True, text=True,
                              check=True).stdout
        return (text, device.rows(ROWIDS), device.rows("SELECT * FROM sqlite_stat1 ORDER BY 1, 2"),
                [device.rows(f"PRAGMA {pragma}") for pragma in PRAGMAS])

    def test_nothing_of_it_is_left_where_nothing_was_synced(self):
        modes = ("", "PRAGMA journal_mode = WAL;", "PRAGMA auto_vacuum = FULL;",
                 "PRAGMA encoding = 'UTF-16le';")
        for number, mode in enumerate(modes):
            with self.subTest(mode=mode):
                device = self.device(f"d{number}", before=mode)
                before = self.dump(device)
                device.init()
                self.assertNotEqual(self.dump(device), before)
                device.agent_run("uninstall")
                self.assertEqual(self.dump(device), before)

    def test_after_syncing_the_schema_is_as_it_was_and_rows_stay(self):
        a, b = self.device("a"), self.device("b")
        schema = a.rows(OBJECTS)
        for device in (a, b):
            device.init()
        a.shell("PRAGMA foreign_keys = ON; INSERT INTO author(uuid, name) VALUES('cid', 'Cid');"
                "INSERT INTO \"book \"\"1\"\" \" VALUES(77, 'b77', 31);"
                "INSERT INTO link VALUES(77, 31, 2); DELETE FROM link WHERE book = 5;"
                "UPDATE author SET id = 70 WHERE id = 7; INSERT INTO note(uuid) VALUES('new');")
        b.shell("INSERT INTO author(uuid, name) VALUES('dan', 'Dan');"
                "UPDATE note SET text = 'of b' WHERE uuid = 'n3';")
        for device in (a, b, a, b):
            device.agent_run("run", check=False)
            self.assertTrue(device.queue_empty())
        before = [self.dump_of_rows(device) for device in (a, b)]

        for device in (a, b):
            device.agent_run("uninstall")

        self.assertEqual(a.rows(OBJECTS), schema)
        self.assertEqual(b.rows(OBJECTS), schema)
        self.assertEqual([self.dump_of_rows(device) for device in (a, b)], before)
        self.assertEqual(a.rows("SELECT name FROM author ORDER BY uuid"),
                         b.rows("SELECT name FROM author ORDER BY uuid"))
        self.assertEqual(a.rows("SELECT text FROM note WHERE uuid = 'n3'"), [("of b",)])
        for device in (a, b):
            self.assertEqual(device.rows("PRAGMA integrity_check"), [("ok",)])
            self.assertEqual(device.rows("PRAGMA foreign_key_check"), [])
            # Nobody is in its way, and numbers go on where they were.
            device.shell("INSERT INTO author(uuid) VALUES('last'); DELETE FROM author;")

    def dump_of_rows(self, device):
        return {table: device.rows(f'SELECT * FROM "{table}" ORDER BY 1, 2')
                for table in ("author", 'book ""1"" ', "link", "note", "sqlite_sequence")}


if __name__ == "__main__":
    unittest.main()
