#include "sync-service/cli/service_config.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/log_config.h"

namespace ptdoc::sync {
namespace {

const ConfigSchema& Schema() {
  static const ConfigSchema* const kSchema = new ConfigSchema(
      WithLogKeys({"PTDOC_SYNC_",
                   {
                       {"server", "listen", ConfigType::kText, "127.0.0.1:5171", ""},
                       {"server", "http_listen", ConfigType::kText, "", ""},
                       {"server", "tls_cert_file", ConfigType::kText, "", ""},
                       {"server", "tls_key_file", ConfigType::kText, "", ""},
                       {"server", "tls_client_ca_file", ConfigType::kText, "", ""},
                       {"server", "behind_proxy", ConfigType::kBool, "false", ""},
                       {"store", "url", ConfigType::kText, "sqlite:///sync-service.db", ""},
                       {"sync", "max_clock_skew", ConfigType::kDuration, "1m", ""},
                       {"sync", "tombstone_retention", ConfigType::kDuration, "90d", ""},
                       {"sync", "max_row_bytes", ConfigType::kBytes, "3MiB", ""},
                       {"sync", "entity_types", ConfigType::kTextList, "", ""},
                       {"entity", "type", ConfigType::kText, "", ""},
                       {"entity", "policy", ConfigType::kText, "last_write_wins",
                        "last_write_wins|merge_fields|manual"},
                       {"entity", "signature_field", ConfigType::kText, "SignatureHash", ""},
                       {"entity", "locked_field", ConfigType::kText, "IsLocked", ""},
                   },
                   {"entity"},
                   {"auth"}}));
  return *kSchema;
}

// Keys whose features this version does not have may stand, but empty.
absl::Status ReadServer(const ConfigTable& server, ServerOptions* out) {
  out->listen = server.Text("listen");
  if (!ParseHostPort(out->listen).ok()) {
    return server.Error("listen", "must be host:port, such as 127.0.0.1:5171");
  }
  out->behind_proxy = server.Bool("behind_proxy");
  if (!server.Text("http_listen").empty()) {
    return server.Error("http_listen",
                        "must be empty: this version serves gRPC alone, on [server] listen");
  }
  for (const char* name : {"tls_cert_file", "tls_key_file", "tls_client_ca_file"}) {
    if (server.Text(name).empty()) continue;
    return server.Error(name,
                        "must be empty: this version ends no TLS itself; put a proxy in front, and "
                        "set behind_proxy");
  }
  return absl::OkStatus();
}

absl::Status ReadEntities(const Config& config, EngineOptions* engine) {
  for (const ConfigTable& entity : config.Repeated("entity")) {
    const std::string& type = entity.Text("type");
    if (type.empty()) return entity.Error("type", "names the entity type and may not be empty");
    if (engine->policies.all().contains(type)) {
      return entity.Error("type", "stands in an earlier [[entity]] already");
    }
    TypePolicy policy;
    policy.policy = PolicyFromName(entity.Text("policy"));
    policy.signature_field = entity.Text("signature_field");
    policy.locked_field = entity.Text("locked_field");
    engine->policies.Set(type, policy);
  }
  return absl::OkStatus();
}

absl::Status ReadSync(const ConfigTable& sync, EngineOptions* engine) {
  engine->max_clock_skew = sync.Duration("max_clock_skew");
  engine->tombstone_retention = sync.Duration("tombstone_retention");
  if (engine->tombstone_retention < absl::Hours(1)) {
    return sync.Error("tombstone_retention", "must be at least 1h");
  }
  const int64_t row_bytes = sync.Bytes("max_row_bytes");
  if (row_bytes < 1024 || row_bytes > static_cast<int64_t>(3 << 20)) {
    return sync.Error("max_row_bytes", "must be from 1KiB to 3MiB");
  }
  engine->max_row_bytes = static_cast<size_t>(row_bytes);
  for (const std::string& type : sync.TextList("entity_types")) engine->allowed_types.insert(type);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServiceConfig> LoadServiceConfig(const std::string& file,
                                                const std::vector<ConfigFlag>& flags) {
  const Environment environment = ProcessEnvironment();
  PT_ASSIGN_OR_RETURN(
      const std::string path,
      FindConfigFile(Schema(), file, environment, {"service.toml", "/etc/ptdoc/service.toml"}));
  PT_ASSIGN_OR_RETURN(const Config config, Config::Load(Schema(), path, environment, flags));
  ServiceConfig out;
  out.file = config.file();
  PT_RETURN_IF_ERROR(ReadServer(config.Section("server"), &out.server));
  out.store_url = config.Section("store").Text("url");
  PT_RETURN_IF_ERROR(ReadSync(config.Section("sync"), &out.engine));
  PT_RETURN_IF_ERROR(ReadEntities(config, &out.engine));
  out.log = LogOptionsOf(config.Section("log"));
  PT_RETURN_IF_ERROR(SqlitePath(out.store_url).status());
  return out;
}

absl::StatusOr<std::string> SqlitePath(const std::string& url) {
  absl::string_view path = url;
  if (!absl::ConsumePrefix(&path, "sqlite:///") || path.empty()) {
    return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                       "[store] url must be sqlite:///PATH (sqlite:////PATH is absolute). Nothing "
                       "was started or changed. Correct the url.");
  }
  return std::string(path);
}

}  // namespace ptdoc::sync
