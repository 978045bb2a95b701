#include "device-agent/capture/capture.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "tests/device-agent/capture/capture_support.h"
#include "tests/device-agent/capture/table_kinds.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr char kTables[] =
    "CREATE TABLE A(Id TEXT PRIMARY KEY NOT NULL, V);"
    "CREATE TABLE B(X TEXT, Y TEXT, Z TEXT, PRIMARY KEY (X, Y, Z)) WITHOUT ROWID;";

std::vector<std::string> MustCheck(sqlite::Database& db, const Plan& plan) {
  const absl::StatusOr<std::vector<std::string>> wrong = CheckObjects(db, plan);
  EXPECT_TRUE(wrong.ok()) << wrong.status();
  return wrong.value_or(std::vector<std::string>{"error"});
}

PlanRequest OnlyTable(const std::string& table) {
  PlanRequest request;
  request.entities = {EntityConfig()};
  request.entities[0].table = table;
  return request;
}

// A file with two tables.
class CaptureTest : public testing::Test {
 protected:
  CaptureTest() {
    Must(db_, kTables);
    plan_ = MustPlan(db_);
  }

  sqlite::Database db_ = OpenMemory();
  Plan plan_;
};

TEST_F(CaptureTest, InstallMakesEverythingOnce) {
  EXPECT_EQ(MustCheck(db_, plan_).size(),
            2u + plan_.tables[0].triggers.size() + plan_.tables[1].triggers.size());

  EXPECT_EQ(MustInstall(db_, plan_).size(),
            2u + plan_.tables[0].triggers.size() + plan_.tables[1].triggers.size());
  EXPECT_THAT(MustCheck(db_, plan_), IsEmpty());
  EXPECT_THAT(MustInstall(db_, plan_), IsEmpty());
  EXPECT_THAT(MustCheck(db_, MustPlan(db_)), IsEmpty());
}

TEST_F(CaptureTest, InstallNeedsATransaction) {
  SeededRng rng(1);

  EXPECT_EQ(Install(db_, plan_, rng).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(CaptureTest, InstallGivesANewFileItsIdentityAndTheLogAnAnchor) {
  MustInstall(db_, plan_);

  const ControlRow control = *ReadControl(db_);
  EXPECT_EQ(control.file_id.size(), 36u);
  EXPECT_FALSE(control.applying);
  EXPECT_EQ(control.page_number, 0);
  EXPECT_NE(control.page_tag, 0);
  const std::vector<LogRow> log = MustLog(db_, plan_, 0);
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].op, 'A');
  EXPECT_EQ(log[0].table, 0);
  EXPECT_THAT(log[0].key, IsEmpty());
  EXPECT_NE(log[0].tag, 0);
  EXPECT_EQ(*LastMark(db_), (LogMark{log[0].seq, log[0].tag}));
}

TEST_F(CaptureTest, InstallKeepsIdentityAndLogOfAKnownFile) {
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO A VALUES ('a', 1)");
  const std::string file_id = ReadControl(db_)->file_id;
  const LogMark last = *LastMark(db_);

  Must(db_, "DROP TRIGGER SyncT1_ai");
  EXPECT_THAT(MustInstall(db_, plan_), ElementsAre("SyncT1_ai"));

  EXPECT_EQ(ReadControl(db_)->file_id, file_id);
  EXPECT_EQ(*LastMark(db_), last);
}

TEST_F(CaptureTest, CheckNamesWhatIsMissingOrHasAnotherText) {
  MustInstall(db_, plan_);
  Must(db_,
       "DROP TRIGGER SyncT1_ad; DROP TRIGGER SyncT2_au;"
       "CREATE TRIGGER SyncT2_au AFTER UPDATE ON B BEGIN SELECT 1; END;"
       "CREATE TRIGGER SyncT9_ai AFTER INSERT ON A BEGIN SELECT 1; END;"
       "CREATE TRIGGER SyncTotals AFTER INSERT ON A BEGIN SELECT 1; END;"
       "DELETE FROM SyncControl;");

  EXPECT_THAT(MustCheck(db_, plan_),
              UnorderedElementsAre("SyncT1_ad", "SyncT2_au", "SyncT9_ai", "SyncControl"));
  EXPECT_THAT(MustInstall(db_, plan_),
              UnorderedElementsAre("SyncT1_ad", "SyncT2_au", "SyncT9_ai", "SyncControl"));
  EXPECT_THAT(MustCheck(db_, plan_), IsEmpty());
}

TEST_F(CaptureTest, InstallPutsBackTablesThatTheAppDropped) {
  MustInstall(db_, plan_);
  Must(db_, "DROP TABLE SyncLog; DROP TABLE SyncControl");
  EXPECT_FALSE(db_.Exec("INSERT INTO A VALUES ('a', 1)").ok());
  EXPECT_EQ(ReadControl(db_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadLog(db_, plan_, 0, 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*LastMark(db_), LogMark());
  EXPECT_FALSE(*HasMark(db_, LogMark{1, 1}));

  EXPECT_THAT(MustInstall(db_, plan_), UnorderedElementsAre("SyncLog", "SyncControl"));

  Must(db_, "INSERT INTO A VALUES ('a', 1)");
  EXPECT_EQ(LastSeq(db_), 2);
}

TEST_F(CaptureTest, InstallReplacesTablesOfAnotherShape) {
  Must(db_,
       "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY, Tag INTEGER, TableNo INTEGER, Other TEXT);"
       "CREATE TABLE SyncControl(Id INTEGER PRIMARY KEY, Applying INTEGER, FileId TEXT)");

  EXPECT_THAT(MustCheck(db_, MustPlan(db_)), testing::IsSupersetOf({"SyncLog", "SyncControl"}));
  MustInstall(db_, MustPlan(db_));

  EXPECT_THAT(MustCheck(db_, plan_), IsEmpty());
}

TEST_F(CaptureTest, TablesThatWereRenamedThereAndBackAreStillOurs) {
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO A VALUES ('a', 1)");
  const LogMark last = *LastMark(db_);

  Must(db_,
       "ALTER TABLE SyncLog RENAME TO SyncLog_back; ALTER TABLE SyncLog_back RENAME TO "
       "SyncLog; ALTER TABLE A RENAME TO A_back; ALTER TABLE A_back RENAME TO A");
  MustInstall(db_, plan_);

  EXPECT_TRUE(*HasMark(db_, last));
  EXPECT_THAT(MustCheck(db_, plan_), IsEmpty());
}

TEST_F(CaptureTest, TheLogGrowsWiderWithThePlan) {
  const Plan narrow = MustPlan(db_, OnlyTable("A"));
  MustInstall(db_, narrow);
  Must(db_, "INSERT INTO A VALUES ('a', 1)");
  const Plan wide = MustPlan(db_);

  EXPECT_THAT(MustCheck(db_, wide), Contains("SyncLog"));
  EXPECT_EQ(MustLog(db_, wide, 1).size(), 1u);
  EXPECT_THAT(MustInstall(db_, wide), Contains("SyncLog"));
  EXPECT_THAT(MustCheck(db_, wide), IsEmpty());
  Must(db_, "INSERT INTO B VALUES ('x', 'y', 'z')");

  const std::vector<LogRow> log = MustLog(db_, wide, 1);
  ASSERT_EQ(log.size(), 2u);
  EXPECT_THAT(log[0].key, ElementsAre(Value::Text("a")));
  EXPECT_THAT(log[1].key, ElementsAre(Value::Text("x"), Value::Text("y"), Value::Text("z")));
  EXPECT_EQ(One(db_, "SELECT sql FROM sqlite_master WHERE name = 'SyncLog'"),
            Value::Text(BaseTables(3)[0].sql));
}

TEST_F(CaptureTest, AWiderLogThanThePlanNeedsIsWell) {
  MustInstall(db_, plan_);
  const Plan narrow = MustPlan(db_, OnlyTable("A"));

  EXPECT_THAT(MustInstall(db_, narrow),
              UnorderedElementsAre("SyncT2_ai", "SyncT2_ad", "SyncT2_au", "SyncT2_ak"));
  EXPECT_THAT(MustCheck(db_, narrow), IsEmpty());
}

TEST_F(CaptureTest, ReadsRowsOfUnknownTablesWithoutAKey) {
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO B VALUES ('x', 'y', 'z')");

  const std::vector<LogRow> log = MustLog(db_, MustPlan(db_, OnlyTable("A")), 1);

  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].table, 2);
  EXPECT_THAT(log[0].key, IsEmpty());
}

TEST_F(CaptureTest, ReadsTheLogInPieces) {
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO A(Id) VALUES ('a'), ('b'), ('c')");

  const std::vector<LogRow> first = *ReadLog(db_, plan_, 1, 2);
  const std::vector<LogRow> rest = *ReadLog(db_, plan_, first.back().seq, 2);

  EXPECT_EQ(first.size(), 2u);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_THAT(rest[0].key, ElementsAre(Value::Text("c")));
}

TEST_F(CaptureTest, AMarkIsKnownBySeqAndTag) {
  MustInstall(db_, plan_);
  const LogMark mark = *LastMark(db_);

  EXPECT_TRUE(*HasMark(db_, mark));
  EXPECT_FALSE(*HasMark(db_, LogMark{mark.seq, mark.tag + 1}));
  EXPECT_FALSE(*HasMark(db_, LogMark{mark.seq + 1, mark.tag}));
}

TEST_F(CaptureTest, TrimNeverEmptiesTheLog) {
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO A(Id) VALUES ('a'), ('b'), ('c')");

  ASSERT_TRUE(TrimLog(db_, 3).ok());
  EXPECT_EQ(MustLog(db_, plan_, 0).front().seq, 3);
  ASSERT_TRUE(TrimLog(db_, 1000).ok());

  EXPECT_EQ(MustLog(db_, plan_, 0).size(), 1u);
  Must(db_, "INSERT INTO A(Id) VALUES ('d')");
  EXPECT_EQ(LastSeq(db_), 5);
}

TEST_F(CaptureTest, TheControlRowIsReadAsWritten) {
  MustInstall(db_, plan_);
  ControlRow row;
  row.applying = true;
  row.clock_offset_ns = -5;
  row.newest_time = 6;
  row.page_number = 7;
  row.page_tag = INT64_MIN;
  row.file_id = "f";

  ASSERT_TRUE(WriteControl(db_, row).ok());

  const ControlRow read = *ReadControl(db_);
  EXPECT_TRUE(read.applying);
  EXPECT_EQ(read.clock_offset_ns, -5);
  EXPECT_EQ(read.newest_time, 6);
  EXPECT_EQ(read.page_number, 7);
  EXPECT_EQ(read.page_tag, INT64_MIN);
  EXPECT_EQ(read.file_id, "f");
  EXPECT_EQ(Count(db_, "SELECT count(*) FROM SyncControl"), 1);
}

TEST_F(CaptureTest, TriggersFollowTheAppsMigrations) {
  MustInstall(db_, plan_);

  Must(db_,
       "ALTER TABLE A ADD COLUMN New TEXT; ALTER TABLE A RENAME COLUMN V TO W;"
       "CREATE UNIQUE INDEX U ON A(W); ALTER TABLE A DROP COLUMN New;"
       "ALTER TABLE B RENAME TO C");
  const Plan plan = MustPlan(db_);
  MustInstall(db_, plan);

  EXPECT_EQ(plan.ByTable("C")->number, 2);
  EXPECT_THAT(MustCheck(db_, plan), IsEmpty());
  const auto before = CopyOf(db_, plan);
  Must(db_,
       "INSERT INTO A VALUES ('a', 1); REPLACE INTO A VALUES ('b', 1);"
       "INSERT INTO C VALUES ('x', 'y', 'z')");
  EXPECT_EQ(Missed(Difference(before, CopyOf(db_, plan)), Logged(db_, plan, 0)), "");
}

// An app's DROP COLUMN fails if a trigger cannot do without the column.
TEST_F(CaptureTest, StampsDoNotHinderTheAppsDropColumn) {
  Must(db_, "ALTER TABLE A ADD COLUMN M TEXT; ALTER TABLE A ADD COLUMN Gone TEXT");
  PlanRequest request = OnlyTable("A");
  request.entities[0].last_modified_column = "M";
  request.entities[0].time_format = "iso8601";
  MustInstall(db_, MustPlan(db_, request));

  Must(db_, "ALTER TABLE A DROP COLUMN Gone");
  EXPECT_THAT(MustCheck(db_, MustPlan(db_, request)), ElementsAre("SyncT1_su"));
  Must(db_, "INSERT INTO A(Id) VALUES ('a'); UPDATE A SET V = 2");
}

TEST_F(CaptureTest, UninstallLeavesTheSchemaAsItWas) {
  Must(db_,
       "CREATE TRIGGER SyncTotals AFTER INSERT ON A BEGIN SELECT 1; END;"
       "CREATE VIEW SyncView AS SELECT 1; CREATE INDEX I ON A(V);"
       "INSERT INTO A VALUES ('old', 1)");
  const std::vector<std::string> before = SchemaRows(db_);
  MustInstall(db_, plan_);
  Must(db_, "INSERT INTO A VALUES ('a', 1)");

  ASSERT_TRUE(Uninstall(db_).ok());

  EXPECT_EQ(SchemaRows(db_), before);
  EXPECT_EQ(Count(db_, "SELECT count(*) FROM sqlite_master"), static_cast<int64_t>(before.size()));
  EXPECT_EQ(Count(db_, "SELECT count(*) FROM A"), 2);
  EXPECT_TRUE(Uninstall(db_).ok());
}

TEST(CaptureSchemaTest, InstallLeavesTheAppsSchemaAloneOnEveryKindOfTable) {
  for (const TableKind& kind : TableKinds()) {
    SCOPED_TRACE(kind.label);
    sqlite::Database db = OpenMemory();
    Must(db, kind.Fill(kind.create));
    const std::vector<std::string> before = SchemaRows(db);
    const Plan plan = MustPlan(db);

    MustInstall(db, plan);
    EXPECT_THAT(MustCheck(db, plan), IsEmpty());
    EXPECT_EQ(SchemaRows(db), before);
    ASSERT_TRUE(Uninstall(db).ok());

    EXPECT_EQ(SchemaRows(db), before);
    EXPECT_EQ(Count(db, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'Sync%'"), 0);
  }
}

// Scripts run by the sqlite3 program on a file.
class InstallScriptTest : public testing::Test {
 protected:
  ~InstallScriptTest() override {
    std::remove(path_.c_str());
    std::remove((path_ + ".sql").c_str());
  }

  sqlite::Database Open() {
    sqlite::OpenOptions options;
    options.mode = sqlite::OpenOptions::Mode::kCreate;
    absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(path_, options);
    EXPECT_TRUE(db.ok()) << db.status();
    return *std::move(db);
  }

  void RunShell(const std::string& script) {
    std::ofstream(path_ + ".sql") << "BEGIN;\n" << script << "COMMIT;\n";
    const std::string command = absl::StrCat("sqlite3 -bail '", path_, "' < '", path_, ".sql'");
    EXPECT_EQ(std::system(command.c_str()), 0) << script;
  }

  const std::string path_ = absl::StrCat(testing::TempDir(), "/install_script_", getpid(), ".db");
};

TEST_F(InstallScriptTest, InstallsWhatInstallWould) {
  {
    sqlite::Database db = Open();
    Must(db, kTables);
    for (const TableKind& kind : TableKinds()) {
      if (kind.label == "OddNames" || kind.label == "PartialUnique")
        Must(db, kind.Fill(kind.create));
    }
    const absl::StatusOr<std::string> script = InstallScript(db, MustPlan(db));
    ASSERT_TRUE(script.ok()) << script.status();
    RunShell(*script);
  }

  sqlite::Database db = Open();
  const Plan plan = MustPlan(db);
  EXPECT_THAT(MustCheck(db, plan), IsEmpty());
  EXPECT_THAT(MustInstall(db, plan), IsEmpty());
  EXPECT_EQ(MustLog(db, plan, 0).size(), 1u);
  EXPECT_EQ(MustLog(db, plan, 0)[0].op, 'A');
  EXPECT_THAT(ReadControl(db)->file_id,
              testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                    "[0-9a-f]{12}"));
}

TEST_F(InstallScriptTest, ChangesNothingTheSecondTimeAndBringsAnOldFileUpToDate) {
  {
    sqlite::Database db = Open();
    Must(db, kTables);
    MustInstall(db, MustPlan(db, OnlyTable("A")));
    Must(db,
         "INSERT INTO A VALUES ('a', 1); DROP TRIGGER SyncT1_ai;"
         "CREATE TRIGGER SyncT7_ai AFTER INSERT ON A BEGIN SELECT 1; END");
  }
  sqlite::Database db = Open();
  const std::string file_id = ReadControl(db)->file_id;
  const Plan plan = MustPlan(db);

  RunShell(*InstallScript(db, plan));
  RunShell(*InstallScript(db, plan));

  EXPECT_THAT(MustCheck(db, plan), IsEmpty());
  EXPECT_EQ(ReadControl(db)->file_id, file_id);
  EXPECT_EQ(MustLog(db, plan, 0).size(), 2u);
}

}  // namespace
}  // namespace ptdoc::sync
