#include "device-agent/rpc/agent_host.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "grpc/health/v1/health.pb.h"
#include "tests/device-agent/rpc/fake_service.h"
#include "tests/device-agent/rpc/test_agent.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;

// A run whose caller waits on a thread of its own, or gives up.
class RunInBackground {
 public:
  explicit RunInBackground(TestAgent& agent)
      : thread_([this, &agent] {
          v1::AgentServiceRunResponse response;
          status_ = agent.stub->Run(&call_.context, {}, &response);
        }) {}
  ~RunInBackground() {
    if (thread_.joinable()) GiveUp();
  }
  grpc::Status GiveUp() {
    call_.context.TryCancel();
    return Wait();
  }
  grpc::Status Wait() {
    thread_.join();
    return status_;
  }

 private:
  AgentCall call_;
  grpc::Status status_;
  std::thread thread_;
};

constexpr char kNobody[] = "unix:///nonexistent/ptdoc-service.sock";

TEST(AgentHostTest, RunOverTheControlSocketBringsARowFromDeviceToDevice) {
  RealService service;
  TestAgent first(service.address(), "tablet-1");
  TestAgent second(service.address(), "tablet-2");
  first.Start();
  second.Start();
  first.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");

  const v1::AgentServiceRunResponse pushed = first.MustRun();
  const v1::AgentServiceRunResponse pulled = second.MustRun();

  EXPECT_TRUE(pushed.success());
  EXPECT_TRUE(pushed.has_completed_at());
  EXPECT_TRUE(pushed.has_duration_ms());
  EXPECT_EQ(pushed.push().total(), 1u);
  EXPECT_EQ(pushed.push().success(), 1u);
  EXPECT_EQ(pulled.pull().applied(), 1u);
  EXPECT_EQ(pulled.pull().total(), 1u);
  EXPECT_EQ(second.Query("SELECT Name FROM Patient WHERE Id = 'p1'"), "Ada");
}

TEST(AgentHostTest, TheDaemonSendsACommitByItself) {
  RealService service;
  TestAgent agent(service.address());
  agent.options.automatic = true;
  agent.Start();
  ASSERT_TRUE(
      agent.WatchUntil([](const auto& status) { return status.link() == v1::LINK_STATE_ONLINE; }));

  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");

  // Asked for, not watched: a status that shows nothing waiting before the agent saw the
  // commit is the same as the one after.
  v1::WhyRequest why;
  why.set_entity_type("Patient");
  why.set_entity_id("p1");
  const auto arrived = [&] {
    AgentCall call;
    v1::WhyResponse life;
    return agent.stub->Why(&call.context, why, &life).ok() &&
           absl::StrContains(life.DebugString(), "revision 1");
  };
  const absl::Duration end = agent.clock.Monotonic() + absl::Seconds(60);
  while (!arrived() && agent.clock.Monotonic() < end) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_TRUE(arrived());
  EXPECT_EQ(agent.Status().pending(), 0u);
}

TEST(AgentHostTest, TheInProcessChannelLeadsToTheSameService) {
  TestAgent agent(kNobody);
  agent.options.control_listen.clear();
  const auto host = AgentHost::Start(agent.options, agent.clock, agent.rng);
  ASSERT_TRUE(host.ok()) << host.status();
  const auto stub = v1::AgentService::NewStub((*host)->InProcessChannel());

  AgentCall call;
  v1::AgentServiceStatusResponse status;
  const grpc::Status done = stub->Status(&call.context, {}, &status);

  EXPECT_TRUE(done.ok()) << done.error_message();
  EXPECT_EQ(status.device_id(), "tablet");
  EXPECT_EQ((*host)->control_address(), "");
}

TEST(AgentHostTest, ARunThatReachesNoServiceEndsAndSaysThatNothingIsLost) {
  TestAgent agent(kNobody);
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1'), ('p2', 'Bob', '2')");

  v1::AgentServiceRunResponse response;
  const grpc::Status status = agent.Run(&response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "SERVICE_UNREACHABLE");
  EXPECT_EQ(status.error_message(),
            "The service does not answer. Your changes are safe on this device: 2 wait. They are "
            "sent as soon as it answers.");
}

TEST(AgentHostTest, RunOnceTellsWhatItDidOrWhyNot) {
  RealService service;
  TestAgent there(service.address());
  TestAgent alone(kNobody);
  there.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  there.Start();
  alone.Start();

  RunResult result;
  const absl::Status good = there.host->RunOnce(&result);
  const absl::Status bad = alone.host->RunOnce();

  EXPECT_TRUE(good.ok()) << good;
  EXPECT_EQ(result.push.success, 1u);
  EXPECT_EQ(ReasonOf(bad), "SERVICE_UNREACHABLE");
}

TEST(AgentHostTest, ACallerThatGivesUpDisturbsNothing) {
  FakeService silent;
  GiveAnEmptyFeed(silent);
  TestAgent agent(silent.address());
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  RunInBackground run(agent);
  const auto push = silent.WaitPush(0);
  ASSERT_NE(push, nullptr);
  ASSERT_EQ(push->WaitRequests(1).size(), 1u);

  const grpc::Status status = run.GiveUp();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(agent.Status().processing(), 1u);
  EXPECT_FALSE(push->done());
}

TEST(AgentHostTest, ADeadlineOfTheCallerHolds) {
  FakeService silent;
  GiveAnEmptyFeed(silent);
  TestAgent agent(silent.address());
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");

  v1::AgentServiceRunResponse response;
  const grpc::Status status = agent.Run(&response, absl::Milliseconds(100));

  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(AgentHostTest, ASecondRunJoinsTheFirst) {
  FakeService silent;
  GiveAnEmptyFeed(silent);
  TestAgent agent(silent.address());
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  RunInBackground first(agent);
  const auto push = silent.WaitPush(0);
  ASSERT_NE(push, nullptr);
  ASSERT_EQ(push->WaitRequests(1).size(), 1u);

  v1::AgentServiceRunResponse response;
  const grpc::Status second = agent.Run(&response, absl::Milliseconds(200));
  push->End(ReasonError(absl::StatusCode::kPermissionDenied, "DEVICE_REVOKED", "Revoked."));
  const grpc::Status ended = first.Wait();

  EXPECT_EQ(second.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(ended), "DEVICE_REVOKED");
  EXPECT_EQ(silent.calls(), 2u);
}

TEST(AgentHostTest, ANewTokenFileWakesAnAgentThatWasRefused) {
  FakeService service;
  const auto judge = [](auto& call) {
    if (call.Header("authorization") == "Bearer ptd_good") return;
    call.End(ReasonError(absl::StatusCode::kUnauthenticated, "TOKEN_REVOKED", "It is revoked."));
  };
  service.on_push = judge;
  service.on_pull = [&](HeldPull& call) {
    judge(call);
    v1::PullResponse page;
    page.set_caught_up(true);
    page.set_batch_end(true);
    call.Send(page);
  };
  TestAgent agent(service.address());
  agent.options.automatic = true;
  agent.options.token_file = agent.dir.File("token");
  std::ofstream(agent.options.token_file) << "ptd_bad";
  agent.Start();
  ASSERT_TRUE(agent.WatchUntil([](const auto& status) {
    return status.link() == v1::LINK_STATE_UNAUTHENTICATED &&
           status.link_reason() == "TOKEN_REVOKED" && status.health() == v1::HEALTH_WARNING;
  }));

  std::ofstream(agent.options.token_file, std::ios::trunc) << "ptd_good";

  EXPECT_TRUE(
      agent.WatchUntil([](const auto& status) { return status.link() == v1::LINK_STATE_ONLINE; }));
}

TEST(AgentHostTest, APauseOutlivesTheProcess) {
  FakeService service;
  TestAgent agent(service.address());
  agent.Start();
  {
    AgentCall call;
    v1::PauseResponse paused;
    const grpc::Status status = agent.stub->Pause(&call.context, {}, &paused);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_FALSE(paused.has_paused_until());
  }
  agent.Stop();
  agent.options.automatic = true;

  agent.Start();
  const v1::AgentServiceStatusResponse still = agent.Status();
  const size_t calls_while_paused = service.calls();
  AgentCall call;
  v1::ResumeResponse resumed;
  const grpc::Status status = agent.stub->Resume(&call.context, {}, &resumed);

  EXPECT_TRUE(still.paused());
  EXPECT_EQ(calls_while_paused, 0u);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(agent.Status().paused());
  EXPECT_NE(service.WaitPull(0), nullptr);
}

TEST(AgentHostTest, APauseOfALengthTellsItsEnd) {
  TestAgent agent(kNobody);
  agent.Start();
  v1::PauseRequest two_hours;
  two_hours.mutable_duration()->set_seconds(7200);
  v1::PauseRequest nothing;
  nothing.mutable_duration();

  AgentCall call;
  v1::PauseResponse paused;
  const grpc::Status status = agent.stub->Pause(&call.context, two_hours, &paused);
  AgentCall second;
  const grpc::Status refused = agent.stub->Pause(&second.context, nothing, &paused);

  EXPECT_TRUE(status.ok()) << status.error_message();
  const int64_t left = paused.paused_until().seconds() - absl::ToUnixSeconds(agent.clock.Now());
  EXPECT_NEAR(static_cast<double>(left), 7200.0, 60.0);
  EXPECT_NEAR(static_cast<double>(agent.Status().paused_until().seconds()),
              static_cast<double>(paused.paused_until().seconds()), 1.0);
  EXPECT_EQ(ReasonOf(refused), "FIELD");
}

TEST(AgentHostTest, StopEndsCallsThatAreUnderWay) {
  FakeService silent;
  GiveAnEmptyFeed(silent);
  TestAgent agent(silent.address());
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  RunInBackground run(agent);
  const auto push = silent.WaitPush(0);
  ASSERT_NE(push, nullptr);
  ASSERT_EQ(push->WaitRequests(1).size(), 1u);

  agent.host->Stop();
  const grpc::Status ended = run.Wait();

  EXPECT_EQ(ended.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(ReasonOf(ended), "STOPPING");
  EXPECT_TRUE(push->WaitCancelled());
}

TEST(AgentHostTest, ABatchWithoutAnswerIsSettledAtTheNextStart) {
  FakeService silent;
  GiveAnEmptyFeed(silent);
  TestAgent agent(silent.address());
  agent.Start();
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  std::vector<v1::PushRequest> sent;
  {
    RunInBackground run(agent);
    const auto push = silent.WaitPush(0);
    ASSERT_NE(push, nullptr);
    sent = push->WaitRequests(1);
  }
  ASSERT_EQ(sent.size(), 1u);
  agent.Stop();

  agent.Start();
  RunInBackground run(agent);
  const auto next = silent.WaitPush(1);
  ASSERT_NE(next, nullptr);
  const std::vector<v1::PushRequest> settled = next->WaitRequests(1);

  ASSERT_EQ(settled.size(), 1u);
  EXPECT_TRUE(settled[0].settle());
  EXPECT_EQ(settled[0].batch_id(), sent[0].batch_id());
}

// True once somebody has marked the file at `path` as one that he keeps.
bool IsMarkedAsStaying(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct flock mark{};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  const bool told = fcntl(fd, F_OFD_GETLK, &mark) == 0;
  close(fd);
  return told && mark.l_type != F_UNLCK;
}

TEST(AgentHostTest, ASecondAgentIsRefusedAtOnceWhenADaemonHasTheFile) {
  TestAgent agent(kNobody);
  agent.options.automatic = true;
  agent.Start();
  for (const bool automatic : {true, false}) {
    AgentOptions second = agent.options;
    second.automatic = automatic;
    second.control_listen = "unix://" + agent.dir.File("other.sock");
    const absl::Duration before = agent.clock.Monotonic();

    const auto refused = AgentHost::Start(second, agent.clock, agent.rng);

    EXPECT_EQ(ReasonOf(refused.status()), "SECOND_AGENT");
    EXPECT_EQ(ReasonMetadata(refused.status())[kMetaHolder], kHolderStays);
    // Whoever waits for a verb waits 5 s.
    EXPECT_LT(agent.clock.Monotonic() - before, absl::Seconds(4));
  }
}

TEST(AgentHostTest, ADaemonStartsWhenTheVerbThatHasTheFileEnds) {
  TestAgent agent(kNobody);
  AgentOptions verb = agent.options;
  verb.control_listen.clear();
  auto holder = AgentHost::Start(verb, agent.clock, agent.rng);
  ASSERT_TRUE(holder.ok()) << holder.status();
  AgentOptions daemon = agent.options;
  daemon.automatic = true;
  absl::StatusOr<std::unique_ptr<AgentHost>> started;

  std::thread starter([&] { started = AgentHost::Start(daemon, agent.clock, agent.rng); });
  // It tries for 5 s, and its mark stands only for a moment of each try.
  const absl::Duration seen_by = agent.clock.Monotonic() + absl::Seconds(2);
  while (!IsMarkedAsStaying(agent.options.replica.database + ".sync.lock") &&
         agent.clock.Monotonic() < seen_by) {
    std::this_thread::yield();
  }
  holder->reset();
  starter.join();

  EXPECT_TRUE(started.ok()) << started.status();
}

TEST(AgentHostTest, RefusesAControlAddressThatIsNoSocket) {
  TestAgent agent(kNobody);
  for (const char* listen : {"127.0.0.1:5172", "tcp://127.0.0.1:0", "unix:agent.sock"}) {
    agent.options.control_listen = listen;

    const auto refused = AgentHost::Start(agent.options, agent.clock, agent.rng);

    EXPECT_EQ(ReasonOf(refused.status()), "CONFIG") << listen;
  }
}

TEST(AgentHostTest, RefusesATokenFileThatIsMissing) {
  TestAgent agent(kNobody);
  agent.options.token_file = agent.dir.File("nowhere");

  const auto refused = AgentHost::Start(agent.options, agent.clock, agent.rng);

  EXPECT_EQ(ReasonOf(refused.status()), "CONFIG");
}

TEST(AgentHostTest, RefusesADeviceIdThatFitsIntoNoHeader) {
  TestAgent agent(kNobody);
  agent.options.replica.device_id = "Gerät";

  const auto refused = AgentHost::Start(agent.options, agent.clock, agent.rng);

  EXPECT_EQ(ReasonOf(refused.status()), "CONFIG");
}

TEST(AgentHostTest, ANameThatTheTokenGivesIsLearnedWhateverItsLetters) {
  FakeService service;
  service.on_pull = [](HeldPull& pull) {
    v1::PullResponse page;
    page.set_cursor("c0");
    page.set_epoch("e1");
    page.set_device_id("Gerät 1");
    page.set_batch_end(true);
    page.set_caught_up(true);
    pull.Send(page);
  };
  TestAgent agent(service.address(), /*device=*/"");
  agent.Start();
  agent.MustRun();
  const std::string learned = agent.Status().device_id();
  agent.Stop();

  agent.Start();

  EXPECT_EQ(learned, "Gerät 1");
  EXPECT_EQ(agent.Status().device_id(), "Gerät 1");
}

TEST(AgentHostTest, TheDefaultSocketGivesWayWhereItsFolderIsMissing) {
  const std::string configured = AgentHost::kDefaultControl;

  const std::string address = ControlAddress(configured, "/data/app.db", "");
  const std::string beside = ControlAddress(configured, "/data/app.db", "/state/agent.state");

  // A machine with an agent installed has the folder.
  if (std::filesystem::exists("/run/ptdoc")) {
    EXPECT_EQ(address, configured);
  } else {
    EXPECT_EQ(address, "unix:///data/app.db.sync.sock");
    EXPECT_EQ(beside, "unix:///state/agent.state.sock");
  }
  EXPECT_EQ(ControlAddress("unix:///mine.sock", "/data/app.db", ""), "unix:///mine.sock");
}

std::string CallByName(const TestAgent& agent, const std::string& path,
                       const std::string& message) {
  ChannelOptions options;
  options.address = agent.host->control_address();
  grpc::GenericStub stub(MakeChannel(options).value());
  grpc::CompletionQueue queue;
  const grpc::Slice slice(message);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  AgentCall call;
  const auto pending = stub.PrepareUnaryCall(&call.context, path, request, &queue);
  pending->StartCall();
  pending->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(status.ok()) << status.error_message();
  std::vector<grpc::Slice> slices;
  std::string answer;
  if (status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      answer.append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return answer;
}

TEST(AgentHostTest, HealthAndReflectionAreServedOnTheControlSocket) {
  TestAgent agent(kNobody);
  agent.Start();
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("ptdoc.sync.v1.AgentService");

  const std::string health =
      CallByName(agent, "/grpc.health.v1.Health/Check", request.SerializeAsString());
  // Field 7 of a reflection request: list the services.
  const std::string list = CallByName(
      agent, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*");

  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(response.ParseFromString(health));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_THAT(list, HasSubstr("ptdoc.sync.v1.AgentService"));
}

}  // namespace
}  // namespace ptdoc::sync
