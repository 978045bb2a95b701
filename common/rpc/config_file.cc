// What a TOML file says: the only code that includes toml++.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/config_loader.h"
#include "toml++/toml.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

absl::Status NotReadable(const std::string& path, int error) {
  if (error == ENOENT) return ConfigFileMissing(path, "Check the path.");
  return ConfigError(path, absl::StrCat("the file cannot be read (", std::strerror(error), ")"),
                     "Check its permissions.");
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NotReadable(path, errno);
  const absl::Cleanup closer = [fd] { close(fd); };
  std::string content;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0) return NotReadable(path, errno);
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
    if (content.size() > kFileBytesMax) {
      return ConfigError(path, "the file is larger than 1 MiB",
                         "Check the path: a configuration is a short text.");
    }
  }
}

absl::StatusOr<toml::table> ParseToml(const std::string& path, const std::string& content) {
  try {
    return toml::parse(std::string_view(content), path);
  } catch (const toml::parse_error& error) {
    return ConfigError(absl::StrCat(path, ":", error.source().begin.line),
                       absl::StrCat("not TOML: ", std::string(error.description())),
                       "Correct the line.");
  }
}

absl::StatusOr<ConfigValue> TextListFrom(const toml::array& array) {
  std::vector<std::string> list;
  for (const toml::node& item : array) {
    if (!item.is_string()) return absl::InvalidArgumentError("");
    list.push_back(**item.as_string());
  }
  return ConfigValue(std::move(list));
}

absl::StatusOr<ConfigValue> TextMapFrom(const toml::table& table) {
  std::map<std::string, std::string> map;
  for (const auto& [key, item] : table) {
    if (!item.is_string()) return absl::InvalidArgumentError("");
    map.emplace(std::string(key.str()), **item.as_string());
  }
  return ConfigValue(std::move(map));
}

// Any error: the node is of another type.
absl::StatusOr<ConfigValue> ValueFrom(ConfigType type, const toml::node& node) {
  switch (type) {
    case ConfigType::kText:
      if (node.is_string()) return ConfigValue(std::string(**node.as_string()));
      break;
    case ConfigType::kInteger:
      if (node.is_integer()) return ConfigValue(int64_t{**node.as_integer()});
      break;
    case ConfigType::kBool:
      if (node.is_boolean()) return ConfigValue(bool{**node.as_boolean()});
      break;
    case ConfigType::kBytes:
      if (node.is_integer() && **node.as_integer() >= 0) {
        return ConfigValue(int64_t{**node.as_integer()});
      }
      [[fallthrough]];
    case ConfigType::kDuration:
      if (node.is_string()) return ParseConfigText(type, **node.as_string());
      break;
    case ConfigType::kOneOrMoreTexts:
      if (node.is_string()) return ParseConfigText(type, **node.as_string());
      [[fallthrough]];
    case ConfigType::kTextList:
      if (node.is_array()) return TextListFrom(*node.as_array());
      break;
    case ConfigType::kTextMap:
      if (node.is_table()) return TextMapFrom(*node.as_table());
      break;
  }
  return absl::InvalidArgumentError("");
}

// As \uXXXX in a TOML file: control characters have no other form.
void AppendEscaped(unsigned char c, std::string* out) {
  constexpr char kHex[] = "0123456789ABCDEF";
  absl::StrAppend(out, "\\u00", std::string(1, kHex[c >> 4]), std::string(1, kHex[c & 0xF]));
}

}  // namespace

absl::StatusOr<std::string> TomlText(absl::string_view text) {
  if (!IsUtf8(text)) return absl::InvalidArgumentError("TOML holds UTF-8 alone");
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out.push_back('\\');
    if (byte < 0x20 || byte == 0x7F) {
      AppendEscaped(byte, &out);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

// One file on its way into the loader's tables.
class ConfigLoader::File {
 public:
  File(const std::string& path, ConfigLoader& loader) : path_(path), loader_(loader) {}

  absl::Status Apply(const toml::table& root) {
    for (const auto& [key, node] : root) {
      PT_RETURN_IF_ERROR(ApplyRoot(std::string(key.str()), Line(key.source()), node));
    }
    return absl::OkStatus();
  }

 private:
  std::string Line(const toml::source_region& source) const {
    return absl::StrCat(path_, ":", source.begin.line);
  }

  absl::Status ApplyRoot(const std::string& section, const std::string& where,
                         const toml::node& node) {
    Config& config = loader_.config_;
    if (config.repeated_.count(section) > 0) return ApplyRepeated(section, where, node);
    const auto it = config.sections_.find(section);
    if (it == config.sections_.end()) {
      const std::vector<std::string>& empty = loader_.schema_.empty;
      const bool may_stand = std::find(empty.begin(), empty.end(), section) != empty.end();
      if (may_stand && node.is_table() && node.as_table()->empty()) return absl::OkStatus();
      if (may_stand)
        return ConfigError(where, absl::StrCat("[", section, "] has no keys"), Suggest(""));
      return UnknownSection(section, where, node);
    }
    if (!node.is_table()) {
      return ConfigError(where, absl::StrCat("\"", section, "\" is a section, not a key"),
                         absl::StrCat("Write [", section, "], and its keys below it."));
    }
    it->second.where_ = where;
    return ApplyTable(section, *node.as_table(), &it->second);
  }

  absl::Status ApplyRepeated(const std::string& section, const std::string& where,
                             const toml::node& node) {
    const toml::array* const array = node.as_array();
    if (array == nullptr || (!array->empty() && !array->is_homogeneous<toml::table>())) {
      return ConfigError(where,
                         absl::StrCat("section [", section, "] stands once for each ", section),
                         absl::StrCat("Write [[", section, "]]."));
    }
    for (const toml::node& item : *array) {
      PT_ASSIGN_OR_RETURN(ConfigTable table, loader_.BuiltInTable(section));
      table.where_ = Line(item.source());
      PT_RETURN_IF_ERROR(ApplyTable(section, *item.as_table(), &table));
      loader_.config_.repeated_[section].push_back(std::move(table));
    }
    return absl::OkStatus();
  }

  absl::Status ApplyTable(const std::string& section, const toml::table& values,
                          ConfigTable* table) {
    for (const auto& [name, node] : values) {
      const std::string where = Line(name.source());
      const ConfigKey* const key = loader_.FindKey(section, std::string(name.str()));
      if (key == nullptr) return UnknownKey(section, std::string(name.str()), where);
      absl::StatusOr<ConfigValue> value = ValueFrom(key->type, node);
      if (!value.ok()) {
        return ConfigError(where, absl::StrCat("[", section, "] ", key->name, " must be ",
                                               ConfigTypeName(key->type)));
      }
      PT_RETURN_IF_ERROR(Set(*key, *std::move(value), where, table));
    }
    return absl::OkStatus();
  }

  absl::Status UnknownSection(const std::string& name, const std::string& where,
                              const toml::node& node) const {
    const bool is_section = node.is_table() || node.is_array_of_tables();
    const std::string what = is_section ? absl::StrCat("unknown section [", name, "]")
                                        : absl::StrCat("unknown key \"", name, "\"");
    for (const ConfigKey& key : loader_.schema_.keys) {
      if (is_section || key.name != name) continue;
      return ConfigError(where, absl::StrCat(what, " outside a section"), Move(key.section));
    }
    std::set<std::string> sections;
    for (const ConfigKey& key : loader_.schema_.keys) sections.insert(key.section);
    return ConfigError(where, what, Suggest(NearestWord(name, {sections.begin(), sections.end()})));
  }

  absl::Status UnknownKey(const std::string& section, const std::string& name,
                          const std::string& where) const {
    const std::string what = absl::StrCat("unknown key \"", name, "\" in [", section, "]");
    std::vector<std::string> names;
    for (const ConfigKey& key : loader_.schema_.keys) {
      if (key.section == section) names.push_back(key.name);
    }
    const std::string nearest = NearestWord(name, names);
    if (!nearest.empty()) return ConfigError(where, what, Suggest(nearest));
    for (const ConfigKey& key : loader_.schema_.keys) {
      if (key.name == name) return ConfigError(where, what, Move(key.section));
    }
    return ConfigError(where, what, Suggest(""));
  }

  static std::string Move(absl::string_view section) {
    return absl::StrCat("Move it into [", section, "].");
  }
  static std::string Suggest(const std::string& nearest) {
    if (nearest.empty()) return "Take it out; docs/OPERATIONS.md lists what there is.";
    return absl::StrCat("Write \"", nearest, "\" if that is what you mean, or take it out.");
  }

  const std::string& path_;
  ConfigLoader& loader_;
};

absl::Status ConfigLoader::ApplyFile(const std::string& path) {
  PT_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  PT_ASSIGN_OR_RETURN(const toml::table root, ParseToml(path, content));
  config_.file_ = path;
  return File(path, *this).Apply(root);
}

}  // namespace ptdoc::sync
