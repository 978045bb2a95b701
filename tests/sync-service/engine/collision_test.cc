#include <gtest/gtest.h>

#include "common/model/row_json.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

const EntityKey kSeven = Patient("7");
const EntityKey kVisit = {"Visit", "v1"};

Change WithIntegerKey(Change change) {
  change.integer_key = true;
  return change;
}

// Device "a" made patient 7; device "b" makes another one offline.
PushBatch CollidingBatch(TestService& service) {
  PushOne(service, "a", WithIntegerKey(Create(kSeven, Texts({{"Name", "Ann"}}))));
  const ChangeResult p1 = PushOne(service, "a", Create(Patient("1"), Texts({{"Name", "x"}})));
  Change invalid = Create(Patient("9"), {});
  invalid.base_revision = -1;
  return BatchOf(service, "b",
                 {Create(kVisit, Texts({{"PatientId", "7"}})),
                  WithIntegerKey(Create(kSeven, Texts({{"Name", "Bob"}}))),
                  Delta(Patient("1"), p1, Texts({{"Name", "y"}})), invalid});
}

TEST(CollisionTest, CollidedRowFailsForGoodAndIsArchived) {
  TestService service;

  const PushAnswer answer = MustPush(service, CollidingBatch(service));

  const ChangeResult& collided = answer.results[1];
  EXPECT_EQ(collided.outcome, Outcome::kFailed);
  EXPECT_EQ(collided.resolution, Resolution::kKeyCollision);
  EXPECT_EQ(collided.error_code, ErrorCode::kKeyCollision);
  EXPECT_EQ(collided.rule, "6c");
  EXPECT_FALSE(collided.retryable);
  EXPECT_EQ(collided.revision, 0);
  ASSERT_EQ(service.Archives().size(), 1u);
  const ArchiveRow row = service.Archives()[0];
  EXPECT_EQ(row.conflict_id, collided.conflict_id);
  EXPECT_EQ(row.resolution_type, "KeyCollision");
  EXPECT_EQ(*FieldsFromJson(row.archived_json), Texts({{"Name", "Bob"}}));
  EXPECT_EQ(*FieldsFromJson(row.chosen_json), Texts({{"Name", "Ann"}}));
  EXPECT_FALSE(row.is_resolved);
}

TEST(CollisionTest, RestOfTheBatchIsRefusedOnceAndTakesNoEffect) {
  TestService service;
  const PushBatch batch = CollidingBatch(service);
  const size_t audits = service.AuditRows().size();

  const PushAnswer answer = MustPush(service, batch);

  for (const size_t i : {0u, 2u}) {
    EXPECT_EQ(answer.results[i].outcome, Outcome::kFailed);
    EXPECT_EQ(answer.results[i].error_code, ErrorCode::kBatchRefused);
    EXPECT_TRUE(answer.results[i].retryable);
  }
  // What was wrong for its own sake says so.
  EXPECT_EQ(answer.results[3].error_code, ErrorCode::kInvalidChange);
  EXPECT_FALSE(answer.appended);
  EXPECT_FALSE(service.Head(kVisit).has_value());
  EXPECT_EQ(service.Head(Patient("1"))->version.fields, Texts({{"Name", "x"}}));
  EXPECT_EQ(service.Head(kSeven)->version.fields, Texts({{"Name", "Ann"}}));
  EXPECT_EQ(service.AuditRows().size(), audits + 4);
}

TEST(CollisionTest, RefusedBatchRaisesNoTime) {
  TestService service;
  PushBatch batch = CollidingBatch(service);
  const TimeNs before = service.Head(kSeven)->version.last_modified;
  batch.changes.push_back(At(Create(kSeven, Texts({{"Name", "Ann"}})), before + 1'000));

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[4].error_code, ErrorCode::kBatchRefused);
  EXPECT_EQ(service.Head(kSeven)->version.last_modified, before);
}

TEST(CollisionTest, RestIsTakenWhenItIsSentAgainWithoutTheCollidedRow) {
  TestService service;
  PushBatch batch = CollidingBatch(service);
  MustPush(service, batch);
  batch.batch_id = service.NextBatchId();
  batch.changes = {batch.changes[2]};

  EXPECT_EQ(MustPush(service, batch).results[0].outcome, Outcome::kAccepted);
}

TEST(CollisionTest, RepeatedBatchArchivesNothingMore) {
  TestService service;
  const PushBatch batch = CollidingBatch(service);
  const PushAnswer first = MustPush(service, batch);

  const PushAnswer second = MustPush(service, batch);

  EXPECT_EQ(second.results[1].conflict_id, first.results[1].conflict_id);
  EXPECT_EQ(second.results[0].error_code, ErrorCode::kBatchRefused);
  EXPECT_EQ(service.Archives().size(), 1u);
}

TEST(CollisionTest, SameContentOrATombstoneIsNoCollision) {
  TestService service;
  const ChangeResult ann =
      PushOne(service, "a", WithIntegerKey(Create(kSeven, Texts({{"Name", "Ann"}}))));

  const ChangeResult same =
      PushOne(service, "b", WithIntegerKey(Create(kSeven, Texts({{"Name", "Ann"}}))));
  PushOne(service, "a", Delete(kSeven, ann));
  const ChangeResult after =
      PushOne(service, "b", WithIntegerKey(Create(kSeven, Texts({{"Name", "Bob"}}))));

  EXPECT_EQ(same.outcome, Outcome::kUnchanged);
  EXPECT_EQ(after.outcome, Outcome::kAccepted);
}

// What "b" deletes is its own patient 7, which the service never had.
TEST(CollisionTest, DeletionWithoutABaseDeletesNoOtherPatient) {
  TestService service;
  PushOne(service, "a", At(Create(kSeven, Texts({{"Name", "Ann"}})), service.Ago(60)));

  const ChangeResult result = PushOne(service, "b", WithIntegerKey(Delete(kSeven, {})));

  EXPECT_EQ(result.resolution, Resolution::kKeyCollision);
  EXPECT_EQ(service.Head(kSeven)->version.fields, Texts({{"Name", "Ann"}}));
}

TEST(CollisionTest, RowsOfTwoPatientsAreNotMixedInTheArchive) {
  TestService service;
  PushOne(service, "a", Create(kSeven, Texts({{"Name", "Ann"}, {"City", "of Ann"}})));

  PushOne(service, "b", WithIntegerKey(Delta(kSeven, {}, Texts({{"Name", "Bob"}}))));

  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(*FieldsFromJson(service.Archives()[0].archived_json), Texts({{"Name", "Bob"}}));
}

TEST(CollisionTest, OneRowTwiceInItsOwnBatchIsNoCollision) {
  TestService service;
  const PushBatch batch = BatchOf(service, "b",
                                  {WithIntegerKey(Create(kSeven, Texts({{"Name", "Bob"}}))),
                                   WithIntegerKey(Create(kSeven, Texts({{"Name", "Rob"}})))});

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[1].outcome, Outcome::kAccepted);
  EXPECT_EQ(service.Head(kSeven)->version.fields, Texts({{"Name", "Rob"}}));
}

}  // namespace
}  // namespace ptdoc::sync
