// Schemas that need more of the agent than its triggers: functions and
// collations that only the app has, limits, names of ours, swaps.
#include <sqlite3.h>

#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What an app brings along: a function, and a collation that compares from the end.
void Lift(sqlite3_context* context, int, sqlite3_value** values) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values[0]));
  const std::string lifted = absl::StrCat("^", text == nullptr ? "" : text);
  sqlite3_result_text(context, lifted.c_str(), -1, SQLITE_TRANSIENT);
}
int Backwards(void*, int a_size, const void* a, int b_size, const void* b) {
  const std::string left(static_cast<const char*>(a), static_cast<size_t>(a_size));
  const std::string right(static_cast<const char*>(b), static_cast<size_t>(b_size));
  return std::string(left.rbegin(), left.rend()).compare({right.rbegin(), right.rend()});
}
void Teach(TestDevice& device) {
  sqlite3* db = device.app().handle();
  ASSERT_EQ(sqlite3_create_function(db, "lift", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr,
                                    Lift, nullptr, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_create_collation(db, "BACKWARDS", SQLITE_UTF8, nullptr, Backwards), SQLITE_OK);
}

class OddSchemaTest : public SchemaTest {
 protected:
  void BeginTaught(const std::string& schema) {
    Teach(a_);
    Teach(b_);
    BeginBoth(schema);
  }
};

TEST_F(OddSchemaTest, TableWithTriggersThatCallTheAppsFunctionIsWrittenWithoutThem) {
  BeginTaught(
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, L TEXT);"
      "CREATE TRIGGER TI AFTER INSERT ON T BEGIN UPDATE T SET L = lift(NEW.A) WHERE K = NEW.K; END;"
      "CREATE TRIGGER TU AFTER UPDATE OF A ON T BEGIN"
      " UPDATE T SET L = lift(NEW.A) WHERE K = NEW.K; END;"
      "CREATE VIRTUAL TABLE F5 USING fts5(A, content='T')");
  a_.Sql("INSERT INTO T(K, A) VALUES('1', 'x'), ('2', 'y')");
  SyncBoth();
  b_.Sql("UPDATE T SET A = 'z' WHERE K = '2'");
  SyncBoth();

  EXPECT_EQ(ModeOf(b_, "T"), "off");
  EXPECT_THAT(a_.Query("SELECT * FROM T ORDER BY K"), ElementsAre("1|x|^x", "2|z|^z"));
  EXPECT_THAT(b_.Query("SELECT count(*) FROM F5 WHERE F5 MATCH 'x'"), ElementsAre("1"));
  ExpectSame();
}

TEST_F(OddSchemaTest, IndexThatOnlyTheAppCanKeepMakesItsTableCapturedOnly) {
  for (const char* schema :
       {"CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT); CREATE INDEX X ON T(lift(A))",
        "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT COLLATE BACKWARDS); CREATE INDEX X ON T(A)",
        "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT); CREATE INDEX X ON T(A COLLATE BACKWARDS)",
        "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT COLLATE BACKWARDS UNIQUE)",
        "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT CHECK(lift(A) <> '^no'))",
        "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, G TEXT AS (lift(A)) STORED)"}) {
    SCOPED_TRACE(schema);
    TestDevice from(dir_, "from", clock_, rng_);
    TestDevice to(dir_, "to", clock_, rng_);
    Teach(from);
    Teach(to);
    from.options().plan.count_rows = to.options().plan.count_rows = true;  // As `init` does.
    from.Begin(schema);
    to.Begin(schema);
    from.Sql("INSERT INTO T(K, A) VALUES('1', 'x')");
    Sync(from);
    Sync(to);

    EXPECT_EQ(ModeOf(to, "T"), "captured");
    EXPECT_THAT(to.replica().plan().ByTable("T")->reason,
                testing::AnyOf(HasSubstr("lift"), HasSubstr("BACKWARDS")));
    EXPECT_THAT(to.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"),
                ElementsAre("1|CAPTURE_ONLY"));
    EXPECT_THAT(to.Query("SELECT * FROM T"), IsEmpty());
    from.Close();
    to.Close();
    from.CloseApp();
    to.CloseApp();
    std::filesystem::remove_all(dir_ + "/from.db");
    std::filesystem::remove_all(dir_ + "/to.db");
    std::filesystem::remove_all(dir_ + "/from.db.sync");
    std::filesystem::remove_all(dir_ + "/to.db.sync");
  }
}

TEST_F(OddSchemaTest, CollationOfAColumnWithoutAnIndexIsNoObstacle) {
  BeginTaught(
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT COLLATE BACKWARDS, B TEXT COLLATE NOCASE)");
  a_.Sql("INSERT INTO T VALUES('1', 'xy', 'abc')");
  SyncBoth();
  b_.Sql("UPDATE T SET B = 'ABC', A = 'yx'");
  SyncBoth();

  EXPECT_EQ(ModeOf(a_, "T"), "two-way");
  EXPECT_THAT(a_.Query("SELECT * FROM T"), ElementsAre("1|yx|ABC"));
  ExpectSame();
}

// A device whose table has a column more, with a default that only its app can compute.
TEST_F(OddSchemaTest, DefaultThatOnlyTheAppCanComputeHoldsUpItsOwnTableAlone) {
  Teach(b_);
  a_.Begin("CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT); CREATE TABLE O(K TEXT PRIMARY KEY)");
  b_.Begin(
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, B TEXT DEFAULT (lift('b')));"
      "CREATE TABLE O(K TEXT PRIMARY KEY)",
      "INSERT INTO T(K, A) VALUES('own', 'x')");
  a_.Sql("INSERT INTO T VALUES('1', 'x'); INSERT INTO O VALUES('beside')");
  SyncBoth();
  a_.Sql("UPDATE T SET A = 'y'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT K FROM O"), ElementsAre("beside"));
  EXPECT_THAT(b_.Query("SELECT * FROM T"), ElementsAre("own|y|^b"));
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("1|SQLITE_ERROR|T.B"));
  b_.Sql("ALTER TABLE T RENAME COLUMN B TO B2; ALTER TABLE T ADD COLUMN B TEXT DEFAULT 'plain'");
  b_.Sql("ALTER TABLE T DROP COLUMN B2");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM T WHERE K = '1'"), ElementsAre("1|y|plain"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(OddSchemaTest, KeysWhoseCollationTakesTwoForOneAreRefusedWithTheWayOut) {
  BeginTaught(
      "CREATE TABLE N(K TEXT COLLATE NOCASE PRIMARY KEY, A);"
      "CREATE TABLE R(K TEXT COLLATE RTRIM PRIMARY KEY, A);"
      "CREATE TABLE B(K TEXT COLLATE BACKWARDS PRIMARY KEY, A);"
      "CREATE TABLE T(K TEXT PRIMARY KEY, A)");

  EXPECT_EQ(ModeOf(a_, "N"), "two-way");
  EXPECT_EQ(ModeOf(a_, "R"), "KEY_COLLATION");
  EXPECT_EQ(ModeOf(a_, "B"), "KEY_COLLATION");
  EXPECT_EQ(ModeOf(a_, "T"), "two-way");
}

TEST_F(OddSchemaTest, TableOfTwoThousandColumnsArrivesWhole) {
  std::string schema = "CREATE TABLE T(K TEXT PRIMARY KEY";
  std::string values = "'1'";
  for (int i = 1; i < 2000; ++i) {
    absl::StrAppend(&schema, ", c", i);
    absl::StrAppend(&values, ", ", i);
  }
  BeginBoth(schema + ")");
  a_.Sql(absl::StrCat("INSERT INTO T VALUES(", values, ")"));
  SyncBoth();
  b_.Sql("UPDATE T SET c1 = 'first', c64 = 'mid', c1999 = 'last'");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT c1, c2, c64, c65, c1998, c1999 FROM T"),
              ElementsAre("first|2|mid|65|1998|last"));
  ExpectSame();
}

TEST_F(OddSchemaTest, SwapOfUniqueValuesPassesInOnePageAndAcrossPages) {
  const std::vector<std::string> schemas = {
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT NOT NULL UNIQUE)",
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT); CREATE UNIQUE INDEX X ON T(lower(U))",
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT UNIQUE CHECK(length(U) = 1))",
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT NOT NULL UNIQUE CHECK(length(U) = 1))",
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT, V INT DEFAULT 1, UNIQUE(U, V))",
      "CREATE TABLE T(K TEXT PRIMARY KEY, U TEXT, W INT DEFAULT 1);"
      "CREATE UNIQUE INDEX X ON T(U) WHERE W = 1"};
  for (size_t i = 0; i < schemas.size(); ++i) {
    for (const bool in_pieces : {false, true}) {
      SCOPED_TRACE(absl::StrCat(schemas[i], in_pieces ? " in pieces" : ""));
      TestDevice from(dir_, absl::StrCat("from", i, in_pieces), clock_, rng_);
      TestDevice to(dir_, absl::StrCat("to", i, in_pieces), clock_, rng_);
      std::filesystem::create_directory(dir_ + "/" + from.name());
      TestService service(dir_ + "/" + from.name(), clock_, rng_);
      from.Begin(schemas[i]);
      to.Begin(schemas[i]);
      from.Sql("INSERT INTO T(K, U) VALUES('1', 'a'), ('2', 'b'), ('3', 'c')");
      ASSERT_TRUE(from.Sync(service).ok());
      ASSERT_TRUE(to.Sync(service).ok());

      from.Sql(
          "BEGIN; UPDATE T SET U = 'x' WHERE K = '1'; UPDATE T SET U = 'a' WHERE K = '2';"
          "UPDATE T SET U = 'b' WHERE K = '3'; UPDATE T SET U = 'c' WHERE K = '1'; COMMIT");
      from.Drain();
      while (in_pieces) {  // One row a batch, one batch a page.
        TakeLimits limits;
        limits.changes = 1;
        const Taken taken = from.Take(limits);
        if (!taken.batch.has_value()) break;
        const auto answer = service.Push(from.name(), *taken.batch, *from.replica().Cursor());
        ASSERT_TRUE(answer.ok()) << answer.status();
        from.Finish(*answer);
        ASSERT_TRUE(to.Sync(service).ok());
      }
      ASSERT_TRUE(from.Sync(service).ok());
      ASSERT_TRUE(to.Sync(service).ok());

      EXPECT_THAT(to.Query("SELECT K, U FROM T ORDER BY K"), ElementsAre("1|c", "2|a", "3|b"));
      EXPECT_THAT(to.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"), IsEmpty());
    }
  }
}

TEST_F(OddSchemaTest, TablesOfTheAppsThatAreNamedLikeOursAreNeverTouched) {
  a_.Sql(
      "CREATE TABLE SyncLog(Id TEXT PRIMARY KEY, Message TEXT);"
      "INSERT INTO SyncLog VALUES('1', 'precious');"
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT)");

  const auto enqueued = Replica::Initialise(a_.options(), clock_, rng_);

  EXPECT_EQ(ReasonOf(enqueued.status()), "NAME_TAKEN") << enqueued.status();
  EXPECT_THAT(enqueued.status().message(), AllOf(HasSubstr("SyncLog"), HasSubstr("Rename")));
  EXPECT_THAT(a_.Query("SELECT * FROM SyncLog"), ElementsAre("1|precious"));
  EXPECT_TRUE(Replica::Uninstall(a_.options(), clock_, rng_).ok());
  EXPECT_THAT(a_.Query("SELECT * FROM SyncLog"), ElementsAre("1|precious"));
}

TEST_F(OddSchemaTest, ViewOfTheAppsThatIsNamedLikeOursIsNeverTouched) {
  a_.Sql("CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT); CREATE VIEW SyncControl AS SELECT * FROM T");

  const auto enqueued = Replica::Initialise(a_.options(), clock_, rng_);

  EXPECT_EQ(ReasonOf(enqueued.status()), "NAME_TAKEN") << enqueued.status();
  EXPECT_THAT(a_.Query("SELECT name FROM sqlite_master ORDER BY name"),
              Contains("SyncControl").Times(1));
}

TEST_F(OddSchemaTest, TriggersOfTheAppsThatAreNamedLikeOursStay) {
  a_.Begin(
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, N INT DEFAULT 0);"
      "CREATE TRIGGER SyncT9_zz AFTER INSERT ON T BEGIN UPDATE T SET N = 7; END");
  Sync(a_);
  a_.Close();

  EXPECT_TRUE(Replica::Uninstall(a_.options(), clock_, rng_).ok());
  EXPECT_THAT(a_.Query("SELECT name FROM sqlite_master WHERE type = 'trigger'"),
              ElementsAre("SyncT9_zz"));
}

TEST_F(OddSchemaTest, TempTriggersAndTempTablesOfTheAppAreItsOwnMatter) {
  BeginBoth("CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, N INT DEFAULT 0)");
  a_.Sql(
      "CREATE TEMP TABLE SyncLog(x); CREATE TEMP TABLE Seen(K);"
      "CREATE TEMP TRIGGER Count AFTER INSERT ON main.T BEGIN"
      " UPDATE T SET N = N + 1 WHERE K = NEW.K; INSERT INTO Seen VALUES(NEW.K); END");
  a_.Sql("INSERT INTO T(K, A) VALUES('1', 'x')");
  SyncBoth();
  b_.Sql("INSERT INTO T(K, A) VALUES('2', 'y')");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM T ORDER BY K"), ElementsAre("1|x|1", "2|y|0"));
  ExpectSame();
}

TEST_F(OddSchemaTest, NamesThatAreNoUtf8AreRefusedWithTheWayOut) {
  a_.Sql(
      "CREATE TABLE \"na\xFFme\"(K TEXT PRIMARY KEY, A); CREATE TABLE T(K TEXT PRIMARY KEY, A);"
      "CREATE TABLE C(K TEXT PRIMARY KEY, \"col\xFF\" TEXT)");
  a_.Init();
  a_.Open();

  EXPECT_EQ(ModeOf(a_, "T"), "two-way");
  EXPECT_EQ(ModeOf(a_, "na\xFFme"), "NAME_NOT_UTF8");
  EXPECT_EQ(ModeOf(a_, "C"), "NAME_NOT_UTF8");
}

// SQLite keeps such a text in a UTF-8 file and cannot in a UTF-16 one: it would
// put another in its place, and the next edit would send that one to everybody.
TEST_F(OddSchemaTest, TextThatAUtf16FileCannotKeepIsSetAsideAndSpoilsNothing) {
  constexpr char kSchema[] = "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, B TEXT)";
  a_.Begin(kSchema);
  b_.Begin(absl::StrCat("PRAGMA encoding='UTF-16le';", kSchema));
  a_.Sql(
      "INSERT INTO T VALUES('1', CAST(x'61ff' AS TEXT), 'b'), ('2', 'fine', 'b'),"
      "('3', CAST(x'eda080' AS TEXT), 'b'), ('4', CAST(x'efbfbf' AS TEXT), 'b'),"
      "('5', char(65279) || 'bom', 'b')");
  SyncBoth();
  b_.Sql("UPDATE T SET B = 'edited'");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT K, hex(A), B FROM T ORDER BY K"),
              ElementsAre("1|61FF|b", "2|66696E65|edited", "3|EDA080|b", "4|EFBFBF|b",
                          "5|EFBBBF626F6D|edited"));
  EXPECT_THAT(b_.Query("SELECT K FROM T ORDER BY K"), ElementsAre("2", "5"));
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside ORDER BY 1"),
              ElementsAre("1|ENCODING|T.A", "3|ENCODING|T.A", "4|ENCODING|T.A"));
}

TEST_F(OddSchemaTest, KeyThatIsTooLongIsSaidAndStopsNothing) {
  BeginBoth("CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT)");
  a_.Sql("INSERT INTO T VALUES('short', 'x')");
  a_.Sql("INSERT INTO T SELECT hex(zeroblob(600)), 'long'");

  const DrainReport drained = a_.Drain();
  SyncBoth();

  EXPECT_THAT(drained.problems, Contains(HasSubstr("INVALID_KEY")));
  EXPECT_THAT(b_.Query("SELECT K FROM T"), ElementsAre("short"));
}

}  // namespace
}  // namespace ptdoc::sync
