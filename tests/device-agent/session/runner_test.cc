#include "device-agent/loop/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {
namespace {

// Long enough for any machine; nobody waits that long.
constexpr absl::Duration kPatience = absl::Seconds(60);

// What the tests wait for, from another thread.
class Mailbox {
 public:
  void Put(std::string line) {
    MutexLock lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.NotifyAll();
  }
  bool WaitFor(const std::string& line) {
    MutexLock lock(mutex_);
    while (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) {
      if (!changed_.WaitFor(mutex_, kPatience)) return false;
    }
    return true;
  }
  std::vector<std::string> lines() {
    MutexLock lock(mutex_);
    return lines_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

// A service that is caught up at once and says nothing else.
class QuietPeer final : public Peer {
 public:
  QuietPeer(Runner& runner, Mailbox& mailbox) : runner_(runner), mailbox_(mailbox) {}
  void OpenPush() override {}
  void SendBatch(const OutgoingBatch& batch, const std::string&, const QueueHealth&) override {
    for (const Change& change : batch.changes) mailbox_.Put("sent " + change.key.id);
  }
  void SendSettle(const std::string&, const QueueHealth&) override {}
  void SendReport(const QueueHealth&) override {}
  void ClosePush() override {
    runner_.Post([](AgentCore& core) { core.OnPushClosed(absl::CancelledError("")); });
  }
  void OpenPull(const std::string&, const std::vector<std::string>&, bool,
                const QueueHealth&) override {
    IncomingPage page;
    page.batch_end = page.caught_up = true;
    page.cursor = "c0";
    runner_.Post([page](AgentCore& core) { core.OnPullPage(page); });
  }
  void ClosePull() override {
    runner_.Post([](AgentCore& core) { core.OnPullClosed(absl::CancelledError("")); });
  }
  void Fetch(const std::vector<EntityKey>&) override {}

 private:
  Runner& runner_;
  Mailbox& mailbox_;
};

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    options_.database = (directory_ / "app.db").string();
    options_.plan.all_tables = true;
    sqlite::OpenOptions open;
    open.mode = sqlite::OpenOptions::Mode::kCreate;
    open.wal = true;
    app_.emplace(*sqlite::Database::Open(options_.database, open));
    ASSERT_TRUE(app_->Exec("CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT)").ok());
    ASSERT_TRUE(Replica::Initialise(options_, clock_, rng_).ok());
    absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(options_, clock_, rng_);
    ASSERT_TRUE(replica.ok()) << replica.status();
    CoreOptions core;
    // Only the app's commits wake it.
    core.session.interval = absl::Hours(1);
    runner_ = std::make_unique<Runner>(
        options_.database, std::move(*replica),
        [this](Runner& runner) { return std::make_unique<QuietPeer>(runner, mailbox_); }, clock_,
        rng_, core);
  }
  void TearDown() override {
    runner_.reset();
    app_.reset();
    std::filesystem::remove_all(directory_);
  }

  SystemClock clock_;
  SystemRng rng_;
  std::filesystem::path directory_;
  ReplicaOptions options_;
  std::optional<sqlite::Database> app_;
  Mailbox mailbox_;
  std::unique_ptr<Runner> runner_;
};

TEST_F(RunnerTest, SendsWhatTheAppCommits) {
  runner_->Start();

  ASSERT_TRUE(app_->Exec("INSERT INTO Patient VALUES ('p1', 'A')").ok());
  const bool first = mailbox_.WaitFor("sent p1");
  ASSERT_TRUE(app_->Exec("INSERT INTO Patient VALUES ('p2', 'B')").ok());

  EXPECT_TRUE(first);
  EXPECT_TRUE(mailbox_.WaitFor("sent p2"));
}

TEST_F(RunnerTest, SendsWhatAnAppCommitsThatIsKnownToWriteWithoutTriggers) {
  runner_->Post(
      [](AgentCore& core) { ASSERT_TRUE(core.replica().ledger().PutInt("scan_found", 1).ok()); });
  runner_->Start();
  ASSERT_TRUE(app_->Exec("INSERT INTO Patient VALUES ('p1', 'A')").ok());
  ASSERT_TRUE(mailbox_.WaitFor("sent p1"));

  ASSERT_TRUE(app_->EnableTriggers(false).ok());
  ASSERT_TRUE(app_->Exec("INSERT INTO Patient VALUES ('p2', 'B')").ok());

  EXPECT_TRUE(mailbox_.WaitFor("sent p2"));
}

TEST_F(RunnerTest, RunsCommandsInTheOrderOfPosting) {
  runner_->Start();

  for (const char* line : {"1", "2", "3"}) {
    EXPECT_TRUE(runner_->Post([this, line](AgentCore&) { mailbox_.Put(line); }));
  }
  mailbox_.WaitFor("3");

  EXPECT_THAT(mailbox_.lines(), ::testing::ElementsAre("1", "2", "3"));
}

TEST_F(RunnerTest, TakesNoMoreCommandsThanItsLimit) {
  size_t taken = 0;

  while (taken <= Runner::kCommandsMax && runner_->Post([](AgentCore&) {})) ++taken;

  EXPECT_EQ(taken, Runner::kCommandsMax);
}

TEST_F(RunnerTest, StopEndsARequestThatIsUnderWay) {
  runner_->Start();
  ASSERT_TRUE(app_->Exec("INSERT INTO Patient VALUES ('p1', 'A')").ok());
  runner_->Post([this](AgentCore& core) {
    core.RequestRun(RunKind::kRun, [this](const RunResult& result) {
      mailbox_.Put(absl::IsCancelled(result.error) ? "cancelled" : "something else");
    });
    mailbox_.Put("requested");
  });
  mailbox_.WaitFor("requested");
  mailbox_.WaitFor("sent p1");  // It is never answered.

  runner_->Stop();

  EXPECT_THAT(mailbox_.lines(), ::testing::Contains("cancelled"));
  EXPECT_FALSE(runner_->Post([](AgentCore&) {}));
}

}  // namespace
}  // namespace ptdoc::sync
