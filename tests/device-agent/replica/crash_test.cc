// The process dies at any step: nothing is lost, nothing happens twice.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kPoints[] = {"drained", "taken",         "synced",    "marked", "answered",
                                   "intent",  "before_commit", "committed", "settled"};

class CrashTest : public ReplicaTest, public testing::WithParamInterface<const char*> {
 protected:
  // Runs whole cycles; the replica dies the `nth` time it passes the point, and
  // another process goes on. Returns how often the point was passed.
  int SyncWithCrashes(TestDevice& device, const char* point) {
    int crashes = 0;
    for (int nth = 1; nth <= 6; ++nth) {
      int passed = 0;
      device.impl().SetFailPoint(
          [&](const char* at) { return std::string(at) == point && ++passed == nth; });
      const absl::Status status = device.Sync(service_);
      if (absl::IsCancelled(status)) {
        ++crashes;
        device.Open();
        continue;
      }
      EXPECT_TRUE(status.ok()) << status;
      break;
    }
    device.Open();
    Sync(device);
    return crashes;
  }
};

INSTANTIATE_TEST_SUITE_P(Points, CrashTest, testing::ValuesIn(kPoints),
                         [](const auto& point) { return std::string(point.param); });

TEST_P(CrashTest, EverythingArrivesOnceAndLosersAreArchivedOnce) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2'), ('p3', 'Cy', '3')");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'A1' WHERE Id = 'p1'; DELETE FROM Patient WHERE Id = 'p3'");
  b_.Sql(
      "UPDATE Patient SET Name = 'B1' WHERE Id = 'p1';"
      "UPDATE Patient SET Phone = 'B2' WHERE Id = 'p2';"
      "INSERT INTO Patient VALUES('p4', 'Dee', '4')");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 3'000'000'000'000'000'000);
  b_.SetItemTime("p1", 2'900'000'000'000'000'000);
  Sync(a_);

  const int crashes = SyncWithCrashes(b_, GetParam());
  SyncWithCrashes(a_, GetParam());

  EXPECT_GE(crashes, 1);
  const Lines expected = {"p1|A1|1", "p2|Bob|B2", "p4|Dee|4"};
  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_EQ(b_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_THAT(ServiceArchives(), SizeIs(1));
  EXPECT_THAT(b_.LedgerQuery("SELECT ResolutionType FROM SyncConflictArchives"),
              ElementsAre("ServerWins"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.LedgerQuery("SELECT * FROM SyncIntents"), IsEmpty());
  EXPECT_FALSE((*b_.replica().Facts()).recovering);
}

TEST_F(ReplicaTest, TouchedRowIsFoundInTheLogAfterACrash) {
  BeginBoth();
  a_.Sql(
      "INSERT INTO Patient VALUES('p1', 'Ann', '1');"
      "INSERT INTO Visit(Id, PatientId) VALUES('v1', 'p1')");
  SyncBoth();
  a_.Sql("PRAGMA foreign_keys=OFF; DELETE FROM Patient");
  Sync(a_);
  b_.impl().SetFailPoint([](const char* at) { return std::string(at) == "committed"; });
  ASSERT_TRUE(absl::IsCancelled(b_.Sync(service_)));
  b_.Open();

  const DrainReport drained = b_.Drain();

  EXPECT_EQ(drained.items, 0);
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, PutBack FROM SyncStale"), ElementsAre("v1|1"));
}

// A cascade of what is applied must not take with it what nobody announced.
TEST_F(ReplicaTest, ChildThatNoTriggerSawIsNotLostToACascade) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  ASSERT_TRUE(b_.app().EnableTriggers(false).ok());
  b_.Sql("INSERT INTO Visit(Id, PatientId, Note) VALUES('v1', 'p1', 'unseen')");
  ASSERT_TRUE(b_.app().EnableTriggers(true).ok());
  a_.Sql("DELETE FROM Patient");
  Sync(a_);

  Sync(b_);
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), ElementsAre("unseen"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId FROM SyncSetAside"), ElementsAre("v1"));
}

// The log holds nothing of what was meant to be written: an edit that no
// trigger saw, made after the crash, is not taken for one of the agent's own.
TEST_F(ReplicaTest, EditThatNoTriggerSawAfterACrashIsNotPutBack) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'Anna'");
  Sync(a_);
  b_.impl().SetFailPoint([](const char* at) { return std::string(at) == "committed"; });
  ASSERT_TRUE(absl::IsCancelled(b_.Sync(service_)));
  ASSERT_TRUE(b_.app().EnableTriggers(false).ok());
  b_.Sql("UPDATE Patient SET Phone = '2'");
  ASSERT_TRUE(b_.app().EnableTriggers(true).ok());
  b_.Open();

  const DrainReport drained = b_.Drain();

  EXPECT_EQ(drained.items, 0);
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId FROM SyncStale"), IsEmpty());
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|2"));
}

// The app's schema refuses what a re-baseline takes for deleted, and the agent dies before
// that is booked.
TEST_F(ReplicaTest, DeletionThatARebaselineMayNotMakeIsStillKnownAfterACrash) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  SyncBoth();
  b_.Sql("DELETE FROM Patient");
  Sync(b_);
  a_.Sql(
      "CREATE TRIGGER keep BEFORE DELETE ON Patient WHEN old.Id = 'p1' BEGIN "
      "SELECT RAISE(ABORT, 'kept'); END");
  ASSERT_TRUE(a_.replica().BeginRebaseline(1'000).ok());
  int intents = 0;
  a_.impl().SetFailPoint(
      [&](const char* at) { return std::string(at) == "intent" && ++intents == 3; });
  ASSERT_TRUE(absl::IsCancelled(a_.Sync(service_)));

  a_.Open();
  Sync(a_);

  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId FROM SyncSetAside"), ElementsAre("p1"));
}

}  // namespace
}  // namespace ptdoc::sync
