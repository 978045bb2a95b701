#include "common/rpc/config_loader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kNearDistanceMax = 3;
constexpr char kNothingDone[] = "Nothing was started or changed.";

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

absl::Status NotA(ConfigType type) {
  return absl::InvalidArgumentError(absl::StrCat("must be ", ConfigTypeName(type)));
}

absl::StatusOr<ConfigValue> ParseBool(absl::string_view text) {
  if (text == "true" || text == "1") return ConfigValue(true);
  if (text == "false" || text == "0") return ConfigValue(false);
  return NotA(ConfigType::kBool);
}

// The empty text stands for the type's empty value.
absl::StatusOr<ConfigValue> EmptyValue(ConfigType type) {
  switch (type) {
    case ConfigType::kText:
      return ConfigValue(std::string());
    case ConfigType::kInteger:
    case ConfigType::kBytes:
      return ConfigValue(int64_t{0});
    case ConfigType::kBool:
      return ConfigValue(false);
    case ConfigType::kDuration:
      return ConfigValue(absl::ZeroDuration());
    case ConfigType::kTextList:
    case ConfigType::kOneOrMoreTexts:
      return ConfigValue(std::vector<std::string>());
    case ConfigType::kTextMap:
      return ConfigValue(std::map<std::string, std::string>());
  }
  return NotA(type);
}

std::string EnvironmentName(const ConfigSchema& schema, const ConfigKey& key) {
  return absl::StrCat(schema.env_prefix, absl::AsciiStrToUpper(key.section), "_",
                      absl::AsciiStrToUpper(key.name));
}

}  // namespace

absl::Status ConfigError(absl::string_view where, absl::string_view what,
                         absl::string_view remedy) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                     absl::StrCat(where, ": ", what, ". ", kNothingDone, " ", remedy));
}

absl::Status ConfigFileMissing(absl::string_view path, absl::string_view what_to_do) {
  return ReasonError(
      absl::StatusCode::kNotFound, "CONFIG",
      absl::StrCat(path, ": there is no such configuration file. ", kNothingDone, " ", what_to_do));
}

std::string ConfigTypeName(ConfigType type) {
  switch (type) {
    case ConfigType::kText:
      return "a text in quotes";
    case ConfigType::kInteger:
      return "a whole number";
    case ConfigType::kBool:
      return "true or false";
    case ConfigType::kDuration:
      return "a duration such as \"30s\", \"2h\" or \"90d\"";
    case ConfigType::kBytes:
      return "a size such as \"1MiB\" or 1048576";
    case ConfigType::kTextList:
      return "a list of texts";
    case ConfigType::kOneOrMoreTexts:
      return "a text in quotes or a list of texts";
    case ConfigType::kTextMap:
      return "a table of texts such as {a = \"b\"}";
  }
  return "";
}

absl::StatusOr<ConfigValue> ParseConfigText(ConfigType type, absl::string_view text) {
  if (text.empty()) return EmptyValue(type);
  int64_t integer = 0;
  switch (type) {
    case ConfigType::kText:
      return ConfigValue(std::string(text));
    case ConfigType::kInteger:
      if (absl::SimpleAtoi(text, &integer)) return ConfigValue(integer);
      return NotA(type);
    case ConfigType::kBool:
      return ParseBool(text);
    case ConfigType::kDuration: {
      const absl::StatusOr<absl::Duration> duration = ParseDuration(text);
      if (duration.ok()) return ConfigValue(*duration);
      return NotA(type);
    }
    case ConfigType::kBytes: {
      const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
      if (bytes.ok()) return ConfigValue(*bytes);
      return NotA(type);
    }
    case ConfigType::kTextList: {
      std::vector<std::string> list;
      for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
        list.emplace_back(absl::StripAsciiWhitespace(part));
      }
      return ConfigValue(std::move(list));
    }
    case ConfigType::kOneOrMoreTexts:
      return ConfigValue(std::vector<std::string>{std::string(text)});
    case ConfigType::kTextMap:
      break;
  }
  return NotA(type);
}

std::string NearestWord(absl::string_view word, const std::vector<std::string>& words) {
  size_t nearest = kNearDistanceMax + 1;
  std::string found;
  for (const std::string& candidate : words) {
    const size_t distance = EditDistance(word, candidate);
    // A word that shares nothing with the other is no suggestion.
    if (distance < nearest && distance < std::max(word.size(), candidate.size())) {
      nearest = distance;
      found = candidate;
    }
  }
  return found;
}

bool ConfigLoader::IsRepeated(absl::string_view section) const {
  return std::find(schema_.repeated.begin(), schema_.repeated.end(), section) !=
         schema_.repeated.end();
}

const ConfigKey* ConfigLoader::FindKey(absl::string_view section, absl::string_view name) const {
  for (const ConfigKey& key : schema_.keys) {
    if (key.section == section && key.name == name) return &key;
  }
  return nullptr;
}

absl::Status ConfigLoader::Set(const ConfigKey& key, ConfigValue value, std::string where,
                               ConfigTable* table) {
  if (key.choices[0] != '\0') {
    const std::vector<std::string> choices = absl::StrSplit(key.choices, '|');
    if (std::find(choices.begin(), choices.end(), std::get<std::string>(value)) == choices.end()) {
      return ConfigError(where, absl::StrCat("[", key.section, "] ", key.name, " must be one of ",
                                             absl::StrReplaceAll(key.choices, {{"|", ", "}})));
    }
  }
  table->entries_[key.name] = {key.type, std::move(value), std::move(where), true};
  return absl::OkStatus();
}

absl::StatusOr<ConfigTable> ConfigLoader::BuiltInTable(absl::string_view section) const {
  ConfigTable table;
  table.section_ = std::string(section);
  table.where_ = "built in";
  for (const ConfigKey& key : schema_.keys) {
    if (key.section != section) continue;
    PT_ASSIGN_OR_RETURN(ConfigValue value, ParseConfigText(key.type, key.built_in));
    table.entries_[key.name] = {key.type, std::move(value), "built in", false};
  }
  return table;
}

absl::Status ConfigLoader::ApplyBuiltIn() {
  for (const std::string& section : schema_.repeated) config_.repeated_[section];
  for (const ConfigKey& key : schema_.keys) {
    if (IsRepeated(key.section) || config_.sections_.count(key.section) > 0) continue;
    PT_ASSIGN_OR_RETURN(config_.sections_[key.section], BuiltInTable(key.section));
  }
  return absl::OkStatus();
}

absl::Status ConfigLoader::SetText(const ConfigKey& key, absl::string_view text,
                                   const std::string& where) {
  absl::StatusOr<ConfigValue> value = ParseConfigText(key.type, text);
  if (!value.ok()) {
    return ConfigError(
        where, absl::StrCat("[", key.section, "] ", key.name, " ", value.status().message()));
  }
  return Set(key, *std::move(value), where, &config_.sections_[key.section]);
}

absl::Status ConfigLoader::ApplyEnvironment(const Environment& environment) {
  for (const ConfigKey& key : schema_.keys) {
    if (IsRepeated(key.section)) continue;
    const std::string name = EnvironmentName(schema_, key);
    const auto it = environment.find(name);
    if (it == environment.end()) continue;
    PT_RETURN_IF_ERROR(SetText(key, it->second, absl::StrCat("environment ", name)));
  }
  return absl::OkStatus();
}

absl::Status ConfigLoader::ApplyFlags(const std::vector<ConfigFlag>& flags) {
  for (const ConfigFlag& flag : flags) {
    const std::pair<std::string, std::string> name =
        absl::StrSplit(flag.key, absl::MaxSplits('.', 1));
    const ConfigKey* const key = FindKey(name.first, name.second);
    PT_CHECK(key != nullptr);
    PT_RETURN_IF_ERROR(SetText(*key, flag.value, absl::StrCat("flag ", flag.flag)));
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
