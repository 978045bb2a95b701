// What moves rows about inside a file: VACUUM, rowids that change, search indexes beside.
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kShelf[] =
    "CREATE TABLE author(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT);"
    "CREATE TABLE book(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, title TEXT,"
    " author_id INTEGER REFERENCES author(id) ON UPDATE CASCADE);"
    "CREATE TABLE link(id INTEGER PRIMARY KEY, book_id INTEGER NOT NULL REFERENCES book(id)"
    " ON DELETE CASCADE ON UPDATE CASCADE, tag TEXT NOT NULL, UNIQUE(book_id, tag));"
    // No INTEGER PRIMARY KEY: its rowids are SQLite's, and mean nothing.
    "CREATE TABLE note(uuid TEXT NOT NULL UNIQUE, text TEXT);"
    "CREATE VIRTUAL TABLE search USING fts5(text, content='note');"
    "CREATE TRIGGER note_i AFTER INSERT ON note BEGIN"
    " INSERT INTO search(rowid, text) VALUES(NEW.rowid, NEW.text); END;"
    "CREATE TRIGGER note_d AFTER DELETE ON note BEGIN"
    " INSERT INTO search(search, rowid, text) VALUES('delete', OLD.rowid, OLD.text); END;"
    "CREATE TRIGGER note_u AFTER UPDATE ON note BEGIN"
    " INSERT INTO search(search, rowid, text) VALUES('delete', OLD.rowid, OLD.text);"
    " INSERT INTO search(rowid, text) VALUES(NEW.rowid, NEW.text); END";

class VacuumTest : public SchemaTest {
 protected:
  static EntityConfig Keyed(const std::string& table, std::vector<std::string> key) {
    EntityConfig config;
    config.table = table;
    config.key = std::move(key);
    return config;
  }
  // Numbers differ from the first row on, and have gaps.
  void BeginShelves() {
    for (TestDevice* device : {&a_, &b_}) {
      device->options().plan.all_tables = false;
      device->options().plan.entities = {Keyed("author", {"uuid"}), Keyed("book", {"uuid"}),
                                         Keyed("link", {"book_id", "tag"}),
                                         Keyed("note", {"uuid"})};
    }
    a_.Begin(kShelf);
    b_.Begin(kShelf,
             "INSERT INTO author VALUES(50, 'bb', 'B.'); INSERT INTO note VALUES('nb', 'of b')");
    a_.Sql(
        "PRAGMA foreign_keys = ON;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) "
        "INSERT INTO note SELECT 'n' || i, 'word' || i FROM n;"
        "INSERT INTO author SELECT rowid * 3, 'a' || rowid, text FROM note;"
        "INSERT INTO book SELECT rowid * 5, 'k' || rowid, text, rowid * 3 FROM note;"
        "INSERT INTO link SELECT rowid * 7, rowid * 5, 'tag' FROM note");
    SyncBoth();
    a_.Sql(
        "DELETE FROM note WHERE rowid % 3 = 0; DELETE FROM book WHERE id % 4 = 0;"
        "DELETE FROM author WHERE NOT EXISTS (SELECT 1 FROM book WHERE author_id = author.id)");
    SyncBoth();
  }
  // By what names the rows everywhere.
  static Lines Shelf(TestDevice& device) {
    Lines lines = device.Query(
        "SELECT 'book', b.uuid, title, a.uuid, a.name, tag FROM book b JOIN author a ON "
        "a.id = author_id LEFT JOIN link ON book_id = b.id UNION ALL "
        "SELECT 'note', uuid, text, (SELECT count(*) FROM search WHERE search MATCH note.text AND "
        "search.rowid = note.rowid), NULL, NULL FROM note ORDER BY 1, 2");
    return lines;
  }
  void ExpectShelves() {
    EXPECT_EQ(Shelf(a_), Shelf(b_));
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name();
      EXPECT_THAT(device->LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"), IsEmpty());
      EXPECT_THAT(device->Query("PRAGMA integrity_check"), ElementsAre("ok"));
      EXPECT_THAT(device->Query("PRAGMA foreign_key_check"), IsEmpty());
      device->Sql("INSERT INTO search(search, rank) VALUES('integrity-check', 1)");
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
      while (*device->replica().Maintain()) continue;
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name() << " found what nobody did";
    }
    EXPECT_THAT(ServiceArchives(), IsEmpty());
  }
  void EditOnBoth() {
    a_.Sql(
        "UPDATE note SET text = 'edited' || rowid WHERE uuid IN ('n1', 'n50');"
        "DELETE FROM note WHERE uuid = 'n2'; INSERT INTO note VALUES('na', 'new on a');"
        "UPDATE book SET title = 'of a' WHERE uuid = 'k1'; DELETE FROM book WHERE uuid = 'k2'");
    b_.Sql(
        "PRAGMA foreign_keys = ON; UPDATE note SET text = 'by b' WHERE uuid = 'n5';"
        "INSERT INTO book SELECT max(id) + 9, 'kb', 'of b', (SELECT id FROM author WHERE uuid = "
        "'a1')"
        " FROM book;"
        "INSERT INTO link(book_id, tag) SELECT id, 'new' FROM book WHERE uuid IN ('kb', 'k3')");
  }
};

TEST_F(VacuumTest, NothingIsSentAndEditsFindTheirRows) {
  BeginShelves();
  const Lines before = Shelf(a_);

  a_.Sql("VACUUM");
  b_.Sql("VACUUM");
  EXPECT_FALSE(a_.Take().batch.has_value());
  EXPECT_FALSE(b_.Take().batch.has_value());

  EXPECT_EQ(Shelf(a_), before);
  EditOnBoth();
  SyncBoth();
  ExpectShelves();
}

// What the log says of integers is older than the file as it stands.
TEST_F(VacuumTest, WhatIsNotDrainedYetSurvivesIt) {
  BeginShelves();

  EditOnBoth();
  a_.Sql("VACUUM");
  b_.Sql("PRAGMA page_size = 1024; VACUUM");
  a_.Sql("UPDATE author SET name = 'Ada' WHERE uuid = 'a1'; DELETE FROM note WHERE uuid = 'n8'");
  b_.Sql("DELETE FROM book WHERE uuid = 'k5'; UPDATE note SET text = 'late' WHERE uuid = 'n10'");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT count(*) FROM book WHERE uuid IN ('k1', 'kb')"), ElementsAre("2"));
  EXPECT_THAT(b_.Query("SELECT uuid FROM note WHERE uuid IN ('n2', 'na')"), ElementsAre("na"));
  ExpectShelves();
}

TEST_F(VacuumTest, ACopyByVacuumIntoInTheFilesPlaceLosesNothing) {
  BeginShelves();
  EditOnBoth();
  a_.Close();
  a_.Sql(absl::StrCat("VACUUM INTO '", dir_, "/copy.db'"));
  a_.CloseApp();
  for (const char* end : {"-wal", "-shm", "-journal"}) {
    std::filesystem::remove(a_.options().database + end);
  }
  std::filesystem::rename(dir_ + "/copy.db", a_.options().database);
  a_.OpenApp();
  a_.Open();

  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT title FROM book WHERE uuid = 'k1'"), ElementsAre("of a"));
  EXPECT_THAT(b_.Query("SELECT uuid FROM note WHERE uuid = 'na'"), ElementsAre("na"));
  EXPECT_EQ(Shelf(a_), Shelf(b_));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

// VACUUM may give rows other rowids, as of this SQLite's versions it does not where there
// is an index. So may an app.
TEST_F(VacuumTest, OtherRowidsSendNothing) {
  BeginShelves();
  const Lines before = Shelf(a_);

  a_.Sql("UPDATE note SET rowid = 1000 - rowid");
  b_.Sql(
      "PRAGMA foreign_keys = ON; UPDATE book SET id = 3000 - id; UPDATE author SET id = 5000 - id;"
      "UPDATE link SET id = 7000 - id");
  EXPECT_FALSE(a_.Take().batch.has_value());
  EXPECT_FALSE(b_.Take().batch.has_value());

  EXPECT_EQ(Shelf(a_), before);
  EditOnBoth();
  SyncBoth();
  ExpectShelves();
}

// As a migration does it, in another order of rows.
TEST_F(VacuumTest, ATableThatIsMadeAnewWithOtherRowidsSendsNothing) {
  BeginShelves();
  const Lines before = Shelf(a_);

  a_.Sql(
      "BEGIN; CREATE TABLE made(uuid TEXT NOT NULL UNIQUE, text TEXT);"
      "INSERT INTO made SELECT uuid, text FROM note ORDER BY rowid DESC;"
      "DROP TABLE note; ALTER TABLE made RENAME TO note;"
      "CREATE TRIGGER note_i AFTER INSERT ON note BEGIN"
      " INSERT INTO search(rowid, text) VALUES(NEW.rowid, NEW.text); END;"
      "CREATE TRIGGER note_d AFTER DELETE ON note BEGIN"
      " INSERT INTO search(search, rowid, text) VALUES('delete', OLD.rowid, OLD.text); END;"
      "CREATE TRIGGER note_u AFTER UPDATE ON note BEGIN"
      " INSERT INTO search(search, rowid, text) VALUES('delete', OLD.rowid, OLD.text);"
      " INSERT INTO search(rowid, text) VALUES(NEW.rowid, NEW.text); END;"
      "INSERT INTO search(search) VALUES('rebuild'); COMMIT");
  EXPECT_FALSE(a_.Take().batch.has_value());

  EXPECT_EQ(Shelf(a_), before);
  EditOnBoth();
  SyncBoth();
  ExpectShelves();
}

// An index that is not what its table is: SQLite calls the whole file malformed for it,
// whenever one of these rows is written. The file is sound, and so is all the rest.
TEST_F(VacuumTest, AStaleSearchIndexHoldsUpItsOwnRowsAlone) {
  BeginShelves();
  b_.Sql("INSERT INTO search(search) VALUES('delete-all')");

  a_.Sql("UPDATE note SET text = 'edited' WHERE uuid = 'n1'");
  a_.Sql("UPDATE book SET title = 'beside' WHERE uuid = 'k1'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT title FROM book WHERE uuid = 'k1'"), ElementsAre("beside"));
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"),
              ElementsAre("n1|SQLITE_CORRUPT_VTAB"));
  EXPECT_EQ(b_.replica().Facts()->file, FileState::kReady);
  b_.Sql("INSERT INTO search(search) VALUES('rebuild')");
  clock_.Advance(absl::Minutes(11));
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT text FROM note WHERE uuid = 'n1'"), ElementsAre("edited"));
  ExpectShelves();
}

}  // namespace
}  // namespace ptdoc::sync
