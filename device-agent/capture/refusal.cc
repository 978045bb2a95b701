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
#include "device-agent/capture/remedy.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kTextKeyRemedy =
    "give the table a TEXT key that every device can make by itself, such as a uuid";

// Tables of PTDoc's earlier, in-process sync engine.
constexpr std::array<absl::string_view, 2> kOldEngineTables = {"SyncQueueItems",
                                                               "SyncConflictArchives"};

// Where migration tools and ORMs keep which migrations a file has had: EF Core,
// Alembic, Rails (and others that took its name), Django, Prisma, Knex, Sequelize,
// Drizzle, Diesel, SQLx, Flyway, Liquibase, Goose, Refinery, Doctrine, Phinx, Atlas,
// Android and its Room, GRDB, Firefox.
constexpr std::array<absl::string_view, 26> kMigrationTables = {"__EFMigrationsHistory",
                                                                "__EFMigrationsLock",
                                                                "alembic_version",
                                                                "schema_migrations",
                                                                "ar_internal_metadata",
                                                                "django_migrations",
                                                                "_prisma_migrations",
                                                                "knex_migrations",
                                                                "knex_migrations_lock",
                                                                "SequelizeMeta",
                                                                "__drizzle_migrations",
                                                                "__diesel_schema_migrations",
                                                                "_sqlx_migrations",
                                                                "flyway_schema_history",
                                                                "DATABASECHANGELOG",
                                                                "DATABASECHANGELOGLOCK",
                                                                "goose_db_version",
                                                                "refinery_schema_history",
                                                                "doctrine_migration_versions",
                                                                "phinxlog",
                                                                "atlas_schema_revisions",
                                                                "atlas_schema_migrations",
                                                                "android_metadata",
                                                                "room_master_table",
                                                                "grdb_migrations",
                                                                "moz_meta"};

bool SameColumns(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

// The index that keeps `key` unique, with the columns' own collations if there is
// one; null for a rowid alias, or if there is none.
const UniqueIndex* KeyIndex(const TableInfo& table, const std::vector<std::string>& key) {
  const UniqueIndex* found = nullptr;
  for (const UniqueIndex& index : table.uniques) {
    if (index.partial || index.expression || !SameColumns(index.columns, key)) continue;
    if (HasOwnCollations(table, index)) return &index;
    if (found == nullptr) found = &index;
  }
  return found;
}

// "or name ... with key=", where the table has columns that would do: never NULL
// before such that may be, few before many.
std::string KeyColumnHint(const TableInfo& table) {
  const UniqueIndex* best = nullptr;
  const auto rank = [&](const UniqueIndex& index) {
    return std::pair(NullableColumns(table, index), index.columns.size());
  };
  for (const UniqueIndex& index : table.uniques) {
    if (index.partial || index.expression || index.columns.size() > kKeyColumnsMax) continue;
    const bool generated =
        std::any_of(index.columns.begin(), index.columns.end(),
                    [&](const std::string& name) { return table.Column(name)->generated; });
    if (generated || !HasOwnCollations(table, index)) continue;
    if (best == nullptr || rank(index) < rank(*best)) best = &index;
  }
  if (best == nullptr) return "; or name a UNIQUE NOT NULL column with key=";
  return absl::StrCat(
      "; or name rows by what is UNIQUE in it: ", ToConfig(table, best->columns),
      NullableColumns(table, *best) > 0 ? "; rows with a NULL there are not synced" : "");
}

Refusal Refuse(const TableInfo& table, absl::string_view reason, std::string what,
               std::string remedy) {
  return Refusal{table.name, std::string(reason), std::move(what), std::move(remedy), {}, {}};
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
    Refusal refusal = Refuse(table, "NO_KEY", "it has no PRIMARY KEY",
                             absl::StrCat("declare a PRIMARY KEY", KeyColumnHint(table)));
    refusal.sql = KeyColumnSql(table);
    if (!refusal.sql.empty()) {
      absl::StrAppend(&refusal.remedy, "; or ", kKeyColumnRemedy, kKeyColumnSqlHint);
    }
    return refusal;
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

Refusal OtherCollation(const TableInfo& table, const ColumnInfo& column) {
  return Refuse(
      table, "KEY_COLLATION",
      absl::StrCat("its key column \"", column.name, "\" has the collation ", column.collation,
                   ": keys that are two for other devices are one here"),
      "declare the column, and the index, with COLLATE BINARY (SQLite's default) or "
      "NOCASE; or name other columns with key=");
}

Refusal OtherCollationOfIndex(const TableInfo& table, const UniqueIndex& index, size_t part) {
  const ColumnInfo& column = *table.Column(index.columns[part]);
  return Refuse(table, "KEY_COLLATION",
                absl::StrCat("its key column \"", column.name, "\" is compared as ",
                             column.collation, " and its UNIQUE index as ", index.collations[part],
                             ": what is one row for the one is two for the other"),
                SecondIndexRemedy(table, index));
}

std::optional<Refusal> RefuseCollation(const TableInfo& table,
                                       const std::vector<std::string>& key) {
  for (const std::string& name : key) {
    const ColumnInfo& column = *table.Column(name);
    if (!CanBeKeyCollation(column.collation)) return OtherCollation(table, column);
  }
  const UniqueIndex* index = KeyIndex(table, key);
  if (index == nullptr) return std::nullopt;
  for (size_t i = 0; i < index->columns.size(); ++i) {
    const ColumnInfo& column = *table.Column(index->columns[i]);
    if (absl::EqualsIgnoreCase(index->collations[i], column.collation)) continue;
    return OtherCollationOfIndex(table, *index, i);
  }
  return std::nullopt;
}

Refusal RefuseIntegerKey(const Candidate& candidate, const ReferenceMap& references) {
  const TableInfo& table = *candidate.table;
  Refusal refusal =
      Refuse(table, "INTEGER_KEY",
             "its key is made of integers: two devices that create rows offline pick the same "
             "number, and one row would overwrite the other",
             "");
  if (const UniqueIndex* useful = UsefulKey(candidate, references)) {
    refusal.useful_key = useful->columns;
    refusal.remedy = absl::StrCat(
        "name rows by what is UNIQUE in it: ", ToConfig(table, useful->columns),
        "; the integer stays local, and foreign keys follow",
        NullableColumns(table, *useful) > 0 ? "; rows with a NULL there are not synced" : "");
    return refusal;
  }
  refusal.sql = KeyColumnSql(table);
  refusal.remedy = OtherWays(candidate, references, !refusal.sql.empty());
  return refusal;
}

std::optional<Refusal> RefuseRange(const Candidate& candidate) {
  const TableInfo& table = *candidate.table;
  if (table.autoincrement && LocalKeyOf(table, candidate.key).empty()) return std::nullopt;
  return Refuse(table, "INTEGER_RANGE",
                "integer_key = \"range\" needs an INTEGER PRIMARY KEY AUTOINCREMENT: without it "
                "SQLite gives the next number after the highest row, in no range",
                "declare its key AUTOINCREMENT; or name a UNIQUE NOT NULL column with key=");
}

bool IsAllOfIntegers(const Candidate& candidate, const ReferenceMap& references) {
  return std::all_of(candidate.key.begin(), candidate.key.end(), [&](const std::string& name) {
    const std::optional<Translation> translation = references.Translate(candidate, name);
    const bool translated = translation && translation->kind == TranslationKind::kRow;
    return !translated && candidate.table->Column(name)->affinity == Affinity::kInteger;
  });
}

Refusal KeyCycle(const TableInfo& table) {
  return Refuse(table, "INTEGER_KEY",
                "its key is made of references that lead back to the table itself: nothing in it "
                "names a row on every device",
                std::string(kTextKeyRemedy));
}

Refusal IntegerReference(const TableInfo& table, const std::string& column,
                         const std::string& parent) {
  return Refuse(
      table, "INTEGER_REFERENCE",
      absl::StrCat("its column \"", column, "\" refers to \"", parent,
                   "\", which is not synced, by an integer that each device chooses for itself"),
      absl::StrCat("sync \"", parent,
                   "\", too; or leave the column out (exclude_columns); or, if "
                   "its numbers mean the same on every device, say so: references = { ",
                   column, " = \"\" }"));
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

std::vector<bool> KeyIgnoresCase(const TableInfo& table, const std::vector<std::string>& key) {
  std::vector<bool> ignores(key.size(), false);
  const UniqueIndex* index = KeyIndex(table, key);
  for (size_t i = 0; index != nullptr && i < key.size(); ++i) {
    const auto at = std::find(index->columns.begin(), index->columns.end(), key[i]);
    ignores[i] =
        at != index->columns.end() &&
        IsNoCaseCollation(index->collations[static_cast<size_t>(at - index->columns.begin())]);
  }
  return ignores;
}

std::optional<Refusal> RefuseUnnamed(const TableInfo& table) {
  bool found =
      std::any_of(kMigrationTables.begin(), kMigrationTables.end(),
                  [&](absl::string_view name) { return absl::EqualsIgnoreCase(table.name, name); });
  // Laravel and TypeORM call it as others call tables of their own.
  if (absl::EqualsIgnoreCase(table.name, "migrations")) {
    found = (table.Column("migration") != nullptr && table.Column("batch") != nullptr) ||
            (table.Column("timestamp") != nullptr && table.Column("name") != nullptr);
  }
  // Chromium's, in each of its files.
  if (absl::EqualsIgnoreCase(table.name, "meta") && table.columns.size() == 2) {
    found = table.columns[0].name == "key" && table.columns[0].declared_type == "LONGVARCHAR";
  }
  if (!found) return std::nullopt;
  return Refuse(table, "APP_MIGRATIONS",
                "it tells the app what version this very file has, or which migrations it has had: "
                "with another device's rows in it the app would take its own for done",
                "leave it out, each device's app keeps its own; if you know better, name it in an "
                "[[entity]]");
}

std::optional<Refusal> RefuseTable(const TableInfo& table, const std::vector<std::string>& key) {
  const std::vector<std::string>& columns = key.empty() ? table.primary_key : key;
  if (auto refusal = RefuseKind(table)) return refusal;
  if (auto refusal = RefuseMissingKey(table, columns)) return refusal;
  if (auto refusal = RefuseKeyShape(table, columns)) return refusal;
  return RefuseCollation(table, columns);
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
                                  " FROM main.", sqlite::QuoteName(table.name),
                                  " NOT INDEXED LIMIT ", kKeySampleRows, ") WHERE ",
                                  absl::StrJoin(terms, " AND "), " LIMIT 1"));
}

std::optional<Refusal> RefuseIntegers(const Candidate& candidate, const ReferenceMap& references) {
  const TableInfo& table = *candidate.table;
  const bool translated = std::any_of(
      candidate.key.begin(), candidate.key.end(),
      [&](const std::string& name) { return references.Translate(candidate, name).has_value(); });
  if (references.HasKeyCycle(candidate)) return KeyCycle(table);
  if (candidate.config.integer_key == IntegerKey::kRange) {
    if (auto refusal = RefuseRange(candidate)) return refusal;
  } else if (candidate.config.integer_key == IntegerKey::kRefuse) {
    const bool numbers = candidate.has_numeric_keys && !translated;
    if (numbers || IsAllOfIntegers(candidate, references))
      return RefuseIntegerKey(candidate, references);
  }
  for (const ColumnInfo& column : table.columns) {
    const bool in_key =
        std::find(candidate.key.begin(), candidate.key.end(), column.name) != candidate.key.end();
    if (!in_key && !IsContent(candidate, column)) continue;
    const std::string parent = references.UnsyncedParent(candidate, column.name);
    if (!parent.empty()) return IntegerReference(table, column.name, parent);
  }
  return std::nullopt;
}

}  // namespace ptdoc::sync
