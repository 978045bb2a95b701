#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/log.h"
#include "common/rpc/config.h"
#include "device-agent/rpc/agent_host.h"

namespace ptdoc::sync {

// agent.toml, read (docs/OPERATIONS.md lists every key).
struct AgentConfig {
  AgentOptions agent;
  LogOptions log;
  std::string file;  // which was read; empty = none
};

// Flags beat the environment (PTDOC_AGENT_*), which beats the file. `file`
// empty: PTDOC_AGENT_CONFIG, agent.toml beside `database`, ./agent.toml,
// /etc/ptdoc/agent.toml, or none.
absl::StatusOr<AgentConfig> LoadAgentConfig(const std::string& file, const std::string& database,
                                            std::vector<ConfigFlag> flags);

// "DIR/agent.toml" of the database's directory.
std::string ConfigBeside(const std::string& database);

}  // namespace ptdoc::sync
