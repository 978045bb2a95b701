#include "device-agent/capture/remedy.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {
namespace {

// A column of a UNIQUE index that means the same on every device.
bool NamesRows(const Candidate& candidate, const ReferenceMap& references,
               const std::string& name) {
  const ColumnInfo* column = candidate.table->Column(name);
  if (column == nullptr || column->generated) return false;
  return column->affinity == Affinity::kText || column->affinity == Affinity::kBlob ||
         references.Translate(candidate, column->name).has_value();
}

// A column that holds what would be a key, but that nothing keeps unique.
std::string UniquePromise(const TableInfo& table) {
  constexpr std::array<absl::string_view, 3> kNames = {"uuid", "guid", "gid"};
  for (const absl::string_view name : kNames) {
    const ColumnInfo* column = table.Column(name);
    if (column == nullptr || column->generated || column->affinity != Affinity::kText) continue;
    return absl::StrCat("make its column \"", column->name, "\" unique (CREATE UNIQUE INDEX ",
                        sqlite::QuoteName(absl::StrCat(table.name, "_", column->name)), " ON ",
                        sqlite::QuoteName(table.name), "(", sqlite::QuoteName(column->name),
                        ")) and name it: ", ToConfig(table, {column->name}), "; or ");
  }
  return std::string();
}

// The index of a table that links others by their integers without declaring a foreign
// key: a UNIQUE one with integers in it, as far as the schema tells. Null if there is none.
const UniqueIndex* LinkIndex(const TableInfo& table) {
  for (const UniqueIndex& index : table.uniques) {
    if (index.partial || index.expression || index.primary_key) continue;
    const bool has_integers =
        std::any_of(index.columns.begin(), index.columns.end(), [&](const std::string& name) {
          const ColumnInfo* column = table.Column(name);
          return column != nullptr && column->affinity == Affinity::kInteger &&
                 column->key_position == 0;
        });
    if (has_integers) return &index;
  }
  return nullptr;
}

// Another table whose rows the column may number, to judge by its name alone.
std::string LikelyParent(const TableInfo& table, const ReferenceMap& references,
                         const ColumnInfo& column) {
  const std::string likely = references.LikelyParent(column.name);
  return absl::EqualsIgnoreCase(likely, table.name) ? std::string() : likely;
}

std::string LinkPromise(const TableInfo& table, const ReferenceMap& references) {
  const UniqueIndex* index = LinkIndex(table);
  if (index == nullptr) return std::string();
  std::vector<std::string> numbers;
  std::vector<std::string> types;
  for (const ColumnInfo& column : table.columns) {
    if (column.affinity != Affinity::kInteger || column.key_position > 0) continue;
    const bool in_index = std::find(index->columns.begin(), index->columns.end(), column.name) !=
                          index->columns.end();
    const std::string likely = LikelyParent(table, references, column);
    if (!in_index && likely.empty()) continue;
    numbers.push_back(column.name);
    types.push_back(absl::StrCat(column.name, " = \"", likely.empty() ? "TYPE" : likely, "\""));
  }
  return absl::StrCat(
      "if ", absl::StrJoin(numbers, ", "), numbers.size() == 1 ? " holds" : " hold",
      " numbers of rows of another table, say of which: ", ToConfig(table, index->columns),
      ", with references = { ", absl::StrJoin(types, ", "), " }; or ");
}

const UniqueIndex* BestIndex(const Candidate& candidate, const ReferenceMap& references,
                             bool own_collations) {
  const TableInfo& table = *candidate.table;
  const UniqueIndex* best = nullptr;
  for (const UniqueIndex& index : table.uniques) {
    if (index.partial || index.expression || index.columns.size() > kKeyColumnsMax) continue;
    const bool means_the_same = std::all_of(
        index.columns.begin(), index.columns.end(),
        [&](const std::string& name) { return NamesRows(candidate, references, name); });
    const bool can_be_a_key = std::all_of(
        index.columns.begin(), index.columns.end(),
        [&](const std::string& name) { return CanBeKeyCollation(table.Column(name)->collation); });
    if (!means_the_same || !can_be_a_key) continue;
    if (HasOwnCollations(table, index) != own_collations) continue;
    const auto rank = [&](const UniqueIndex& one) {
      return std::pair(NullableColumns(table, one), one.columns.size());
    };
    if (best == nullptr || rank(index) < rank(*best)) best = &index;
  }
  return best;
}

}  // namespace

bool IsBinaryCollation(const std::string& collation) {
  return absl::EqualsIgnoreCase(collation, "BINARY");
}

bool IsNoCaseCollation(const std::string& collation) {
  return absl::EqualsIgnoreCase(collation, "NOCASE");
}

bool CanBeKeyCollation(const std::string& collation) {
  return IsBinaryCollation(collation) || IsNoCaseCollation(collation);
}

bool HasOwnCollations(const TableInfo& table, const UniqueIndex& index) {
  for (size_t i = 0; i < index.columns.size(); ++i) {
    const ColumnInfo* column = table.Column(index.columns[i]);
    if (column == nullptr || !absl::EqualsIgnoreCase(index.collations[i], column->collation)) {
      return false;
    }
  }
  return true;
}

std::string ToConfig(const TableInfo& table, const std::vector<std::string>& columns) {
  return absl::StrCat("key = \"", absl::StrJoin(columns, ", "), "\" in the [[entity]] of \"",
                      table.name, "\"");
}

int64_t NullableColumns(const TableInfo& table, const UniqueIndex& index) {
  return std::count_if(index.columns.begin(), index.columns.end(),
                       [&](const std::string& name) { return !table.Column(name)->not_null; });
}

const UniqueIndex* UsefulKey(const Candidate& candidate, const ReferenceMap& references) {
  return BestIndex(candidate, references, /*own_collations=*/true);
}

std::string SecondIndexRemedy(const TableInfo& table, const UniqueIndex& index) {
  std::vector<std::string> columns;
  for (const std::string& name : index.columns) columns.push_back(sqlite::QuoteName(name));
  const std::string name = absl::StrCat(table.name, "_", absl::StrJoin(index.columns, "_"));
  return absl::StrCat("make a second index that compares as the columns do (CREATE UNIQUE INDEX ",
                      sqlite::QuoteName(name), " ON ", sqlite::QuoteName(table.name), "(",
                      absl::StrJoin(columns, ", "),
                      ")), on every device, and name them: ", ToConfig(table, index.columns));
}

std::vector<std::string> KeyColumnSql(const TableInfo& table) {
  if (!UniquePromise(table).empty() || LinkIndex(table) != nullptr) return {};
  const bool is_there = table.Column(kKeyColumnName) != nullptr || table.Column("rowid") != nullptr;
  if (table.without_rowid || is_there) return {};
  const std::string name = sqlite::QuoteName(table.name);
  const std::string object = sqlite::QuoteName(absl::StrCat(table.name, "_", kKeyColumnName));
  const std::string random = "lower(hex(randomblob(16)))";
  return {absl::StrCat("ALTER TABLE ", name, " ADD COLUMN ", kKeyColumnName, " TEXT;"),
          absl::StrCat("UPDATE ", name, " SET ", kKeyColumnName, " = ", random, ";"),
          absl::StrCat("CREATE UNIQUE INDEX ", object, " ON ", name, "(", kKeyColumnName, ");"),
          absl::StrCat("CREATE TRIGGER ", object, " AFTER INSERT ON ", name, " WHEN NEW.",
                       kKeyColumnName, " IS NULL BEGIN UPDATE ", name, " SET ", kKeyColumnName,
                       " = ", random, " WHERE rowid = NEW.rowid; END;")};
}

std::string OtherWays(const Candidate& candidate, const ReferenceMap& references, bool has_sql) {
  const TableInfo& table = *candidate.table;
  const UniqueIndex* other = BestIndex(candidate, references, /*own_collations=*/false);
  return absl::StrCat(
      other == nullptr ? "" : absl::StrCat(SecondIndexRemedy(table, *other), "; or "),
      UniquePromise(table), LinkPromise(table, references), kKeyColumnRemedy,
      has_sql ? kKeyColumnSqlHint : "", ", and name it with key=; or ",
      table.autoincrement
          ? "give each device numbers of its own (integer_key = \"range\" with id_range); or "
          : "",
      "if one device alone creates its rows, say so with integer_key = \"one_side\"");
}

}  // namespace ptdoc::sync
