#include "device-agent/cli/agent_config.h"

#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/log_config.h"
#include "device-agent/capture/stamp.h"

namespace ptdoc::sync {
namespace {

const ConfigSchema& Schema() {
  static const ConfigSchema* const kSchema = new ConfigSchema(
      WithLogKeys({"PTDOC_AGENT_",
                   {
                       {"service", "address", ConfigType::kText, "127.0.0.1:5171", ""},
                       {"service", "token_file", ConfigType::kText, "", ""},
                       {"service", "ca_file", ConfigType::kText, "", ""},
                       {"service", "client_cert_file", ConfigType::kText, "", ""},
                       {"service", "client_key_file", ConfigType::kText, "", ""},
                       {"service", "behind_proxy", ConfigType::kBool, "false", ""},
                       {"service", "compression", ConfigType::kText, "auto", "auto|on|off"},
                       {"device", "database", ConfigType::kText, "", ""},
                       {"device", "state", ConfigType::kText, "", ""},
                       {"device", "id", ConfigType::kText, "", ""},
                       {"device", "user", ConfigType::kText, "", ""},
                       {"sync", "interval", ConfigType::kDuration, "30s", ""},
                       {"sync", "batch_changes", ConfigType::kInteger, "1000", ""},
                       {"sync", "batch_bytes", ConfigType::kBytes, "1MiB", ""},
                       {"sync", "max_retries", ConfigType::kInteger, "3", ""},
                       {"sync", "entity_types", ConfigType::kTextList, "", ""},
                       {"control", "listen", ConfigType::kText, AgentHost::kDefaultControl, ""},
                       {"control", "http_listen", ConfigType::kText, "", ""},
                       {"archive", "device_retention", ConfigType::kDuration, "30d", ""},
                       {"entity", "type", ConfigType::kText, "", ""},
                       {"entity", "table", ConfigType::kText, "", ""},
                       {"entity", "key", ConfigType::kText, "", ""},
                       {"entity", "columns", ConfigType::kTextList, "", ""},
                       {"entity", "exclude_columns", ConfigType::kTextList, "", ""},
                       {"entity", "after_apply", ConfigType::kOneOrMoreTexts, "", ""},
                       {"entity", "last_modified_column", ConfigType::kText, "", ""},
                       {"entity", "modified_by_column", ConfigType::kText, "", ""},
                       {"entity", "sync_state_column", ConfigType::kText, "", ""},
                       {"entity", "time_format", ConfigType::kText, "auto", ""},
                       {"entity", "integer_key", ConfigType::kText, "refuse", ""},
                       {"entity", "id_range", ConfigType::kText, "", ""},
                       {"entity", "references", ConfigType::kTextMap, "", ""},
                   },
                   {"entity"},
                   {}}));
  return *kSchema;
}

absl::Status InRange(const ConfigTable& table, const char* name, int64_t value, int64_t low,
                     int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return table.Error(name, "must be from " + std::to_string(low) + " to " + std::to_string(high));
}

// "1000000-1999999".
std::optional<IdRange> ParseIdRange(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> ends =
      absl::StrSplit(text, absl::MaxSplits('-', 1));
  IdRange range;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(ends.first), &range.low) ||
      !absl::SimpleAtoi(absl::StripAsciiWhitespace(ends.second), &range.high)) {
    return std::nullopt;
  }
  if (range.low < 1 || range.high < range.low) return std::nullopt;
  return range;
}

absl::Status ReadIntegerKey(const ConfigTable& table, EntityConfig* entity) {
  const std::string& how = table.Text("integer_key");
  if (how == "range") {
    entity->integer_key = IntegerKey::kRange;
  } else if (how == "one_side") {
    entity->integer_key = IntegerKey::kOneSide;
  } else if (how != "refuse") {
    return table.Error("integer_key", "must be one of refuse, range, one_side");
  }
  const std::string& range = table.Text("id_range");
  if (!range.empty()) {
    entity->id_range = ParseIdRange(range);
    if (!entity->id_range.has_value()) {
      return table.Error("id_range",
                         "must be two numbers above 0, the lower one first: \"1000000-1999999\"");
    }
    if (entity->integer_key != IntegerKey::kRange) {
      return table.Error("id_range", "is for integer_key = \"range\" alone");
    }
  } else if (entity->integer_key == IntegerKey::kRange) {
    return table.Error("integer_key", "\"range\" needs the numbers of this device: id_range");
  }
  entity->references = table.TextMap("references");
  return absl::OkStatus();
}

// `tables` and `types`: those of the earlier [[entity]], in small letters and as they are.
absl::Status CheckEntity(const ConfigTable& table, const EntityConfig& entity,
                         std::set<std::string>* tables, std::set<std::string>* types) {
  if (entity.table.empty()) {
    return table.Error("table", "is missing: it names the table that is synced");
  }
  if (!tables->insert(absl::AsciiStrToLower(entity.table)).second) {
    return table.Error("table", "stands in an earlier [[entity]] already");
  }
  const std::string& type = entity.type.empty() ? entity.table : entity.type;
  if (!types->insert(type).second) {
    return table.Error(entity.type.empty() ? "table" : "type",
                       "is the type of an earlier [[entity]] already");
  }
  if (entity.time_format != "auto" && !ParseTimeFormat(entity.time_format).has_value()) {
    return table.Error("time_format", "must be one of auto, iso8601, efcore, unix, unix_ms, ticks");
  }
  return absl::OkStatus();
}

absl::Status ReadEntities(const Config& config, PlanRequest* plan) {
  std::set<std::string> tables;
  std::set<std::string> types;
  for (const ConfigTable& table : config.Repeated("entity")) {
    EntityConfig entity;
    entity.table = table.Text("table");
    entity.type = table.Text("type");
    for (const absl::string_view column :
         absl::StrSplit(table.Text("key"), ',', absl::SkipWhitespace())) {
      entity.key.emplace_back(absl::StripAsciiWhitespace(column));
    }
    entity.columns = table.TextList("columns");
    entity.exclude_columns = table.TextList("exclude_columns");
    entity.after_apply = table.TextList("after_apply");
    entity.last_modified_column = table.Text("last_modified_column");
    entity.modified_by_column = table.Text("modified_by_column");
    entity.sync_state_column = table.Text("sync_state_column");
    entity.time_format = table.Text("time_format");
    PT_RETURN_IF_ERROR(ReadIntegerKey(table, &entity));
    PT_RETURN_IF_ERROR(CheckEntity(table, entity, &tables, &types));
    plan->entities.push_back(std::move(entity));
  }
  return absl::OkStatus();
}

absl::Status ReadControl(const ConfigTable& control, AgentOptions* agent) {
  const std::string& listen = control.Text("listen");
  absl::string_view path = listen;
  const bool is_socket = absl::ConsumePrefix(&path, "unix:");
  absl::ConsumePrefix(&path, "//");
  if (!is_socket || path.size() < 2 || path.front() != '/') {
    return control.Error("listen", "must be unix:///path, a socket with an absolute path");
  }
  if (!control.Text("http_listen").empty()) {
    return control.Error("http_listen",
                         "must be empty: this version of the agent serves no HTTP; programs call "
                         "the socket of [control] listen");
  }
  agent->control_listen = ControlAddress(listen, agent->replica.database, agent->replica.state);
  return absl::OkStatus();
}

absl::Status ReadSync(const ConfigTable& sync, AgentOptions* agent) {
  agent->interval = sync.Duration("interval");
  if (agent->interval < absl::Seconds(1)) return sync.Error("interval", "must be at least 1s");
  const int64_t changes = sync.Integer("batch_changes");
  PT_RETURN_IF_ERROR(InRange(sync, "batch_changes", changes, 1, 5000));
  agent->batch_changes = static_cast<size_t>(changes);
  const int64_t bytes = sync.Bytes("batch_bytes");
  PT_RETURN_IF_ERROR(InRange(sync, "batch_bytes", bytes, 4096, 1 << 20));
  agent->batch_bytes = static_cast<size_t>(bytes);
  const int64_t retries = sync.Integer("max_retries");
  PT_RETURN_IF_ERROR(InRange(sync, "max_retries", retries, 1, 1000));
  agent->replica.max_retries = static_cast<int>(retries);
  agent->replica.plan.types = sync.TextList("entity_types");
  return absl::OkStatus();
}

// By itself only where there is a network: on one machine it costs more than it saves.
bool Compresses(absl::string_view how, const ChannelOptions& channel) {
  if (how != "auto") return how == "on";
  return channel.behind_proxy || !IsOnThisMachine(channel.address);
}

absl::Status ReadService(const ConfigTable& service, AgentOptions* agent) {
  agent->channel.address = service.Text("address");
  agent->channel.ca_file = service.Text("ca_file");
  agent->channel.client_cert_file = service.Text("client_cert_file");
  agent->channel.client_key_file = service.Text("client_key_file");
  agent->channel.behind_proxy = service.Bool("behind_proxy");
  agent->token_file = service.Text("token_file");
  agent->compress = Compresses(service.Text("compression"), agent->channel);
  // The address alone: whoever asks a daemon need not be allowed to read its keys.
  ChannelOptions address;
  address.address = agent->channel.address;
  address.behind_proxy = true;
  if (MakeChannel(address).ok()) return absl::OkStatus();
  return service.Error("address", "must be host:port, https://host:port or unix:///path");
}

}  // namespace

std::string ConfigBeside(const std::string& database) {
  return (std::filesystem::path(database).parent_path() / "agent.toml").string();
}

absl::StatusOr<AgentConfig> LoadAgentConfig(const std::string& file, const std::string& database,
                                            std::vector<ConfigFlag> flags) {
  if (!database.empty()) flags.push_back({"device.database", database, "--database"});
  const Environment environment = ProcessEnvironment();
  std::vector<std::string> candidates;
  if (!database.empty()) candidates.push_back(ConfigBeside(database));
  candidates.insert(candidates.end(), {"agent.toml", "/etc/ptdoc/agent.toml"});
  PT_ASSIGN_OR_RETURN(const std::string path,
                      FindConfigFile(Schema(), file, environment, candidates));
  PT_ASSIGN_OR_RETURN(const Config config, Config::Load(Schema(), path, environment, flags));
  AgentConfig out;
  out.file = config.file();
  PT_RETURN_IF_ERROR(ReadService(config.Section("service"), &out.agent));
  const ConfigTable& device = config.Section("device");
  out.agent.replica.database = device.Text("database");
  if (out.agent.replica.database.empty()) {
    return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                       "No database is named. Nothing was done. Give --database FILE, or [device] "
                       "database in agent.toml.");
  }
  out.agent.replica.state = device.Text("state");
  out.agent.replica.device_id = device.Text("id");
  out.agent.replica.user = device.Text("user");
  PT_RETURN_IF_ERROR(ReadSync(config.Section("sync"), &out.agent));
  PT_RETURN_IF_ERROR(ReadControl(config.Section("control"), &out.agent));
  out.agent.replica.archive_retention = config.Section("archive").Duration("device_retention");
  PT_RETURN_IF_ERROR(ReadEntities(config, &out.agent.replica.plan));
  out.log = LogOptionsOf(config.Section("log"));
  return out;
}

}  // namespace ptdoc::sync
