#include <gtest/gtest.h>

#include <set>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

RunAnswer MustRun(TestService& service, PushBatch batch, const PullQuery& query) {
  absl::StatusOr<RunAnswer> answer = service.engine().Run(std::move(batch), query);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *std::move(answer) : RunAnswer();
}

PushBatch CreateBatch(TestService& service, const std::string& device,
                      const std::vector<std::string>& ids) {
  PushBatch batch = BatchOf(service, device, {});
  for (const std::string& id : ids) {
    batch.changes.push_back(Create(Patient(id), Texts({{"Name", id}})));
  }
  return batch;
}

std::set<std::string> IdsOf(const RunAnswer& answer) {
  std::set<std::string> ids;
  for (const Version& version : answer.page.versions) ids.insert(version.key.id);
  return ids;
}

using Ids = std::set<std::string>;

TEST(RunTest, PullsWhatOthersDidAndLeavesOutWhatItPushed) {
  TestService service;
  MustPush(service, CreateBatch(service, "a", {"p1"}));

  const RunAnswer answer = MustRun(service, CreateBatch(service, "b", {"p2"}), PullFrom("b", ""));

  EXPECT_EQ(answer.push.results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(IdsOf(answer), Ids{"p1"});
  EXPECT_FALSE(answer.has_more);
}

TEST(RunTest, BatchThatWasSettledAsVoidIsAnErrorAndNoSuccessWithoutResults) {
  TestService service;
  const PushBatch late = CreateBatch(service, "b", {"p1"});
  PushBatch settle = late;
  settle.changes.clear();
  settle.settle = true;
  MustPush(service, settle);

  const absl::StatusOr<RunAnswer> answer = service.engine().Run(late, PullFrom("b", ""));

  EXPECT_EQ(ReasonOf(answer.status()), "BATCH_ID_REUSED");
}

TEST(RunTest, LaterRunGetsItsOwnEarlierVersionsNoMore) {
  TestService service;
  const RunAnswer first = MustRun(service, CreateBatch(service, "b", {"p2"}), PullFrom("b", ""));
  MustPush(service, CreateBatch(service, "a", {"p3"}));

  const RunAnswer second =
      MustRun(service, BatchOf(service, "b", {}), PullFrom("b", first.page.cursor));

  EXPECT_EQ(IdsOf(second), Ids{"p3"});
}

TEST(RunTest, WinnerThatAnotherDevicePushedIsNotLeftOut) {
  TestService service;
  PushBatch create = CreateBatch(service, "a", {"p1"});
  create.changes[0].last_modified = service.Ago(600);
  const PushAnswer base = MustPush(service, create);
  PushOne(service, "a",
          At(Delta(Patient("p1"), base.results[0], Texts({{"Name", "later"}})), service.Now()));
  PushBatch batch = BatchOf(
      service, "b",
      {At(Delta(Patient("p1"), base.results[0], Texts({{"Name", "mine"}})), service.Ago(100))});

  const RunAnswer answer = MustRun(service, batch, PullFrom("b", ""));

  EXPECT_EQ(answer.push.results[0].resolution, Resolution::kServerWins);
  EXPECT_EQ(IdsOf(answer), Ids{"p1"});
}

TEST(RunTest, BatchIdIsMadeIfThereIsNone) {
  TestService service;
  PushBatch batch = CreateBatch(service, "b", {"p1"});
  batch.batch_id.clear();

  const RunAnswer answer = MustRun(service, batch, PullFrom("b", ""));

  EXPECT_TRUE((*service.Read()->FindReceipt(kTenant, "b", answer.push.batch_id)).has_value());
}

TEST(RunTest, SameBatchIdIsSafeToRepeat) {
  TestService service;
  const PushBatch batch = CreateBatch(service, "b", {"p1"});
  const RunAnswer first = MustRun(service, batch, PullFrom("b", ""));

  const RunAnswer second = MustRun(service, batch, PullFrom("b", ""));

  EXPECT_EQ(second.push.results[0].revision, first.push.results[0].revision);
  EXPECT_TRUE(second.page.versions.empty());
  EXPECT_EQ(service.Head(Patient("p1"))->version.revision, 1);
}

TEST(RunTest, PageGoesOnToTheEndOfABatchThatIsLongerThanIt) {
  TestService service;
  MustPush(service, CreateBatch(service, "a", {"p1", "p2", "p3", "p4", "p5"}));
  MustPush(service, CreateBatch(service, "a", {"q1", "q2"}));
  PullQuery query = PullFrom("b", "");
  query.page_size = 2;

  const RunAnswer first = MustRun(service, BatchOf(service, "b", {}), query);
  query.cursor = first.page.cursor;
  const RunAnswer second = MustRun(service, BatchOf(service, "b", {}), query);

  EXPECT_EQ(IdsOf(first), (Ids{"p1", "p2", "p3", "p4", "p5"}));
  EXPECT_TRUE(first.has_more);
  EXPECT_FALSE(first.page.cursor.empty());
  EXPECT_EQ(IdsOf(second), (Ids{"q1", "q2"}));
  EXPECT_FALSE(second.has_more);
}

TEST(RunTest, CursorThatCannotBePulledFromRefusesThePushToo) {
  TestService service;
  PullQuery query = PullFrom("b", "");
  const std::string cursor = MustRun(service, BatchOf(service, "b", {}), query).page.cursor;
  PullQuery other_types = PullFrom("b", cursor);
  other_types.types = {"Visit"};

  const auto garbage =
      service.engine().Run(CreateBatch(service, "b", {"p1"}), PullFrom("b", "garbage"));
  const auto scope = service.engine().Run(CreateBatch(service, "b", {"p1"}), other_types);

  EXPECT_EQ(ReasonOf(garbage.status()), "CURSOR_MALFORMED");
  EXPECT_EQ(ReasonOf(scope.status()), "SCOPE_CHANGED");
  EXPECT_FALSE(service.Head(Patient("p1")).has_value());
}

TEST(RunTest, SecondHalfAloneFollowsAPushOfAGroupCommit) {
  TestService service;
  MustPush(service, CreateBatch(service, "a", {"p1"}));
  PushAnswer pushed = MustPush(service, CreateBatch(service, "b", {"p2"}));

  const absl::StatusOr<RunAnswer> answer =
      service.engine().RunPage(std::move(pushed), PullFrom("b", ""));

  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(IdsOf(*answer), Ids{"p1"});
}

}  // namespace
}  // namespace ptdoc::sync
