"""Applications that number their rows: Django's AutoField, and the sqlite3 shell."""
import json
import os
import subprocess
import unittest

from harness import APPS, PYTHON, Device, World

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class IntegersTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()

    def tearDown(self):
        self.world.__exit__()

    def device(self, name, prepare, entities):
        device = Device(self.world, name, interval="1h", tables=(), schema=None)
        prepare(device)
        if entities is None:
            entities = self.proposed(device)
        with open(device.config, "a", encoding="utf-8") as config:
            config.write(entities)
        self.world.run("device-agent", "init", "--config", device.config)
        return device

    def proposed(self, device):
        """The blocks that init prints for the tables that it refuses."""
        shown = self.world.run("device-agent", "init", "--all-tables", "--dry-run", "--config",
                               device.config, check=False)
        self.assertIn("INTEGER_KEY", shown.stdout)
        return shown.stdout[shown.stdout.index("\n[[entity]]\n"):]

    def django(self, device, *args):
        done = subprocess.run([PYTHON, APPS / "django_library.py", device.db, *args],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def sync(self, *devices):
        for _ in range(2):
            for device in devices:
                device.agent_run("run", check=False)

    def assert_quiet(self, *devices):
        for device in devices:
            status = json.loads(device.agent_run("status", "--json", check=False).stdout)
            self.assertEqual((status["pending"], status["failed"]), (0, 0))
            self.assertEqual(device.rows("PRAGMA foreign_key_check"), [])

    def test_django_models_with_a_uuid_beside_their_ids(self):
        def create(device):
            self.django(device, "create")
        a = self.device("a", create, None)
        b = self.device("b", create, None)
        # Both count from 1, for other things.
        self.django(b, "add-author", "Bea")
        self.django(b, "add-book", "B-one", "Bea")
        self.django(b, "tag", "B-one", "short")
        self.django(a, "add-author", "Ann")
        self.django(a, "add-book", "A-one", "Ann")
        self.django(a, "add-book", "A-two", "Ann", "A-one")
        self.django(a, "tag", "A-two", "long")
        self.django(a, "tag", "A-two", "short")

        self.sync(a, b)

        both = ["A-one|Ann|-|", "A-two|Ann|A-one|long,short", "B-one|Bea|-|short"]
        self.assertEqual(self.django(a, "list"), both)
        self.assertEqual(self.django(b, "list"), both)
        self.assertNotEqual(a.rows("SELECT id, uuid FROM library_book ORDER BY uuid"),
                            b.rows("SELECT id, uuid FROM library_book ORDER BY uuid"))

        # Django deletes children itself, and sets NULL itself.
        self.django(b, "delete-book", "A-one")
        self.django(b, "untag", "A-two", "long")
        self.django(a, "tag", "B-one", "long")
        self.django(a, "rename", "B-one", "B-uno")
        self.sync(a, b)

        both = ["A-two|Ann|-|short", "B-uno|Bea|-|long,short"]
        self.assertEqual(self.django(a, "list"), both)
        self.assertEqual(self.django(b, "list"), both)
        self.assert_quiet(a, b)

    def test_ranges_of_two_devices_written_by_the_shell(self):
        def create(device):
            device.shell("CREATE TABLE item(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT,"
                         " up INTEGER REFERENCES item);")

        def entity(ids):
            return (f'[[entity]]\ntable = "item"\ninteger_key = "range"\nid_range = "{ids}"\n')
        a = self.device("a", create, entity("1000-1999"))
        b = self.device("b", create, entity("2000-2999"))
        for device in (a, b):
            device.shell(f"INSERT INTO item(name) VALUES('{device.name}');"
                         "INSERT INTO item(name, up) SELECT 'child', id FROM item;")
        self.sync(a, b)
        a.shell("INSERT INTO item(name) VALUES('more');")
        self.sync(a, b)

        names = ("SELECT abs(i.id), i.name, u.name FROM item i LEFT JOIN item u ON u.id = i.up "
                 "ORDER BY 1")
        self.assertEqual(a.rows(names), [(1000, "a", None), (1001, "child", "a"),
                                         (1002, "more", None), (2000, "b", None),
                                         (2001, "child", "b")])
        self.assertEqual(a.rows(names), b.rows(names))
        self.assertEqual(b.rows("SELECT id FROM item WHERE name = 'more'"), [(1002,)])
        self.assert_quiet(a, b)

    def test_zero_for_no_row(self):
        """Apps write 0 or -1 where they could write NULL: no number of a row."""
        def create(device):
            device.shell("CREATE TABLE page(id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE,"
                         " up INTEGER DEFAULT 0, opener INTEGER NOT NULL DEFAULT -1);")
        entity = ('[[entity]]\ntable = "page"\nkey = "url"\n'
                  'references = { up = "page", opener = "page" }\n')
        a = self.device("a", create, entity)
        b = self.device("b", create, entity)
        b.shell("INSERT INTO page(url) VALUES('of b');")
        a.shell("INSERT INTO page(url) VALUES('root');"
                "INSERT INTO page(url, up, opener) SELECT 'child', id, id FROM page;")
        self.sync(a, b)
        b.shell("UPDATE page SET up = 0 WHERE url = 'child';"
                "UPDATE page SET opener = (SELECT id FROM page WHERE url = 'child') "
                "WHERE url = 'of b';")
        self.sync(b, a)

        names = ("SELECT p.url, ifnull(u.url, p.up), ifnull(o.url, p.opener) FROM page p "
                 "LEFT JOIN page u ON u.id = p.up LEFT JOIN page o ON o.id = p.opener ORDER BY 1")
        self.assertEqual(a.rows(names), [("child", 0, "root"), ("of b", 0, "child"),
                                         ("root", 0, -1)])
        self.assertEqual(a.rows(names), b.rows(names))
        self.assert_quiet(a, b)

    def test_one_number_for_two_things_waits_for_a_person(self):
        def create(device):
            device.shell("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);")
        entity = '[[entity]]\ntable = "item"\ninteger_key = "one_side"\n'
        a = self.device("a", create, entity)
        b = self.device("b", create, entity)
        a.shell("INSERT INTO item VALUES(17, 'Ada');")
        b.shell("INSERT INTO item VALUES(17, 'Grace');")
        self.sync(a)
        done = b.agent_run("run", check=False)

        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("KEY_COLLISION", b.agent_run("queue", "list", check=False).stdout)
        self.assertEqual(b.rows("SELECT name FROM item"), [("Grace",)])
        b.shell("UPDATE item SET id = 18 WHERE id = 17;")
        self.sync(b, a)
        both = [(17, "Ada"), (18, "Grace")]
        self.assertEqual(a.rows("SELECT * FROM item ORDER BY id"), both)
        self.assertEqual(b.rows("SELECT * FROM item ORDER BY id"), both)
        self.assert_quiet(a, b)


if __name__ == "__main__":
    unittest.main()
