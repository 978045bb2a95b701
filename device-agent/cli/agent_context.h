#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "device-agent/cli/agent_config.h"
#include "device-agent/rpc/agent_host.h"
#include "ptdoc/sync/v1/agent_service.grpc.pb.h"

namespace ptdoc::sync {

// What every verb of device-agent works with: the flags that all of them have,
// and an AgentService to call: the daemon's over its control socket, or, when
// none runs, that of an agent inside this very process.
struct AgentContext {
  std::string config_file;
  std::string database;
  bool json = false;
  std::vector<ConfigFlag> flags;

  SystemClock clock;
  SystemRng rng;
  AgentConfig config;
  std::unique_ptr<AgentHost> host;  // null while a daemon answers
  std::unique_ptr<v1::AgentService::Stub> agent;
  absl::Duration call_deadline = absl::InfiniteDuration();  // of each call

  // `serving`: the log is as configured; a verb for people prints its own errors.
  absl::Status LoadConfig(bool serving = false);
  // LoadConfig, then the daemon, or without one an agent of this process.
  absl::Status Connect();
  // After LoadConfig. UNAVAILABLE (reason NO_AGENT) if no daemon answers; opens
  // no file.
  absl::Status ConnectToDaemon();
  // " --config FILE", " --database FILE" or "", as they were given: what a command
  // that is shown needs to work on the same device.
  std::string GivenFlags() const;
  // True if a daemon answers on the control socket.
  bool DaemonAnswers();
};

}  // namespace ptdoc::sync
