// What real applications' schemas do, in small.
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class AppsTest : public SchemaTest {
 protected:
  static EntityConfig Keyed(const std::string& table, std::vector<std::string> key,
                            std::map<std::string, std::string> references = {}) {
    EntityConfig config;
    config.table = table;
    config.key = std::move(key);
    config.references = std::move(references);
    return config;
  }
  void Name(const std::vector<EntityConfig>& entities) {
    for (TestDevice* device : {&a_, &b_}) {
      device->options().plan.all_tables = false;
      device->options().plan.entities = entities;
    }
  }
  void ExpectAtRest() {
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name();
      EXPECT_THAT(device->LedgerQuery("SELECT * FROM SyncSetAside"), IsEmpty()) << device->name();
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
      while (*device->replica().Maintain()) continue;
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name() << " found what nobody did";
    }
  }
};

// The SQL that `init` prints: the row is there without a key for a moment, inside of
// the app's own statement.
TEST_F(AppsTest, AKeyThatATriggerFillsInNamesRowsOfBothDevices) {
  Name({Keyed("albums", {"sync_id"})});
  BeginBoth(
      "CREATE TABLE albums(id INTEGER PRIMARY KEY, name TEXT, sync_id TEXT);"
      "CREATE UNIQUE INDEX albums_sync_id ON albums(sync_id);"
      "CREATE TRIGGER albums_sync_id AFTER INSERT ON albums WHEN NEW.sync_id IS NULL BEGIN "
      "UPDATE albums SET sync_id = lower(hex(randomblob(16))) WHERE rowid = NEW.rowid; END");
  // As beets does: first an empty row, then what stands in it.
  a_.Sql(
      "BEGIN; INSERT INTO albums DEFAULT VALUES; UPDATE albums SET name = 'A' WHERE id = 1; "
      "COMMIT");
  b_.Sql("INSERT INTO albums(name) VALUES('B'), ('C')");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT name FROM albums ORDER BY name"), ElementsAre("A", "B", "C"));
  b_.Sql("UPDATE albums SET name = 'AA' WHERE name = 'A'; DELETE FROM albums WHERE name = 'C'");
  a_.Sql("REPLACE INTO albums(id, name) VALUES(1, 'instead of A')");
  SyncBoth();

  EXPECT_EQ(a_.Query("SELECT name, sync_id FROM albums ORDER BY 2"),
            b_.Query("SELECT name, sync_id FROM albums ORDER BY 2"));
  EXPECT_THAT(a_.Query("SELECT count(*) FROM albums WHERE sync_id IS NULL"), ElementsAre("0"));
  ExpectAtRest();
}

// As calibre has it: foreign keys by hand, which refuse what comes in the wrong
// order, and names in any case.
TEST_F(AppsTest, ForeignKeysMadeOfTriggersAreObeyedWhateverTheOrder) {
  Name({Keyed("links", {"book", "author"}, {{"book", "books"}, {"author", "authors"}}),
        Keyed("books", {"uuid"}), Keyed("authors", {"name"})});
  BeginBoth(
      "CREATE TABLE books(id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT UNIQUE, title TEXT);"
      "CREATE TABLE authors(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE);"
      "CREATE TABLE links(id INTEGER PRIMARY KEY, book INTEGER NOT NULL, author INTEGER NOT NULL,"
      " UNIQUE(book, author));"
      "CREATE TRIGGER books_delete AFTER DELETE ON books BEGIN"
      " DELETE FROM links WHERE book = OLD.id; END;"
      "CREATE TRIGGER authors_delete BEFORE DELETE ON authors BEGIN SELECT CASE WHEN"
      " (SELECT count(*) FROM links WHERE author = OLD.id) > 0 THEN RAISE(ABORT, 'in use') END; "
      "END;"
      "CREATE TRIGGER links_insert BEFORE INSERT ON links BEGIN SELECT CASE"
      " WHEN (SELECT id FROM books WHERE id = NEW.book) IS NULL THEN RAISE(ABORT, 'no book')"
      " WHEN (SELECT id FROM authors WHERE id = NEW.author) IS NULL THEN RAISE(ABORT, 'none') END; "
      "END");
  b_.Sql("INSERT INTO authors VALUES(1, 'Zoe')");
  a_.Sql(
      "INSERT INTO books VALUES(1, 'b1', 'One'), (2, 'b2', 'Two');"
      "INSERT INTO authors VALUES(1, 'Ann'), (2, 'Bob');"
      "INSERT INTO links(book, author) VALUES(1, 1), (1, 2), (2, 2)");
  SyncBoth();
  const char* const shown =
      "SELECT b.uuid, b.title, a.name FROM books b JOIN links l ON l.book = b.id "
      "JOIN authors a ON a.id = l.author ORDER BY 1, 3";
  EXPECT_THAT(b_.Query(shown), ElementsAre("b1|One|Ann", "b1|One|Bob", "b2|Two|Bob"));

  // An author goes with his last book, and another one changes his spelling.
  b_.Sql(
      "DELETE FROM books WHERE uuid = 'b1'; DELETE FROM authors WHERE name = 'ann';"
      "UPDATE authors SET name = 'BOB' WHERE name = 'bob'");
  a_.Sql("UPDATE books SET title = 'Zwei' WHERE uuid = 'b2'");
  SyncBoth();

  EXPECT_THAT(a_.Query(shown), ElementsAre("b2|Zwei|BOB"));
  EXPECT_THAT(b_.Query(shown), ElementsAre("b2|Zwei|BOB"));
  EXPECT_THAT(a_.Query("SELECT name FROM authors ORDER BY 1"), ElementsAre("BOB", "Zoe"));
  ExpectAtRest();
}

}  // namespace
}  // namespace ptdoc::sync
