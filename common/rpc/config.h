#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ptdoc::sync {

// The configuration of a program: built-in values, beaten by a TOML file,
// beaten by the environment, beaten by flags. A program declares its keys in
// one table (ConfigSchema); whatever is not in it is an error, so that a typing
// error never starts a program half-configured.
//
// Every error has reason CONFIG (INVALID_ARGUMENT; NOT_FOUND for a file that is
// missing) and names its place: "agent.toml:12: unknown key ...".

enum class ConfigType {
  kText,            // "..."
  kInteger,         // 12
  kBool,            // true
  kDuration,        // "30s", "2h", "90d", "250ms"
  kBytes,           // "1MiB" or 1048576
  kTextList,        // ["a", "b"]; in environment and flags: a,b
  kOneOrMoreTexts,  // "a" or ["a", "b"], read by TextList; in environment and flags: one
  kTextMap,         // {a = "b"}; in the file only
};

struct ConfigKey {
  const char* section;  // "sync" for [sync]
  const char* name;     // "interval"
  ConfigType type = ConfigType::kText;
  // As it would be written in the environment; empty = the type's empty value.
  const char* built_in = "";
  // For kText: "a|b|c", the only values allowed. Empty = any.
  const char* choices = "";
};

struct ConfigSchema {
  // "PTDOC_SYNC_": [server] listen is PTDOC_SYNC_SERVER_LISTEN. Other variables
  // with this prefix are left alone (containers invent some).
  const char* env_prefix;
  std::vector<ConfigKey> keys;
  // Sections written as [[name]], any number of times; not in the environment.
  std::vector<std::string> repeated;
  // Sections that may stand, but have no keys.
  std::vector<std::string> empty = {};
};

using ConfigValue = std::variant<std::string, int64_t, bool, absl::Duration,
                                 std::vector<std::string>, std::map<std::string, std::string>>;

// The values of one section, or of one [[section]]. Asking for a key that the
// schema does not have, or with another type, stops the process: that is a bug.
class ConfigTable {
 public:
  const std::string& Text(absl::string_view name) const;
  int64_t Integer(absl::string_view name) const;
  bool Bool(absl::string_view name) const;
  absl::Duration Duration(absl::string_view name) const;
  int64_t Bytes(absl::string_view name) const;
  const std::vector<std::string>& TextList(absl::string_view name) const;
  const std::map<std::string, std::string>& TextMap(absl::string_view name) const;

  // False: the built-in value stands.
  bool IsSet(absl::string_view name) const;
  // Where the value comes from: "agent.toml:12", "environment
  // PTDOC_SYNC_SERVER_LISTEN", "flag --listen", "built in".
  const std::string& Where(absl::string_view name) const;
  // Where the table itself begins: "agent.toml:40".
  const std::string& where() const { return where_; }
  // For a program's own checks: "<where>: [section] name: <what>".
  absl::Status Error(absl::string_view name, absl::string_view what) const;

 private:
  friend class ConfigLoader;
  struct Entry {
    ConfigType type = ConfigType::kText;
    ConfigValue value;
    std::string where;
    bool is_set = false;
  };
  const Entry& Find(absl::string_view name) const;
  template <typename T>
  const T& As(absl::string_view name, ConfigType type) const;

  std::string section_;
  std::string where_;
  std::map<std::string, Entry, std::less<>> entries_;
};

// A flag that was given: {"server.listen", "127.0.0.1:0", "--listen"}.
struct ConfigFlag {
  std::string key;
  std::string value;
  std::string flag;
};

using Environment = std::map<std::string, std::string>;
// The process's own.
Environment ProcessEnvironment();

class Config {
 public:
  // `file` empty: none is read. The first error found is returned.
  static absl::StatusOr<Config> Load(const ConfigSchema& schema, const std::string& file,
                                     const Environment& environment,
                                     const std::vector<ConfigFlag>& flags = {});

  // Every section of the schema exists, with its built-in values at least.
  const ConfigTable& Section(absl::string_view section) const;
  const std::vector<ConfigTable>& Repeated(absl::string_view section) const;
  // The file that was read; empty = none.
  const std::string& file() const { return file_; }

 private:
  friend class ConfigLoader;
  std::string file_;
  std::map<std::string, ConfigTable, std::less<>> sections_;
  std::map<std::string, std::vector<ConfigTable>, std::less<>> repeated_;
};

// `text` as it stands in a TOML file, in quotes: whatever it holds is read back
// byte for byte. INVALID_ARGUMENT if it is not UTF-8, which TOML cannot hold.
absl::StatusOr<std::string> TomlText(absl::string_view text);

// Which file to read: `given` (a flag), else the variable <env_prefix>CONFIG,
// else the first candidate that exists, else "" (no file). NOT_FOUND if one of
// the first two is named and missing.
absl::StatusOr<std::string> FindConfigFile(const ConfigSchema& schema, const std::string& given,
                                           const Environment& environment,
                                           const std::vector<std::string>& candidates);

}  // namespace ptdoc::sync
