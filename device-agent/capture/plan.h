#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/schema.h"
#include "device-agent/capture/stamp.h"

namespace ptdoc::sync {

// What is done with integers as keys; `integer_key` in the configuration.
enum class IntegerKey : uint8_t {
  kRefuse,   // two devices would give one number to two things
  kRange,    // each device creates rows inside of its own id_range only
  kOneSide,  // rows are created on one device (or side) only
};

// The numbers that this device gives to rows that it creates; both ends belong to it.
struct IdRange {
  int64_t low = 0;
  int64_t high = 0;
  friend bool operator==(const IdRange&, const IdRange&) = default;
};

// One [[entity]] of the configuration.
struct EntityConfig {
  std::string type;  // empty = the table's name
  std::string table;
  std::vector<std::string> key;      // empty = the PRIMARY KEY; else of a UNIQUE index
  std::vector<std::string> columns;  // empty = all; the key is always among them
  std::vector<std::string> exclude_columns;
  std::vector<std::string> after_apply;  // SQL run in the apply transaction
  std::string last_modified_column;
  std::string modified_by_column;
  std::string sync_state_column;
  std::string time_format = "auto";  // or a name of TimeFormat
  std::string user;  // [device] user: stands in the trigger that stamps modified_by_column
  IntegerKey integer_key = IntegerKey::kRefuse;
  std::optional<IdRange> id_range;
  // Foreign keys that the schema does not declare: column -> type. An empty type
  // says of a declared one that its numbers mean the same on every device.
  std::map<std::string, std::string> references;
};

// True for a column that triggers stamp: metadata of the row, no content.
bool IsStampColumn(const EntityConfig& config, absl::string_view column);

// How versions of others get into a table.
enum class ApplyMode : uint8_t {
  kTriggersOn,   // the app's triggers fire
  kTriggersOff,  // they cannot be run by us; external-content FTS is kept right by us
  kCaptureOnly,  // nothing can be written; `reason` says why
};

// A column whose integers are this device's own: what others get instead.
enum class TranslationKind : uint8_t {
  kRow,     // it holds a row's local integer: others get that row's EntityId, a TEXT
  kNumber,  // it holds a key under an id_range: others get its absolute value
};

struct Translation {
  std::string column;
  TranslationKind kind = TranslationKind::kRow;
  std::string parent;  // the type of the row that is meant
  friend bool operator==(const Translation&, const Translation&) = default;
};

// A table that is synced.
struct TablePlan {
  int number = 0;  // in SyncLog and in the triggers' names
  std::string type;
  std::string table;
  std::vector<std::string> key;
  std::vector<Affinity> key_affinities;  // as others see the values: TEXT of a translated one
  // Of each key column: its collation is NOCASE. RED and red are one row then, one
  // EntityId, and how it is written is content like any other.
  std::vector<bool> ignores_case;
  // Columns whose values are content: not generated, not excluded, not stamped,
  // and no rowid alias that is not the key (such an integer is each device's
  // own). Sorted bytewise; the key's columns are among them.
  std::vector<std::string> columns;
  std::vector<Affinity> affinities;               // of `columns`, as others see the values
  std::vector<Translation> translations;          // by column; all of them are in `columns`
  std::string local_key;                          // the rowid alias, where the key is another one
  bool logs_local_key = false;                    // a key of another table is made of it
  bool integer_key = false;                       // two devices can give its key to two things
  EntityConfig config;                            // column names as the file spells them
  TimeFormat time_format = TimeFormat::kIso8601;  // of last_modified_column
  std::vector<SchemaObject> triggers;             // TriggersFor of the present schema
  ApplyMode apply_mode = ApplyMode::kTriggersOn;
  std::string reason;                 // of the mode
  std::vector<std::string> warnings;  // each a sentence for people
  int64_t rows = 0;
  int64_t rows_with_null_key = 0;  // not synced (INVALID_KEY)

  // True if any column of the key ignores case.
  bool IgnoresCase() const;
};

// The column that Refusal::sql adds.
inline constexpr char kKeyColumnName[] = "sync_id";

// A table that is not synced: why, and what would make it possible.
struct Refusal {
  std::string table;
  std::string reason;                        // a code: NO_KEY, INTEGER_KEY, VIRTUAL, ...
  std::string what;                          // a sentence
  std::string remedy;                        // a sentence
  std::vector<std::string> useful_key = {};  // for `key`, where such columns are there
  // SQL that gives the table a column for `key`, kKeyColumnName, where nothing in it
  // would do. For a person to run: the agent adds no column to an app's table.
  std::vector<std::string> sql = {};
};

struct Plan {
  std::vector<TablePlan> tables;
  std::vector<Refusal> refusals;  // asked for, or found with all_tables

  const TablePlan* ByType(absl::string_view type) const;
  const TablePlan* ByTable(absl::string_view table) const;
  const TablePlan* ByNumber(int number) const;
  // Values that the triggers log of the widest key; 1 if there is no table.
  int KeyWidth() const;
};

// Null if the column holds what everybody else holds.
const Translation* TranslationOf(const TablePlan& table, absl::string_view column);
// The key's columns that hold local integers of other rows, in the key's order.
std::vector<const Translation*> TranslatedKey(const TablePlan& table);

struct PlanRequest {
  std::vector<EntityConfig> entities;  // by configuration or --table
  bool all_tables = false;
  // [sync] entity_types: only these, of the tables that are asked for. Empty = all.
  std::vector<std::string> types;
  // Types that the service does not show to this device: none of them, even if it is
  // asked for.
  std::set<std::string, std::less<>> refused_types = {};
  bool count_rows = false;
  // Numbers that tables (by name) had before: kept where no installed trigger
  // says otherwise, and never given to another table.
  std::map<std::string, int> numbers;
};

inline constexpr size_t kKeyColumnsMax = 8;
inline constexpr int kKeySampleRows = 10'000;  // what the warnings look at

// What capture would do with this file. Table numbers that installed triggers
// already carry are kept (they stand in the triggers' names), so that a lost
// ledger does not lose their meaning; a new number is above all that the log
// still holds. Tables are in order of creation. NOT_FOUND, naming it, for a
// table or column that the configuration names and the file lacks;
// INVALID_ARGUMENT for a configuration that contradicts itself. Compiles
// statements with the app's triggers on and off to find the apply mode, and
// leaves them on: on a connection with legacy_schema, else an FTS index kept by
// triggers looks like something that only the app can write. A snapshot of its own if the caller
// has no transaction.
absl::StatusOr<Plan> MakePlan(sqlite::Database& db, const PlanRequest& request);

}  // namespace ptdoc::sync
