// status, pause, resume and why.
#include "common/base/status.h"

#include <atomic>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/cli/stop_signals.h"
#include "common/model/reason.h"
#include "device-agent/cli/call.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

using AgentStatus = v1::AgentServiceStatusResponse;

// A daemon that is silent for so long is stuck. Monitoring itself waits longer.
constexpr absl::Duration kCheckDeadline = absl::Seconds(4);

CheckState CheckStateOf(v1::Health health) {
  switch (health) {
    case v1::HEALTH_OK:
      return CheckState::kOk;
    case v1::HEALTH_WARNING:
      return CheckState::kWarning;
    case v1::HEALTH_CRITICAL:
      return CheckState::kCritical;
    default:
      return CheckState::kUnknown;
  }
}

const char* HealthWord(v1::Health health) {
  return CheckStateName(CheckStateOf(health));
}

const char* LinkWord(v1::LinkState link) {
  switch (link) {
    case v1::LINK_STATE_ONLINE:
      return "online";
    case v1::LINK_STATE_CONNECTING:
      return "connecting";
    case v1::LINK_STATE_OFFLINE:
      return "offline";
    case v1::LINK_STATE_UNAUTHENTICATED:
      return "unauthenticated";
    case v1::LINK_STATE_REFUSED:
      return "refused";
    default:
      return "unknown";
  }
}

void PutTime(Json* object, const char* name, bool has, const google::protobuf::Timestamp& time) {
  const auto value = TimeOf(has, time);
  (*object)[name] = value.has_value() ? Json(FormatUtc(*value)) : Json(nullptr);
}

Json SetAsideJson(const v1::SetAsideVersion& version) {
  return {{"entityType", version.entity_type()},
          {"entityId", version.entity_id()},
          {"code", version.code()},
          {"constraint", version.constraint()}};
}

Json StatusJson(const AgentStatus& status, bool daemon) {
  Json object = {{"pending", status.pending()},
                 {"processing", status.processing()},
                 {"failed", status.failed()}};
  PutTime(&object, "oldestPendingAt", status.has_oldest_pending_at(), status.oldest_pending_at());
  PutTime(&object, "lastSyncAt", status.has_last_sync_at(), status.last_sync_at());
  object["health"] = HealthWord(status.health());
  object["openConflicts"] = status.open_conflicts();
  object["setAside"] = status.set_aside();
  Json set_aside = Json::array();
  for (const v1::SetAsideVersion& version : status.set_aside_versions()) {
    set_aside.push_back(SetAsideJson(version));
  }
  object["setAsideVersions"] = std::move(set_aside);
  object["held"] = status.held();
  object["stale"] = status.stale();
  object["backfill"] = status.backfill();
  object["deviceId"] = status.device_id();
  object["database"] = status.database();
  object["service"] = status.service_address();
  object["agentRuns"] = daemon;
  object["link"] = daemon ? LinkWord(status.link()) : "unknown";
  object["linkReason"] = status.link_reason();
  PutTime(&object, "nextAttemptAt", status.has_next_attempt_at(), status.next_attempt_at());
  object["paused"] = status.paused();
  object["initial"] = status.initial();
  object["recovering"] = status.recovering();
  object["blockedByApp"] = status.blocked_by_app();
  object["progress"] = {{"pushDone", status.progress().push_done()},
                        {"pushKnown", status.progress().push_known()},
                        {"pullDone", status.progress().pull_done()},
                        {"pullKnown", status.progress().pull_known()}};
  Json warnings = Json::array();
  for (const std::string& warning : status.warnings()) warnings.push_back(warning);
  object["warnings"] = std::move(warnings);
  return object;
}

std::string Waiting(const AgentStatus& status) {
  const uint32_t waiting = status.pending() + status.processing();
  std::string text = waiting == 0 ? "nothing waits"
                                  : absl::StrCat(Plural(waiting, "change waits", "changes wait"),
                                                 " safely on this device");
  if (status.failed() > 0) {
    absl::StrAppend(&text, ", ", Plural(status.failed(), "change"), " failed");
  }
  return text;
}

// What must be compared before anybody can say what is to be sent.
std::string Comparing(const AgentStatus& status) {
  return status.has_last_sync_at() ? "the app's rows are being compared with the service's"
                                   : "the app's rows are compared with the service's first";
}

// The one fact that matters most now.
std::string Fact(const AgentStatus& status, bool daemon, absl::Time now) {
  if (status.paused()) return absl::StrCat("paused; ", Waiting(status));
  if (!daemon) {
    return absl::StrCat("no agent runs; ", status.recovering() ? Comparing(status) + "; " : "",
                        Waiting(status), ", last sync ",
                        Ago(TimeOf(status.has_last_sync_at(), status.last_sync_at()), now));
  }
  if (status.blocked_by_app()) return "the app holds its file; sync goes on in the next gap";
  if (status.link() == v1::LINK_STATE_ONLINE || status.link() == v1::LINK_STATE_UNSPECIFIED) {
    if (status.failed() > 0) return absl::StrCat(Plural(status.failed(), "change"), " failed");
    return absl::StrCat(Waiting(status), ", last sync ",
                        Ago(TimeOf(status.has_last_sync_at(), status.last_sync_at()), now));
  }
  std::string next;
  if (status.has_next_attempt_at()) {
    next = absl::StrCat("; next try ", Ago(TimeOf(true, status.next_attempt_at()), now));
  }
  return absl::StrCat(LinkWord(status.link()), "; ", Waiting(status), next);
}

std::string LinkText(const AgentStatus& status, bool daemon) {
  if (!daemon) return absl::StrCat(status.service_address(), " (not asked: no agent runs)");
  return absl::StrCat(status.service_address(), " (", LinkWord(status.link()), ")");
}

std::string Text(const AgentStatus& status, const AgentContext& context) {
  const bool daemon = context.host == nullptr;
  const absl::Time now = context.clock.Now();
  const std::string flags = context.GivenFlags();
  std::string out =
      absl::StrCat(status.device_id(), "  ",
                   Paint(ColourOf(CheckStateOf(status.health())), HealthWord(status.health())),
                   "  ", Fact(status, daemon, now), "\n");
  const auto line = [&](absl::string_view name, absl::string_view value) {
    absl::StrAppend(&out, "  ", name, std::string(12 - name.size(), ' '), value, "\n");
  };
  line("database", status.database());
  line("service", LinkText(status, daemon));
  if (!status.link_reason().empty()) {
    line("", absl::StrCat(status.link_message(), " (", status.link_reason(), ")"));
  }
  line("queue", absl::StrCat(status.pending(), " pending, ", status.processing(), " being sent, ",
                             status.failed(), " failed"));
  if (status.has_oldest_pending_at()) {
    line("oldest", Ago(TimeOf(true, status.oldest_pending_at()), now));
  }
  line("last sync", Ago(TimeOf(status.has_last_sync_at(), status.last_sync_at()), now));
  if (status.initial()) line("initial", "the first upload or download has not ended yet");
  if (status.recovering()) line("recovery", Comparing(status));
  if (status.held() > 0) {
    line("held",
         absl::StrCat(Plural(status.held(), "deletion"), ": device-agent queue confirm", flags));
  }
  if (status.backfill() > 0) {
    line("backfill", absl::StrCat(Plural(status.backfill(), "row waits", "rows wait"),
                                  " for a column that the app has gained"));
  }
  if (status.set_aside() > 0) {
    line("set aside",
         absl::StrCat(Plural(status.set_aside(), "version"), " that the app's schema refuses"));
    for (const v1::SetAsideVersion& version : status.set_aside_versions()) {
      line("", absl::StrCat(version.entity_type(), " ", version.entity_id(), " (", version.code(),
                            version.constraint().empty() ? "" : " ", version.constraint(), ")"));
    }
  }
  if (status.open_conflicts() > 0) {
    line("conflicts",
         absl::StrCat(status.open_conflicts(), " open: device-agent conflicts list", flags));
  }
  for (const std::string& warning : status.warnings()) line("warning", warning);
  if (!daemon) {
    line("agent", absl::StrCat("no daemon runs on this database: device-agent serve", flags));
  }
  return out;
}

absl::StatusOr<AgentStatus> AskDaemon(AgentContext& context) {
  PT_RETURN_IF_ERROR(context.ConnectToDaemon());
  context.call_deadline = kCheckDeadline;
  return Call(context, &v1::AgentService::Stub::Status, v1::AgentServiceStatusRequest());
}

// Asks the daemon and nobody else: opening the files here would say that all is
// well while nobody syncs, and keep an agent that starts at this moment waiting.
int Check(AgentContext& context) {
  const absl::Status loaded = context.LoadConfig();
  if (!loaded.ok()) return PrintCheck(CheckState::kUnknown, loaded);
  const auto status = AskDaemon(context);
  if (!status.ok()) return PrintCheck(CheckState::kCritical, status.status());
  return PrintCheck(
      CheckStateOf(status->health()),
      absl::StrCat(status->device_id(), ": ", status->pending(), " pending, ", status->failed(),
                   " failed, ", status->open_conflicts(), " open conflicts, ",
                   LinkWord(status->link()), " | pending=", status->pending(),
                   " failed=", status->failed(), " conflicts=", status->open_conflicts()));
}

// Cuts a call short at SIGTERM, SIGINT or SIGHUP: how a watch is ended.
class StopWatch {
 public:
  StopWatch(const StopSignals& signals, grpc::ClientContext& call)
      : thread_([this, &signals, &call] {
          while (!over_) {
            if (!signals.WaitFor(kLook)) continue;
            stopped_ = true;
            call.TryCancel();
            return;
          }
        }) {}
  ~StopWatch() {
    over_ = true;
    thread_.join();
  }
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;
  bool stopped() const { return stopped_; }

 private:
  // At most so long after the last picture the program ends.
  static constexpr absl::Duration kLook = absl::Milliseconds(100);
  std::atomic<bool> over_ = false;
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

// False once nobody reads any more.
bool ShowPicture(const AgentStatus& status, const AgentContext& context) {
  if (context.json) {
    PrintJson(StatusJson(status, context.host == nullptr));
  } else {
    // A terminal shows one picture; a pipe gets one after the other.
    if (OnTerminal()) std::printf("\033[H\033[2J");
    std::fputs(Text(status, context).c_str(), stdout);
    std::fflush(stdout);
  }
  return std::ferror(stdout) == 0;
}

int Watch(AgentContext& context) {
  const StopSignals signals;
  const absl::Status connected = context.Connect();
  if (!connected.ok()) return Fail(connected, context.json);
  grpc::ClientContext call;
  auto stream = context.agent->WatchStatus(&call, v1::WatchStatusRequest());
  const StopWatch watch(signals, call);
  v1::WatchStatusResponse response;
  bool read = true;
  while (read && stream->Read(&response)) read = ShowPicture(response.status(), context);
  if (!read) call.TryCancel();
  const absl::Status status = FromGrpcStatus(stream->Finish());
  return status.ok() || !read || watch.stopped() ? kExitDone : Fail(status, context.json);
}

}  // namespace

bool WaitsForPerson(const v1::AgentServiceStatusResponse& status) {
  return status.failed() > 0 || status.held() > 0 || status.open_conflicts() > 0 ||
         status.set_aside() > 0;
}

int ShowStatus(AgentContext& context, const StatusArgs& args) {
  if (args.check) return Check(context);
  if (args.watch) return Watch(context);
  const auto status =
      Call(context, &v1::AgentService::Stub::Status, v1::AgentServiceStatusRequest());
  if (!status.ok()) return Fail(status.status(), context.json);
  if (context.json) {
    PrintJson(StatusJson(*status, context.host == nullptr));
  } else {
    std::fputs(Text(*status, context).c_str(), stdout);
  }
  return WaitsForPerson(*status) ? kExitWaits : kExitDone;
}

int Pause(AgentContext& context, const std::string& duration) {
  v1::PauseRequest request;
  if (!duration.empty()) {
    const auto parsed = ParseDuration(duration);
    if (!parsed.ok() || *parsed <= absl::ZeroDuration()) {
      return Fail(ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                              "--for is no duration above zero. Nothing was paused. Write for "
                              "example 30m or 2h."),
                  context.json);
    }
    request.mutable_duration()->set_seconds(absl::ToInt64Seconds(*parsed));
  }
  const auto response = Call(context, &v1::AgentService::Stub::Pause, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  const auto until = TimeOf(response->has_paused_until(), response->paused_until());
  if (context.json) {
    PrintJson({{"pausedUntil", until.has_value() ? Json(FormatUtc(*until)) : Json(nullptr)}});
  } else {
    std::printf("Paused%s. Changes are captured and wait safely on this device.\n",
                until.has_value() ? absl::StrCat(" until ", FormatUtc(*until)).c_str()
                                  : " until `device-agent resume`");
  }
  return kExitDone;
}

int Resume(AgentContext& context) {
  const auto response = Call(context, &v1::AgentService::Stub::Resume, v1::ResumeRequest());
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson({{"paused", false}});
  } else {
    std::printf("Resumed.\n");
  }
  return kExitDone;
}

int Why(AgentContext& context, const std::string& type, const std::string& id) {
  v1::WhyRequest request;
  request.set_entity_type(type);
  request.set_entity_id(id);
  const auto response = Call(context, &v1::AgentService::Stub::Why, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json steps = Json::array();
  for (const v1::WhyStep& step : response->steps()) {
    const auto at = TimeOf(step.has_at(), step.at());
    const std::string when = at.has_value() ? FormatUtc(*at) : "";
    steps.push_back({{"at", when}, {"what", step.what()}});
    if (!context.json) std::printf("%-24s  %s\n", when.c_str(), step.what().c_str());
  }
  if (context.json) PrintJson({{"entityType", type}, {"entityId", id}, {"steps", steps}});
  return kExitDone;
}

}  // namespace ptdoc::sync
