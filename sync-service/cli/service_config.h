#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/log.h"
#include "common/rpc/config.h"
#include "sync-service/engine/engine.h"
#include "sync-service/rpc/server.h"

namespace ptdoc::sync {

// service.toml, read (docs/OPERATIONS.md lists every key).
struct ServiceConfig {
  ServerOptions server;
  EngineOptions engine;
  LogOptions log;
  std::string store_url;
  std::string file;  // which was read; empty = none
};

// Flags beat the environment (PTDOC_SYNC_*), which beats the file. `file` empty:
// PTDOC_SYNC_CONFIG, ./service.toml, /etc/ptdoc/service.toml, or none.
absl::StatusOr<ServiceConfig> LoadServiceConfig(const std::string& file,
                                                const std::vector<ConfigFlag>& flags);

// The path of "sqlite:///PATH" ("sqlite:////abs/path" is absolute). CONFIG for
// anything else.
absl::StatusOr<std::string> SqlitePath(const std::string& url);

}  // namespace ptdoc::sync
