#include "common/rpc/log_config.h"

namespace ptdoc::sync {

ConfigSchema WithLogKeys(ConfigSchema schema) {
  schema.keys.push_back({"log", "level", ConfigType::kText, "info", "debug|info|warning|error"});
  schema.keys.push_back({"log", "format", ConfigType::kText, "console", "console|json"});
  schema.keys.push_back({"log", "entity_ids", ConfigType::kText, "hash", "hash|plain"});
  return schema;
}

LogOptions LogOptionsOf(const ConfigTable& log) {
  LogOptions options;
  const std::string& level = log.Text("level");
  options.level = level == "debug"     ? LogLevel::kDebug
                  : level == "warning" ? LogLevel::kWarning
                  : level == "error"   ? LogLevel::kError
                                       : LogLevel::kInfo;
  options.format = log.Text("format") == "json" ? LogFormat::kJson : LogFormat::kConsole;
  options.entity_ids = log.Text("entity_ids") == "plain" ? EntityIds::kPlain : EntityIds::kHash;
  return options;
}

}  // namespace ptdoc::sync
