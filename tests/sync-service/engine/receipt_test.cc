#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

// What must be the same in every answer to one batch.
void ExpectSameResults(const PushAnswer& a, const PushAnswer& b) {
  ASSERT_EQ(a.results.size(), b.results.size());
  for (size_t i = 0; i < a.results.size(); ++i) {
    const ChangeResult& x = a.results[i];
    const ChangeResult& y = b.results[i];
    EXPECT_EQ(x.key, y.key);
    EXPECT_EQ(x.outcome, y.outcome);
    EXPECT_EQ(x.resolution, y.resolution);
    EXPECT_EQ(x.revision, y.revision);
    EXPECT_EQ(x.check, y.check);
    EXPECT_EQ(x.rule, y.rule);
    EXPECT_EQ(x.conflict_id, y.conflict_id);
    EXPECT_EQ(x.error_code, y.error_code);
    EXPECT_EQ(x.error_message, y.error_message);
    EXPECT_EQ(x.retryable, y.retryable);
    EXPECT_EQ(x.current.has_value(), y.current.has_value());
  }
  EXPECT_EQ(a.commit_cursor, b.commit_cursor);
}

PushBatch MixedBatch(TestService& service) {
  const ChangeResult base = PushOne(service, "a", Create(Patient("p1"), Texts({{"Name", "x"}})));
  PushOne(service, "b", At(Delta(Patient("p1"), base, Texts({{"Name", "y"}})), service.Now()));
  Change invalid = Create(Patient("p3"), {});
  invalid.base_revision = -1;
  return BatchOf(service, "a",
                 {At(Delta(Patient("p1"), base, Texts({{"Name", "late"}})), service.Ago(60)),
                  Create(Patient("p2"), Texts({{"Name", "new"}})), invalid,
                  Create(Patient("p1"), Texts({{"Name", "y"}}))});
}

TEST(ReceiptTest, RepeatedBatchTakesEffectOnceAndGetsTheSameAnswer) {
  TestService service;
  const PushBatch batch = MixedBatch(service);
  const PushAnswer first = MustPush(service, batch);
  const size_t audits = service.AuditRows().size();

  service.clock().Advance(absl::Hours(5));
  const PushAnswer second = MustPush(service, batch);

  EXPECT_EQ(first.results[0].resolution, Resolution::kServerWins);
  EXPECT_EQ(first.results[1].outcome, Outcome::kAccepted);
  EXPECT_EQ(first.results[2].outcome, Outcome::kFailed);
  EXPECT_EQ(first.results[3].outcome, Outcome::kUnchanged);
  ExpectSameResults(first, second);
  EXPECT_TRUE(first.appended);
  EXPECT_FALSE(second.appended);
  EXPECT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(service.AuditRows().size(), audits);
}

TEST(ReceiptTest, AnswerIsTheSameAfterARestart) {
  TestService service;
  const PushBatch batch = MixedBatch(service);
  const PushAnswer first = MustPush(service, batch);

  service.Reopen();

  ExpectSameResults(first, MustPush(service, batch));
}

TEST(ReceiptTest, CurrentIsReadAnewWhenTheAnswerIsRepeated) {
  TestService service;
  const PushBatch batch = MixedBatch(service);
  const PushAnswer first = MustPush(service, batch);
  Change newer = Delta(Patient("p1"), first.results[0], Texts({{"Name", "newest"}}));
  PushOne(service, "b", At(newer, service.Now() + 1));

  const PushAnswer again = MustPush(service, batch);

  ASSERT_TRUE(again.results[0].current.has_value());
  EXPECT_EQ(again.results[0].current->fields, Texts({{"Name", "newest"}}));
  EXPECT_EQ(again.results[0].revision, first.results[0].revision);
}

TEST(ReceiptTest, BatchIdWithAnotherListOfEntitiesIsRefusedWhole) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  MustPush(service, batch);
  batch.changes.push_back(Create(Patient("p2"), Texts({{"Name", "y"}})));

  const absl::StatusOr<PushAnswer> answer = service.Push(batch);

  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(answer.status()), "BATCH_ID_REUSED");
  EXPECT_FALSE(service.Head(Patient("p2")).has_value());
}

TEST(ReceiptTest, BatchIdsOfTwoDevicesAreTheirOwn) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  MustPush(service, batch);
  batch.who = DeviceOf("b");
  batch.changes = {Create(Patient("p2"), Texts({{"Name", "y"}}))};

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[0].outcome, Outcome::kAccepted);
}

TEST(ReceiptTest, SecondOfTwoEqualBatchesInOneGroupFindsTheReceipt) {
  TestService service;
  const PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  std::vector<PushBatch> group = {batch, batch};

  const auto answers = service.engine().Push(group);

  ASSERT_TRUE(answers[0].ok() && answers[1].ok());
  ExpectSameResults(*answers[0], *answers[1]);
  EXPECT_TRUE(answers[0]->appended);
  EXPECT_FALSE(answers[1]->appended);
  EXPECT_EQ(service.Head(Patient("p1"))->version.revision, 1);
}

TEST(ReceiptTest, SettleGetsTheRecordedAnswer) {
  TestService service;
  PushBatch batch = MixedBatch(service);
  const PushAnswer first = MustPush(service, batch);
  batch.changes.clear();
  batch.settle = true;

  const PushAnswer settled = MustPush(service, batch);

  EXPECT_FALSE(settled.voided);
  ExpectSameResults(first, settled);
}

TEST(ReceiptTest, LateOriginalHasNoEffectAfterASettleVoidedIt) {
  TestService service;
  const PushBatch original = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  PushBatch settle = original;
  settle.changes.clear();
  settle.settle = true;

  const PushAnswer settled = MustPush(service, settle);
  const PushAnswer late = MustPush(service, original);
  const PushAnswer settled_again = MustPush(service, settle);

  EXPECT_TRUE(settled.voided);
  EXPECT_TRUE(late.voided);
  EXPECT_TRUE(late.results.empty());
  EXPECT_TRUE(settled_again.voided);
  EXPECT_FALSE(service.Head(Patient("p1")).has_value());
}

TEST(ReceiptTest, RecordedAnswerComesBeforeTheCursorIsLookedAt) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  const PushAnswer first = MustPush(service, batch);
  batch.cursor = "garbage";

  ExpectSameResults(first, MustPush(service, batch));
}

TEST(ReceiptTest, EmptyListOfChangesIsAnsweredAndRecorded) {
  TestService service;
  const PushBatch batch = BatchOf(service, "a", {});

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_TRUE(answer.results.empty());
  EXPECT_FALSE(answer.appended);
  EXPECT_FALSE(answer.voided);
  ExpectSameResults(answer, MustPush(service, batch));
}

TEST(ReceiptTest, ReportTouchesTheDeviceAndNeedsNoBatchId) {
  TestService service;
  PushBatch report;
  report.who = DeviceOf("a");
  report.queue.emplace().pending = 7;

  const PushAnswer answer = MustPush(service, report);

  EXPECT_TRUE(answer.batch_id.empty());
  EXPECT_FALSE(answer.epoch.empty());
  const absl::StatusOr<StatusAnswer> status = service.engine().Status(DeviceOf("a"));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->total.pending, 7u);
}

TEST(ReceiptTest, MalformedBatchIdIsRefused) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  for (const char* id :
       {"", "x", "00000000-0000-4000-8000-00000000000G", "AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA"}) {
    batch.batch_id = id;

    const absl::StatusOr<PushAnswer> answer = service.Push(batch);

    EXPECT_EQ(ReasonOf(answer.status()), "FIELD") << id;
    EXPECT_EQ(ReasonMetadata(answer.status())[kMetaField], "batch_id");
  }
  EXPECT_FALSE(service.Head(Patient("p1")).has_value());
}

TEST(ReceiptTest, SettleIsAnsweredWhateverItsCursor) {
  TestService service;
  PushBatch settle = BatchOf(service, "a", {});
  settle.settle = true;
  settle.cursor = "of another life of the store";

  EXPECT_TRUE(MustPush(service, settle).voided);
}

TEST(ReceiptTest, SettleWithChangesIsRefused) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "x"}}))});
  batch.settle = true;

  EXPECT_EQ(ReasonOf(service.Push(batch).status()), "FIELD");
}

}  // namespace
}  // namespace ptdoc::sync
