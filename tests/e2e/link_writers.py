"""Apps that write without pause, and what must be true of what they wrote.

Each app owns the rows whose keys begin with its name: nobody else touches them, so
what it committed last is what everybody must hold in the end, and a change of its
own that is lost, comes twice or comes late is seen. Beside them all apps edit a few
shared rows, and each moves money between accounts by pairs of rows: their sum is 0
in every state that anybody may see.
"""
import contextlib
import random
import sqlite3
import threading

SCHEMA = """PRAGMA journal_mode = WAL;
CREATE TABLE Item(Id TEXT PRIMARY KEY NOT NULL, Number INTEGER, Measure REAL, Note TEXT,
                  Bytes BLOB, Loose);
CREATE TABLE Entry(Id TEXT PRIMARY KEY NOT NULL, Amount INTEGER NOT NULL);"""
TABLES = ("Item", "Entry")
COLUMNS = ("Number", "Measure", "Note", "Bytes", "Loose")
SHARED_ROWS = 8


def typed_rows(device, where="1"):
    """Id -> the row's values with their types."""
    picked = ", ".join(f"{c}, typeof({c})" for c in COLUMNS)
    return {row[0]: row[1:] for row in device.rows(f"SELECT Id, {picked} FROM Item WHERE {where}")}


class Writer:
    """An app in a thread. `resume` and `pause` may be called any number of times."""

    def __init__(self, device, seed, pause_s=0.03):
        self.device = device
        self.commits = 0
        self.shared = set()  # every value that a shared row was given
        self.failure = None
        self._pause_s = pause_s
        self._random = random.Random(seed)
        self._own = []
        self._made = 0
        self._go = threading.Event()
        self._resting = threading.Event()
        self._over = threading.Event()
        self._expected = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def resume(self):
        self._resting.clear()
        self._go.set()

    def pause(self):
        """Returns when no transaction is under way."""
        self._go.clear()
        self._resting.wait(60)

    def stop(self):
        self.pause()
        self._over.set()
        self._go.set()
        self._thread.join(60)

    def expected(self):
        """What every device must hold of this app's rows. While it rests."""
        return self._expected

    def _run(self):
        try:
            with contextlib.closing(sqlite3.connect(self.device.db, timeout=60,
                                                    isolation_level=None)) as app:
                while not self._over.is_set():
                    if not self._go.is_set():
                        self._expected = self._read_own(app)
                        self._resting.set()
                        self._go.wait()
                        continue
                    self._transaction(app)
                    self._over.wait(self._random.uniform(0, 2 * self._pause_s))
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure
            self._resting.set()

    def _read_own(self, app):
        """As this app itself sees them: nobody else may have changed them."""
        picked = ", ".join(f"{c}, typeof({c})" for c in COLUMNS)
        own = {row[0]: row[1:] for row in app.execute(
            f"SELECT Id, {picked} FROM Item WHERE Id GLOB ?", (f"{self.device.name}-*",))}
        if {key: row[::2] for key, row in own.items()} != dict(self._own):
            raise AssertionError(f"{self.device.name}'s own rows are not as it wrote them")
        return own

    def _transaction(self, app):
        app.execute("BEGIN IMMEDIATE")
        undo = list(self._own)
        try:
            for _ in range(self._random.randint(1, 4)):
                self._random.choice((self._insert, self._insert, self._update, self._update,
                                     self._share, self._transfer, self._delete))(app)
            app.execute("COMMIT")
        except BaseException:
            self._own = undo
            app.execute("ROLLBACK")
            raise
        self.commits += 1

    def _value(self, column):
        draw = self._random
        by_column = {
            "Number": lambda: draw.randint(-(1 << 63), (1 << 63) - 1),
            "Measure": lambda: draw.uniform(-1e12, 1e12),
            "Note": lambda: "".join(draw.choices("aé漢 '\"\\\n", k=draw.randint(0, 60))),
            "Bytes": lambda: draw.randbytes(draw.randint(0, 60)),
            "Loose": lambda: draw.choice((None, 7, 0.25, "text", b"\0blob"))}
        return None if draw.random() < 0.1 else by_column[column]()

    def _insert(self, app):
        self._made += 1
        key = f"{self.device.name}-{self._made:06d}"
        values = tuple(self._value(column) for column in COLUMNS)
        app.execute("INSERT INTO Item VALUES(?, ?, ?, ?, ?, ?)", (key, *values))
        self._own = [*self._own, (key, values)]

    def _update(self, app):
        if not self._own:
            return
        at = self._random.randrange(len(self._own))
        key, values = self._own[at]
        column = self._random.randrange(len(COLUMNS))
        value = self._value(COLUMNS[column])
        app.execute(f"UPDATE Item SET {COLUMNS[column]} = ? WHERE Id = ?", (value, key))
        changed = (*values[:column], value, *values[column + 1:])
        self._own = [*self._own[:at], (key, changed), *self._own[at + 1:]]

    def _delete(self, app):
        if len(self._own) < 10:
            return
        at = self._random.randrange(len(self._own))
        app.execute("DELETE FROM Item WHERE Id = ?", (self._own[at][0],))
        self._own = [*self._own[:at], *self._own[at + 1:]]

    def _share(self, app):
        self._made += 1
        value = f"{self.device.name} {self._made}"
        key = f"shared-{self._random.randrange(SHARED_ROWS)}"
        app.execute("INSERT INTO Item(Id, Note) VALUES(?1, ?2) "
                    "ON CONFLICT(Id) DO UPDATE SET Note = ?2", (key, value))
        self.shared.add(value)

    def _transfer(self, app):
        self._made += 1
        amount = self._random.randint(1, 1000)
        for side, moved in (("from", -amount), ("to", amount)):
            app.execute("INSERT INTO Entry VALUES(?, ?)",
                        (f"{self.device.name}-{self._made:06d}-{side}", moved))


class SumWatch:
    """Looks at a device's accounts again and again, as a reader of its own would."""

    def __init__(self, device):
        self.device = device
        self.looks = 0
        self.broken = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join(60)

    def _run(self):
        with contextlib.closing(sqlite3.connect(self.device.db, timeout=60)) as reader:
            while not self._over.wait(0.02):
                total = reader.execute("SELECT coalesce(sum(Amount), 0) FROM Entry").fetchone()[0]
                self.looks += 1
                if total != 0:
                    self.broken.append(total)
