// Verify over the control socket, against the real service.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/device-agent/rpc/test_agent.h"

namespace ptdoc::sync {
namespace {

struct Verified {
  grpc::Status status;
  v1::VerifyReport report;
  int messages = 0;
};

Verified Verify(TestAgent& agent, v1::VerifyRepair repair = v1::VERIFY_REPAIR_UNSPECIFIED) {
  AgentCall call;
  v1::VerifyRequest request;
  request.set_repair(repair);
  const auto stream = agent.stub->Verify(&call.context, request);
  Verified out;
  v1::VerifyResponse response;
  while (stream->Read(&response)) {
    ++out.messages;
    EXPECT_LE(response.done(), response.known());
    if (response.has_report()) out.report = response.report();
  }
  out.status = stream->Finish();
  return out;
}

// Three rows, sent, and the agent is stopped.
void SendThree(TestAgent& agent) {
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1'), ('p2', 'Bea', '2'), ('p3', 'Cid', '3')");
  agent.MustRun();
}

void Silently(TestAgent& agent, const std::string& sql) {
  sqlite::OpenOptions open;
  open.legacy_schema = true;
  absl::StatusOr<sqlite::Database> db =
      sqlite::Database::Open(agent.options.replica.database, open);
  ASSERT_TRUE(db.ok()) << db.status();
  ASSERT_TRUE(db->EnableTriggers(false).ok());
  const absl::Status done = db->Exec(sql);
  ASSERT_TRUE(done.ok()) << done;
}

TEST(VerifyTest, ReportsAndRepairsARowThatNobodyAnnounced) {
  RealService service;
  TestAgent agent(service.address());
  SendThree(agent);
  EXPECT_TRUE(Verify(agent).report.findings().empty());
  Silently(agent, "UPDATE Patient SET Name = 'Bee' WHERE Id = 'p2'");

  const Verified found = Verify(agent);
  const Verified repaired = Verify(agent, v1::VERIFY_REPAIR_FETCH);

  ASSERT_TRUE(found.status.ok()) << found.status.error_message();
  ASSERT_EQ(found.report.findings_size(), 1);
  EXPECT_EQ(found.report.findings(0).entity_id(), "p2");
  EXPECT_THAT(found.report.findings(0).columns(), testing::ElementsAre("Name"));
  EXPECT_EQ(found.report.types(0).rows(), 3u);
  EXPECT_EQ(found.report.types(0).equal(), 2u);
  EXPECT_EQ(repaired.report.repaired(), 1u);
  EXPECT_EQ(agent.Query("SELECT Name FROM Patient WHERE Id = 'p2'"), "Bea");
  EXPECT_TRUE(Verify(agent).report.findings().empty());
}

TEST(VerifyTest, WithoutAServiceNothingIsLookedAt) {
  auto service = std::make_unique<RealService>();
  TestAgent agent(service->address());
  SendThree(agent);
  service.reset();

  const Verified found = Verify(agent);

  EXPECT_EQ(ReasonOf(found.status), "SERVICE_UNREACHABLE") << found.status.error_message();
}

TEST(VerifyTest, GoesOnWhereAnEarlierOneStopped) {
  RealService service;
  TestAgent agent(service.address());
  SendThree(agent);
  agent.Stop();
  {
    const auto replica = Replica::Open(agent.options.replica, agent.clock, agent.rng);
    ASSERT_TRUE(replica.ok()) << replica.status();
    VerifyProgress progress = *(*replica)->BeginVerify();
    progress.counts["Patient"].different = 7;
    ASSERT_TRUE((*replica)->SaveVerify(&progress).ok());
  }
  agent.Start();

  // The link may not stand yet.
  Verified first = Verify(agent);
  while (first.status.error_code() == grpc::StatusCode::UNAVAILABLE) first = Verify(agent);
  const Verified second = Verify(agent);

  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_TRUE(first.report.resumed());
  EXPECT_EQ(first.report.types(0).different(), 7u);
  EXPECT_FALSE(second.report.resumed());
  EXPECT_EQ(second.report.types(0).different(), 0u);
}

TEST(VerifyTest, ACallerThatGoesAwayLeavesRoomForTheNext) {
  RealService service;
  TestAgent agent(service.address());
  SendThree(agent);
  for (int i = 0; i < 5; ++i) {
    AgentCall call;
    const auto stream = agent.stub->Verify(&call.context, v1::VerifyRequest());
    call.context.TryCancel();
    stream->Finish();
  }

  Verified last = Verify(agent);
  while (ReasonOf(last.status) == "VERIFY_RUNS") last = Verify(agent);

  EXPECT_TRUE(last.status.ok()) << last.status.error_message();
  EXPECT_EQ(last.report.types(0).rows(), 3u);
}

TEST(VerifyTest, AnUnknownRepairIsRefused) {
  RealService service;
  TestAgent agent(service.address());
  agent.Start();

  EXPECT_EQ(ReasonOf(Verify(agent, static_cast<v1::VerifyRepair>(9)).status), "FIELD");
}

TEST(VerifyTest, StoppingEndsIt) {
  RealService service;
  TestAgent agent(service.address());
  SendThree(agent);
  AgentCall call;
  const auto stream = agent.stub->Verify(&call.context, v1::VerifyRequest());
  agent.host->Stop();
  v1::VerifyResponse response;
  while (stream->Read(&response)) {
  }
  stream->Finish();
  SUCCEED();  // It came here: nothing waits for a runner that is gone.
}

}  // namespace
}  // namespace ptdoc::sync
