// Types that leave a device's configuration, and come back.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kVisits[] = "SELECT Id, PatientId, Note FROM Visit ORDER BY Id";
constexpr char kStates[] =
    "SELECT t.Name, s.EntityId FROM SyncRowStates s JOIN SyncTypes t ON t.Id = s.TypeId "
    "ORDER BY 1, 2";

class TypesTest : public ReplicaTest {
 protected:
  void SetUp() override {
    for (TestDevice* device : {&a_, &b_}) {
      device->set_names_types(true);
      device->Begin(kClinic);
    }
    a_.Sql(
        "INSERT INTO Patient VALUES('p1', 'Ann', '1');"
        "INSERT INTO Visit VALUES('v1', 'p1', 'first', NULL, NULL);"
        "INSERT INTO Visit VALUES('v2', 'p1', 'second', NULL, NULL)");
    SyncBoth();
  }

  void Leave(TestDevice& device) {
    device.options().plan.types = {"Patient"};
    device.Open();
  }
  void Rejoin(TestDevice& device) {
    device.options().plan.types.clear();
    device.Open();
  }
};

TEST_F(TypesTest, OneThatLeavesKeepsItsRowsAndLosesTriggersAndStates) {
  Leave(b_);
  Sync(b_);

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second"));
  EXPECT_THAT(b_.Query("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = "
                       "'Visit' AND name LIKE 'Sync%'"),
              IsEmpty());
  EXPECT_THAT(b_.LedgerQuery(kStates), ElementsAre("Patient|p1"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(TypesTest, OneThatTheServiceRefusesKeepsItsRowsAndLosesTriggersAndStates) {
  service_.SetRights(b_.name(), {{"Patient"}, {}});
  a_.Sql("DELETE FROM Visit WHERE Id = 'v2'");
  Sync(a_);
  Sync(b_);

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second"));
  EXPECT_THAT(b_.Query("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = "
                       "'Visit' AND name LIKE 'Sync%'"),
              IsEmpty());
  EXPECT_THAT(b_.LedgerQuery(kStates), ElementsAre("Patient|p1"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.replica().Facts()->warnings, ElementsAre(HasSubstr("Visit is not synced")));
  EXPECT_THAT(b_.replica().TypesToAsk(), ElementsAre("Patient", "Visit"));
}

TEST_F(TypesTest, OneThatTheServiceRefusesStaysOutWhenTheAgentStartsAnew) {
  service_.SetRights(b_.name(), {{"Patient"}, {}});
  Sync(b_);
  b_.Open();
  b_.Sql("UPDATE Visit SET Note = 'unseen' WHERE Id = 'v1'");
  b_.Drain();

  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_EQ(b_.replica().plan().ByType("Visit"), nullptr);
}

// What was taken before the device heard of it is refused, and not lost.
TEST_F(TypesTest, WhatWasCapturedOfARefusedOneIsSentWhenTheTokenIncludesItAgain) {
  b_.Sql("UPDATE Visit SET Note = 'late' WHERE Id = 'v1'; UPDATE Patient SET Name = 'Bea'");
  service_.SetRights(b_.name(), {{"Patient"}, {}});
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
  EXPECT_THAT(b_.OpenQueue(), ElementsAre("v1|1|0"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE Status = 0"),
              ElementsAre(HasSubstr("NOT_SYNCED: the service")));

  service_.SetRights(b_.name(), {});
  SyncBoth();

  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|late", "v2|p1|second"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.replica().Facts()->warnings, IsEmpty());
}

TEST_F(TypesTest, OneThatIsShownAgainIsPulledFromItsStart) {
  service_.SetRights(b_.name(), {{"Patient"}, {}});
  Sync(b_);
  a_.Sql(
      "UPDATE Visit SET Note = 'newer' WHERE Id = 'v1'; DELETE FROM Visit WHERE Id = 'v2';"
      "INSERT INTO Visit VALUES('v3', 'p1', 'third', NULL, NULL)");
  Sync(a_);
  Sync(b_);
  service_.SetRights(b_.name(), {});
  SyncBoth();

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|newer", "v3|p1|third"));
  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|newer", "v3|p1|third"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(TypesTest, TriggersOfOneThatIsShownAgainComeWhenTheAppLetsGoOfItsFile) {
  service_.SetRights(b_.name(), {{"Patient"}, {}});
  Sync(b_);
  service_.SetRights(b_.name(), {});
  const absl::Status scope = b_.PullAll(service_);
  ASSERT_EQ(ReasonOf(scope), "SCOPE_CHANGED") << scope;
  ASSERT_TRUE(b_.replica().BeginRebaseline(0).ok());
  b_.Sql("BEGIN IMMEDIATE");
  const auto page = service_.Pull(b_.name(), "", 0, b_.replica().TypesToAsk());
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(b_.Apply(*page).file, FileState::kBlockedByApp);
  b_.Sql("COMMIT");

  Sync(b_);
  b_.Sql("UPDATE Visit SET Note = 'mine' WHERE Id = 'v1'");
  SyncBoth();

  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|mine", "v2|p1|second"));
}

TEST_F(TypesTest, OneThatMayOnlyBeSeenComesAndIsNotTaken) {
  service_.SetRights(b_.name(), {{"Patient"}, {"Visit"}});
  b_.Sql("UPDATE Visit SET Note = 'mine' WHERE Id = 'v1'");
  a_.Sql("UPDATE Visit SET Note = 'theirs' WHERE Id = 'v2'");
  SyncBoth();

  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|theirs"));
  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|mine", "v2|p1|theirs"));
  EXPECT_THAT(b_.OpenQueue(), ElementsAre("v1|1|3"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE Status = 3"),
              ElementsAre(HasSubstr("not change it")));
}

TEST_F(TypesTest, OneThatCameBackBeforeTheServiceHeardOfItIsPulledFromItsStart) {
  Leave(b_);
  b_.Sql("DELETE FROM Visit WHERE Id = 'v2'");
  Rejoin(b_);
  Sync(b_);

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second"));
  EXPECT_THAT(b_.LedgerQuery(kStates), ElementsAre("Patient|p1", "Visit|v1", "Visit|v2"));
}

TEST_F(TypesTest, AnEditThatWaitsIsNoConflictWhenTheListOfTypesChanges) {
  b_.Sql("UPDATE Patient SET Name = 'Bea'");
  b_.Drain();
  Leave(b_);
  const absl::Status scope = b_.PullAll(service_);
  ASSERT_EQ(ReasonOf(scope), "SCOPE_CHANGED") << scope;
  const Revision shared = std::stoll(ReasonMetadata(scope)[kMetaSharedRevision]);
  ASSERT_TRUE(b_.replica().BeginRebaseline(shared).ok());
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ResolutionType FROM SyncConflictArchives"), IsEmpty());
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

// What the service proved then was true then.
TEST_F(TypesTest, NothingIsLostIfTheStoreIsSetBackAfterItToldOfAnotherList) {
  ASSERT_TRUE(service_.store().Backup(dir_ + "/backup.db").ok());
  b_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  Sync(b_);
  Leave(b_);
  const absl::Status scope = b_.PullAll(service_);
  ASSERT_EQ(ReasonOf(scope), "SCOPE_CHANGED") << scope;

  service_.RollBackTo(dir_ + "/backup.db");
  const Revision shared = std::stoll(ReasonMetadata(scope)[kMetaSharedRevision]);
  ASSERT_TRUE(b_.replica().BeginRebaseline(shared).ok());
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(b_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
}

TEST_F(TypesTest, NothingIsDeletedOnEitherSideWhenOneLeavesTheEntityList) {
  b_.options().plan.all_tables = false;
  EntityConfig patient;
  patient.table = "patient";
  b_.options().plan.entities = {patient};
  b_.Open();
  b_.Sql("UPDATE Visit SET Note = 'unseen' WHERE Id = 'v1'; DELETE FROM Visit WHERE Id = 'v2'");
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|unseen"));
  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(TypesTest, NothingIsTakenOutByOneThatWasToldOfNoTable) {
  const Lines triggers = b_.Query("SELECT name FROM sqlite_schema WHERE type = 'trigger'");
  b_.Sql("UPDATE Visit SET Note = 'third' WHERE Id = 'v1'");
  b_.options().plan.all_tables = false;
  b_.Open();
  EXPECT_EQ(b_.Drain().file, FileState::kMissing);

  EXPECT_EQ(b_.Query("SELECT name FROM sqlite_schema WHERE type = 'trigger'"), triggers);
  EXPECT_THAT(b_.LedgerQuery(kStates), ElementsAre("Patient|p1", "Visit|v1", "Visit|v2"));

  b_.options().plan.all_tables = true;
  b_.Open();
  SyncBoth();
  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|third", "v2|p1|second"));
}

TEST_F(TypesTest, WhatWasCapturedBeforeItLeftWaitsAndIsSentWhenItComesBack) {
  b_.Sql("UPDATE Visit SET Note = 'late' WHERE Id = 'v1'; DELETE FROM Visit WHERE Id = 'v2'");
  Leave(b_);
  Sync(b_);

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("v1|1|0", "v2|2|0"));
  EXPECT_THAT(b_.LedgerQuery("SELECT DISTINCT ErrorMessage FROM SyncQueueItems WHERE Status = 0"),
              ElementsAre(HasSubstr("NOT_SYNCED")));
  EXPECT_THAT(b_.LedgerQuery(kStates), ElementsAre("Patient|p1", "Visit|v1", "Visit|v2"));

  Rejoin(b_);
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|late"));
  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|late"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(TypesTest, MerelyOldContentOfOneThatComesBackIsNoEdit) {
  Leave(b_);
  a_.Sql("UPDATE Visit SET Note = 'newer' WHERE Id = 'v1'; DELETE FROM Visit WHERE Id = 'v2'");
  Sync(a_);
  Sync(b_);

  Rejoin(b_);
  SyncBoth();

  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|newer"));
  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|newer"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(TypesTest, EditsOfWhileItWasOutAreOfferedWhenItComesBack) {
  Leave(b_);
  b_.Sql(
      "UPDATE Visit SET Note = 'while out' WHERE Id = 'v1'; DELETE FROM Visit WHERE Id = 'v2';"
      "INSERT INTO Visit VALUES('v3', 'p1', 'new', NULL, NULL)");
  Sync(b_);

  Rejoin(b_);
  SyncBoth();

  // When it was written nobody knows: it loses, and is kept. The deletion is undone.
  EXPECT_THAT(a_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second", "v3|p1|new"));
  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|first", "v2|p1|second", "v3|p1|new"));
  ASSERT_THAT(ServiceArchives(), SizeIs(1));
  EXPECT_THAT(b_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(HasSubstr("while out")));
}

TEST_F(TypesTest, InitTakesTheRowsOfOneThatComesBackForWhatTheyAre) {
  Leave(b_);
  a_.Sql("UPDATE Visit SET Note = 'newer' WHERE Id = 'v1'");
  Sync(a_);
  Sync(b_);

  b_.Close();
  b_.options().plan.types.clear();
  b_.Init();
  b_.Open();
  SyncBoth();

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|newer", "v2|p1|second"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(TypesTest, AnAnswerThatComesAfterItLeftAsksForNothing) {
  a_.Sql("UPDATE Visit SET Note = 'of a' WHERE Id = 'v1'");
  b_.Sql("UPDATE Visit SET Note = 'of b' WHERE Id = 'v1'");
  b_.Drain();
  b_.SetItemTime("v1", 1);
  const Taken taken = b_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  Sync(a_);
  const auto answer = service_.Push(b_.name(), *taken.batch, *b_.replica().Cursor());
  ASSERT_TRUE(answer.ok()) << answer.status();

  Leave(b_);
  b_.Finish(*answer);
  Sync(b_);

  EXPECT_THAT(b_.Query(kVisits), ElementsAre("v1|p1|of b", "v2|p1|second"));
  EXPECT_EQ(b_.replica().Facts()->stale, 0u);
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
