#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

const Fields kOneField = Texts({{"Name", "x"}});

TEST(GroupCommitTest, OneRefusedBatchTouchesNoOther) {
  TestService service;
  PushBatch malformed = BatchOf(service, "b", {Create(Patient("bad"), kOneField)});
  malformed.batch_id = "nonsense";
  PushBatch foreign_cursor = BatchOf(service, "c", {Create(Patient("bad"), kOneField)});
  foreign_cursor.cursor = "garbage";
  std::vector<PushBatch> group = {BatchOf(service, "a", {Create(Patient("p1"), kOneField)}),
                                  malformed, foreign_cursor,
                                  BatchOf(service, "d", {Create(Patient("p2"), kOneField)})};

  const auto answers = service.engine().Push(group);

  ASSERT_EQ(answers.size(), 4u);
  ASSERT_TRUE(answers[0].ok() && answers[3].ok());
  EXPECT_EQ(ReasonOf(answers[1].status()), "FIELD");
  EXPECT_EQ(ReasonOf(answers[2].status()), "CURSOR_MALFORMED");
  EXPECT_EQ(answers[0]->results[0].revision, 1);
  EXPECT_EQ(answers[3]->results[0].revision, 2);
  EXPECT_FALSE(service.Head(Patient("bad")).has_value());
}

TEST(GroupCommitTest, RefusedBatchLeavesNoTraceOfItsDevice) {
  TestService service;
  PushBatch refused = BatchOf(service, "b", {});
  refused.cursor = "garbage";

  EXPECT_FALSE(service.Push(refused).ok());

  EXPECT_FALSE((*service.Read()->FindDevice(kTenant, "b")).has_value());
}

TEST(GroupCommitTest, LaterBatchSeesWhatAnEarlierOneDid) {
  TestService service;
  std::vector<PushBatch> group = {
      BatchOf(service, "a", {At(Create(Patient("p1"), Texts({{"Name", "a"}})), service.Ago(9))}),
      BatchOf(service, "b", {At(Create(Patient("p1"), Texts({{"Name", "b"}})), service.Ago(5))})};

  const auto answers = service.engine().Push(group);

  ASSERT_TRUE(answers[0].ok() && answers[1].ok());
  EXPECT_EQ(answers[1]->results[0].resolution, Resolution::kLocalWins);
  EXPECT_EQ(service.Archives().size(), 1u);
}

TEST(GroupCommitTest, TenantsInOneGroupHaveRevisionsAndRowsOfTheirOwn) {
  TestService service;
  PushBatch other = BatchOf(service, "a", {Create(Patient("p1"), Texts({{"Name", "other"}}))});
  other.who.tenant = "other-clinic";
  std::vector<PushBatch> group = {BatchOf(service, "a", {Create(Patient("p1"), kOneField)}), other};

  const auto answers = service.engine().Push(group);

  ASSERT_TRUE(answers[0].ok() && answers[1].ok());
  EXPECT_EQ(answers[1]->results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(answers[1]->results[0].revision, 1);
  EXPECT_EQ(service.Head(Patient("p1"))->version.fields, kOneField);
  EXPECT_EQ(service.Head(Patient("p1"), "other-clinic")->version.fields,
            Texts({{"Name", "other"}}));
}

TEST(GroupCommitTest, EmptyGroupHasNoAnswers) {
  TestService service;

  EXPECT_TRUE(service.engine().Push({}).empty());
}

// A store that cannot be written to.
class AwayStore final : public Store {
 public:
  absl::StatusOr<std::unique_ptr<StoreWriter>> BeginWrite() override { return Away(); }
  absl::StatusOr<std::unique_ptr<StoreReader>> BeginRead() override { return Away(); }
  absl::StatusOr<int64_t> ChangeCounter() override { return Away(); }
  absl::Status Backup(const std::string&) override { return Away(); }
  absl::Status ClaimForService() override { return Away(); }
  absl::Status Checkpoint() override { return Away(); }

 private:
  static absl::Status Away() {
    return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY", "away");
  }
};

TEST(GroupCommitTest, EveryBatchGetsTheErrorOfTheStore) {
  TestService service;
  AwayStore store;
  Engine engine(store, service.clock(), service.rng(), {});
  std::vector<PushBatch> group = {BatchOf(service, "a", {}), BatchOf(service, "b", {})};

  const auto answers = engine.Push(group);

  ASSERT_EQ(answers.size(), 2u);
  for (const auto& answer : answers) EXPECT_EQ(ReasonOf(answer.status()), "STORE_AWAY");
}

// From here on no file can grow: the kernel answers EFBIG, which the store meets
// in COMMIT, where it writes.
TEST(GroupCommitTest, DiskThatFailsInCommitLeavesTheSenderToAskAgain) {
  TestService service;
  PushOne(service, "a", Create(Patient("before"), kOneField));
  const PushBatch batch = BatchOf(service, "a", {Create(Patient("p1"), kOneField)});
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &saved), 0);
  rlimit limit = saved;
  limit.rlim_cur = 1;
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);

  const absl::Status failed = service.Push(batch).status();

  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &saved), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
  EXPECT_EQ(ReasonOf(failed), "STORE_AWAY");
  EXPECT_NE(failed.message().find("not known"), absl::string_view::npos);
  EXPECT_EQ(MustPush(service, batch).results[0].outcome, Outcome::kAccepted);
}

}  // namespace
}  // namespace ptdoc::sync
