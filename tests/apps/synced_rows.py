"""What two devices must hold alike, row by row: every column that is synced, with its type, and
in place of each number that only this device knows the key of the row that it stands for."""
import tomllib


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def parts_of(text):
    return [part.strip() for part in text.split(",")] if text else []


class SyncedRows:
    """Reads them by SQL alone, by what agent.toml and the schema say."""

    def __init__(self, home, entities):
        self.home = home
        self.entities = {entity["table"]: entity
                         for entity in tomllib.loads(entities).get("entity", [])}
        self.columns = {table: home.rows(f"PRAGMA table_xinfo({quoted(table)})")
                        for table in self.entities}
        self.keys = {}

    def primary(self, table):
        named = sorted((row[5], row[1]) for row in self.columns[table] if row[5])
        return [name for _, name in named] or ["rowid"]

    def is_local(self, table):
        """Whether its rows have numbers of this device alone, beside their key."""
        return bool(self.entities[table].get("key")) and (
            self.entities[table].get("integer_key") != "one_side")

    def local_number(self, table):
        integer = [row[1] for row in self.columns[table] if row[5]]
        kinds = {row[1]: row[2].upper() for row in self.columns[table]}
        if len(integer) == 1 and kinds[integer[0]] in ("INTEGER", "INT", "BIGINT"):
            return integer[0]
        return "rowid"

    def references(self, table):
        """Column -> the table whose local number stands in it."""
        found = {}
        for row in self.home.rows(f"PRAGMA foreign_key_list({quoted(table)})"):
            parent, column, referred = row[2], row[3], row[4]
            if parent not in self.entities or not self.is_local(parent):
                continue
            number = self.local_number(parent)
            if referred is None or referred == number:
                found[column] = parent
        for column, parent in self.entities[table].get("references", {}).items():
            if self.is_local(parent):
                found[column] = parent
        return found

    def kept(self, table):
        """The columns that are compared: what is stored, and not this device's alone."""
        entity = self.entities[table]
        left = set(entity.get("exclude_columns", []))
        for stamp in ("last_modified_column", "modified_by_column", "sync_state_column"):
            left.add(entity.get(stamp))
        number = self.local_number(table)
        if self.is_local(table) and number not in parts_of(entity.get("key", "")):
            left.add(number)
        return [row[1] for row in self.columns[table] if row[6] in (0, 1) and row[1] not in left]

    def key_of(self, table, number):
        """What the row with this number is called everywhere."""
        if table not in self.keys:
            self.keys[table] = {}  # A table that refers to itself is named while it is read.
            key = parts_of(self.entities[table]["key"])
            picked = ", ".join(map(quoted, key))
            own = self.local_number(table)
            own = own if own == "rowid" else quoted(own)
            refers = self.references(table)
            for row in self.home.rows(f"SELECT {own}, {picked} FROM {quoted(table)}"):
                self.keys[table][row[0]] = tuple(
                    self.named(refers, column, value) for column, value in zip(key, row[1:]))
        return (table, self.keys[table].get(number, f"no row {number}"))

    def named(self, refers, column, value):
        if column in refers and isinstance(value, int):
            return self.key_of(refers[column], value)
        return value

    def of(self, table):
        columns = self.kept(table)
        refers = self.references(table)
        picked = ", ".join(f"{quoted(column)}, typeof({quoted(column)})" for column in columns)
        rows = []
        for row in self.home.rows(f"SELECT {picked} FROM {quoted(table)}"):
            values = zip(columns, row[::2], row[1::2])
            rows.append(tuple((column, self.named(refers, column, value), kind)
                              for column, value, kind in values))
        return sorted(rows, key=repr)

    def all(self):
        return {table: self.of(table) for table in self.entities}
