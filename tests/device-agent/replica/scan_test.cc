// Scan mode: edits of programs that write without triggers, found by comparing.
#include <gmock/gmock.h>

#include <functional>

#include "device-agent/loop/agent_core.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

// Answers at once, by the real engine, and notes what was sent.
class EnginePeer final : public Peer {
 public:
  EnginePeer(TestService& service, std::string device)
      : service_(service), device_(std::move(device)) {}
  void set_core(AgentCore* core) { core_ = core; }

  void OpenPush() override {}
  void SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                 const QueueHealth&) override {
    for (const Change& change : batch.changes) sent.push_back(change.key.id);
    const absl::StatusOr<IncomingAnswer> answer = service_.Push(device_, batch, cursor);
    ASSERT_TRUE(answer.ok()) << answer.status();
    core_->OnPushAnswer(*answer);
  }
  void SendSettle(const std::string&, const QueueHealth&) override {}
  void SendReport(const QueueHealth&) override {}
  void SetWitness(const std::string& witness) override { service_.set_witness(witness); }
  void ClosePush() override { core_->OnPushClosed(absl::CancelledError("")); }
  void OpenPull(const std::string& cursor, const std::vector<std::string>&, bool,
                const QueueHealth&) override {
    const absl::StatusOr<IncomingPage> page = service_.Pull(device_, cursor);
    ASSERT_TRUE(page.ok()) << page.status();
    core_->OnPullPage(*page);
  }
  void ClosePull() override { core_->OnPullClosed(absl::CancelledError("")); }
  void Fetch(const std::vector<EntityKey>&) override {}

  std::vector<std::string> sent;

 private:
  TestService& service_;
  const std::string device_;
  AgentCore* core_ = nullptr;
};

// The agent's cycle over both files, with hours between two looks by itself. Comparing
// a slice takes as long as a test says.
class ScanPaceTest : public ReplicaTest {
 protected:
  ScanPaceTest() : peer_(service_, "dev-a") {}

  // As after an app was caught, or before.
  void Begin(bool caught) {
    a_.options().stays = true;
    BeginBoth();
    for (TestDevice* device : {&a_, &b_}) device->Sql("PRAGMA synchronous=OFF");
    a_.Sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        "INSERT INTO Patient SELECT printf('p%04d', i), 'Name', '1' FROM n;"
        "INSERT INTO Visit(Id, PatientId) SELECT 'v' || Id, Id FROM Patient");
    SyncBoth();
    ASSERT_TRUE(a_.ledger().PutInt("scan_found", caught ? 1 : 0).ok());
    a_.impl().SetFailPoint([this](absl::string_view point) {
      if (point != "compared") return false;
      ++slices_;
      clock_.Advance(slice_takes_);
      return false;
    });
    ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
    CoreOptions options;
    options.session.interval = absl::Hours(24);
    core_ = std::make_unique<AgentCore>(a_.replica(), peer_, clock_, rng_, options);
    peer_.set_core(core_.get());
    core_->Start();
    // What it looks into after a start by itself.
    Pass(absl::Minutes(10));
    peer_.sent.clear();
    slices_ = 0;
  }

  // A program that runs with triggers off.
  void WriteSilently(const std::string& sql) {
    a_.Sql(sql);
    core_->Look();
  }

  // Time, with a tick at every deadline. `each` happens every 100 ms.
  void Pass(absl::Duration duration, const std::function<void()>& each = nullptr) {
    const absl::Duration end = clock_.Monotonic() + duration;
    absl::Duration next_each = clock_.Monotonic();
    while (clock_.Monotonic() < end) {
      absl::Duration next = std::min(core_->NextDeadline(), end);
      if (each) next = std::min(next, next_each);
      clock_.Advance(std::max(next - clock_.Monotonic(), absl::ZeroDuration()));
      if (each && clock_.Monotonic() >= next_each) {
        each();
        next_each = clock_.Monotonic() + absl::Milliseconds(100);
      }
      core_->Tick();
    }
  }

  int slices_ = 0;
  absl::Duration slice_takes_ = absl::Milliseconds(1);
  EnginePeer peer_;
  std::unique_ptr<AgentCore> core_;
};

TEST_F(ScanPaceTest, CommitOfAnAppThatWasCaughtIsSentWithinSeconds) {
  Begin(/*caught=*/true);

  WriteSilently("UPDATE Patient SET Name = 'silent' WHERE Id = 'p0007'");
  Pass(absl::Milliseconds(900));
  const int before_it_is_due = slices_;
  Pass(absl::Seconds(2));

  EXPECT_EQ(before_it_is_due, 0);
  EXPECT_THAT(peer_.sent, ElementsAre("p0007"));
}

TEST_F(ScanPaceTest, FirstSilentCommitIsFoundAMinuteLaterAndTheNextOneAtOnce) {
  Begin(/*caught=*/false);

  WriteSilently("UPDATE Patient SET Name = 'silent' WHERE Id = 'p0007'");
  Pass(absl::Seconds(59));
  const std::vector<std::string> before_it_is_due = peer_.sent;
  Pass(absl::Seconds(4));
  const std::vector<std::string> first = std::exchange(peer_.sent, {});
  WriteSilently("DELETE FROM Visit WHERE Id = 'vp1200'");
  Pass(absl::Seconds(3));

  EXPECT_THAT(before_it_is_due, ElementsAre());
  EXPECT_THAT(first, ElementsAre("p0007"));
  EXPECT_THAT(peer_.sent, ElementsAre("vp1200"));
}

TEST_F(ScanPaceTest, TakesTwoPercentOfACoreWhateverIsCommitted) {
  Begin(/*caught=*/true);
  slice_takes_ = absl::Milliseconds(20);
  int commits = 0;

  Pass(absl::Minutes(1), [&] {
    WriteSilently(absl::StrCat("UPDATE Patient SET Name = 'n", ++commits, "' WHERE Id = 'p0001'"));
  });

  const double share = absl::FDivDuration(slices_ * slice_takes_, absl::Minutes(1));
  EXPECT_LE(share, 0.021);
  EXPECT_GE(share, 0.015) << "it does not go on";
  EXPECT_GT(commits, 500);
}

TEST_F(ScanPaceTest, CommitsWithoutEndDoNotKeepItFromTheLastRow) {
  Begin(/*caught=*/true);
  slice_takes_ = absl::Milliseconds(5);
  int commits = 0;
  const auto commit = [&] {
    WriteSilently(absl::StrCat("UPDATE Patient SET Name = 'n", ++commits, "' WHERE Id = 'p0001'"));
  };
  Pass(absl::Milliseconds(350), commit);

  WriteSilently("UPDATE Visit SET Note = 'silent' WHERE Id = 'vp1200'");
  Pass(absl::Seconds(15), commit);

  EXPECT_THAT(peer_.sent, Contains("vp1200"));
}

TEST_F(ScanPaceTest, WaitsForAFileThatTheAppHolds) {
  Begin(/*caught=*/true);
  WriteSilently("UPDATE Patient SET Name = 'silent' WHERE Id = 'p0007'");
  a_.Sql("BEGIN EXCLUSIVE");
  clock_.Advance(absl::Seconds(2));

  ASSERT_EQ(a_.replica().ScanDueIn(), absl::ZeroDuration());
  const absl::StatusOr<bool> more = a_.replica().Maintain();
  const std::optional<absl::Duration> due = a_.replica().ScanDueIn();
  a_.Sql("COMMIT");
  Pass(absl::Seconds(3));

  EXPECT_FALSE(*more);
  EXPECT_EQ(due, absl::Seconds(1));
  EXPECT_THAT(peer_.sent, ElementsAre("p0007"));
}

// What a scan has behind it was compared too early for whoever wants all rows compared.
TEST_F(ScanPaceTest, MigrationAmidAScanHasEveryRowCompared) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'); INSERT INTO Visit(Id) VALUES('v1')");
  SyncBoth();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("PRAGMA user_version = 1");
  ASSERT_TRUE(a_.app().EnableTriggers(true).ok());
  a_.Drain();
  clock_.Advance(absl::Minutes(2));
  // The patients are behind it.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(*a_.replica().Maintain());
  const Lines triggers =
      a_.Query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'SyncT%'");
  a_.Sql("BEGIN");
  for (const std::string& trigger : triggers) a_.Sql("DROP TRIGGER " + trigger);
  a_.Sql("UPDATE Patient SET Name = 'silent'; COMMIT");

  a_.Drain();

  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0"));
}

// A renamed row changes what others say that refer to it by its local number: also those
// which the comparison under way has behind it.
TEST_F(ScanPaceTest, ComparisonThatIsWantedAmidAnotherIsDoneAfterIt) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'); INSERT INTO Visit(Id) VALUES('v1')");
  SyncBoth();
  ASSERT_TRUE(a_.impl().WantComparison().ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(*a_.replica().Maintain());
  ASSERT_TRUE(a_.impl().WantComparison().ok());
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'silent'");

  while (*a_.replica().Maintain()) continue;
  const Lines after_the_first = a_.OpenQueue();
  while (*a_.replica().Maintain()) continue;

  EXPECT_THAT(after_the_first, Not(Contains("p1|1|0")));
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0"));
}

}  // namespace
}  // namespace ptdoc::sync
