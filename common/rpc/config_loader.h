#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/rpc/config.h"

namespace ptdoc::sync {

// INVALID_ARGUMENT, reason CONFIG: "<where>: <what>.", that nothing was done,
// and `remedy`, a sentence.
absl::Status ConfigError(absl::string_view where, absl::string_view what,
                         absl::string_view remedy = "Correct it there.");
// NOT_FOUND, reason CONFIG.
absl::Status ConfigFileMissing(absl::string_view path, absl::string_view what_to_do);

// Reads a value from environment, flag or built-in text.
absl::StatusOr<ConfigValue> ParseConfigText(ConfigType type, absl::string_view text);
// "a duration such as "30s"": for error messages.
std::string ConfigTypeName(ConfigType type);

// Of the words, the one nearest to `word` by edit distance; empty if none is near.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& words);

// The steps of Config::Load, each laid over the one before.
class ConfigLoader {
 public:
  explicit ConfigLoader(const ConfigSchema& schema) : schema_(schema) {}

  absl::Status ApplyBuiltIn();
  absl::Status ApplyFile(const std::string& path);
  absl::Status ApplyEnvironment(const Environment& environment);
  absl::Status ApplyFlags(const std::vector<ConfigFlag>& flags);
  Config Take() { return std::move(config_); }

 private:
  class File;  // what stands in a TOML file, in config_file.cc

  bool IsRepeated(absl::string_view section) const;
  const ConfigKey* FindKey(absl::string_view section, absl::string_view name) const;
  // A table of this section with its built-in values.
  absl::StatusOr<ConfigTable> BuiltInTable(absl::string_view section) const;
  static absl::Status Set(const ConfigKey& key, ConfigValue value, std::string where,
                          ConfigTable* table);
  absl::Status SetText(const ConfigKey& key, absl::string_view text, const std::string& where);

  const ConfigSchema& schema_;
  Config config_;
};

}  // namespace ptdoc::sync
