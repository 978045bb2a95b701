#include "device-agent/capture/advice.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "device-agent/capture/triggers.h"

namespace ptdoc::sync {
namespace {

// A key of fewer bytes than this is no random one.
constexpr size_t kRandomKeyBytesMin = 16;

// What a sample of one key column looks like.
struct KeySample {
  int64_t rows = 0;
  int64_t short_texts = 0;
  bool upper_case_uuids = false;
  bool lower_case_uuids = false;
};

// 32 hexadecimal digits, with hyphens and braces or without.
bool LooksLikeUuid(absl::string_view text) {
  int64_t digits = 0;
  for (const char c : text) {
    if (c == '-' || c == '{' || c == '}') continue;
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
    ++digits;
  }
  return digits == 32;
}

template <typename Predicate>
bool AnyOf(absl::string_view text, Predicate predicate) {
  return std::any_of(text.begin(), text.end(),
                     [&](char c) { return predicate(static_cast<unsigned char>(c)); });
}

absl::StatusOr<KeySample> SampleKey(sqlite::Database& db, const TableInfo& table,
                                    const std::string& column) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare(absl::StrCat("SELECT ", sqlite::QuoteName(column), " FROM main.",
                              sqlite::QuoteName(table.name), " LIMIT ", kKeySampleRows)));
  KeySample sample;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return sample;
    const Value value = rows.ColumnValue(0);
    if (value.is_null()) continue;
    ++sample.rows;
    if (value.type() != Value::Type::kText) continue;
    const std::string& text = value.bytes();
    if (LooksLikeUuid(text)) {
      sample.upper_case_uuids |= AnyOf(text, absl::ascii_isupper);
      sample.lower_case_uuids |= AnyOf(text, absl::ascii_islower);
    } else if (text.size() < kRandomKeyBytesMin) {
      ++sample.short_texts;
    }
  }
}

bool IsForeignKeyColumn(const TableInfo& table, const std::string& column) {
  for (const ForeignKeyInfo& key : table.foreign_keys) {
    if (std::find(key.columns.begin(), key.columns.end(), column) != key.columns.end()) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> OthersOf(std::vector<std::string> names, const std::string& name) {
  std::erase(names, name);
  return names;
}

absl::Status AdviseKey(sqlite::Database& db, const TableInfo& table, const TablePlan& entry,
                       std::vector<std::string>* out) {
  for (const std::string& name : entry.key) {
    const ColumnInfo& column = *table.Column(name);
    if (!column.not_null) {
      out->push_back(absl::StrCat("The key column \"", name,
                                  "\" may hold NULL: such a row is not synced (INVALID_KEY)."));
    }
    if (IsForeignKeyColumn(table, name)) continue;  // The parent's matter.
    const bool refers = entry.config.references.contains(name);
    if (entry.key.size() > 1 && column.affinity == Affinity::kInteger && !refers) {
      out->push_back(absl::StrCat(
          "The key column \"", name,
          "\" is a number: two devices that count it up offline, for the same ",
          absl::StrJoin(OthersOf(entry.key, name), ", "),
          ", make one row of two, and the later edit wins; the other one stands in the archive."));
    }
    PT_ASSIGN_OR_RETURN(const KeySample sample, SampleKey(db, table, name));
    if (sample.upper_case_uuids && sample.lower_case_uuids) {
      out->push_back(absl::StrCat("The key column \"", name,
                                  "\" holds uuids in upper and in lower case: written the other "
                                  "way, one row becomes two."));
    }
    if (2 * sample.short_texts > sample.rows) {
      out->push_back(absl::StrCat("The key column \"", name,
                                  "\" seems to carry a meaning: a record number would be PHI, and "
                                  "keys stand in queue, archives and answers."));
    }
  }
  return absl::OkStatus();
}

void AdviseReferences(const TableInfo& table, const Plan& plan, std::vector<std::string>* out) {
  for (const ForeignKeyInfo& key : table.foreign_keys) {
    if (plan.ByTable(key.parent_table) != nullptr) continue;
    out->push_back(absl::StrCat(absl::StrJoin(key.columns, ", "), " refers to \"", key.parent_table,
                                "\", which is not synced: where the row that it means is absent, a "
                                "version is set aside."));
  }
}

void AdviseIntegers(const TablePlan& entry, std::vector<std::string>* out) {
  if (!entry.local_key.empty()) {
    out->push_back(absl::StrCat("Its integer \"", entry.local_key,
                                "\" stays on each device; others know its rows by ",
                                absl::StrJoin(entry.key, ", "), "."));
  }
  std::vector<std::string> columns;
  for (const Translation& translation : entry.translations) {
    if (translation.kind != TranslationKind::kRow) continue;
    columns.push_back(absl::StrCat(translation.column, " as ids of ", translation.parent));
  }
  if (!columns.empty()) {
    out->push_back(absl::StrCat("Others get ", absl::StrJoin(columns, ", "), "."));
  }
  if (entry.config.integer_key == IntegerKey::kOneSide) {
    out->push_back(
        "Its integers are taken as they are: rows may be created on one device (or side) only; a "
        "second row under one number is refused (KEY_COLLISION).");
  }
  if (entry.config.id_range.has_value()) {
    out->push_back(
        absl::StrCat("This device gives its new rows numbers from ", entry.config.id_range->low,
                     " to ", entry.config.id_range->high,
                     "; a row of a higher range is kept here under its number with a minus."));
  }
}

void AdviseColumns(const TableInfo& table, const TablePlan& entry, std::vector<std::string>* out) {
  const EntityConfig& config = entry.config;
  for (const ColumnInfo& column : table.columns) {
    if (!column.not_null || column.has_default || column.generated) continue;
    if (table.rowid_alias && column.key_position > 0) continue;  // SQLite chooses it.
    const bool sent = std::binary_search(entry.columns.begin(), entry.columns.end(), column.name) ||
                      IsStampColumn(config, column.name);
    if (sent) continue;
    out->push_back(absl::StrCat("The column \"", column.name,
                                "\" is NOT NULL without a default and is not synced: rows that "
                                "other devices create cannot be inserted, they are set aside."));
  }
}

void AdviseStamps(const TableInfo& table, const EntityConfig& config,
                  std::vector<std::string>* out) {
  const bool wanted = !config.last_modified_column.empty() || !config.modified_by_column.empty() ||
                      !config.sync_state_column.empty();
  if (!wanted || !StampsWouldDisturb(table, config)) return;
  out->push_back(
      "Its columns are not stamped when the app writes: an UPDATE trigger of the app would fire "
      "for "
      "the stamp. They are written when versions of others are applied.");
}

// The columns by which PTDoc's own entities know when, by whom and whether.
void AdviseStampsThatAreContent(const TablePlan& entry, std::vector<std::string>* out) {
  std::vector<std::string> keys;
  for (const auto& [column, key] : {std::pair("LastModifiedUtc", "last_modified_column"),
                                    std::pair("ModifiedByUserId", "modified_by_column"),
                                    std::pair("SyncState", "sync_state_column")}) {
    const auto& columns = entry.columns;
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) continue;
    keys.push_back(absl::StrCat(key, " = \"", column, "\""));
  }
  if (keys.empty()) return;
  out->push_back(
      absl::StrCat("Columns with the names of PTDoc's stamps are synced as content: versions that "
                   "differ in them "
                   "alone conflict. If they are stamps, say so in its [[entity]]: ",
                   absl::StrJoin(keys, ", "), "."));
}

void AdviseCapture(const TableInfo& table, std::vector<std::string>* out) {
  for (const UniqueIndex& index : table.uniques) {
    if (!index.expression) continue;
    out->push_back(absl::StrCat("The unique index \"", index.name,
                                "\" holds an expression: a row that a REPLACE pushes out by it is "
                                "found by comparison only, later."));
  }
  if (table.app_triggers.empty()) return;
  out->push_back(absl::StrCat("The app's triggers on it fire when versions are applied: ",
                              absl::StrJoin(table.app_triggers, ", "), "."));
}

// What an update makes of it UpdateSql() tells: with every trigger of the table it
// takes longest to compile, and stands in the way of a start.
std::string InsertSql(const TablePlan& entry) {
  std::vector<std::string> names;
  names.reserve(entry.columns.size());
  for (const std::string& column : entry.columns) names.push_back(sqlite::QuoteName(column));
  std::vector<std::string> key;
  key.reserve(entry.key.size());
  for (const std::string& column : entry.key) key.push_back(sqlite::QuoteName(column));
  return absl::StrCat("INSERT INTO main.", sqlite::QuoteName(entry.table), "(",
                      absl::StrJoin(names, ", "), ") VALUES (",
                      absl::StrJoin(std::vector<std::string>(names.size(), "?"), ", "),
                      ") ON CONFLICT(", absl::StrJoin(key, ", "), ") DO NOTHING");
}

std::string UpdateSql(const TablePlan& entry) {
  std::vector<std::string> sets;
  sets.reserve(entry.columns.size());
  for (const std::string& column : entry.columns) {
    sets.push_back(absl::StrCat(sqlite::QuoteName(column), " = ?"));
  }
  return absl::StrCat("UPDATE main.", sqlite::QuoteName(entry.table), " SET ",
                      absl::StrJoin(sets, ", "));
}

absl::Status CompileWrites(sqlite::Database& db, const TablePlan& entry) {
  const std::string deletion =
      absl::StrCat("DELETE FROM main.", sqlite::QuoteName(entry.table), " WHERE 0");
  for (const std::string& sql : {InsertSql(entry), UpdateSql(entry), deletion}) {
    PT_RETURN_IF_ERROR(db.Compile(sql));
  }
  return absl::OkStatus();
}

// Our triggers without our tables (an app has dropped what it does not know)
// compile as little as the app's broken ones, but Install will mend them.
bool IsAboutOurs(const absl::Status& status) {
  return absl::StrContains(status.message(), "SyncLog") ||
         absl::StrContains(status.message(), "SyncControl");
}

// A busy file, a sick disk, no memory. (A damaged one is damaged for good.)
bool SaysNothing(const absl::Status& status) {
  return !status.ok() && !IsAboutSchema(status) && !absl::IsDataLoss(status);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> Advise(sqlite::Database& db, const TableInfo& table,
                                                const Plan& plan, const TablePlan& entry) {
  std::vector<std::string> advice;
  PT_RETURN_IF_ERROR(AdviseKey(db, table, entry, &advice));
  AdviseReferences(table, plan, &advice);
  AdviseIntegers(entry, &advice);
  AdviseColumns(table, entry, &advice);
  AdviseStamps(table, entry.config, &advice);
  AdviseStampsThatAreContent(entry, &advice);
  AdviseCapture(table, &advice);
  return advice;
}

absl::Status ProbeApplyMode(sqlite::Database& db, TablePlan* entry) {
  const absl::Status with_triggers = CompileWrites(db, *entry);
  entry->apply_mode = ApplyMode::kTriggersOn;
  if (with_triggers.ok() || IsAboutOurs(with_triggers)) return absl::OkStatus();
  // Nothing is known of the table then: the whole look at the schema is taken again.
  if (SaysNothing(with_triggers)) return with_triggers;
  PT_RETURN_IF_ERROR(db.EnableTriggers(false));
  const absl::Status without_triggers = CompileWrites(db, *entry);
  PT_RETURN_IF_ERROR(db.EnableTriggers(true));
  if (SaysNothing(without_triggers)) return without_triggers;
  entry->apply_mode = without_triggers.ok() ? ApplyMode::kTriggersOff : ApplyMode::kCaptureOnly;
  entry->reason =
      std::string(without_triggers.ok() ? with_triggers.message() : without_triggers.message());
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
