#include "device-agent/cli/agent_context.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/cli/output.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"

namespace ptdoc::sync {
namespace {

// A daemon on this machine answers within microseconds; this is for a loaded one.
constexpr absl::Duration kConnectDeadline = absl::Seconds(2);

bool SocketExists(absl::string_view address) {
  if (!absl::ConsumePrefix(&address, "unix://")) return false;
  struct stat info{};
  return stat(std::string(address).c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address) {
  if (!SocketExists(address)) return nullptr;
  ChannelOptions options;
  options.address = address;
  auto channel = MakeChannel(options);
  if (!channel.ok()) return nullptr;
  const auto deadline =
      std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kConnectDeadline);
  // A socket that nobody listens on any more refuses at once.
  while ((*channel)->GetState(true) != GRPC_CHANNEL_READY) {
    const grpc_connectivity_state state = (*channel)->GetState(false);
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) return nullptr;
    if (state == GRPC_CHANNEL_READY) break;
    if (!(*channel)->WaitForStateChange(state, deadline)) return nullptr;
  }
  return *std::move(channel);
}

}  // namespace

absl::Status AgentContext::LoadConfig(bool serving) {
  PT_ASSIGN_OR_RETURN(config, LoadAgentConfig(config_file, database, flags));
  if (!serving && config.log.level < LogLevel::kError) config.log.level = LogLevel::kError;
  InitLog(config.log);
  return absl::OkStatus();
}

bool AgentContext::DaemonAnswers() {
  return ConnectTo(config.agent.control_listen) != nullptr;
}

std::string AgentContext::GivenFlags() const {
  std::string flags_given;
  if (!config_file.empty()) absl::StrAppend(&flags_given, " --config ", ShellWord(config_file));
  if (!database.empty()) absl::StrAppend(&flags_given, " --database ", ShellWord(database));
  return flags_given;
}

absl::Status AgentContext::ConnectToDaemon() {
  const std::shared_ptr<grpc::Channel> channel = ConnectTo(config.agent.control_listen);
  if (channel != nullptr) {
    agent = v1::AgentService::NewStub(channel);
    return absl::OkStatus();
  }
  const std::string& app_file = config.agent.replica.database;
  return ReasonError(
      absl::StatusCode::kUnavailable, "NO_AGENT",
      absl::StrCat("No agent of ", app_file, " answers on ", config.agent.control_listen,
                   ". What the app writes is captured in its own file and waits there. Start the "
                   "agent: device-agent serve ",
                   config.file.empty() ? absl::StrCat("--database ", app_file)
                                       : absl::StrCat("--config ", config.file),
                   "."));
}

absl::Status AgentContext::Connect() {
  PT_RETURN_IF_ERROR(LoadConfig());
  std::shared_ptr<grpc::Channel> channel = ConnectTo(config.agent.control_listen);
  if (channel == nullptr) {
    AgentOptions options = config.agent;
    options.automatic = false;
    options.control_listen.clear();
    PT_ASSIGN_OR_RETURN(host, AgentHost::Start(std::move(options), clock, rng));
    channel = host->InProcessChannel();
  }
  agent = v1::AgentService::NewStub(channel);
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
