// The service's answers on the device.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class AnswerTest : public ReplicaTest {
 protected:
  // p1 stands at the service; both devices know it.
  void BeginWithSharedRow() {
    BeginBoth();
    a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
    Sync(a_);
    Sync(b_);
  }
  IncomingAnswer Failure(const OutgoingBatch& batch, ErrorCode code, bool retryable) {
    IncomingAnswer answer;
    answer.batch_id = batch.batch_id;
    ChangeResult result;
    result.key = batch.changes[0].key;
    result.outcome = Outcome::kFailed;
    result.error_code = code;
    result.error_message = "no";
    result.retryable = retryable;
    answer.results = {result};
    return answer;
  }
};

TEST_F(AnswerTest, AcceptedVersionThatLosesIsArchivedHereWithTheRuleThatDecided) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '0')");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Phone = '1'");
  a_.Drain();
  b_.Sql("UPDATE Patient SET Phone = '2'");
  b_.Drain();
  a_.SetItemTime("p1", 4'000'000'001'000'000'000);
  b_.SetItemTime("p1", 4'000'000'002'000'000'000);

  Sync(a_);
  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.LedgerQuery("SELECT ResolutionType, Rule FROM SyncConflictArchives"),
              ElementsAre("LocalWins|8"));
}

TEST_F(AnswerTest, AcceptedMovesTheBaseWithoutWritingIntoTheAppsFile) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  const IncomingAnswer answer = *service_.Push("dev-a", *taken.batch, "");
  const Lines before = a_.Query("PRAGMA data_version");

  const AnswerReport report = a_.Finish(answer);

  EXPECT_EQ(report.success, 1u);
  EXPECT_EQ(a_.Query("PRAGMA data_version"), before);
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|2"));
  const auto state = *a_.ledger().FindState({"Patient", "p1"});
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->revision, answer.results[0].revision);
  EXPECT_EQ(a_.impl().InMemory(answer.batch_id), nullptr);
}

TEST_F(AnswerTest, LoserIsReplacedAndArchivedWhole) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'FromA'");
  b_.Sql("UPDATE Patient SET Name = 'FromB', Phone = '9'");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 3'000'000'000'000'000'000);
  b_.SetItemTime("p1", 2'900'000'000'000'000'000);
  Sync(a_);
  const Taken taken = b_.Take();
  const IncomingAnswer answer = *service_.Push("dev-b", *taken.batch, "");

  const AnswerReport report = b_.Finish(answer);

  EXPECT_EQ(report.conflicts_count, 1u);
  ASSERT_THAT(report.conflicts, SizeIs(1));
  EXPECT_EQ(report.conflicts[0].resolution, Resolution::kServerWins);
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|FromA|1"));
  const auto archives = *b_.ledger().ListArchives(true, 0, 10);
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_EQ(archives[0].archived_json, R"({"Id":"p1","Name":"FromB","Phone":"9"})");
  EXPECT_EQ(archives[0].conflict_id, answer.results[0].conflict_id);
  EXPECT_FALSE((*b_.ledger().FindArchive(archives[0].conflict_id))->is_resolved);
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_FALSE(b_.Take().batch.has_value());  // What was applied is no edit.
}

TEST_F(AnswerTest, NewerEditStaysAndMeetsTheWinnerAsAConflict) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'FromA'");
  b_.Sql("UPDATE Patient SET Name = 'FromB'");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 3'000'000'000'000'000'000);
  b_.SetItemTime("p1", 2'900'000'000'000'000'000);
  Sync(a_);
  const Taken taken = b_.Take();
  const IncomingAnswer answer = *service_.Push("dev-b", *taken.batch, "");
  b_.Sql("UPDATE Patient SET Name = 'Newer'");  // In the log only.

  b_.Finish(answer);
  const Lines kept = b_.Query("SELECT Name FROM Patient");
  b_.Drain();
  b_.SetItemTime("p1", 3'100'000'000'000'000'000);
  SyncBoth();

  EXPECT_THAT(kept, ElementsAre("Newer"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("Newer"));
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Newer"));
  EXPECT_THAT(ServiceArchives(), SizeIs(2));
}

TEST_F(AnswerTest, DeviceWhoseAcceptedVersionLostArchivesIt) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'FromA'");
  b_.Sql("UPDATE Patient SET Name = 'FromB'");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 2'900'000'000'000'000'000);
  b_.SetItemTime("p1", 3'000'000'000'000'000'000);
  Sync(a_);

  Sync(b_);
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("FromB"));
  const auto archives = *a_.ledger().ListArchives(true, 0, 10);
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_THAT((*a_.ledger().FindArchive(archives[0].conflict_id))->archived_json,
              HasSubstr("FromA"));
  ASSERT_THAT(ServiceArchives(), SizeIs(1));
  EXPECT_EQ(ServiceArchives()[0].conflict_id, archives[0].conflict_id);
}

TEST_F(AnswerTest, EditOfASignedNoteIsPutBackAndArchived) {
  BeginBoth();
  a_.Sql("INSERT INTO Visit(Id, Note, SignatureHash) VALUES('v1', 'signed', 'sig')");
  SyncBoth();
  b_.Sql("UPDATE Visit SET Note = 'changed'");

  Sync(b_);

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), ElementsAre("signed"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ResolutionType FROM SyncConflictArchives"),
              ElementsAre("RejectedImmutable"));
}

TEST_F(AnswerTest, DeletionOfASignedNoteIsPutBack) {
  BeginBoth();
  a_.Sql("INSERT INTO Visit(Id, Note, SignatureHash) VALUES('v1', 'signed', 'sig')");
  SyncBoth();
  b_.Sql("DELETE FROM Visit");

  Sync(b_);

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), ElementsAre("signed"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre("null"));
}

TEST_F(AnswerTest, VoidReturnsItemsToPending) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  IncomingAnswer answer;
  answer.batch_id = taken.batch->batch_id;
  answer.voided = true;

  a_.Finish(answer);

  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|0"));
}

TEST_F(AnswerTest, ItemThatReturnsIsMergedWithTheNewerOneUnderTheSmallerId) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  a_.Sql("DELETE FROM Patient");
  a_.Drain();
  IncomingAnswer answer;
  answer.batch_id = taken.batch->batch_id;
  answer.voided = true;

  a_.Finish(answer);

  EXPECT_THAT(a_.LedgerQuery("SELECT Id, Operation, Status FROM SyncQueueItems"),
              ElementsAre("1|2|0"));
}

// The files are a copy of another device's, whose feed had left its own batch out.
TEST_F(AnswerTest, WhatAVoidBatchMayHaveBroughtIsFetched) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  ASSERT_TRUE(service_.Push("the other", *taken.batch, "").ok());
  IncomingPage nothing = *service_.Pull("dev-a", "", 100);
  nothing.versions.clear();
  a_.Apply(nothing);
  a_.Sql("DELETE FROM Patient");

  a_.Close();
  a_.Open();
  Sync(a_);

  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p1"));
}

// The edit was undone: what stands there is what the service had taken, and lost.
TEST_F(AnswerTest, RowThatAVoidBatchLeftAsItWasIsOfferedToARestoredService) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  const std::string backup = dir_ + "/backup.db";
  ASSERT_TRUE(service_.store().Backup(backup).ok());
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  ASSERT_TRUE(a_.PushAll(service_).ok());
  a_.Sql("UPDATE Patient SET Name = 'Cy'");
  IncomingAnswer voided;
  voided.batch_id = a_.Take().batch->batch_id;
  voided.voided = true;
  a_.Finish(voided);
  a_.Sql("UPDATE Patient SET Name = 'Bea'");
  a_.Take();

  service_.RestoreFrom(backup);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("Bea"));
}

TEST_F(AnswerTest, RetryableFailureWaitsAndThenIsForGood) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  TakeLimits at_once;
  at_once.ignore_next_attempt = true;
  for (int i = 0; i < 3; ++i) {
    const Taken taken = a_.Take(at_once);
    ASSERT_TRUE(taken.batch.has_value()) << i;
    a_.Finish(Failure(*taken.batch, ErrorCode::kInternal, true));
  }

  const Taken after = a_.Take(at_once);

  EXPECT_FALSE(after.batch.has_value());
  EXPECT_THAT(a_.LedgerQuery("SELECT Status, RetryCount, ErrorMessage FROM SyncQueueItems"),
              ElementsAre("3|3|INTERNAL: no"));
}

TEST_F(AnswerTest, FailureThatIsNotRetryableIsFoundByTheSeedsSql) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  a_.Finish(Failure(*taken.batch, ErrorCode::kTypeForbidden, false));
  const Lines failed = a_.LedgerQuery(
      "SELECT EntityId FROM SyncQueueItems WHERE Status = 3 AND RetryCount >= MaxRetries");

  ASSERT_TRUE(a_.ledger()
                  .db()
                  .Exec("UPDATE SyncQueueItems SET Status = 0, RetryCount = 0 WHERE Status = 3")
                  .ok());

  EXPECT_THAT(failed, ElementsAre("p1"));
  EXPECT_TRUE(a_.Take().batch.has_value());
}

TEST_F(AnswerTest, UnknownBaseIsSentAgainWholeWithoutCounting) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'Anne'");
  const Taken taken = a_.Take();

  const AnswerReport report = a_.Finish(Failure(*taken.batch, ErrorCode::kBaseUnknown, true));
  const Taken again = a_.Take();

  EXPECT_TRUE(report.send_again_at_once);
  EXPECT_EQ(report.failed, 0u);
  ASSERT_TRUE(again.batch.has_value());
  EXPECT_TRUE(again.batch->changes[0].complete);
  EXPECT_THAT(again.batch->changes[0].fields, SizeIs(3));
}

TEST_F(AnswerTest, CollidedKeyFailsForGoodAndIsArchived) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();
  IncomingAnswer answer = Failure(*taken.batch, ErrorCode::kKeyCollision, true);
  answer.results[0].resolution = Resolution::kKeyCollision;
  answer.results[0].conflict_id = "c-1";

  const AnswerReport report = a_.Finish(answer);

  EXPECT_EQ(report.failed, 1u);
  EXPECT_THAT(a_.LedgerQuery("SELECT Status, RetryCount = MaxRetries FROM SyncQueueItems"),
              ElementsAre("3|1"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ConflictId, ResolutionType, ArchivedDataJson FROM "
                             "SyncConflictArchives"),
              ElementsAre(R"(c-1|KeyCollision|{"Id":"p1","Name":"Ann","Phone":"1"})"));
}

TEST_F(AnswerTest, RefusedBatchIsSentAgainWithoutCounting) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken taken = a_.Take();

  const AnswerReport report = a_.Finish(Failure(*taken.batch, ErrorCode::kBatchRefused, true));

  EXPECT_TRUE(report.send_again_at_once);
  EXPECT_THAT(a_.LedgerQuery("SELECT Status, RetryCount FROM SyncQueueItems"), ElementsAre("0|0"));
}

TEST_F(AnswerTest, BlockedByTheAppIsFinishedWhenCalledAgainAndCountedOnce) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'FromA'");
  b_.Sql("UPDATE Patient SET Name = 'FromB'");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 3'000'000'000'000'000'000);
  b_.SetItemTime("p1", 2'900'000'000'000'000'000);
  Sync(a_);
  const Taken taken = b_.Take();
  const IncomingAnswer answer = *service_.Push("dev-b", *taken.batch, "");
  b_.Sql("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE");

  const AnswerReport blocked = b_.Finish(answer);
  b_.Sql("COMMIT");
  const AnswerReport done = b_.Finish(answer);

  EXPECT_EQ(blocked.file, FileState::kBlockedByApp);
  EXPECT_EQ(done.file, FileState::kReady);
  EXPECT_EQ(done.conflicts_count, 1u);
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("FromA"));
}

// The second answer needs nothing of the app's file; it counts with the first, in its turn.
TEST_F(AnswerTest, AnswersBehindABlockedOneAreFinishedWithItAndCountedOnce) {
  BeginWithSharedRow();
  a_.Sql("UPDATE Patient SET Name = 'FromA'");
  b_.Sql("UPDATE Patient SET Name = 'FromB'");
  b_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  a_.Drain();
  b_.Drain();
  a_.SetItemTime("p1", 3'000'000'000'000'000'000);
  b_.SetItemTime("p1", 2'900'000'000'000'000'000);
  Sync(a_);
  TakeLimits limits;
  limits.batches = 2;
  limits.changes = 1;
  const Taken taken = b_.Take(limits);
  ASSERT_THAT(taken.batches, SizeIs(2));
  std::vector<IncomingAnswer> answers;
  for (const auto& batch : taken.batches) {
    answers.push_back(*service_.Push("dev-b", *batch, ""));
  }
  b_.Sql("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE");

  const AnswerReport blocked = b_.FinishAll(answers);
  b_.Sql("COMMIT");
  const AnswerReport done = b_.FinishAll(answers);

  EXPECT_EQ(blocked.file, FileState::kBlockedByApp);
  EXPECT_EQ(blocked.finished, 0u);
  EXPECT_EQ(blocked.success, 0u);
  EXPECT_EQ(done.file, FileState::kReady);
  EXPECT_EQ(done.finished, 2u);
  EXPECT_EQ(done.conflicts_count, 1u);
  EXPECT_EQ(done.success, 1u);
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient ORDER BY Id"), ElementsAre("FromA", "Bob"));
}

// dev-b lost to dev-a, and a reviewer resolves that on the service.
class ReviewedTest : public AnswerTest {
 protected:
  void LoseOnB() {
    BeginWithSharedRow();
    a_.Sql("UPDATE Patient SET Name = 'FromA'");
    b_.Sql("UPDATE Patient SET Name = 'FromB'");
    a_.Drain();
    b_.Drain();
    a_.SetItemTime("p1", 3'000'000'000'000'000'000);
    b_.SetItemTime("p1", 2'900'000'000'000'000'000);
    Sync(a_);
    Sync(b_);
    ASSERT_THAT(ServiceArchives(), SizeIs(1));
    ASSERT_THAT(b_.LedgerQuery(kArchives), ElementsAre("ServerWins|0|-"));
  }

  void Resolve(ResolveAction action, const Fields& content) {
    ResolveRequest request;
    request.conflict_id = ServiceArchives()[0].conflict_id;
    request.action = action;
    request.expected_revision = (*b_.ledger().FindState({"Patient", "p1"}))->revision;
    request.content = content;
    request.reason_code = "checked";
    const auto revision = service_.engine().ResolveConflict(
        {"clinic", "console", "rita", Role::kReviewer, ""}, request);
    ASSERT_TRUE(revision.ok()) << revision.status();
  }

  static constexpr char kArchives[] =
      "SELECT ResolutionType, IsResolved, ResolvedAction FROM SyncConflictArchives";
};

TEST_F(ReviewedTest, TheLosersRowIsResolvedWhenTheRestoredVersionComes) {
  LoseOnB();

  Resolve(ResolveAction::kRestore, {});
  SyncBoth();

  EXPECT_THAT(b_.LedgerQuery(kArchives), ElementsAre("ServerWins|1|Restored"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ResolvedByUserId FROM SyncConflictArchives"),
              ElementsAre("rita"));
  EXPECT_EQ(b_.Query("SELECT Name FROM Patient"), Lines{"FromB"});
}

TEST_F(ReviewedTest, TheLosersRowIsResolvedByAnEditedVersionToo) {
  LoseOnB();

  Resolve(ResolveAction::kEdit, Fields({{"Id", Value::Text("p1")}, {"Name", Value::Text("both")}}));
  SyncBoth();

  EXPECT_THAT(b_.LedgerQuery(kArchives), ElementsAre("ServerWins|1|Edited"));
}

TEST_F(ReviewedTest, TheDeviceWhoseVersionWasReplacedKeepsItsRow) {
  LoseOnB();

  Resolve(ResolveAction::kRestore, {});
  SyncBoth();

  ASSERT_THAT(ServiceArchives(), SizeIs(2));
  EXPECT_THAT(a_.LedgerQuery(kArchives), ElementsAre("Manual|1|Replaced"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ConflictId FROM SyncConflictArchives"),
              ElementsAre(ServiceArchives()[1].conflict_id));
  EXPECT_THAT(a_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(testing::HasSubstr("FromA")));
}

}  // namespace
}  // namespace ptdoc::sync
