#include "device-agent/capture/refusal.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kTextKeyRemedy =
    "give the table a TEXT key that every device can make by itself, such as a uuid";

// Tables of PTDoc's earlier, in-process sync engine.
constexpr std::array<absl::string_view, 2> kOldEngineTables = {"SyncQueueItems",
                                                               "SyncConflictArchives"};

bool SameColumns(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

// The index that keeps `key` unique; null for a rowid alias, or if there is none.
const UniqueIndex* KeyIndex(const TableInfo& table, const std::vector<std::string>& key) {
  for (const UniqueIndex& index : table.uniques) {
    if (!index.partial && !index.expression && SameColumns(index.columns, key)) return &index;
  }
  return nullptr;
}

// "or name ... with key=", where the table has a column that would do.
std::string KeyColumnHint(const TableInfo& table) {
  for (const UniqueIndex& index : table.uniques) {
    if (index.partial || index.expression || index.columns.size() != 1) continue;
    const ColumnInfo* column = table.Column(index.columns[0]);
    if (column == nullptr || !column->not_null || column->affinity != Affinity::kText) continue;
    return absl::StrCat("; its column \"", column->name, "\" is UNIQUE NOT NULL: key = \"",
                        column->name, "\" would do");
  }
  return "; or name a UNIQUE NOT NULL column with key=";
}

Refusal Refuse(const TableInfo& table, absl::string_view reason, std::string what,
               std::string remedy) {
  return Refusal{table.name, std::string(reason), std::move(what), std::move(remedy)};
}

std::optional<Refusal> RefuseKind(const TableInfo& table) {
  for (const absl::string_view name : kOldEngineTables) {
    if (!absl::EqualsIgnoreCase(table.name, name)) continue;
    return Refuse(table, "SYNC_TABLE", "it belongs to the app's own sync engine",
                  "leave it out: this agent has a queue and an archive of its own");
  }
  if (!table.is_virtual && !table.is_shadow) return std::nullopt;
  return Refuse(table, "VIRTUAL", "an index table; it is rebuilt by the app's own triggers",
                "sync the table that it indexes");
}

std::optional<Refusal> RefuseMissingKey(const TableInfo& table,
                                        const std::vector<std::string>& key) {
  if (key.empty()) {
    return Refuse(table, "NO_KEY", "it has no PRIMARY KEY",
                  absl::StrCat("declare a PRIMARY KEY", KeyColumnHint(table)));
  }
  if (SameColumns(key, table.primary_key) || KeyIndex(table, key) != nullptr) return std::nullopt;
  return Refuse(table, "NO_KEY",
                absl::StrCat("no PRIMARY KEY and no UNIQUE index over all rows covers exactly ",
                             absl::StrJoin(key, ", ")),
                "name the columns of such an index with key=");
}

std::optional<Refusal> RefuseKeyShape(const TableInfo& table, const std::vector<std::string>& key) {
  if (key.size() > kKeyColumnsMax) {
    return Refuse(table, "KEY_TOO_WIDE",
                  absl::StrCat("its key has ", key.size(), " columns; at most ", kKeyColumnsMax,
                               " are possible"),
                  std::string(kTextKeyRemedy));
  }
  for (const std::string& name : key) {
    if (!table.Column(name)->generated) continue;
    return Refuse(table, "GENERATED_KEY",
                  absl::StrCat("its key column \"", name,
                               "\" is generated, and cannot be written on another device"),
                  std::string(kTextKeyRemedy));
  }
  return std::nullopt;
}

Refusal IntegerKey(const TableInfo& table) {
  return Refuse(table, "INTEGER_KEY",
                "its key is made of integers: two devices that create rows offline pick the same "
                "number, and one row would overwrite the other",
                absl::StrCat(kTextKeyRemedy, KeyColumnHint(table)));
}

// True if a row has numbers alone in its key, where the declared types leave
// that open.
absl::StatusOr<bool> HasNumericKeys(sqlite::Database& db, const TableInfo& table,
                                    const std::vector<std::string>& key) {
  std::vector<std::string> columns;
  std::vector<std::string> terms;
  for (const std::string& name : key) {
    if (table.Column(name)->affinity == Affinity::kText) return false;
    columns.push_back(sqlite::QuoteName(name));
    terms.push_back(absl::StrCat("typeof(", sqlite::QuoteName(name), ") IN ('integer', 'real')"));
  }
  return db.QueryInt(absl::StrCat("SELECT 1 FROM (SELECT ", absl::StrJoin(columns, ", "),
                                  " FROM main.", sqlite::QuoteName(table.name), " LIMIT ",
                                  kKeySampleRows, ") WHERE ", absl::StrJoin(terms, " AND "),
                                  " LIMIT 1"));
}

absl::StatusOr<std::optional<Refusal>> RefuseIntegerKey(sqlite::Database& db,
                                                        const TableInfo& table,
                                                        const std::vector<std::string>& key,
                                                        bool is_synced) {
  const bool integers = std::all_of(key.begin(), key.end(), [&](const std::string& name) {
    return table.Column(name)->affinity == Affinity::kInteger;
  });
  if (integers) return std::optional(IntegerKey(table));
  if (is_synced) return std::optional<Refusal>();
  PT_ASSIGN_OR_RETURN(const bool numbers, HasNumericKeys(db, table, key));
  return numbers ? std::optional(IntegerKey(table)) : std::nullopt;
}

Refusal CaseInsensitiveKey(const TableInfo& table, const std::string& column) {
  return Refuse(table, "CASE_INSENSITIVE_KEY",
                absl::StrCat("its key column \"", column,
                             "\" has a collation other than BINARY: keys that are two for other "
                             "devices are one here"),
                "declare the column with COLLATE BINARY (SQLite's default)");
}

// True if the column takes two texts for one. SQL has no better way to ask for
// its collation, which need not be that of the key's index: the column of a
// compound select has the collation of its first part. No row is read.
absl::StatusOr<bool> IgnoresCase(sqlite::Database& db, const TableInfo& table,
                                 const std::string& column) {
  const std::string name = sqlite::QuoteName(column);
  return db.QueryInt(absl::StrCat("SELECT count(*) FROM (SELECT x FROM (SELECT ", name,
                                  " AS x FROM main.", sqlite::QuoteName(table.name),
                                  " LIMIT 0) UNION ALL SELECT 'a') WHERE x = 'A' OR x = 'a '"));
}

absl::StatusOr<std::optional<Refusal>> RefuseCollation(sqlite::Database& db, const TableInfo& table,
                                                       const std::vector<std::string>& key) {
  const UniqueIndex* index = KeyIndex(table, key);
  for (size_t i = 0; index != nullptr && i < index->columns.size(); ++i) {
    if (absl::EqualsIgnoreCase(index->collations[i], "BINARY")) continue;
    return std::optional(CaseInsensitiveKey(table, index->columns[i]));
  }
  for (const std::string& column : key) {
    const absl::StatusOr<bool> ignores = IgnoresCase(db, table, column);
    if (!ignores.ok() && !IsAboutSchema(ignores.status())) return ignores.status();
    // A collation that only the app knows is an error here, and not BINARY.
    if (!ignores.ok() || *ignores) return std::optional(CaseInsensitiveKey(table, column));
  }
  return std::optional<Refusal>();
}

// The rowid alias of a table that is synced by another key: local to a device.
const std::string* LocalInteger(const TableInfo& table, const TablePlan& plan) {
  if (!table.rowid_alias || SameColumns(plan.key, table.primary_key)) return nullptr;
  return &table.primary_key[0];
}

bool RefersTo(const ForeignKeyInfo& key, const std::string& parent, const std::string& column) {
  if (!absl::EqualsIgnoreCase(key.parent_table, parent)) return false;
  if (key.parent_columns.empty()) return true;
  return std::any_of(key.parent_columns.begin(), key.parent_columns.end(),
                     [&](const std::string& name) { return absl::EqualsIgnoreCase(name, column); });
}

std::optional<Refusal> RefuseReference(const std::vector<TableInfo>& schema, const Plan& plan,
                                       const TableInfo& table) {
  for (const TableInfo& parent : schema) {
    const TablePlan* parent_plan = plan.ByTable(parent.name);
    if (parent_plan == nullptr) continue;
    const std::string* local = LocalInteger(parent, *parent_plan);
    if (local == nullptr) continue;
    for (const ForeignKeyInfo& key : table.foreign_keys) {
      if (!RefersTo(key, parent.name, *local)) continue;
      return Refuse(table, "INTEGER_REFERENCE",
                    absl::StrCat("it refers to \"", parent.name, "\" by \"", *local,
                                 "\", an integer that each device chooses for itself"),
                    absl::StrCat("refer to \"", parent.name, "\" by ",
                                 absl::StrJoin(parent_plan->key, ", ")));
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::optional<Refusal>> RefuseName(sqlite::Database& db, const std::string& name) {
  if (IsOurTable(name)) {
    return std::optional(Refusal{name, "SYNC_TABLE", "it is this agent's own", "leave it out"});
  }
  if (absl::StartsWithIgnoreCase(name, "sqlite_")) {
    return std::optional(Refusal{name, "SYSTEM_TABLE", "it is SQLite's own", "leave it out"});
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name FROM main.sqlite_master WHERE type = 'view' AND "
                                 "name = ?1 COLLATE NOCASE"));
  PT_ASSIGN_OR_RETURN(const bool view, rows.Bind(1, name).Step());
  if (!view) return std::optional<Refusal>();
  return std::optional(
      Refusal{std::string(rows.Text(0)), "VIEW", "it is a view", "sync the tables that it shows"});
}

absl::StatusOr<std::optional<Refusal>> RefuseTable(sqlite::Database& db, const TableInfo& table,
                                                   const std::vector<std::string>& key,
                                                   bool is_synced) {
  const std::vector<std::string>& columns = key.empty() ? table.primary_key : key;
  if (auto refusal = RefuseKind(table)) return refusal;
  if (auto refusal = RefuseMissingKey(table, columns)) return refusal;
  if (auto refusal = RefuseKeyShape(table, columns)) return refusal;
  PT_ASSIGN_OR_RETURN(auto refusal, RefuseIntegerKey(db, table, columns, is_synced));
  if (refusal) return refusal;
  return RefuseCollation(db, table, columns);
}

std::optional<Refusal> RefuseEncoding(const TableInfo& table, const std::string& type,
                                      const std::vector<std::string>& columns) {
  if (!IsUtf8(type)) {
    return Refuse(table, "NAME_NOT_UTF8", "its name is not UTF-8, and cannot be sent",
                  "name a type for it with type=, or rename it");
  }
  for (const std::string& column : columns) {
    if (IsUtf8(column)) continue;
    return Refuse(table, "NAME_NOT_UTF8",
                  absl::StrCat("the name of its column \"", absl::CHexEscape(column),
                               "\" is not UTF-8, and cannot be sent"),
                  "rename the column, or leave it out with exclude_columns=");
  }
  return std::nullopt;
}

void RefuseIntegerReferences(const std::vector<TableInfo>& schema, Plan* plan) {
  const Plan whole = *plan;
  for (const TableInfo& table : schema) {
    if (whole.ByTable(table.name) == nullptr) continue;
    std::optional<Refusal> refusal = RefuseReference(schema, whole, table);
    if (!refusal) continue;
    std::erase_if(plan->tables, [&](const TablePlan& entry) { return entry.table == table.name; });
    plan->refusals.push_back(*std::move(refusal));
  }
}

}  // namespace ptdoc::sync
