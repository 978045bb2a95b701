#include "sync-service/rpc/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "common/model/reason.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;

class ExecutorTest : public ::testing::Test {
 protected:
  ExecutorTest()
      : store_(OpenSqliteStore({.path = dir_.File("store.db"), .create = true, .vfs = ""}, clock_,
                               rng_)
                   .value()),
        engine_(*store_, clock_, rng_, EngineOptions()) {}

  void Start(ExecutorOptions options = {}) {
    executor_ = std::make_unique<Executor>(engine_, feed_, options);
  }

  // Keeps the writer busy until Release.
  void HoldWriter() {
    std::promise<void> held;
    ASSERT_TRUE(executor_
                    ->SubmitWrite([this, &held] {
                      held.set_value();
                      release_.get_future().wait();
                    })
                    .ok());
    held.get_future().wait();
  }
  void ReleaseWriter() { release_.set_value(); }

  // The newest revision of each commit, as followers are told it.
  const std::vector<Revision>& ListenToCommits() {
    feed_.Subscribe("clinic", [this](Revision newest) { commits_.push_back(newest); });
    return commits_;
  }

  PushJob Job(const std::string& id, std::function<void(absl::StatusOr<PushAnswer>)> done) {
    PushJob job;
    job.batch.batch_id = NewUuid(rng_);
    job.batch.changes.resize(1);
    job.batch.changes[0].key = {"Patient", id};
    job.batch.changes[0].operation = Operation::kCreate;
    job.bytes = 100;
    job.authorize = [] {
      Principal who;
      who.tenant = "clinic";
      who.device = "tablet";
      return absl::StatusOr<Principal>(who);
    };
    job.done = std::move(done);
    return job;
  }

  static void Ignore(const absl::StatusOr<PushAnswer>&) {}

  ScratchDir dir_;
  FakeClock clock_;
  SystemRng rng_;
  std::unique_ptr<Store> store_;
  Engine engine_;
  Feed feed_;
  std::promise<void> release_;
  std::vector<Revision> commits_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(ExecutorTest, BatchesThatWaitAreCommittedTogetherAndAnsweredInOrder) {
  Start();
  HoldWriter();
  const std::vector<Revision>& commits = ListenToCommits();
  std::vector<Revision> revisions;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(executor_
                    ->SubmitPush(Job("p" + std::to_string(i),
                                     [&](const absl::StatusOr<PushAnswer>& answer) {
                                       ASSERT_TRUE(answer.ok()) << answer.status();
                                       revisions.push_back(answer->results.at(0).revision);
                                     }))
                    .ok());
  }

  ReleaseWriter();
  executor_->Stop();

  EXPECT_THAT(revisions, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(commits, ElementsAre(5));
}

TEST_F(ExecutorTest, AGroupEndsAtItsBound) {
  ExecutorOptions options;
  options.group_batches_max = 2;
  Start(options);
  HoldWriter();
  const std::vector<Revision>& commits = ListenToCommits();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(executor_->SubmitPush(Job("p" + std::to_string(i), Ignore)).ok());
  }

  ReleaseWriter();
  executor_->Stop();

  EXPECT_THAT(commits, ElementsAre(2, 4, 5));
}

TEST_F(ExecutorTest, AFullQueueRefusesWithADelay) {
  ExecutorOptions options;
  options.write_queue_max = 2;
  Start(options);
  HoldWriter();
  ASSERT_TRUE(executor_->SubmitPush(Job("p1", Ignore)).ok());
  ASSERT_TRUE(executor_->SubmitPush(Job("p2", Ignore)).ok());

  const absl::Status refused = executor_->SubmitPush(Job("p3", Ignore));
  const absl::Status continued = executor_->SubmitWrite([] {}, Executor::Load::kContinue);
  ReleaseWriter();

  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), "OVERLOADED");
  EXPECT_EQ(ReasonMetadata(refused)[kMetaRetryAfterMs], "1000");
  EXPECT_TRUE(continued.ok());
}

TEST_F(ExecutorTest, TheQueueIsBoundedInBytesToo) {
  ExecutorOptions options;
  options.write_queue_bytes_max = 150;
  Start(options);
  HoldWriter();
  ASSERT_TRUE(executor_->SubmitPush(Job("p1", Ignore)).ok());

  const absl::Status refused = executor_->SubmitPush(Job("p2", Ignore));
  ReleaseWriter();

  EXPECT_EQ(ReasonOf(refused), "OVERLOADED");
}

TEST_F(ExecutorTest, ABatchThatIsNotAuthorizedTouchesNoOther) {
  Start();
  HoldWriter();
  absl::Status refused;
  absl::Status taken = absl::UnknownError("not answered");
  PushJob job =
      Job("p1", [&](const absl::StatusOr<PushAnswer>& answer) { refused = answer.status(); });
  job.authorize = [] { return absl::StatusOr<Principal>(absl::UnauthenticatedError("expired")); };
  ASSERT_TRUE(executor_->SubmitPush(std::move(job)).ok());
  ASSERT_TRUE(
      executor_
          ->SubmitPush(
              Job("p2", [&](const absl::StatusOr<PushAnswer>& answer) { taken = answer.status(); }))
          .ok());

  ReleaseWriter();
  executor_->Stop();

  EXPECT_TRUE(absl::IsUnauthenticated(refused));
  EXPECT_TRUE(taken.ok()) << taken;
}

TEST_F(ExecutorTest, StopFinishesWhatWaitsAndTakesNothingMore) {
  Start();
  HoldWriter();
  int answered = 0;
  ASSERT_TRUE(
      executor_->SubmitPush(Job("p1", [&](const absl::StatusOr<PushAnswer>&) { ++answered; }))
          .ok());

  ReleaseWriter();
  executor_->Stop();

  EXPECT_EQ(answered, 1);
  EXPECT_EQ(ReasonOf(executor_->SubmitWrite([] {})), "DRAINING");
  EXPECT_EQ(ReasonOf(executor_->SubmitRead([] {})), "DRAINING");
  EXPECT_TRUE(executor_->WriterIdle());
}

TEST_F(ExecutorTest, FollowersAreToldTheNewestRevisionAfterTheCommit) {
  const std::vector<Revision>& told = ListenToCommits();
  Start();
  HoldWriter();
  ASSERT_TRUE(executor_->SubmitPush(Job("p1", Ignore)).ok());
  ASSERT_TRUE(executor_->SubmitPush(Job("p2", Ignore)).ok());

  ReleaseWriter();
  executor_->Stop();

  EXPECT_THAT(told, ElementsAre(2));
}

TEST_F(ExecutorTest, ReadersRunWhileTheWriterIsBusy) {
  Start();
  HoldWriter();
  std::promise<void> ran;

  ASSERT_TRUE(executor_->SubmitRead([&] { ran.set_value(); }).ok());

  ran.get_future().wait();
  EXPECT_FALSE(executor_->WriterIdle());
  ReleaseWriter();
}

}  // namespace
}  // namespace ptdoc::sync
