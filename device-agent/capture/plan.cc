#include "device-agent/capture/plan.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "device-agent/capture/advice.h"
#include "device-agent/capture/references.h"
#include "device-agent/capture/refusal.h"
#include "device-agent/capture/triggers.h"

namespace ptdoc::sync {
namespace {

constexpr char kCorrectEntity[] =
    ". Nothing was changed. Correct [[entity]] in agent.toml, or --table.";

absl::Status Missing(absl::string_view reason, absl::string_view what) {
  return ReasonError(absl::StatusCode::kNotFound, reason, absl::StrCat(what, kCorrectEntity));
}

absl::Status Contradiction(absl::string_view what) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "ENTITY_CONFIG",
                     absl::StrCat(what, kCorrectEntity));
}

constexpr int64_t kTableNumberMax = 99'999'999;

const TableInfo* FindTable(const std::vector<TableInfo>& schema, absl::string_view name) {
  for (const TableInfo& table : schema) {
    if (absl::EqualsIgnoreCase(table.name, name)) return &table;
  }
  return nullptr;
}

// Puts the file's spelling in the place of each name.
absl::Status Spell(const TableInfo& table, absl::string_view option,
                   std::vector<std::string>* names) {
  for (std::string& name : *names) {
    const ColumnInfo* column = table.Column(name);
    if (column == nullptr) {
      return Missing("NO_SUCH_COLUMN",
                     absl::StrCat("The table \"", table.name, "\" has no column \"", name, "\" (",
                                  option, ")"));
    }
    name = column->name;
  }
  return absl::OkStatus();
}

absl::Status SpellStamp(const TableInfo& table, absl::string_view option, std::string* name) {
  if (name->empty()) return absl::OkStatus();
  std::vector<std::string> names = {*name};
  PT_RETURN_IF_ERROR(Spell(table, option, &names));
  *name = names[0];
  if (!table.Column(*name)->generated) return absl::OkStatus();
  return Contradiction(absl::StrCat("The column \"", *name, "\" of \"", table.name,
                                    "\" is generated and cannot be stamped (", option, ")"));
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status SpellReferences(const TableInfo& table, EntityConfig* config) {
  std::map<std::string, std::string> spelled;
  for (const auto& [column, type] : config->references) {
    std::vector<std::string> names = {column};
    PT_RETURN_IF_ERROR(Spell(table, "references", &names));
    spelled[names[0]] = type;
  }
  config->references = std::move(spelled);
  return absl::OkStatus();
}

// After this every column name of the configuration is one of the table's.
absl::Status SpellConfig(const TableInfo& table, EntityConfig* config) {
  config->table = table.name;
  if (config->type.empty()) config->type = table.name;
  if (config->type.size() > kEntityTypeBytesMax) {
    return Contradiction(absl::StrCat("The type of \"", table.name, "\" is longer than ",
                                      kEntityTypeBytesMax, " bytes"));
  }
  if (table.is_virtual) return absl::OkStatus();
  PT_RETURN_IF_ERROR(Spell(table, "key", &config->key));
  PT_RETURN_IF_ERROR(Spell(table, "columns", &config->columns));
  PT_RETURN_IF_ERROR(Spell(table, "exclude_columns", &config->exclude_columns));
  PT_RETURN_IF_ERROR(SpellReferences(table, config));
  PT_RETURN_IF_ERROR(SpellStamp(table, "last_modified_column", &config->last_modified_column));
  PT_RETURN_IF_ERROR(SpellStamp(table, "modified_by_column", &config->modified_by_column));
  PT_RETURN_IF_ERROR(SpellStamp(table, "sync_state_column", &config->sync_state_column));
  if (config->time_format.empty()) config->time_format = "auto";
  if (config->time_format == "auto" || ParseTimeFormat(config->time_format)) {
    return absl::OkStatus();
  }
  return Contradiction(absl::StrCat("The time_format of \"", table.name,
                                    "\" is none of auto, iso8601, efcore, unix, unix_ms, ticks"));
}

absl::Status CheckKeyConfig(const TableInfo& table, const EntityConfig& config,
                            const std::vector<std::string>& key) {
  for (const std::string& column : key) {
    if (Contains(config.exclude_columns, column)) {
      return Contradiction(absl::StrCat("The key column \"", column, "\" of \"", table.name,
                                        "\" cannot be excluded"));
    }
    if (IsStampColumn(config, column)) {
      return Contradiction(absl::StrCat("The key column \"", column, "\" of \"", table.name,
                                        "\" cannot be stamped"));
    }
  }
  return absl::OkStatus();
}

// The tables that were asked for, in order of creation, and what is refused by
// its mere name.
absl::StatusOr<std::vector<Candidate>> Choose(sqlite::Database& db, const PlanRequest& request,
                                              const std::vector<TableInfo>& schema, Plan* plan) {
  std::map<const TableInfo*, EntityConfig> configs;
  for (const EntityConfig& config : request.entities) {
    const TableInfo* table = FindTable(schema, config.table);
    if (table != nullptr) {
      if (!configs.emplace(table, config).second) {
        return Contradiction(absl::StrCat("The table \"", table->name, "\" is named twice"));
      }
      continue;
    }
    PT_ASSIGN_OR_RETURN(auto refusal, RefuseName(db, config.table));
    if (!refusal) {
      return Missing("NO_SUCH_TABLE", absl::StrCat("The file has no table \"", config.table, "\""));
    }
    plan->refusals.push_back(*std::move(refusal));
  }
  std::vector<Candidate> chosen;
  for (const TableInfo& table : schema) {
    const auto named = configs.find(&table);
    if (named != configs.end()) {
      chosen.push_back({&table, named->second, {}, false});
    } else if (request.all_tables) {
      if (auto refusal = RefuseUnnamed(table)) {
        plan->refusals.push_back(*std::move(refusal));
      } else {
        chosen.push_back({&table, EntityConfig(), {}, false});
      }
    }
  }
  return chosen;
}

// Integers in the key are refused unless the configuration says what becomes of
// them; where it speaks of a key without integers, it means something else.
absl::Status CheckIntegerKeyConfig(const Candidate& candidate) {
  const EntityConfig& config = candidate.config;
  const std::string& name = candidate.table->name;
  if (config.integer_key == IntegerKey::kRange && !config.id_range.has_value()) {
    return Contradiction(absl::StrCat("integer_key = \"range\" of \"", name,
                                      "\" needs the numbers of this device: id_range"));
  }
  if (config.integer_key != IntegerKey::kRange && config.id_range.has_value()) {
    return Contradiction(
        absl::StrCat("id_range of \"", name, "\" is for integer_key = \"range\" alone"));
  }
  if (config.integer_key == IntegerKey::kRefuse || candidate.has_numeric_keys) {
    return absl::OkStatus();
  }
  for (const std::string& column : candidate.key) {
    if (candidate.table->Column(column)->affinity == Affinity::kInteger) return absl::OkStatus();
  }
  return Contradiction(absl::StrCat("integer_key of \"", name,
                                    "\" says something of integers, but its key (",
                                    absl::StrJoin(candidate.key, ", "), ") holds none"));
}

void AddTranslations(const Candidate& candidate, const ReferenceMap& references, TablePlan* entry) {
  for (size_t i = 0; i < entry->columns.size(); ++i) {
    std::optional<Translation> translation = references.Translate(candidate, entry->columns[i]);
    if (!translation) continue;
    if (translation->kind == TranslationKind::kRow) entry->affinities[i] = Affinity::kText;
    entry->translations.push_back(*std::move(translation));
  }
  for (size_t i = 0; i < entry->key.size(); ++i) {
    const Translation* translation = TranslationOf(*entry, entry->key[i]);
    if (translation != nullptr && translation->kind == TranslationKind::kRow) {
      entry->key_affinities[i] = Affinity::kText;
    }
  }
}

TablePlan BuildTable(const Candidate& candidate, const ReferenceMap& references) {
  const TableInfo& table = *candidate.table;
  TablePlan entry;
  entry.type = candidate.config.type;
  entry.table = table.name;
  entry.key = candidate.key;
  entry.config = candidate.config;
  entry.local_key = LocalKeyOf(table, entry.key);
  for (const std::string& column : entry.key) {
    entry.key_affinities.push_back(table.Column(column)->affinity);
  }
  entry.ignores_case = KeyIgnoresCase(table, entry.key);
  for (const ColumnInfo& column : table.columns) {
    const bool in_key = Contains(entry.key, column.name);
    // A local integer is content only where it says to which row this one belongs.
    const bool local = !entry.local_key.empty() && column.name == entry.local_key &&
                       !references.Translate(candidate, column.name).has_value();
    if (in_key || (IsContent(candidate, column) && !local)) entry.columns.push_back(column.name);
  }
  std::sort(entry.columns.begin(), entry.columns.end());
  for (const std::string& column : entry.columns) {
    entry.affinities.push_back(table.Column(column)->affinity);
  }
  AddTranslations(candidate, references, &entry);
  const bool plain_integer = entry.key.size() == 1 && entry.key_affinities[0] == Affinity::kInteger;
  entry.integer_key = plain_integer || entry.config.integer_key != IntegerKey::kRefuse;
  return entry;
}

std::optional<Refusal> RefuseNames(const Candidate& candidate) {
  std::vector<std::string> columns = candidate.key;
  for (const ColumnInfo& column : candidate.table->columns) {
    if (IsContent(candidate, column)) columns.push_back(column.name);
  }
  return RefuseEncoding(*candidate.table, candidate.config.type, columns);
}

// What of the chosen tables can be synced at all, by itself.
absl::Status Examine(sqlite::Database& db, const PlanRequest& request,
                     const std::map<std::string, int>& numbers, std::vector<Candidate>* candidates,
                     Plan* plan) {
  std::vector<Candidate> good;
  for (Candidate& candidate : *candidates) {
    const TableInfo& table = *candidate.table;
    PT_RETURN_IF_ERROR(SpellConfig(table, &candidate.config));
    const bool is_left_out =
        request.refused_types.contains(candidate.config.type) ||
        (!request.types.empty() && !Contains(request.types, candidate.config.type));
    if (is_left_out) continue;
    if (auto refusal = RefuseTable(table, candidate.config.key)) {
      plan->refusals.push_back(*std::move(refusal));
      continue;
    }
    candidate.key = candidate.config.key.empty() ? table.primary_key : candidate.config.key;
    // Of one that is synced already the rows are not looked at: one number among
    // its keys must not stop the others for good.
    if (!numbers.contains(table.name)) {
      PT_ASSIGN_OR_RETURN(candidate.has_numeric_keys, HasNumericKeys(db, table, candidate.key));
    }
    PT_RETURN_IF_ERROR(CheckKeyConfig(table, candidate.config, candidate.key));
    PT_RETURN_IF_ERROR(CheckIntegerKeyConfig(candidate));
    if (auto unreadable = RefuseNames(candidate)) {
      plan->refusals.push_back(*std::move(unreadable));
      continue;
    }
    for (const Candidate& other : good) {
      if (other.config.type != candidate.config.type) continue;
      return Contradiction(absl::StrCat("Two tables have the type \"", other.config.type, "\""));
    }
    good.push_back(std::move(candidate));
  }
  *candidates = std::move(good);
  return absl::OkStatus();
}

// A table that leaves may be what another one's integers refer to: until all
// that are left go together.
void RefuseTogether(const std::vector<TableInfo>& schema, std::vector<Candidate>* candidates,
                    Plan* plan) {
  bool again = true;
  while (again) {
    const ReferenceMap references(schema, *candidates);
    std::vector<Candidate> good;
    for (const Candidate& candidate : *candidates) {
      std::optional<Refusal> refusal = RefuseIntegers(candidate, references);
      if (refusal) {
        plan->refusals.push_back(*std::move(refusal));
      } else {
        good.push_back(candidate);
      }
    }
    again = good.size() < candidates->size();
    *candidates = std::move(good);
  }
}

void BuildTables(const std::vector<TableInfo>& schema, const std::vector<Candidate>& candidates,
                 Plan* plan) {
  const ReferenceMap references(schema, candidates);
  for (const Candidate& candidate : candidates) {
    plan->tables.push_back(BuildTable(candidate, references));
  }
  std::set<std::string> in_keys;
  for (const TablePlan& entry : plan->tables) {
    for (const Translation* translation : TranslatedKey(entry)) in_keys.insert(translation->parent);
  }
  for (TablePlan& entry : plan->tables) {
    entry.logs_local_key = !entry.local_key.empty() && in_keys.contains(entry.type);
  }
}

// The numbers that tables carry, and below which none is free.
struct Numbers {
  std::map<std::string, int> by_table;
  std::set<int> used;
  int highest = 0;

  void Keep(const std::string& table, int number) {
    if (number <= 0) return;
    highest = std::max(highest, number);
    // Two tables under one number: the first that says so has it.
    if (by_table.contains(table) || used.contains(number)) return;
    by_table[table] = number;
    used.insert(number);
  }
};

absl::StatusOr<Numbers> KnownNumbers(sqlite::Database& db, const PlanRequest& request) {
  Numbers numbers;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name, tbl_name FROM main.sqlite_master WHERE type = "
                                 "'trigger' ORDER BY rowid"));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    numbers.Keep(std::string(rows.Text(1)), NumberOfTrigger(rows.Text(0)));
  }
  for (const auto& [table, number] : request.numbers) numbers.Keep(table, number);
  // There may be no log, or one that somebody has rebuilt: Install's matter.
  const absl::StatusOr<int64_t> logged =
      db.QueryInt("SELECT max(CAST(TableNo AS INTEGER)) FROM main.SyncLog");
  if (!logged.ok() && !IsAboutSchema(logged.status())) return logged.status();
  if (logged.ok() && *logged > numbers.highest && *logged <= kTableNumberMax) {
    numbers.highest = static_cast<int>(*logged);
  }
  return numbers;
}

absl::Status SetTimeFormat(sqlite::Database& db, const TableInfo& table, TablePlan* entry) {
  if (entry->config.last_modified_column.empty()) return absl::OkStatus();
  const ColumnInfo& column = *table.Column(entry->config.last_modified_column);
  std::optional<TimeFormat> format = ParseTimeFormat(entry->config.time_format);
  if (!format) {
    PT_ASSIGN_OR_RETURN(format, DetectTimeFormat(db, table, column));
  }
  if (!format) {
    entry->warnings.push_back(absl::StrCat(
        "No row shows yet how the app writes times into \"", column.name,
        "\"; time_format = \"iso8601\", \"efcore\", \"unix\", \"unix_ms\" or \"ticks\" says it."));
  }
  entry->time_format = format.value_or(
      column.affinity == Affinity::kInteger ? TimeFormat::kUnixMillis : TimeFormat::kIso8601);
  return absl::OkStatus();
}

absl::Status CountRows(sqlite::Database& db, TablePlan* entry) {
  // An index may compare as only the app can.
  const std::string from =
      absl::StrCat("SELECT count(*) FROM main.", sqlite::QuoteName(entry->table), " NOT INDEXED");
  std::vector<std::string> nulls;
  nulls.reserve(entry->key.size());
  for (const std::string& column : entry->key) {
    nulls.push_back(absl::StrCat(sqlite::QuoteName(column), " IS NULL"));
  }
  PT_ASSIGN_OR_RETURN(entry->rows, db.QueryInt(from));
  PT_ASSIGN_OR_RETURN(entry->rows_with_null_key,
                      db.QueryInt(absl::StrCat(from, " WHERE ", absl::StrJoin(nulls, " OR "))));
  return absl::OkStatus();
}

absl::Status Complete(sqlite::Database& db, const PlanRequest& request,
                      const std::vector<TableInfo>& schema, Numbers numbers, Plan* plan) {
  for (TablePlan& entry : plan->tables) {
    const TableInfo& table = *FindTable(schema, entry.table);
    const auto known = numbers.by_table.find(entry.table);
    entry.number = known != numbers.by_table.end() ? known->second : ++numbers.highest;
    PT_RETURN_IF_ERROR(SetTimeFormat(db, table, &entry));
    entry.triggers = TriggersFor(entry, table);
    PT_RETURN_IF_ERROR(ProbeApplyMode(db, &entry));
    PT_ASSIGN_OR_RETURN(std::vector<std::string> advice, Advise(db, table, *plan, entry));
    entry.warnings.insert(entry.warnings.end(), advice.begin(), advice.end());
    if (request.count_rows) PT_RETURN_IF_ERROR(CountRows(db, &entry));
  }
  return absl::OkStatus();
}

}  // namespace

bool TablePlan::IgnoresCase() const {
  return std::find(ignores_case.begin(), ignores_case.end(), true) != ignores_case.end();
}

bool IsStampColumn(const EntityConfig& config, absl::string_view column) {
  // A column may have no name, as the options that are not given.
  return !column.empty() &&
         (column == config.last_modified_column || column == config.modified_by_column ||
          column == config.sync_state_column);
}

const TablePlan* Plan::ByType(absl::string_view type) const {
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [&](const TablePlan& entry) { return entry.type == type; });
  return found == tables.end() ? nullptr : &*found;
}

const TablePlan* Plan::ByTable(absl::string_view table) const {
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const TablePlan& entry) {
    return absl::EqualsIgnoreCase(entry.table, table);
  });
  return found == tables.end() ? nullptr : &*found;
}

const TablePlan* Plan::ByNumber(int number) const {
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [&](const TablePlan& entry) { return entry.number == number; });
  return found == tables.end() ? nullptr : &*found;
}

int Plan::KeyWidth() const {
  size_t width = 1;
  for (const TablePlan& entry : tables) {
    width = std::max(width, entry.key.size() + (entry.logs_local_key ? 1 : 0));
  }
  return static_cast<int>(width);
}

const Translation* TranslationOf(const TablePlan& table, absl::string_view column) {
  for (const Translation& translation : table.translations) {
    if (translation.column == column) return &translation;
  }
  return nullptr;
}

std::vector<const Translation*> TranslatedKey(const TablePlan& table) {
  std::vector<const Translation*> translated;
  for (const std::string& column : table.key) {
    const Translation* translation = TranslationOf(table, column);
    if (translation == nullptr || translation->kind != TranslationKind::kRow) continue;
    translated.push_back(translation);
  }
  return translated;
}

absl::StatusOr<Plan> MakePlan(sqlite::Database& db, const PlanRequest& request) {
  std::optional<sqlite::Transaction> snapshot;
  if (!db.in_transaction()) {
    PT_ASSIGN_OR_RETURN(auto begun,
                        sqlite::Transaction::Begin(db, sqlite::Transaction::Kind::kRead));
    snapshot.emplace(std::move(begun));
  }
  Plan plan;
  PT_ASSIGN_OR_RETURN(const std::vector<TableInfo> schema, ReadSchema(db));
  PT_ASSIGN_OR_RETURN(std::vector<Candidate> chosen, Choose(db, request, schema, &plan));
  PT_ASSIGN_OR_RETURN(Numbers numbers, KnownNumbers(db, request));
  PT_RETURN_IF_ERROR(Examine(db, request, numbers.by_table, &chosen, &plan));
  RefuseTogether(schema, &chosen, &plan);
  BuildTables(schema, chosen, &plan);
  PT_RETURN_IF_ERROR(Complete(db, request, schema, std::move(numbers), &plan));
  return plan;
}

}  // namespace ptdoc::sync
