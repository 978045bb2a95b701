#include "common/rpc/config.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/config_loader.h"

namespace ptdoc::sync {

const ConfigTable::Entry& ConfigTable::Find(absl::string_view name) const {
  const auto it = entries_.find(name);
  PT_CHECK(it != entries_.end());
  return it->second;
}

template <typename T>
const T& ConfigTable::As(absl::string_view name, ConfigType type) const {
  const Entry& entry = Find(name);
  PT_CHECK(entry.type == type);
  return std::get<T>(entry.value);
}

const std::string& ConfigTable::Text(absl::string_view name) const {
  return As<std::string>(name, ConfigType::kText);
}

int64_t ConfigTable::Integer(absl::string_view name) const {
  return As<int64_t>(name, ConfigType::kInteger);
}

bool ConfigTable::Bool(absl::string_view name) const {
  return As<bool>(name, ConfigType::kBool);
}

absl::Duration ConfigTable::Duration(absl::string_view name) const {
  return As<absl::Duration>(name, ConfigType::kDuration);
}

int64_t ConfigTable::Bytes(absl::string_view name) const {
  return As<int64_t>(name, ConfigType::kBytes);
}

const std::vector<std::string>& ConfigTable::TextList(absl::string_view name) const {
  const bool one_or_more = Find(name).type == ConfigType::kOneOrMoreTexts;
  return As<std::vector<std::string>>(
      name, one_or_more ? ConfigType::kOneOrMoreTexts : ConfigType::kTextList);
}

const std::map<std::string, std::string>& ConfigTable::TextMap(absl::string_view name) const {
  return As<std::map<std::string, std::string>>(name, ConfigType::kTextMap);
}

bool ConfigTable::IsSet(absl::string_view name) const {
  return Find(name).is_set;
}

const std::string& ConfigTable::Where(absl::string_view name) const {
  return Find(name).where;
}

absl::Status ConfigTable::Error(absl::string_view name, absl::string_view what) const {
  // What is built in or missing is the matter of the place where it might stand.
  const bool of_table = !IsSet(name) && where_ != "built in";
  return ConfigError(of_table ? where_ : Where(name),
                     absl::StrCat("[", section_, "] ", name, ": ", what));
}

absl::StatusOr<Config> Config::Load(const ConfigSchema& schema, const std::string& file,
                                    const Environment& environment,
                                    const std::vector<ConfigFlag>& flags) {
  ConfigLoader loader(schema);
  PT_RETURN_IF_ERROR(loader.ApplyBuiltIn());
  if (!file.empty()) PT_RETURN_IF_ERROR(loader.ApplyFile(file));
  PT_RETURN_IF_ERROR(loader.ApplyEnvironment(environment));
  PT_RETURN_IF_ERROR(loader.ApplyFlags(flags));
  return loader.Take();
}

const ConfigTable& Config::Section(absl::string_view section) const {
  const auto it = sections_.find(section);
  PT_CHECK(it != sections_.end());
  return it->second;
}

const std::vector<ConfigTable>& Config::Repeated(absl::string_view section) const {
  const auto it = repeated_.find(section);
  PT_CHECK(it != repeated_.end());
  return it->second;
}

Environment ProcessEnvironment() {
  Environment out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string::npos) continue;
    out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

absl::StatusOr<std::string> FindConfigFile(const ConfigSchema& schema, const std::string& given,
                                           const Environment& environment,
                                           const std::vector<std::string>& candidates) {
  const auto exists = [](const std::string& path) { return access(path.c_str(), F_OK) == 0; };
  if (!given.empty()) {
    if (exists(given)) return given;
    return ConfigFileMissing(given, "Check the path after --config.");
  }
  const std::string variable = absl::StrCat(schema.env_prefix, "CONFIG");
  const auto named = environment.find(variable);
  if (named != environment.end() && !named->second.empty()) {
    if (exists(named->second)) return named->second;
    return ConfigFileMissing(named->second,
                             absl::StrCat("Check the environment variable ", variable, "."));
  }
  for (const std::string& candidate : candidates) {
    if (exists(candidate)) return candidate;
  }
  return std::string();
}

}  // namespace ptdoc::sync
