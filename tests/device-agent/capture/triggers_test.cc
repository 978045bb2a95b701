#include "device-agent/capture/triggers.h"

#include <gmock/gmock.h>

#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/device-agent/capture/capture_support.h"
#include "tests/device-agent/capture/table_kinds.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

// A file whose tables the test makes; capture on all of them.
class TriggersTest : public testing::Test {
 protected:
  void Capture(absl::string_view sql, const PlanRequest& request = AllTables()) {
    Must(db_, sql);
    plan_ = MustPlan(db_, request);
    MustInstall(db_, plan_);
    seq_ = LastSeq(db_);
  }

  // Runs the app's statements; everything that they change must be logged.
  void Write(absl::string_view sql) {
    seq_ = LastSeq(db_);
    const auto before = CopyOf(db_, plan_);
    Must(db_, sql);
    const std::set<RowName> changed = Difference(before, CopyOf(db_, plan_));
    EXPECT_FALSE(changed.empty()) << "the test's statement changes nothing";
    EXPECT_EQ(Missed(changed, Logged(db_, plan_, seq_)), "") << sql;
  }

  std::vector<std::string> Log() { return LogTexts(db_, plan_, seq_); }

  sqlite::Database db_ = OpenMemory();
  Plan plan_;
  int64_t seq_ = 0;
};

constexpr char kPatient[] = "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V, U TEXT UNIQUE);";

TEST_F(TriggersTest, LogOneRowForEachChange) {
  Capture(kPatient);

  Write("INSERT INTO P VALUES ('a', 1, NULL)");
  EXPECT_THAT(Log(), ElementsAre("I a"));
  Write("UPDATE P SET V = 2");
  EXPECT_THAT(Log(), ElementsAre("U a"));
  Write("DELETE FROM P");
  EXPECT_THAT(Log(), ElementsAre("D a"));
}

TEST_F(TriggersTest, LogTheOldKeyBeforeTheNewOneWhenTheKeyChanges) {
  Capture(kPatient);
  Write("INSERT INTO P VALUES ('a', 1, 'u')");

  Write("UPDATE P SET Id = 'A'");

  EXPECT_THAT(Log(), ElementsAre("D a", "I A"));
}

TEST_F(TriggersTest, LogAnUpdateThatWritesTheSameValues) {
  Capture(kPatient);
  Write("INSERT INTO P VALUES ('a', 1, 'u')");
  seq_ = LastSeq(db_);

  Must(db_, "UPDATE P SET V = V");

  EXPECT_THAT(Log(), ElementsAre("U a"));
}

TEST_F(TriggersTest, LogKeysAsTheyAreStored) {
  Capture("CREATE TABLE P(Id PRIMARY KEY, V)");

  Write(
      "INSERT INTO P VALUES (x'00ff', 1), (-9223372036854775808, 1), (1e999, 1), (-0.5, 1),"
      " (CAST(x'ff00' AS TEXT), 1)");

  std::vector<Value> keys;
  for (const LogRow& row : MustLog(db_, plan_, seq_)) keys.push_back(row.key[0]);
  EXPECT_THAT(keys, ElementsAre(Value::Blob(std::string("\0\xff", 2)),
                                Value::Integer(std::numeric_limits<int64_t>::min()),
                                Value::Real(std::numeric_limits<double>::infinity()),
                                Value::Real(-0.5), Value::Text(std::string("\xff\0", 2))));
}

TEST_F(TriggersTest, LogAKeyWhoseTypeAloneChanges) {
  Capture("CREATE TABLE P(Id PRIMARY KEY, V)");
  Write("INSERT INTO P VALUES (1, 1)");

  Write("UPDATE P SET Id = 1.0");
  Write("INSERT OR REPLACE INTO P VALUES (1, 2)");

  EXPECT_EQ(MustLog(db_, plan_, seq_).size(), 2u);
}

TEST_F(TriggersTest, LogTheVictimOfAReplaceByRowid) {
  Capture(kPatient);
  Write("INSERT INTO P(rowid, Id) VALUES (1, 'a'), (2, 'b'), (3, 'c')");

  Write("INSERT OR REPLACE INTO P(rowid, Id) VALUES (1, 'n')");
  EXPECT_THAT(Log(), UnorderedElementsAre("D a", "I n"));
  Write("UPDATE OR REPLACE P SET rowid = 3 WHERE Id = 'b'");
  EXPECT_THAT(Log(), UnorderedElementsAre("D c", "U b"));
}

TEST_F(TriggersTest, LogTheVictimOfAReplaceByAnIntegerThatIsNotTheKey) {
  PlanRequest request = AllTables();
  request.entities = {EntityConfig()};
  request.entities[0].table = "P";
  request.entities[0].key = {"Guid"};
  Capture("CREATE TABLE P(Id INTEGER PRIMARY KEY, Guid TEXT NOT NULL UNIQUE, V)", request);
  Write("INSERT INTO P(Guid) VALUES ('a'), ('b'), ('c')");

  Write("REPLACE INTO P VALUES (1, 'n', 1)");
  EXPECT_THAT(Log(), UnorderedElementsAre("D a", "I n"));
  Write("UPDATE OR REPLACE P SET Id = 3 WHERE Guid = 'b'");
  EXPECT_THAT(Log(), UnorderedElementsAre("D c", "U b"));
}

TEST_F(TriggersTest, LogTheVictimOfAReplaceByThePrimaryKeyThatIsNotTheKey) {
  PlanRequest request = AllTables();
  request.entities = {EntityConfig()};
  request.entities[0].table = "P";
  request.entities[0].key = {"Guid"};
  Capture("CREATE TABLE P(Old TEXT PRIMARY KEY, Guid TEXT NOT NULL UNIQUE) WITHOUT ROWID", request);
  Write("INSERT INTO P VALUES ('x', 'a'), ('y', 'b')");

  Write("REPLACE INTO P VALUES ('x', 'n')");

  EXPECT_THAT(Log(), UnorderedElementsAre("D a", "I n"));
}

TEST_F(TriggersTest, LogTheVictimOfAReplaceByCaseAlone) {
  Capture(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, U TEXT COLLATE NOCASE);"
      "CREATE UNIQUE INDEX X ON P(U COLLATE BINARY)");
  Write("INSERT INTO P VALUES ('a', 'u'), ('b', 'U')");

  Write("UPDATE OR REPLACE P SET U = 'U' WHERE Id = 'a'");

  EXPECT_THAT(Log(), UnorderedElementsAre("D b", "U a"));
}

TEST_F(TriggersTest, LogWhatForeignKeysDo) {
  Capture(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, U TEXT UNIQUE);"
      "CREATE TABLE Gone(Id TEXT PRIMARY KEY NOT NULL, P TEXT REFERENCES P ON DELETE CASCADE"
      "  ON UPDATE CASCADE);"
      "CREATE TABLE Kept(Id TEXT PRIMARY KEY NOT NULL, P TEXT REFERENCES P ON DELETE SET NULL"
      "  ON UPDATE CASCADE);"
      "CREATE TABLE Link(P TEXT REFERENCES P ON DELETE CASCADE ON UPDATE CASCADE, N TEXT,"
      "  PRIMARY KEY (P, N)) WITHOUT ROWID;"
      "CREATE TABLE Deep(Id TEXT PRIMARY KEY, G TEXT REFERENCES Gone ON DELETE SET DEFAULT);");
  Write(
      "INSERT INTO P VALUES ('a', 'u1'), ('b', 'u2'), ('c', 'u3');"
      "INSERT INTO Gone SELECT 'g' || Id, Id FROM P; INSERT INTO Kept SELECT 'k' || Id, Id "
      "FROM P; INSERT INTO Link SELECT Id, 'n' FROM P; INSERT INTO Deep SELECT 'd' || Id, Id "
      "FROM Gone");

  Write("UPDATE P SET Id = 'z' WHERE Id = 'a'");
  Write("DELETE FROM P WHERE Id = 'b'");
  Write("INSERT OR REPLACE INTO P VALUES ('n', 'u3')");
  EXPECT_EQ(Count(db_, "SELECT count(*) FROM Deep WHERE G IS NULL"), 2);
  Write("DELETE FROM P");
}

TEST_F(TriggersTest, LogWhatTheAppsTriggersDo) {
  Capture(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V, Updated);"
      "CREATE TABLE Audit(Id TEXT PRIMARY KEY DEFAULT (hex(randomblob(8))), P TEXT);"
      "CREATE TRIGGER Touch AFTER UPDATE ON P WHEN NEW.Updated IS OLD.Updated BEGIN"
      "  UPDATE P SET Updated = random() WHERE Id = NEW.Id; END;"
      "CREATE TRIGGER Note AFTER INSERT ON P BEGIN INSERT INTO Audit(P) VALUES (NEW.Id); END;"
      "CREATE TRIGGER Clear BEFORE DELETE ON P BEGIN DELETE FROM Audit WHERE P = OLD.Id; END;");

  Write("INSERT INTO P(Id) VALUES ('a'), ('b')");
  Write("UPDATE P SET V = 1");
  Write("DELETE FROM P WHERE Id = 'a'");
  Write("INSERT INTO P(Id) VALUES ('b') ON CONFLICT(Id) DO UPDATE SET V = 3");
}

TEST_F(TriggersTest, LogWhatAnInsteadOfTriggerWrites) {
  Capture(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V); CREATE VIEW W AS SELECT Id FROM P;"
      "CREATE TRIGGER WI INSTEAD OF INSERT ON W BEGIN INSERT INTO P(Id) VALUES (NEW.Id); END;");

  Write("INSERT INTO W VALUES ('a')");
}

TEST_F(TriggersTest, LogARowWithNullInItsKey) {
  Capture("CREATE TABLE P(Id TEXT PRIMARY KEY, V)");

  Write("INSERT INTO P VALUES (NULL, 1)");

  EXPECT_TRUE(MustLog(db_, plan_, seq_)[0].key[0].is_null());
}

TEST_F(TriggersTest, LeaveChangesAndLastRowidToTheApp) {
  Capture(kPatient);
  Write("INSERT INTO P VALUES ('a', 1, 'u1'), ('b', 2, 'u2')");
  Write("REPLACE INTO P(rowid, Id, U) VALUES (77, 'n', 'u1')");

  EXPECT_EQ(db_.last_insert_rowid(), 77);
  EXPECT_EQ(db_.changes(), 1);
  Write("UPDATE P SET V = 5");
  EXPECT_EQ(db_.changes(), 2);
}

TEST_F(TriggersTest, LogNoTimeWhileTheAgentApplies) {
  Capture(kPatient);
  ControlRow control = *ReadControl(db_);
  control.applying = true;
  ASSERT_TRUE(WriteControl(db_, control).ok());

  Write("INSERT INTO P VALUES ('a', 1, 'u')");
  Write("REPLACE INTO P VALUES ('b', 1, 'u')");
  Write("UPDATE P SET Id = 'c'");
  Write("DELETE FROM P");

  for (const LogRow& row : MustLog(db_, plan_, 1)) EXPECT_FALSE(row.time.has_value());
}

TEST_F(TriggersTest, TakeTheTimeFromTheClockAndItsOffset) {
  Capture(kPatient);
  ControlRow control = *ReadControl(db_);
  constexpr int64_t kYear = int64_t{365} * 86'400 * 1'000'000'000;
  control.clock_offset_ns = 10 * kYear + 7;
  ASSERT_TRUE(WriteControl(db_, control).ok());
  constexpr char kNowMs[] = "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INT)";

  const TimeNs before = Count(db_, kNowMs) * 1'000'000;
  Write("INSERT INTO P VALUES ('a', 1, 'u')");
  const TimeNs after = Count(db_, kNowMs) * 1'000'000;

  const TimeNs time = *MustLog(db_, plan_, seq_)[0].time;
  EXPECT_GE(time, before + control.clock_offset_ns);
  EXPECT_LE(time, after + control.clock_offset_ns);
}

TEST_F(TriggersTest, TakeATimeAboveTheNewestSeenWhateverTheClock) {
  Capture(kPatient);
  ControlRow control = *ReadControl(db_);
  control.newest_time = int64_t{9'000'000'000} * 1'000'000'000;  // in the year 2255
  ASSERT_TRUE(WriteControl(db_, control).ok());

  Write("INSERT INTO P VALUES ('a', 1, 'u'); REPLACE INTO P VALUES ('b', 1, 'u')");

  for (const LogRow& row : MustLog(db_, plan_, seq_)) {
    EXPECT_EQ(row.time, control.newest_time + 1);
  }
}

TEST_F(TriggersTest, LogWithoutATimeWhenTheControlRowIsGone) {
  Capture(kPatient);
  Must(db_, "DELETE FROM SyncControl");

  Write("INSERT INTO P VALUES ('a', 1, 'u')");
  Write("REPLACE INTO P VALUES ('b', 1, 'u')");

  EXPECT_THAT(Log(), UnorderedElementsAre("D a", "I b"));
  EXPECT_EQ(ReadControl(db_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TriggersTest, GiveEachLogRowATagOfItsOwn) {
  Capture(kPatient);
  Write("INSERT INTO P(Id) VALUES ('a'), ('b'), ('c'), ('d')");

  EXPECT_EQ(Count(db_, "SELECT count(DISTINCT Tag) FROM SyncLog"), 5);
}

// Programs may open the file with double-quoted strings off, as this test's
// connection does, and then refuse them in triggers.
TEST_F(TriggersTest, CompileWhenConditionsAndDefaultsHoldTextInDoubleQuotes) {
  sqlite::OpenOptions legacy;
  legacy.legacy_schema = true;
  const std::string path = testing::TempDir() + "/double_quotes.db";
  std::remove(path.c_str());
  legacy.mode = sqlite::OpenOptions::Mode::kCreate;
  {
    absl::StatusOr<sqlite::Database> app = sqlite::Database::Open(path, legacy);
    ASSERT_TRUE(app.ok()) << app.status();
    Must(*app,
         "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, \"V\" TEXT,"
         "  U TEXT NOT NULL DEFAULT \"it's\" UNIQUE, W TEXT NOT NULL DEFAULT word UNIQUE);"
         "CREATE UNIQUE INDEX X ON P(V) WHERE \"V\" <> \"a\"\"b\" /* \"c\" */");
  }
  db_ = *sqlite::Database::Open(path, sqlite::OpenOptions());
  plan_ = MustPlan(db_);
  MustInstall(db_, plan_);

  Write("INSERT INTO P(Id, V) VALUES ('a', 'a\"b')");
  Write("INSERT OR REPLACE INTO P(Id, U, W) VALUES ('b', NULL, 'w')");
  Write("INSERT OR REPLACE INTO P(Id, U, W) VALUES ('c', 'u', NULL), ('d', 'v', NULL)");
  std::remove(path.c_str());
}

// The queries in a trigger's body, with parameters for what NEW and OLD hold.
std::vector<std::string> QueriesOf(const SchemaObject& trigger, const TableInfo& table) {
  const size_t begin = trigger.sql.find(" BEGIN ") + 7;
  std::string body = trigger.sql.substr(begin, trigger.sql.size() - begin - 5);  // "; END"
  std::vector<std::string> names = {"rowid", "_rowid_", "oid"};
  for (const ColumnInfo& column : table.columns) names.push_back(sqlite::QuoteName(column.name));
  for (const std::string& name : names) {
    body = absl::StrReplaceAll(
        body, {{absl::StrCat("NEW.", name), "?1"}, {absl::StrCat("OLD.", name), "?2"}});
  }
  std::vector<std::string> queries;
  for (const absl::string_view statement : absl::StrSplit(body, "; INSERT INTO SyncLog")) {
    queries.emplace_back(statement.substr(statement.find("SELECT random()")));
  }
  return queries;
}

// The rows that a REPLACE pushes out are looked for by the index, not by a walk
// through the table, which would make every insert as slow as the table is long.
TEST(VictimLookUpTest, UsesAnIndexOnEveryKindOfTable) {
  for (const TableKind& kind : TableKinds()) {
    SCOPED_TRACE(kind.label);
    sqlite::Database db = OpenMemory();
    Must(db, kind.Fill(kind.create));
    PlanRequest request = AllTables();
    if (!kind.configured_key.empty()) {
      request.entities = {EntityConfig()};
      request.entities[0].table = "T";
      request.entities[0].key = {kind.configured_key};
    }
    const Plan plan = MustPlan(db, request);
    MustInstall(db, plan);
    const std::vector<TableInfo> schema = *ReadSchema(db);
    int look_ups = 0;

    for (const SchemaObject& trigger : plan.tables.at(0).triggers) {
      if (!absl::EndsWith(trigger.name, "_bi") && !absl::EndsWith(trigger.name, "_bu")) continue;
      for (const std::string& query : QueriesOf(trigger, schema.at(0))) {
        absl::StatusOr<sqlite::Statement> rows =
            db.Prepare(absl::StrCat("EXPLAIN QUERY PLAN ", query));
        ASSERT_TRUE(rows.ok()) << rows.status() << query;
        ++look_ups;
        while (*rows->Step()) {
          EXPECT_FALSE(absl::StrContains(rows->Text(3), "SCAN")) << rows->Text(3) << "\n" << query;
        }
      }
    }

    EXPECT_GE(look_ups, 2);
  }
}

TEST(VictimLookUpTest, IsNotMadeWhereNothingCanBePushedOutUnseen) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE T(K TEXT PRIMARY KEY, V) WITHOUT ROWID");

  const Plan plan = MustPlan(db);

  std::vector<std::string> names;
  for (const SchemaObject& trigger : plan.tables.at(0).triggers) names.push_back(trigger.name);
  EXPECT_THAT(names, UnorderedElementsAre("SyncT1_ai", "SyncT1_ad", "SyncT1_au", "SyncT1_ak"));
}

}  // namespace
}  // namespace ptdoc::sync
