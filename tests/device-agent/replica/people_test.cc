// Scan mode, and what people ask for.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class PeopleTest : public ReplicaTest {
 protected:
  int64_t OnlyOpenItem() {
    const auto items = *a_.ledger().ListItems(false, 0, 10);
    PT_CHECK(items.size() == 1);
    return items[0].id;
  }
};

TEST_F(PeopleTest, CancelledEditIsArchivedAndTheServicesVersionPutBack) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'wrong'");
  a_.Drain();

  const auto cancelled = a_.replica().CancelItem(OnlyOpenItem());
  Sync(a_);

  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(*cancelled, FileState::kReady);
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Ann"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ResolutionType, ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(R"(Cancelled|{"Id":"p1","Name":"wrong","Phone":"1"})"));
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|2", "p1|1|4"));
}

// Its state is of a deletion that the service has forgotten as well.
TEST_F(PeopleTest, CancelledRowGoesWhereTheServiceHoldsNothingAndNoStateIsLeft) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("DELETE FROM Patient");
  Sync(a_);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'wrong', '1')");
  a_.Drain();
  ASSERT_TRUE(a_.replica().CancelItem(OnlyOpenItem()).ok());
  ASSERT_TRUE(a_.ledger().DeleteState({"Patient", "p1"}).ok());

  IncomingFetch fetch;
  fetch.missing = {{"Patient", "p1"}};
  const auto applied = a_.replica().ApplyFetched(fetch);

  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), IsEmpty());
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId FROM SyncStale"), IsEmpty());
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(PeopleTest, WhatAProgramWithoutTriggersWroteAfterACancelIsAnEdit) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'wrong'");
  a_.Drain();

  ASSERT_TRUE(a_.replica().CancelItem(OnlyOpenItem()).ok());
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'right'");
  Sync(a_);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("right"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_EQ(a_.LedgerQuery("SELECT Revision FROM SyncRowStates"), Lines{"2"});
}

TEST_F(PeopleTest, CancelledNewRowIsRemovedAndArchived) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Drain();

  const auto cancelled = a_.replica().CancelItem(OnlyOpenItem());

  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), IsEmpty());
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|4"));
  EXPECT_THAT(a_.LedgerQuery("SELECT 1 FROM SyncConflictArchives"), SizeIs(1));
  EXPECT_EQ(a_.Drain().items, 0);
}

TEST_F(PeopleTest, CancelLeavesWhatTheSchemaRefused) {
  BeginBoth();
  b_.Sql("PRAGMA foreign_keys=OFF; INSERT INTO Visit(Id, PatientId) VALUES('v1', 'p9')");
  Sync(b_);
  Sync(a_);
  a_.Sql("INSERT INTO Visit(Id, Note) VALUES('v1', 'mine')");
  a_.Drain();

  ASSERT_TRUE(a_.replica().CancelItem(OnlyOpenItem()).ok());
  b_.Sql("INSERT INTO Patient VALUES('p9', 'Ann', '1')");
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Id, PatientId FROM Visit"), ElementsAre("v1|p9"));
}

TEST_F(PeopleTest, ItemBeingSentCannotBeCancelled) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Take();

  const auto cancelled = a_.replica().CancelItem(OnlyOpenItem());

  EXPECT_EQ(ReasonOf(cancelled.status()), "ITEM_NOT_OPEN");
}

TEST_F(PeopleTest, EditBehindOneThatIsBeingSentCannotBeCancelled) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Take();
  a_.Sql("DELETE FROM Patient");
  a_.Drain();
  const auto items = *a_.ledger().ListItems(false, 0, 10);
  ASSERT_THAT(items, SizeIs(2));

  const auto cancelled = a_.replica().CancelItem(items[1].id);
  Sync(a_);

  EXPECT_EQ(ReasonOf(cancelled.status()), "ITEM_NOT_OPEN");
  EXPECT_TRUE((*service_.Fetch("dev-a", {{"Patient", "p1"}})).versions[0].deleted);
}

TEST_F(PeopleTest, RestoredArchiveIsANewEdit) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'wanted'");
  a_.Drain();
  ASSERT_TRUE(a_.replica().CancelItem(OnlyOpenItem()).ok());
  Sync(a_);
  const auto archives = *a_.ledger().ListArchives(true, 0, 10);

  const auto restored = a_.replica().RestoreArchived(archives[0].conflict_id);
  a_.Drain();

  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("wanted"));
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0"));
  EXPECT_TRUE((*a_.ledger().FindArchive(archives[0].conflict_id))->is_resolved);
}

TEST_F(PeopleTest, RetryBringsFailedItemsBack) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('big', printf('%.*c', 5000, 'x'), '')");
  TakeLimits limits;
  limits.row_bytes = 1000;
  a_.Take(limits);

  const int64_t retried = *a_.replica().RetryItems({}, true);

  EXPECT_EQ(retried, 1);
  EXPECT_TRUE(a_.Take().batch.has_value());
}

TEST_F(PeopleTest, ChangesOfAProgramWithoutTriggersAreFoundByTheScan) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  Sync(a_);
  a_.Drain();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'silent' WHERE Id = 'p1'; DELETE FROM Patient WHERE Id = 'p2'");
  a_.Drain();
  const Lines before = a_.OpenQueue();

  clock_.Advance(absl::Minutes(2));
  while (*a_.replica().Maintain()) {
  }

  EXPECT_THAT(before, IsEmpty());
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0", "p2|2|0"));
}

TEST_F(PeopleTest, FoundEditIsReadInATransactionThatSetsAPageMark) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Drain();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'silent'");
  a_.Drain();
  clock_.Advance(absl::Minutes(2));
  while (*a_.replica().Maintain()) {
  }
  const Lines before = a_.Query("SELECT PageTag FROM SyncControl");

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_NE(a_.Query("SELECT PageTag FROM SyncControl"), before);
  EXPECT_FALSE(a_.Drain().recovery_begun);
}

TEST_F(PeopleTest, LogIsTrimmedALittleAtATimeAndOnlyBelowWhatWasSent) {
  constexpr char kCount[] = "SELECT count(*) FROM SyncLog";
  a_.Begin(kClinic);
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6500) "
      "INSERT INTO Patient(Id) SELECT 'p' || i FROM n");
  a_.Sql("DELETE FROM Patient");
  EXPECT_FALSE(a_.Take().batch.has_value());  // Created and deleted unsent.
  const int64_t before = *a_.app().QueryInt(kCount);

  const bool more = *a_.replica().Maintain();
  const int64_t after_one = *a_.app().QueryInt(kCount);
  while (*a_.replica().Maintain()) continue;
  const int64_t at_the_end = *a_.app().QueryInt(kCount);

  EXPECT_TRUE(more);
  EXPECT_LT(after_one, before);
  EXPECT_GE(after_one, before - ReplicaOptions().trim_rows_min / kTrimPart);
  EXPECT_LE(at_the_end, ReplicaOptions().trim_rows_min);
  a_.Sql("INSERT INTO Patient(Id) VALUES('p1')");
  EXPECT_FALSE(a_.Drain().recovery_begun);
  EXPECT_TRUE(a_.Take().batch.has_value());
}

TEST_F(PeopleTest, LogIsNotTrimmedWhileTheAppWrites) {
  constexpr char kCount[] = "SELECT count(*) FROM SyncLog";
  a_.Begin(kClinic);
  EXPECT_FALSE(*a_.replica().Maintain());
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6500) "
      "INSERT INTO Patient(Id) SELECT 'p' || i FROM n");
  a_.Sql("DELETE FROM Patient");
  EXPECT_FALSE(a_.Take().batch.has_value());
  const int64_t before = *a_.app().QueryInt(kCount);

  const bool more = *a_.replica().Maintain();
  const int64_t while_it_writes = *a_.app().QueryInt(kCount);
  const bool more_at_rest = *a_.replica().Maintain();

  EXPECT_FALSE(more);
  EXPECT_EQ(while_it_writes, before);
  EXPECT_TRUE(more_at_rest);
  EXPECT_LT(*a_.app().QueryInt(kCount), before);
}

TEST_F(PeopleTest, SilentDeletionOfARowThatIsBeingSentForTheFirstTimeIsFound) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("DELETE FROM Patient");
  ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());
  while (*a_.replica().Maintain()) continue;

  const auto answer = service_.Push(a_.name(), *taken.batch, "");
  ASSERT_TRUE(answer.ok()) << answer.status();
  a_.Finish(*answer);
  const Taken deletion = a_.Take();

  ASSERT_TRUE(deletion.batch.has_value());
  EXPECT_EQ(deletion.batch->changes.at(0).operation, Operation::kDelete);
  EXPECT_EQ(deletion.batch->changes.at(0).base_revision, answer->results.at(0).revision);
}

// Else nobody would send it, nor ask what became of it, while the link stands.
TEST_F(PeopleTest, BatchThatWasTakenIsToldThoughTheLedgerFailsRightAfter) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.impl().SetFailPoint([this](const char* point) {
    if (std::string(point) == "marked") {
      EXPECT_TRUE(a_.ledger().db().Exec("ALTER TABLE SyncQueueItems RENAME TO Away").ok());
    }
    return false;
  });

  const absl::StatusOr<TakeReport> taken = a_.replica().Take({});

  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_FALSE(taken->batches.empty());
}

// The service holds it as deleted; so does the file. What is on its way does not.
TEST_F(PeopleTest, SilentDeletionOfARowThatIsBeingSentAnewIsFound) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("DELETE FROM Patient");
  Sync(a_);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("DELETE FROM Patient");
  ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());
  while (*a_.replica().Maintain()) continue;

  const auto answer = service_.Push(a_.name(), *taken.batch, "");
  ASSERT_TRUE(answer.ok()) << answer.status();
  a_.Finish(*answer);
  const Taken deletion = a_.Take();

  ASSERT_TRUE(deletion.batch.has_value());
  EXPECT_EQ(deletion.batch->changes.at(0).operation, Operation::kDelete);
  EXPECT_EQ(deletion.batch->changes.at(0).base_revision, answer->results.at(0).revision);
}

TEST_F(PeopleTest, SilentUndoOfAnEditThatIsBeingSentIsFound) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'Anne'");
  const Taken taken = a_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'Ann'");
  ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());
  while (*a_.replica().Maintain()) continue;

  const auto answer = service_.Push(a_.name(), *taken.batch, "");
  ASSERT_TRUE(answer.ok()) << answer.status();
  a_.Finish(*answer);
  const Taken undo = a_.Take();

  ASSERT_TRUE(undo.batch.has_value());
  EXPECT_EQ(undo.batch->changes.at(0).fields.Find("Name")->bytes(), "Ann");
}

class ScanTest : public PeopleTest {
 protected:
  // Three rows that are synced, in a file where a scan has found something before.
  void Begin() {
    a_.Begin(kClinic);
    a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bea', '2'), ('p3', 'Eve', '3')");
    Sync(a_);
    a_.Drain();
    Silently("UPDATE Patient SET Phone = '9' WHERE Id = 'p3'");
    a_.Drain();
    clock_.Advance(absl::Minutes(2));
    while (*a_.replica().Maintain()) continue;
    Sync(a_);
  }
  void Silently(const std::string& sql) {
    ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
    a_.Sql(sql);
    ASSERT_TRUE(a_.app().EnableTriggers(true).ok());
  }
  std::vector<std::string> Taken() {
    std::vector<std::string> ids;
    const auto taken = a_.Take();
    if (!taken.batch.has_value()) return ids;
    for (const Change& change : taken.batch->changes) ids.push_back(change.key.id);
    return ids;
  }
};

TEST_F(ScanTest, FindsWhatWasWrittenBesideRowsOfTheLog) {
  Begin();

  Silently("UPDATE Patient SET Phone = '8' WHERE Id = 'p1'");
  a_.Sql("UPDATE Patient SET Phone = '7' WHERE Id = 'p2'");
  a_.Drain();
  clock_.Advance(absl::Seconds(2));
  while (*a_.replica().Maintain()) continue;

  EXPECT_THAT(Taken(), testing::UnorderedElementsAre("p1", "p2"));
}

TEST_F(ScanTest, FindsWhatWasWrittenBehindIt) {
  Begin();
  Silently("UPDATE Patient SET Phone = '8' WHERE Id = 'p1'");
  a_.Drain();
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(*a_.replica().Maintain());

  Silently("UPDATE Patient SET Phone = '7' WHERE Id = 'p2'");
  a_.Drain();
  while (*a_.replica().Maintain()) continue;
  clock_.Advance(absl::Seconds(2));
  while (*a_.replica().Maintain()) continue;

  EXPECT_THAT(Taken(), testing::UnorderedElementsAre("p1", "p2"));
}

TEST_F(PeopleTest, MassDeletionThatOnlyTheComparisonFoundIsHeld) {
  a_.Begin(kClinic);
  for (int i = 0; i < 30; ++i) {
    a_.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Ann', '1')"));
  }
  Sync(a_);
  a_.Drain();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("DELETE FROM Patient");
  a_.Drain();
  clock_.Advance(absl::Minutes(2));
  while (*a_.replica().Maintain()) {
  }

  const Taken held = a_.Take();

  EXPECT_FALSE(held.batch.has_value());
  EXPECT_EQ((*a_.replica().Facts()).held, 30u);
  EXPECT_EQ(*a_.replica().ConfirmDeletions(), 30);
  EXPECT_TRUE(a_.Take().batch.has_value());
}

TEST_F(PeopleTest, NewerEditsOfADeviceThatPagesSmallConverge) {
  BeginBoth();
  a_.set_page_size(2);
  for (int i = 0; i < 25; ++i) {
    b_.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Bob', '", i, "')"));
    if (i % 3 == 0) Sync(b_);
  }

  SyncBoth();

  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"),
            b_.Query("SELECT * FROM Patient ORDER BY Id"));
  EXPECT_THAT(a_.Query("SELECT 1 FROM Patient"), SizeIs(25));
}

}  // namespace
}  // namespace ptdoc::sync
