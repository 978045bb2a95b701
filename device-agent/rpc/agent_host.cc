#include "device-agent/rpc/agent_host.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/log.h"
#include "common/base/mutex.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/unix_socket.h"
#include "device-agent/loop/runner.h"
#include "device-agent/rpc/control_errors.h"
#include "device-agent/rpc/control_service.h"
#include "device-agent/rpc/grpc_peer.h"
#include "device-agent/rpc/people.h"
#include "device-agent/rpc/token_file.h"
#include "device-agent/rpc/verify.h"
#include "grpc/health/v1/health.pb.h"

namespace ptdoc::sync {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);
constexpr absl::Duration kShutdownMax = absl::Seconds(2);
// A verb without a daemon has the files for a moment: 5 s are waited for it.
constexpr absl::Duration kOpenPause = absl::Milliseconds(50);
constexpr int kOpenTriesMax = 100;
// A conflict holds up to three whole rows.
constexpr int kReceiveBytesMax = 64 << 20;
constexpr char kUnixPrefix[] = "unix:";

absl::Status BadConfig(absl::string_view what) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG", what);
}

// "unix:///path" and "unix:/path" alike.
absl::StatusOr<std::string> SocketPath(const std::string& listen) {
  absl::string_view path = listen;
  if (!absl::ConsumePrefix(&path, kUnixPrefix)) {
    return BadConfig(absl::StrCat(
        "[control] listen is ", listen,
        ": the agent is controlled over a unix socket only, where the system tells who calls. "
        "Nothing was started. Write unix:///path."));
  }
  if (absl::StartsWith(path, "//")) path.remove_prefix(2);
  if (!absl::StartsWith(path, "/")) {
    return BadConfig(absl::StrCat("[control] listen is ", listen,
                                  ": the path of a socket is absolute. Nothing was started. "
                                  "Write unix:///path."));
  }
  return std::string(path);
}

bool PassesSoon(const absl::Status& status) {
  if (ReasonOf(status) != "SECOND_AGENT") return false;
  const std::map<std::string, std::string> meta = ReasonMetadata(status);
  const auto holder = meta.find(kMetaHolder);
  return holder != meta.end() && holder->second == kHolderPasses;
}

std::string StatePath(const std::string& database, const std::string& state) {
  return state.empty() ? database + ".sync" : state;
}

// For every server of the process, before the first is built.
void InitPlugins() {
  static const bool done = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Links the descriptors of health in: reflection describes what it lists.
    return grpc::health::v1::HealthCheckRequest::descriptor() != nullptr;
  }();
  PT_CHECK(done);
}

class Signal {
 public:
  void Set() {
    MutexLock lock(mutex_);
    set_ = true;
    changed_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!set_) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

// Waits for a run that somebody else ends, or drops.
class RunWaiter {
 public:
  ~RunWaiter() { Done(StoppingError(), {}); }

  struct Outcome {
    Mutex mutex;
    CondVar done;
    std::optional<absl::Status> status ABSL_GUARDED_BY(mutex);
    RunResult result ABSL_GUARDED_BY(mutex);
  };
  explicit RunWaiter(std::shared_ptr<Outcome> outcome) : outcome_(std::move(outcome)) {}

  void Done(const absl::Status& status, const RunResult& result) {
    MutexLock lock(outcome_->mutex);
    if (outcome_->status.has_value()) return;
    outcome_->status = status;
    outcome_->result = result;
    outcome_->done.NotifyAll();
  }

 private:
  const std::shared_ptr<Outcome> outcome_;
};

class AgentHostImpl final : public AgentHost {
 public:
  AgentHostImpl(AgentOptions options, const Clock& clock, Rng& rng)
      : options_(std::move(options)), clock_(clock), rng_(rng) {}
  ~AgentHostImpl() override { Stop(); }

  absl::Status Open();

  std::shared_ptr<grpc::Channel> InProcessChannel() override;
  std::string control_address() const override;
  absl::Status RunOnce(RunResult* result) override;
  void Stop() override;

 private:
  // Waits for a verb that works on the files; at once refused beside a daemon.
  absl::StatusOr<std::unique_ptr<Replica>> OpenWhenFree();
  absl::Status OpenReplica();
  absl::Status OpenControl();
  void StartRunner();
  CoreOptions MakeCoreOptions() const;
  GrpcPeerOptions MakePeerOptions() const;
  void TickLoop(uint64_t token);
  // Waits for the next tick; false once the agent stops.
  bool WaitTick();

  const AgentOptions options_;
  const Clock& clock_;
  Rng& rng_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<TokenFile> token_;
  std::unique_ptr<Replica> replica_;  // the runner's, once that exists
  AgentIdentity identity_;
  absl::Duration pause_ = absl::ZeroDuration();  // left from an earlier life
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<Verifier> verifier_;
  std::unique_ptr<ControlService> service_;
  std::unique_ptr<UnixSocketListener> listener_;
  std::unique_ptr<grpc::Server> server_;
  std::thread ticker_;
  bool started_ = false;

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::Status AgentHostImpl::Open() {
  PT_ASSIGN_OR_RETURN(channel_, MakeChannel(options_.channel));
  PT_ASSIGN_OR_RETURN(token_, TokenFile::Open(options_.token_file));
  // Before the first call: a token that replaces one which was refused is news.
  const uint64_t token_version = token_->Version();
  PT_RETURN_IF_ERROR(OpenReplica());
  runner_ = std::make_unique<Runner>(
      options_.replica.database, std::move(replica_),
      [this](Runner& runner) {
        return std::make_unique<GrpcPeer>(
            MakePeerOptions(), *token_, [&runner](std::function<void(PeerEvents&)> report) {
              return runner.Post([report = std::move(report)](AgentCore& core) { report(core); });
            });
      },
      clock_, rng_, MakeCoreOptions());
  verifier_ = std::make_unique<Verifier>(*runner_, MakePeerOptions(), *token_, clock_);
  service_ = std::make_unique<ControlService>(*runner_, *verifier_, identity_, clock_);
  PT_RETURN_IF_ERROR(OpenControl());
  StartRunner();
  // Whoever connected before waits: the cycle has begun when he is answered.
  if (listener_ != nullptr) listener_->Start();
  ticker_ = std::thread([this, token_version] { TickLoop(token_version); });
  started_ = true;
  Log(options_.automatic ? LogLevel::kInfo : LogLevel::kDebug, "agent.started",
      {LogField::Code("version", identity_.agent_version),
       LogField::Code("device", identity_.device_id)});
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Replica>> AgentHostImpl::OpenWhenFree() {
  ReplicaOptions options = options_.replica;
  options.stays = options_.automatic;
  for (int tries = 1;; ++tries) {
    absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(options, clock_, rng_);
    if (tries == kOpenTriesMax || !PassesSoon(replica.status())) return replica;
    MutexLock lock(mutex_);
    wake_.WaitFor(mutex_, kOpenPause);
  }
}

absl::Status AgentHostImpl::OpenReplica() {
  PT_ASSIGN_OR_RETURN(replica_, OpenWhenFree());
  PT_ASSIGN_OR_RETURN(identity_.device_id, replica_->ledger().Get("device_id"));
  // What a token calls this device may be any text: it is not sent.
  if (!IsHeaderText(options_.replica.device_id) && !options_.replica.device_id.empty()) {
    return BadConfig(
        "[device] id holds something else than printable ASCII. Nothing was started. Choose "
        "another id, or none: then the agent has a random one.");
  }
  PT_ASSIGN_OR_RETURN(pause_, StoredPause(replica_->ledger(), clock_.Now()));
  std::error_code ignored;
  identity_.database =
      std::filesystem::absolute(options_.replica.database, ignored).lexically_normal().string();
  identity_.user = options_.replica.user;
  identity_.service_address = options_.channel.address;
  identity_.agent_version = options_.agent_version;
  return absl::OkStatus();
}

GrpcPeerOptions AgentHostImpl::MakePeerOptions() const {
  return {channel_, identity_.device_id, identity_.agent_version,
          !options_.replica.device_id.empty(), options_.compress};
}

CoreOptions AgentHostImpl::MakeCoreOptions() const {
  CoreOptions core;
  core.session.automatic = options_.automatic;
  core.session.interval = options_.interval;
  core.session.batch_changes = options_.batch_changes;
  core.session.batch_bytes = options_.batch_bytes;
  return core;
}

absl::Status AgentHostImpl::OpenControl() {
  InitPlugins();
  grpc::ServerBuilder builder;
  builder.RegisterService(service_.get());
  if (!options_.control_listen.empty()) {
    const std::string listen =
        ControlAddress(options_.control_listen, options_.replica.database, options_.replica.state);
    PT_ASSIGN_OR_RETURN(const std::string path, SocketPath(listen));
    PT_ASSIGN_OR_RETURN(listener_, UnixSocketListener::Listen({.path = path}));
    listener_->AttachTo(builder);
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return ReasonError(absl::StatusCode::kInternal, "LISTEN_FAILED",
                       "The agent's own service could not be started. Nothing was started. See "
                       "the lines of gRPC above.");
  }
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus(true);
  health->SetServingStatus(v1::AgentService::service_full_name(), true);
  return absl::OkStatus();
}

void AgentHostImpl::StartRunner() {
  const auto begun = std::make_shared<Signal>();
  // Runs before the cycle begins: an agent that is paused opens no stream.
  runner_->Post([this, begun](AgentCore& core) {
    core.SetObserver([service = service_.get()] { service->NoteChange(); });
    if (pause_ > absl::ZeroDuration()) core.Pause(pause_);
    // What the app wrote while no agent ran is to be seen by the first status.
    core.OnCommitSeen();
    // What is posted from here runs after the cycle began.
    runner_->Post([begun](AgentCore&) { begun->Set(); });
  });
  runner_->Start();
  begun->Wait();
}

bool AgentHostImpl::WaitTick() {
  const absl::Duration wait = service_->watched() ? ControlService::kPublishEvery : kTick;
  MutexLock lock(mutex_);
  if (!stopping_) wake_.WaitFor(mutex_, wait);
  return !stopping_;
}

void AgentHostImpl::TickLoop(uint64_t token) {
  absl::Duration looked = clock_.Monotonic();
  while (WaitTick()) {
    const bool second_passed = clock_.Monotonic() - looked >= kTick;
    if (service_->watched()) service_->Publish(second_passed);
    if (!second_passed) continue;
    looked = clock_.Monotonic();
    const uint64_t now = token_->Version();
    if (std::exchange(token, now) != now) {
      runner_->Post([](AgentCore& core) { core.OnTokenChanged(); });
    }
  }
}

std::shared_ptr<grpc::Channel> AgentHostImpl::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  return server_ == nullptr ? nullptr : server_->InProcessChannel(arguments);
}

std::string AgentHostImpl::control_address() const {
  return listener_ == nullptr ? std::string() : absl::StrCat("unix://", listener_->path());
}

absl::Status AgentHostImpl::RunOnce(RunResult* result) {
  auto outcome = std::make_shared<RunWaiter::Outcome>();
  auto waiter = std::make_shared<RunWaiter>(outcome);
  if (runner_ == nullptr) return StoppingError();
  runner_->Post([waiter](AgentCore& core) {
    core.RequestRun(RunKind::kRun, [waiter, &core](const RunResult& run) {
      waiter->Done(run.success() ? absl::OkStatus() : RunError(core, run.error), run);
    });
  });
  // The runner's copies are now the only ones: if it drops them, that ends it.
  waiter.reset();
  MutexLock lock(outcome->mutex);
  while (!outcome->status.has_value()) outcome->done.Wait(outcome->mutex);
  if (result != nullptr) *result = outcome->result;
  return *outcome->status;
}

void AgentHostImpl::Stop() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    wake_.NotifyAll();
  }
  if (ticker_.joinable()) ticker_.join();
  if (listener_ != nullptr) listener_->Stop();
  if (service_ != nullptr) service_->EndWatches();
  if (verifier_ != nullptr) verifier_->Cancel();
  // Answers every call that waits for the runner.
  if (runner_ != nullptr) runner_->Stop();
  if (verifier_ != nullptr) verifier_->Stop();
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kShutdownMax));
    server_.reset();
  }
  service_.reset();
  verifier_.reset();
  runner_.reset();  // Waits for the streams.
  // One that never began has nothing to say.
  if (!started_) return;
  Log(options_.automatic ? LogLevel::kInfo : LogLevel::kDebug, "agent.stopped");
}

}  // namespace

absl::StatusOr<std::unique_ptr<AgentHost>> AgentHost::Start(AgentOptions options,
                                                            const Clock& clock, Rng& rng) {
  auto host = std::make_unique<AgentHostImpl>(std::move(options), clock, rng);
  PT_RETURN_IF_ERROR(host->Open());
  return host;
}

std::string ControlAddress(const std::string& configured, const std::string& database,
                           const std::string& state) {
  if (configured != AgentHost::kDefaultControl) return configured;
  const std::string folder =
      std::filesystem::path(configured.substr(std::string("unix://").size())).parent_path();
  if (access(folder.c_str(), W_OK | X_OK) == 0) return configured;
  std::error_code ignored;
  const std::filesystem::path beside =
      std::filesystem::absolute(StatePath(database, state) + ".sock", ignored);
  return absl::StrCat("unix://", beside.lexically_normal().string());
}

}  // namespace ptdoc::sync
