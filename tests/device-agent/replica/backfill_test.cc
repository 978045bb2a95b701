// Columns that the app gains after its rows were synced.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;

class BackfillTest : public ReplicaTest {
 protected:
  // b's app knows a column that a's app does not know yet.
  void SetUp() override {
    a_.Begin(kClinic);
    b_.Begin(
        "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT DEFAULT 'none', "
        "Extra TEXT)");
    b_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1', 'kept')");
    Sync(b_);
    Sync(a_);
  }
  void GainColumn() { a_.Sql("ALTER TABLE Patient ADD COLUMN Extra TEXT"); }
};

TEST_F(BackfillTest, IsCountedApartFromWhatIsStale) {
  GainColumn();
  a_.Take();

  const auto before = a_.replica().Facts();
  Sync(a_);
  const auto after = a_.replica().Facts();

  EXPECT_EQ(before->backfill, 1u);
  EXPECT_EQ(before->stale, 0u);
  EXPECT_EQ(after->backfill, 0u);
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|1|kept"));
}

TEST_F(BackfillTest, ComesAfterAnEditThatWaitedWhenTheColumnWasAdded) {
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  a_.Drain();
  GainColumn();

  Sync(a_);
  Sync(b_);

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Bea|1|kept"));
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Bea|1|kept"));
}

TEST_F(BackfillTest, ComesAfterATouchThatWaitedWhenTheColumnWasAdded) {
  a_.Sql("UPDATE Patient SET Name = Name");
  GainColumn();

  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|1|kept"));
}

TEST_F(BackfillTest, ComesAfterTwoEditsThatTheServiceTookBefore) {
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  a_.Drain();
  GainColumn();
  ASSERT_TRUE(a_.PushAll(service_).ok());
  a_.Sql("UPDATE Patient SET Name = 'Cy'");
  ASSERT_TRUE(a_.PushAll(service_).ok());

  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Cy|1|kept"));
}

TEST_F(BackfillTest, ComesAfterAnEditThatWasBeingSentWhenTheColumnWasAdded) {
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  const Taken taken = a_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  GainColumn();
  a_.Drain();
  const auto answer = service_.Push(a_.name(), *taken.batch, *a_.replica().Cursor());
  ASSERT_TRUE(answer.ok()) << answer.status();

  a_.Finish(*answer);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Bea|1|kept"));
}

TEST_F(BackfillTest, WholeRowLeavesOutWhatWasNotFilledInYet) {
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  a_.Drain();
  GainColumn();
  std::optional<QueueItem> item = *a_.ledger().FindWaiting({"Patient", "p1"});
  ASSERT_TRUE(item.has_value());
  item->whole = true;  // As after BASE_UNKNOWN.
  ASSERT_TRUE(a_.ledger().UpdateItem(*item).ok());

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  const Change& change = taken.batch->changes.at(0);
  EXPECT_TRUE(change.complete);
  EXPECT_NE(change.fields.Find("Phone"), nullptr);
  EXPECT_EQ(change.fields.Find("Extra"), nullptr);
}

TEST_F(BackfillTest, DoesNotReplaceAnEditThatNobodyAnnounced) {
  GainColumn();
  a_.Take();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'Silent'");

  ASSERT_TRUE(a_.FetchAll(service_).ok());

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Silent"));
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0"));
  ASSERT_TRUE(a_.app().EnableTriggers(true).ok());
  Sync(a_);
  Sync(b_);
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Silent|1|kept"));
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Silent|1|kept"));
}

TEST_F(BackfillTest, DeletionThatNobodyAnnouncedIsStillFound) {
  GainColumn();
  a_.Take();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("DELETE FROM Patient");
  ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());

  while (*a_.replica().Maintain()) continue;

  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|2|0"));
}

// A put-back was due when the app wrote again: what it wrote then is what the
// service took, and lost.
TEST_F(BackfillTest, EditInThePlaceOfAPutBackIsOfferedToARestoredService) {
  const std::string backup = dir_ + "/backup.db";
  ASSERT_TRUE(service_.store().Backup(backup).ok());
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  IncomingAnswer voided;
  voided.batch_id = a_.Take().batch->batch_id;
  voided.voided = true;
  a_.Finish(voided);
  GainColumn();
  ASSERT_TRUE(a_.PushAll(service_).ok());
  ASSERT_THAT(a_.LedgerQuery("SELECT PutBack FROM SyncStale"), ElementsAre("2"));

  service_.RestoreFrom(backup);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
}

}  // namespace
}  // namespace ptdoc::sync
