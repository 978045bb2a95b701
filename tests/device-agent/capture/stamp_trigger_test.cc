// The app's own columns, stamped in the app's own statement.

#include <gmock/gmock.h>

#include "device-agent/capture/stamp.h"
#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

// With and without recursive_triggers.
class StampTriggerTest : public testing::TestWithParam<bool> {
 protected:
  void Capture(absl::string_view sql, absl::string_view time_format = "iso8601") {
    Must(db_, sql);
    if (GetParam()) Must(db_, "PRAGMA recursive_triggers = ON");
    EntityConfig config;
    config.table = "P";
    config.last_modified_column = "modified";
    config.modified_by_column = "By";
    config.sync_state_column = "State";
    config.time_format = std::string(time_format);
    config.user = "o'hara";
    PlanRequest request = AllTables();
    request.entities = {config};
    plan_ = MustPlan(db_, request);
    MustInstall(db_, plan_);
  }

  void SetApplying(bool applying) {
    ControlRow control = *ReadControl(db_);
    control.applying = applying;
    ASSERT_TRUE(WriteControl(db_, control).ok());
  }

  // "modified|by|state" of one row.
  std::string Row(const std::string& id) {
    return One(db_, absl::StrCat("SELECT coalesce(Modified, 'NULL') || '|' || coalesce(By, 'NULL')"
                                 " || '|' || coalesce(State, 'NULL') FROM P WHERE Id = '",
                                 id, "'"))
        .bytes();
  }
  std::string Modified(const std::string& id) {
    return One(db_, "SELECT Modified FROM P WHERE Id = '" + id + "'").bytes();
  }

  sqlite::Database db_ = OpenMemory();
  Plan plan_;
};

constexpr char kTable[] =
    "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V, Modified TEXT, By TEXT, State TEXT);";
constexpr char kOld[] = "2020-01-01T00:00:00.000Z";

TEST_P(StampTriggerTest, FillsWhatAnInsertLeavesOpen) {
  Capture(kTable);

  Must(db_,
       "INSERT INTO P(Id) VALUES ('a'); INSERT INTO P VALUES ('b', 1, '', '', 'Synced');"
       "INSERT INTO P(Id, Modified) VALUES ('c', '0001-01-01 00:00:00')");

  for (const char* id : {"a", "b", "c"}) {
    EXPECT_TRUE(ParseStamp(TimeFormat::kIso8601, Value::Text(Modified(id))).has_value()) << id;
    EXPECT_EQ(Row(id), absl::StrCat(Modified(id), "|o'hara|Pending"));
  }
}

TEST_P(StampTriggerTest, KeepsWhatAnInsertWrote) {
  Capture(kTable);

  Must(db_, absl::StrCat("INSERT INTO P VALUES ('a', 1, '", kOld, "', 'ann', 'Pending')"));

  EXPECT_EQ(Row("a"), absl::StrCat(kOld, "|ann|Pending"));
}

TEST_P(StampTriggerTest, StampsAnUpdateThatLeavesTheColumnsAlone) {
  Capture(kTable);
  SetApplying(true);
  Must(db_, absl::StrCat("INSERT INTO P VALUES ('a', 1, '", kOld, "', 'ann', 'Synced')"));
  SetApplying(false);

  Must(db_, "UPDATE P SET V = 2");

  EXPECT_GT(Modified("a"), kOld);
  EXPECT_EQ(Row("a"), absl::StrCat(Modified("a"), "|o'hara|Pending"));
}

TEST_P(StampTriggerTest, KeepsWhatAnUpdateWrote) {
  Capture(kTable);
  Must(db_, absl::StrCat("INSERT INTO P VALUES ('a', 1, '", kOld, "', 'ann', 'Pending')"));

  Must(db_,
       "UPDATE P SET V = 2, Modified = '2021-01-01T00:00:00.000Z', By = 'bob',"
       " State = 'Synced'");

  EXPECT_EQ(Row("a"), "2021-01-01T00:00:00.000Z|bob|Pending");
}

TEST_P(StampTriggerTest, LeavesTheRowAloneWhileTheAgentApplies) {
  Capture(kTable);
  SetApplying(true);

  Must(db_, absl::StrCat("INSERT INTO P VALUES ('a', 1, '", kOld,
                         "', NULL, 'Synced');"
                         "UPDATE P SET V = 2"));

  EXPECT_EQ(Row("a"), absl::StrCat(kOld, "|NULL|Synced"));
}

TEST_P(StampTriggerTest, LeavesChangesAndLastRowidToTheApp) {
  Capture(kTable);

  Must(db_, "INSERT INTO P(rowid, Id) VALUES (40, 'a'), (41, 'b')");
  EXPECT_EQ(db_.changes(), 2);
  EXPECT_EQ(db_.last_insert_rowid(), 41);
  Must(db_, "UPDATE P SET V = 1 WHERE Id = 'a'");
  EXPECT_EQ(db_.changes(), 1);
}

TEST_P(StampTriggerTest, StampsTheRowOfAReplaceAndOfAnUpsert) {
  Capture(kTable);
  Must(db_, absl::StrCat("INSERT INTO P VALUES ('a', 1, '", kOld, "', 'ann', 'Synced')"));

  Must(db_, "INSERT INTO P(Id, V) VALUES ('a', 1) ON CONFLICT(Id) DO UPDATE SET V = 7");
  EXPECT_EQ(Row("a"), absl::StrCat(Modified("a"), "|o'hara|Pending"));
  Must(db_, "REPLACE INTO P(Id, V) VALUES ('a', 8)");
  EXPECT_EQ(Row("a"), absl::StrCat(Modified("a"), "|o'hara|Pending"));
}

TEST_P(StampTriggerTest, EndsBesideTheAppsOwnTrigger) {
  Capture(absl::StrCat(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V, Modified TEXT, By TEXT, State TEXT, N);",
      "CREATE TRIGGER Touch AFTER UPDATE OF V, N ON P WHEN NEW.N IS OLD.N BEGIN"
      "  UPDATE P SET N = coalesce(N, 0) + 1 WHERE Id = NEW.Id; END;"));

  Must(db_, "INSERT INTO P(Id) VALUES ('a')");
  Must(db_, "UPDATE P SET V = 1; UPDATE P SET V = 2");

  EXPECT_EQ(Row("a"), absl::StrCat(Modified("a"), "|o'hara|Pending"));
  EXPECT_EQ(Count(db_, "SELECT N FROM P"), 2);
}

// The newest trigger runs first: a stamp would fire the index's UPDATE trigger
// for a row that its INSERT trigger has not seen yet.
TEST_P(StampTriggerTest, StaysAwayWhereTheAppsUpdateTriggerWouldFire) {
  Must(db_, "PRAGMA trusted_schema = ON");  // Else triggers may not write to FTS5.
  Capture(absl::StrCat(kTable,
                       "CREATE VIRTUAL TABLE F USING fts5(V, content='P');"
                       "CREATE TRIGGER FI AFTER INSERT ON P BEGIN"
                       "  INSERT INTO F(rowid, V) VALUES (NEW.rowid, NEW.V); END;"
                       "CREATE TRIGGER FU AFTER UPDATE ON P BEGIN"
                       "  INSERT INTO F(F, rowid, V) VALUES ('delete', OLD.rowid, OLD.V);"
                       "  INSERT INTO F(rowid, V) VALUES (NEW.rowid, NEW.V); END;"));

  Must(db_, "INSERT INTO P(Id, V) VALUES ('a', 'knee'); UPDATE P SET V = 'hip'");

  EXPECT_EQ(Row("a"), "NULL|NULL|NULL");
  EXPECT_THAT(plan_.ByTable("P")->warnings, testing::Contains(testing::HasSubstr("not stamped")));
  Must(db_, "INSERT INTO F(F, rank) VALUES ('integrity-check', 1)");
}

TEST_P(StampTriggerTest, WritesNumbersIntoIntegerColumns) {
  Capture(
      "CREATE TABLE P(Id TEXT PRIMARY KEY NOT NULL, V, Modified INTEGER, By TEXT, "
      "State INTEGER);",
      "unix_ms");

  Must(db_, "INSERT INTO P VALUES ('a', 1, 0, NULL, 1)");

  EXPECT_EQ(Count(db_, "SELECT State FROM P"), 0);
  EXPECT_GT(Count(db_, "SELECT Modified FROM P"), int64_t{1'700'000'000'000});
}

TEST_P(StampTriggerTest, LeavesTheColumnsOutOfTheContent) {
  Capture(kTable);

  EXPECT_THAT(plan_.tables.at(0).columns, testing::ElementsAre("Id", "V"));
}

INSTANTIATE_TEST_SUITE_P(RecursiveTriggers, StampTriggerTest, testing::Bool());

}  // namespace
}  // namespace ptdoc::sync
