// serve, run, push and pull.
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/cli/stop_signals.h"
#include "device-agent/cli/call.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

// Redraws one line with the cycle's progress while a call runs; on a terminal
// only.
class ProgressLine {
 public:
  explicit ProgressLine(AgentContext& context) {
    if (!OnTerminal() || context.json) return;
    stream_ = context.agent->WatchStatus(&call_, v1::WatchStatusRequest());
    thread_ = std::thread([this] { Loop(); });
  }
  ~ProgressLine() {
    if (!thread_.joinable()) return;
    call_.TryCancel();
    thread_.join();
    std::printf("\r\033[K");
    std::fflush(stdout);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void Loop() {
    v1::WatchStatusResponse response;
    while (stream_->Read(&response)) {
      const v1::Progress& progress = response.status().progress();
      std::printf("\r\033[Ksent %llu of %llu, received %llu of %llu",
                  static_cast<unsigned long long>(progress.push_done()),
                  static_cast<unsigned long long>(progress.push_known()),
                  static_cast<unsigned long long>(progress.pull_done()),
                  static_cast<unsigned long long>(progress.pull_known()));
      std::fflush(stdout);
    }
    stream_->Finish();
  }

  grpc::ClientContext call_;
  std::unique_ptr<grpc::ClientReader<v1::WatchStatusResponse>> stream_;
  std::thread thread_;
};

template <typename Summary>
Json SummaryJson(const Summary& summary);

template <>
Json SummaryJson(const v1::PushSummary& push) {
  return {{"total", push.total()},
          {"success", push.success()},
          {"failed", push.failed()},
          {"conflicts", push.conflicts()}};
}

template <>
Json SummaryJson(const v1::PullSummary& pull) {
  return {{"total", pull.total()},
          {"applied", pull.applied()},
          {"skipped", pull.skipped()},
          {"conflicts", pull.conflicts()}};
}

template <typename Response>
Json HeadJson(const Response& response) {
  return {{"success", response.success()},
          {"completedAt", FormatUtc(*TimeOf(true, response.completed_at()))},
          {"durationMs", response.duration_ms()}};
}

template <typename Response>
Json ConflictsJson(const Response& response) {
  Json conflicts = Json::array();
  for (const v1::ConflictSummary& conflict : response.conflicts()) {
    conflicts.push_back({{"entityType", conflict.entity_type()},
                         {"entityId", conflict.entity_id()},
                         {"resolution", conflict.resolution()},
                         {"reason", conflict.reason()}});
  }
  return conflicts;
}

void PrintPush(const v1::PushSummary& push) {
  std::printf("sent      %u: %u taken, %u conflicts, %u failed\n", push.total(), push.success(),
              push.conflicts(), push.failed());
}

void PrintPull(const v1::PullSummary& pull) {
  std::printf("received  %u: %u applied, %u skipped, %u conflicts\n", pull.total(), pull.applied(),
              pull.skipped(), pull.conflicts());
}

template <typename Response>
void PrintConflicts(const Response& response) {
  for (const v1::ConflictSummary& conflict : response.conflicts()) {
    std::printf("  %s %s: %s. %s.\n", conflict.entity_type().c_str(), conflict.entity_id().c_str(),
                conflict.resolution().c_str(), conflict.reason().c_str());
  }
}

void PrintSetAside(const v1::AgentServiceStatusResponse& status, const std::string& flags) {
  if (status.set_aside() == 0) return;
  std::printf("%s set aside, because the app's schema refuses %s:\n",
              Plural(status.set_aside(), "version is", "versions are").c_str(),
              status.set_aside() == 1 ? "it" : "them");
  for (const v1::SetAsideVersion& version : status.set_aside_versions()) {
    std::printf("  %s %s (%s%s%s): device-agent why %s %s%s\n", version.entity_type().c_str(),
                version.entity_id().c_str(), version.code().c_str(),
                version.constraint().empty() ? "" : " ", version.constraint().c_str(),
                ShellWord(version.entity_type()).c_str(), ShellWord(version.entity_id()).c_str(),
                flags.c_str());
  }
}

// What waits for a person, each with the next command.
void PrintWaiting(const v1::AgentServiceStatusResponse& status, const std::string& flags) {
  if (status.failed() > 0) {
    std::printf("%s failed: device-agent queue list%s\n", Plural(status.failed(), "item").c_str(),
                flags.c_str());
  }
  if (status.held() > 0) {
    std::printf("%s held back: device-agent queue confirm%s\n",
                Plural(status.held(), "deletion is", "deletions are").c_str(), flags.c_str());
  }
  if (status.open_conflicts() > 0) {
    std::printf("%s open: device-agent conflicts list%s\n",
                Plural(status.open_conflicts(), "conflict is", "conflicts are").c_str(),
                flags.c_str());
  }
  PrintSetAside(status, flags);
}

// The end of a verb that ran a cycle: prints `object`, or for people what waits,
// and returns the exit code.
int EndCycle(AgentContext& context, const Json& object) {
  const auto status =
      Call(context, &v1::AgentService::Stub::Status, v1::AgentServiceStatusRequest());
  if (context.json) PrintJson(object);
  if (!status.ok()) return kExitDone;
  if (!context.json) PrintWaiting(*status, context.GivenFlags());
  return WaitsForPerson(*status) ? kExitWaits : kExitDone;
}

template <typename Request, typename Response>
absl::StatusOr<Response> CallWithProgress(AgentContext& context,
                                          grpc::Status (v1::AgentService::Stub::*method)(
                                              grpc::ClientContext*, const Request&, Response*)) {
  if (context.agent == nullptr) PT_RETURN_IF_ERROR(context.Connect());
  ProgressLine line(context);
  return Call(context, method, Request());
}

}  // namespace

int ServeAgent(AgentContext& context, bool once) {
  const StopSignals signals;
  const absl::Status loaded = context.LoadConfig(/*serving=*/true);
  if (!loaded.ok()) return Fail(loaded, context.json);
  AgentOptions options = context.config.agent;
  options.automatic = !once;
  auto host = AgentHost::Start(options, context.clock, context.rng);
  if (!host.ok()) return Fail(host.status(), context.json);
  // With --once, a script gets the one object that `run` prints.
  if (!once || !context.json) {
    std::printf("device-agent %s ready: database=%s service=%s control=%s\n", PTDOC_VERSION,
                options.replica.database.c_str(), options.channel.address.c_str(),
                (*host)->control_address().c_str());
    std::fflush(stdout);
  }
  if (once) {
    context.host = *std::move(host);
    context.agent = v1::AgentService::NewStub(context.host->InProcessChannel());
    return RunCycle(context);
  }
  signals.Wait();
  (*host)->Stop();
  Log(LogLevel::kInfo, "stopped");
  return kExitDone;
}

int RunCycle(AgentContext& context) {
  const auto response = CallWithProgress<v1::AgentServiceRunRequest, v1::AgentServiceRunResponse>(
      context, &v1::AgentService::Stub::Run);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json object = HeadJson(*response);
  if (context.json) {
    object["push"] = SummaryJson(response->push());
    object["pull"] = SummaryJson(response->pull());
    object["conflicts"] = ConflictsJson(*response);
  } else {
    PrintPush(response->push());
    PrintPull(response->pull());
    PrintConflicts(*response);
    std::printf("done in %s\n", HumanDuration(absl::Milliseconds(response->duration_ms())).c_str());
  }
  return EndCycle(context, object);
}

int RunPush(AgentContext& context) {
  const auto response = CallWithProgress<v1::AgentServicePushRequest, v1::AgentServicePushResponse>(
      context, &v1::AgentService::Stub::Push);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json object = HeadJson(*response);
  if (context.json) {
    object["push"] = SummaryJson(response->push());
    object["conflicts"] = ConflictsJson(*response);
  } else {
    PrintPush(response->push());
    PrintConflicts(*response);
  }
  return EndCycle(context, object);
}

int RunPull(AgentContext& context) {
  const auto response = CallWithProgress<v1::AgentServicePullRequest, v1::AgentServicePullResponse>(
      context, &v1::AgentService::Stub::Pull);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json object = HeadJson(*response);
  if (context.json) {
    object["pull"] = SummaryJson(response->pull());
    object["conflicts"] = ConflictsJson(*response);
  } else {
    PrintPull(response->pull());
    PrintConflicts(*response);
  }
  return EndCycle(context, object);
}

}  // namespace ptdoc::sync
