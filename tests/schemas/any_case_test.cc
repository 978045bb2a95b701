// Keys that ignore case (COLLATE NOCASE): one row, however it is written.
#include "device-agent/capture/entity_key.h"
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kTags[] = "CREATE TABLE Tag(Name TEXT NOT NULL COLLATE NOCASE UNIQUE, Note TEXT);";

class AnyCaseTest : public SchemaTest {
 protected:
  static EntityConfig Keyed(const std::string& table, std::vector<std::string> key) {
    EntityConfig config;
    config.table = table;
    config.key = std::move(key);
    return config;
  }
  void Name(std::vector<EntityConfig> entities) {
    for (TestDevice* device : {&a_, &b_}) {
      device->options().plan.all_tables = false;
      device->options().plan.entities = entities;
    }
  }
  void BeginTags() {
    Name({Keyed("Tag", {"Name"})});
    BeginBoth(kTags);
  }
  // Nothing is found that nobody announced.
  void ExpectNothingToCompare() {
    for (TestDevice* device : {&a_, &b_}) {
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
      while (*device->replica().Maintain()) continue;
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name();
    }
  }
};

TEST_F(AnyCaseTest, AnotherCaseIsAnEditOfTheRow) {
  BeginTags();
  a_.Sql("INSERT INTO Tag VALUES('red', 'one'), ('Blue', 'two')");
  SyncBoth();
  b_.Sql("UPDATE Tag SET Name = 'RED' WHERE Name = 'red'");
  b_.Drain();

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("red|1|0"));
  SyncBoth();
  EXPECT_THAT(a_.Query("SELECT * FROM Tag ORDER BY Name"), ElementsAre("Blue|two", "RED|one"));
  ExpectSame();
  ExpectNothingToCompare();
}

TEST_F(AnyCaseTest, TwoThatAreWrittenDifferentlyMeetAsOneConflict) {
  BeginTags();
  a_.Sql("INSERT INTO Tag VALUES('red', 'of a')");
  b_.Sql("INSERT INTO Tag VALUES('Red', 'of b')");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("red", 1'000);
  b_.SetItemTime("red", 2'000);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Tag"), ElementsAre("Red|of b"));
  EXPECT_EQ(ServiceArchives().size(), 1u);
  ExpectSame();
  ExpectNothingToCompare();
}

TEST_F(AnyCaseTest, DeletionsReplacesAndRealRenamesFindTheirRows) {
  BeginTags();
  a_.Sql("INSERT INTO Tag VALUES('One', '1'), ('Two', '2'), ('Three', '3'), ('Four', '4')");
  SyncBoth();
  b_.Sql(
      "DELETE FROM Tag WHERE Name = 'ONE'; INSERT OR REPLACE INTO Tag VALUES('TWO', '22');"
      "UPDATE Tag SET Name = 'Drei' WHERE Name = 'three';"
      "UPDATE OR REPLACE Tag SET Name = 'FOUR' WHERE Name = 'drei'");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Tag ORDER BY Name"), ElementsAre("FOUR|3", "TWO|22"));
  ExpectSame();
  ExpectNothingToCompare();
}

TEST_F(AnyCaseTest, IntegersOfOthersMeanTheRowHoweverItIsWritten) {
  Name({Keyed("Author", {"Name"}), Keyed("Book", {"Uuid"}), Keyed("Link", {"Book", "Kind"})});
  constexpr char kSchema[] =
      "CREATE TABLE Author(Id INTEGER PRIMARY KEY, Name TEXT NOT NULL COLLATE NOCASE UNIQUE);"
      "CREATE TABLE Book(Id INTEGER PRIMARY KEY, Uuid TEXT NOT NULL UNIQUE,"
      " Author INTEGER REFERENCES Author(Id));"
      "CREATE TABLE Link(Id INTEGER PRIMARY KEY, Book INTEGER NOT NULL REFERENCES Book(Id),"
      " Kind TEXT NOT NULL COLLATE NOCASE, Val TEXT, UNIQUE(Book, Kind))";
  a_.Begin(kSchema);
  b_.Begin(kSchema, "INSERT INTO Author VALUES(1, 'Somebody'), (2, 'ann')");
  a_.Sql(
      "INSERT INTO Author VALUES(1, 'Ann'); INSERT INTO Book VALUES(1, 'b1', 1);"
      "INSERT INTO Link VALUES(1, 1, 'ISBN', '978')");
  SyncBoth();
  b_.Sql("UPDATE Link SET Kind = 'isbn', Val = '979'");
  a_.Sql("UPDATE Author SET Name = 'ANN' WHERE Id = 1");
  SyncBoth();

  const char* const books =
      "SELECT Uuid, a.Name, Kind, Val FROM Book b JOIN Author a ON a.Id = b.Author"
      " JOIN Link l ON l.Book = b.Id";
  EXPECT_THAT(a_.Query(books), ElementsAre("b1|ANN|isbn|979"));
  EXPECT_THAT(b_.Query(books), ElementsAre("b1|ANN|isbn|979"));
  EXPECT_THAT(b_.Query("SELECT Author FROM Book"), ElementsAre("2"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  ExpectNothingToCompare();
}

TEST_F(AnyCaseTest, PrimaryKeysOfTablesWithoutRowid) {
  BeginBoth("CREATE TABLE T(A TEXT COLLATE NOCASE, B INT, V, PRIMARY KEY(A, B)) WITHOUT ROWID");
  a_.Sql("INSERT INTO T VALUES('x', 1, 'one'), ('X', 2, 'two'), ('y', 1, 'three')");
  SyncBoth();
  b_.Sql("UPDATE T SET A = 'Y', V = 'drei' WHERE A = 'y'; DELETE FROM T WHERE A = 'X' AND B = 1");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM T ORDER BY A, B"), ElementsAre("X|2|two", "Y|1|drei"));
  ExpectSame();
  ExpectNothingToCompare();
}

// NOCASE takes texts of one length for equal that differ after a NUL byte, and
// knows the letters of ASCII alone.
TEST_F(AnyCaseTest, OnlyLettersOfAsciiAreFolded) {
  BeginTags();
  a_.Sql("INSERT INTO Tag VALUES('Ä', 'upper'), ('ä', 'lower'), ('a' || char(0) || 'b', 'nul')");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Note FROM Tag ORDER BY Note"), ElementsAre("lower", "upper"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(AnyCaseTest, AnIdOfADeviceThatDoesNotIgnoreCaseIsSetAside) {
  BeginTags();
  const TablePlan& tag = *a_.replica().plan().ByType("Tag");
  EXPECT_TRUE(KeyOfEntityId(tag, "red").ok());
  EXPECT_FALSE(KeyOfEntityId(tag, "Red").ok());
  IncomingPage page;
  for (const auto& [id, name] : {std::pair("Red", "Red"), std::pair("blue", "green")}) {
    Version& version = page.versions.emplace_back();
    version.key = {"Tag", id};
    version.revision = 1;
    version.check = std::string(8, 'c');
    version.fields = Fields({{"Name", Value::Text(name)}, {"Note", Value::Null()}});
  }
  page.batch_end = page.caught_up = true;
  page.epoch = "e";
  a_.Apply(page);

  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside ORDER BY 1"),
              ElementsAre("Red|INVALID_KEY", "blue|INVALID_KEY"));
  EXPECT_THAT(a_.Query("SELECT * FROM Tag"), IsEmpty());
}

TEST_F(AnyCaseTest, AKeyThatComparesInAnotherWayThanBeforeWaits) {
  BeginBoth("CREATE TABLE T(K TEXT PRIMARY KEY, V)");
  a_.Sql("INSERT INTO T VALUES('Red', 1)");
  SyncBoth();
  a_.Sql(
      "CREATE TABLE N(K TEXT COLLATE NOCASE PRIMARY KEY, V); INSERT INTO N SELECT * FROM T;"
      "DROP TABLE T; ALTER TABLE N RENAME TO T; UPDATE T SET V = 2");

  EXPECT_THAT(a_.Drain().problems, Contains(HasSubstr("ignore case (COLLATE NOCASE) were none")));
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT * FROM T"), ElementsAre("Red|1"));
}

}  // namespace
}  // namespace ptdoc::sync
