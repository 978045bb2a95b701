// Triggers of the app that refuse what comes from another device.
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kRefused[] = "SQLITE_CONSTRAINT_TRIGGER";

class RefusingTest : public SchemaTest {
 protected:
  // `Note` and `Other` are synced, `Closed` is what each app keeps for itself: no
  // note may be written whose key stands there.
  void BeginNotes(const std::string& raise) {
    std::string schema =
        "CREATE TABLE Note(K TEXT PRIMARY KEY, A TEXT, U TEXT UNIQUE);"
        "CREATE TABLE Other(K TEXT PRIMARY KEY, A TEXT);"
        "CREATE TABLE Closed(K TEXT PRIMARY KEY);";
    for (const char* event : {"INSERT", "UPDATE", "DELETE"}) {
      const char* row = std::string(event) == "INSERT" ? "NEW" : "OLD";
      absl::StrAppend(&schema, "CREATE TRIGGER Keep", event, " BEFORE ", event,
                      " ON Note WHEN EXISTS(SELECT 1 FROM Closed WHERE K = ", row,
                      ".K) BEGIN SELECT ", raise, "; END;");
    }
    for (TestDevice* device : {&a_, &b_}) {
      EntityConfig note;
      note.table = "Note";
      EntityConfig other;
      other.table = "Other";
      device->options().plan.all_tables = false;
      device->options().plan.entities = {note, other};
    }
    BeginBoth(schema);
    a_.Sql(
        "INSERT INTO Note VALUES('edit', 'old', 'u1'), ('gone', 'old', 'u2'), ('free', 'old', "
        "'u3')");
    SyncBoth();
    b_.Sql("INSERT INTO Closed VALUES('edit'), ('gone'), ('new')");
  }
  void WriteOnA() {
    a_.Sql(
        "BEGIN; UPDATE Note SET A = 'new' WHERE K IN ('edit', 'free');"
        "DELETE FROM Note WHERE K = 'gone'; INSERT INTO Note VALUES('new', 'new', 'u4');"
        "INSERT INTO Other VALUES('o', 'beside'); COMMIT");
  }
  // Not at once: the agent looks now and then.
  void SyncLater() {
    clock_.Advance(absl::Minutes(11));
    SyncBoth();
  }
  static Lines Aside(TestDevice& device) {
    return device.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside ORDER BY 1");
  }
  static Lines Notes(TestDevice& device) {
    return device.Query("SELECT K, A, U FROM Note ORDER BY K");
  }
  void ExpectRefused() {
    EXPECT_THAT(Aside(b_),
                ElementsAre(absl::StrCat("edit|", kRefused), absl::StrCat("gone|", kRefused),
                            absl::StrCat("new|", kRefused)));
    EXPECT_THAT(Notes(b_), ElementsAre("edit|old|u1", "free|new|u3", "gone|old|u2"));
    EXPECT_THAT(b_.Query("SELECT A FROM Other"), ElementsAre("beside"));
    EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  }
};

class RefusingFormTest : public RefusingTest, public testing::WithParamInterface<const char*> {};

TEST_P(RefusingFormTest, WhatIsRefusedIsSetAsideTillTheAppLetsIt) {
  BeginNotes(GetParam());

  WriteOnA();
  SyncBoth();
  ExpectRefused();
  // Nothing of it is sent back, and it does not go away by itself.
  ASSERT_TRUE(b_.ledger().PutInt("compare", 1).ok());
  SyncBoth();
  ExpectRefused();

  b_.Sql("DELETE FROM Closed");
  SyncLater();

  EXPECT_THAT(Notes(b_), ElementsAre("edit|new|u1", "free|new|u3", "new|new|u4"));
  ExpectSame();
}

// The same, one row for a page.
TEST_P(RefusingFormTest, OneAloneIsSetAsideToo) {
  BeginNotes(GetParam());
  for (const char* sql :
       {"UPDATE Note SET A = 'new' WHERE K IN ('edit', 'free')",
        "DELETE FROM Note WHERE K = 'gone'", "INSERT INTO Note VALUES('new', 'new', 'u4')",
        "INSERT INTO Other VALUES('o', 'beside')"}) {
    a_.Sql(sql);
    SyncBoth();
  }

  ExpectRefused();
}

INSTANTIATE_TEST_SUITE_P(Raise, RefusingFormTest,
                         testing::Values("RAISE(ABORT, 'secret')", "RAISE(FAIL, 'secret')",
                                         "RAISE(ROLLBACK, 'secret')", "RAISE(IGNORE)"),
                         [](const auto& each) {
                           const std::string raise = each.param;
                           return raise.substr(6, raise.find_first_of(",)") - 6);
                         });

TEST_F(RefusingTest, TheAppsOwnWordsAreNotTold) {
  BeginNotes("RAISE(ABORT, 'secret')");
  WriteOnA();
  SyncBoth();

  EXPECT_THAT(b_.LedgerQuery("SELECT * FROM SyncSetAside"),
              Not(testing::Contains(HasSubstr("secret"))));
}

TEST_F(RefusingTest, TheNewestOfSeveralRefusedVersionsIsTheOneThatComes) {
  BeginNotes("RAISE(ABORT, 'no')");
  for (const char* text : {"one", "two", "three"}) {
    a_.Sql(absl::StrCat("UPDATE Note SET A = '", text, "' WHERE K = 'edit'"));
    SyncBoth();
  }
  EXPECT_THAT(Aside(b_), ElementsAre(absl::StrCat("edit|", kRefused)));

  b_.Sql("DELETE FROM Closed");
  SyncLater();

  EXPECT_THAT(b_.Query("SELECT A FROM Note WHERE K = 'edit'"), ElementsAre("three"));
  ExpectSame();
}

// The winner of a conflict cannot come in: the row stays, is not sent again, and gives
// way as soon as it can.
TEST_F(RefusingTest, AWinnerThatIsRefusedComesLater) {
  BeginNotes("RAISE(ABORT, 'no')");
  b_.Sql(
      "DELETE FROM Closed; UPDATE Note SET A = 'of b' WHERE K = 'edit';"
      "INSERT INTO Closed VALUES('edit')");
  b_.Drain();
  b_.SetItemTime("edit", 1'000);
  a_.Sql("UPDATE Note SET A = 'of a' WHERE K = 'edit'");
  SyncBoth();

  EXPECT_THAT(Aside(b_), ElementsAre(absl::StrCat("edit|", kRefused)));
  EXPECT_THAT(b_.Query("SELECT A FROM Note WHERE K = 'edit'"), ElementsAre("of b"));
  EXPECT_THAT(a_.Query("SELECT A FROM Note WHERE K = 'edit'"), ElementsAre("of a"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  b_.Sql("DELETE FROM Closed");
  SyncLater();

  EXPECT_THAT(b_.Query("SELECT A FROM Note WHERE K = 'edit'"), ElementsAre("of a"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(HasSubstr("of b")));
  ExpectSame();
}

// The app edits a row whose newer version waits: one of both wins, the other is archived,
// and neither is forgotten.
TEST_F(RefusingTest, AnEditOfARowWhoseVersionWaitsIsAConflict) {
  BeginNotes("RAISE(ABORT, 'no')");
  WriteOnA();
  SyncBoth();

  b_.Sql("DELETE FROM Closed; UPDATE Note SET A = 'of b' WHERE K = 'edit'");
  SyncLater();

  EXPECT_EQ(Notes(a_), Notes(b_));
  EXPECT_THAT(a_.Query("SELECT A FROM Note WHERE K = 'edit'"), ElementsAre("of b"));
  EXPECT_EQ(ServiceArchives().size(), 1u);
  ExpectSame();
}

}  // namespace
}  // namespace ptdoc::sync
