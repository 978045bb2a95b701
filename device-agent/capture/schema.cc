#include "device-agent/capture/schema.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/sqlite/collation.h"
#include "device-agent/capture/trigger_event.h"

namespace ptdoc::sync {
namespace {

// What follows the number in the names of our triggers (triggers.cc), those of
// earlier versions included.
constexpr std::array<absl::string_view, 10> kTriggerLetters = {"ai", "ad", "au", "ak", "bd",
                                                               "bi", "bl", "bu", "si", "su"};

bool IsWordCharacter(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return absl::ascii_isalnum(byte) || c == '_' || c == '$' || byte >= 0x80;
}

// The end of the token that begins at `at`: a quoted name or text, a comment, a
// word, or one character.
size_t TokenEnd(absl::string_view sql, size_t at) {
  const char first = sql[at];
  const auto past = [sql](size_t found, size_t length) {
    return found == absl::string_view::npos ? sql.size() : found + length;
  };
  if (first == '\'' || first == '"' || first == '`') {
    size_t end = past(sql.find(first, at + 1), 1);
    // A doubled quote is a quote inside.
    while (end < sql.size() && sql[end] == first) end = past(sql.find(first, end + 1), 1);
    return end;
  }
  if (first == '[') return past(sql.find(']', at), 1);
  if (absl::StartsWith(sql.substr(at), "--")) return past(sql.find('\n', at), 1);
  if (absl::StartsWith(sql.substr(at), "/*")) return past(sql.find("*/", at + 2), 2);
  size_t end = at + 1;
  if (!IsWordCharacter(first)) return end;
  while (end < sql.size() && IsWordCharacter(sql[end])) ++end;
  return end;
}

// What PRAGMA table_list knows and sqlite_master does not.
struct TableKind {
  std::string type;
  bool without_rowid = false;
  bool strict = false;
};

absl::StatusOr<std::map<std::string, TableKind>> ReadKinds(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare("SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"));
  std::map<std::string, TableKind> kinds;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return kinds;
    kinds[std::string(rows.Text(0))] =
        TableKind{std::string(rows.Text(1)), rows.Int(2) != 0, rows.Int(3) != 0};
  }
}

// A bare word as a default is a text, but for a few.
std::string PortableDefault(absl::string_view sql) {
  sql = absl::StripAsciiWhitespace(sql);
  if (absl::EqualsIgnoreCase(sql, "true")) return "1";
  if (absl::EqualsIgnoreCase(sql, "false")) return "0";
  if (absl::EqualsIgnoreCase(sql, "NULL") || absl::StartsWithIgnoreCase(sql, "CURRENT_")) {
    return std::string(sql);
  }
  const bool word = !sql.empty() && IsWordCharacter(sql[0]) &&
                    !absl::ascii_isdigit(static_cast<unsigned char>(sql[0])) &&
                    std::all_of(sql.begin(), sql.end(), IsWordCharacter);
  return word ? sqlite::QuoteText(sql) : PortableExpression(sql, nullptr);
}

absl::Status ReadColumns(sqlite::Database& db, bool strict, TableInfo* table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM "
                                 "pragma_table_xinfo(?1, 'main') ORDER BY cid"));
  rows.Bind(1, table->name);
  std::map<int, std::string> key;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    ColumnInfo column;
    column.name = std::string(rows.Text(0));
    column.declared_type = std::string(rows.Text(1));
    column.affinity = AffinityOf(column.declared_type);
    // ANY keeps values as they are in a STRICT table, and only there.
    if (strict && absl::EqualsIgnoreCase(column.declared_type, "ANY")) {
      column.affinity = Affinity::kBlob;
    }
    PT_ASSIGN_OR_RETURN(column.collation, sqlite::CollationOf(db, table->name, column.name));
    column.not_null = rows.Int(2) != 0;
    if (!rows.IsNull(3)) column.default_sql = PortableDefault(rows.Text(3));
    column.has_default = !rows.IsNull(3) && !absl::EqualsIgnoreCase(column.default_sql, "NULL");
    column.key_position = static_cast<int>(rows.Int(4));
    column.generated = rows.Int(5) >= 2;
    if (column.key_position > 0) key[column.key_position] = column.name;
    table->columns.push_back(std::move(column));
  }
  for (auto& [position, name] : key) table->primary_key.push_back(name);
  return absl::OkStatus();
}

absl::Status ReadIndexParts(sqlite::Database& db, const TableInfo& table, UniqueIndex* index) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT cid, name, coll FROM pragma_index_xinfo(?1, 'main') "
                                 "WHERE key ORDER BY seqno"));
  rows.Bind(1, index->name);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    if (rows.Int(0) < 0) {
      index->expression = true;
      continue;
    }
    index->columns.emplace_back(rows.Text(1));
    index->collations.emplace_back(rows.Text(2));
  }
  if (!index->partial) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(sqlite::Statement text,
                      db.Prepare("SELECT sql FROM main.sqlite_master WHERE type = 'index' AND "
                                 "name = ?1"));
  text.Bind(1, index->name);
  PT_ASSIGN_OR_RETURN(const bool found, text.Step());
  if (!found) return absl::OkStatus();
  const std::string condition = PortableExpression(IndexCondition(text.Text(0)), &table);
  index->condition = std::string(absl::StripAsciiWhitespace(condition));
  return absl::OkStatus();
}

absl::Status ReadUniques(sqlite::Database& db, TableInfo* table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name, origin, partial FROM "
                                 "pragma_index_list(?1, 'main') WHERE \"unique\" ORDER BY name"));
  rows.Bind(1, table->name);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    UniqueIndex index;
    index.name = std::string(rows.Text(0));
    index.primary_key = rows.Text(1) == "pk";
    index.partial = rows.Int(2) != 0;
    table->uniques.push_back(std::move(index));
  }
  for (UniqueIndex& index : table->uniques) PT_RETURN_IF_ERROR(ReadIndexParts(db, *table, &index));
  // A PRIMARY KEY without an index of its own is the rowid.
  table->rowid_alias = !table->without_rowid && table->primary_key.size() == 1 &&
                       std::none_of(table->uniques.begin(), table->uniques.end(),
                                    [](const UniqueIndex& index) { return index.primary_key; });
  table->autoincrement =
      table->rowid_alias && absl::StrContains(absl::AsciiStrToUpper(table->sql), "AUTOINCREMENT");
  return absl::OkStatus();
}

absl::Status ReadForeignKeys(sqlite::Database& db, TableInfo* table) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare("SELECT id, \"table\", \"from\", \"to\", on_delete, on_update FROM "
                 "pragma_foreign_key_list(?1, 'main') ORDER BY id, seq"));
  rows.Bind(1, table->name);
  int64_t last_id = -1;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    if (rows.Int(0) != last_id) {
      last_id = rows.Int(0);
      table->foreign_keys.push_back(ForeignKeyInfo{
          std::string(rows.Text(1)), {}, {}, std::string(rows.Text(4)), std::string(rows.Text(5))});
    }
    ForeignKeyInfo& key = table->foreign_keys.back();
    key.columns.emplace_back(rows.Text(2));
    if (!rows.IsNull(3)) key.parent_columns.emplace_back(rows.Text(3));
  }
}

absl::Status ReadAppTriggers(sqlite::Database& db, TableInfo* table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name, sql FROM main.sqlite_master WHERE type = "
                                 "'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY rowid"));
  rows.Bind(1, table->name);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return absl::OkStatus();
    if (IsOurTrigger(rows.Text(0))) continue;
    table->app_triggers.emplace_back(rows.Text(0));
    auto columns = UpdateColumnsOfTrigger(rows.Text(1));
    if (columns.has_value()) table->app_update_columns.push_back(*std::move(columns));
  }
}

absl::Status ReadTable(sqlite::Database& db, const TableKind& kind, TableInfo* table) {
  table->without_rowid = kind.without_rowid;
  table->is_virtual = kind.type == "virtual";
  table->is_shadow = kind.type == "shadow";
  // The module of a virtual table may be one that only the app has.
  if (table->is_virtual) return absl::OkStatus();
  PT_RETURN_IF_ERROR(ReadColumns(db, kind.strict, table));
  PT_RETURN_IF_ERROR(ReadUniques(db, table));
  PT_RETURN_IF_ERROR(ReadForeignKeys(db, table));
  return ReadAppTriggers(db, table);
}

}  // namespace

std::string IndexCondition(absl::string_view create_index_sql) {
  const absl::string_view sql = create_index_sql;
  int depth = 0;
  bool columns_seen = false;
  for (size_t at = 0; at < sql.size();) {
    const size_t end = TokenEnd(sql, at);
    const absl::string_view token = sql.substr(at, end - at);
    if (token == "(") ++depth;
    if (token == ")") columns_seen = --depth == 0 || columns_seen;
    if (depth == 0 && columns_seen && absl::EqualsIgnoreCase(token, "WHERE")) {
      return std::string(absl::StripAsciiWhitespace(sql.substr(end)));
    }
    at = end;
  }
  return std::string();
}

std::string PortableExpression(absl::string_view sql, const TableInfo* table) {
  std::string out;
  for (size_t at = 0; at < sql.size();) {
    const size_t end = TokenEnd(sql, at);
    const absl::string_view token = sql.substr(at, end - at);
    at = end;
    if (absl::StartsWith(token, "--") || absl::StartsWith(token, "/*")) {
      out += ' ';
      continue;
    }
    if (token.size() < 2 || token.front() != '"') {
      absl::StrAppend(&out, token);
      continue;
    }
    const std::string inner =
        absl::StrReplaceAll(token.substr(1, token.size() - 2), {{"\"\"", "\""}});
    const bool is_column = table != nullptr && table->Column(inner) != nullptr;
    absl::StrAppend(&out, is_column ? std::string(token) : sqlite::QuoteText(inner));
  }
  return out;
}

bool IsAboutSchema(const absl::Status& status) {
  constexpr int kError = 1;  // SQLITE_ERROR, with what extends it
  return (sqlite::ExtendedCode(status) & 0xff) == kError;
}

bool IsOurTable(absl::string_view name) {
  return absl::EqualsIgnoreCase(name, "SyncLog") || absl::EqualsIgnoreCase(name, "SyncControl");
}

int NumberOfTrigger(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "SyncT")) return 0;
  const size_t line = name.find('_');
  if (line == absl::string_view::npos || line == 0 || line > 9) return 0;
  const auto is_digit = [](unsigned char c) { return absl::ascii_isdigit(c); };
  const absl::string_view digits = name.substr(0, line);
  const absl::string_view letters = name.substr(line + 1);
  int number = 0;
  const bool known =
      std::find(kTriggerLetters.begin(), kTriggerLetters.end(), letters) != kTriggerLetters.end();
  if (!known || !std::all_of(digits.begin(), digits.end(), is_digit)) return 0;
  return absl::SimpleAtoi(digits, &number) ? number : 0;
}

bool IsOurTrigger(absl::string_view name) {
  return NumberOfTrigger(name) > 0;
}

const ColumnInfo* TableInfo::Column(absl::string_view column) const {
  for (const ColumnInfo& info : columns) {
    if (absl::EqualsIgnoreCase(info.name, column)) return &info;
  }
  return nullptr;
}

absl::StatusOr<std::vector<TableInfo>> ReadSchema(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const auto kinds, ReadKinds(db));
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name, sql FROM main.sqlite_master WHERE type = 'table' "
                                 "ORDER BY rowid"));
  std::vector<TableInfo> tables;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    const absl::string_view name = rows.Text(0);
    if (absl::StartsWithIgnoreCase(name, "sqlite_") || IsOurTable(name)) continue;
    TableInfo table;
    table.name = std::string(name);
    table.sql = std::string(rows.Text(1));
    tables.push_back(std::move(table));
  }
  for (TableInfo& table : tables) {
    const auto kind = kinds.find(table.name);
    PT_RETURN_IF_ERROR(ReadTable(db, kind == kinds.end() ? TableKind() : kind->second, &table));
  }
  return tables;
}

std::string ContentTableOf(absl::string_view sql) {
  const std::string lower = absl::AsciiStrToLower(sql);
  const std::string option = "content";
  for (size_t at = lower.find(option); at != std::string::npos; at = lower.find(option, at + 1)) {
    const absl::string_view before = absl::StripTrailingAsciiWhitespace(sql.substr(0, at));
    if (before.empty() || (before.back() != ',' && before.back() != '(')) continue;
    absl::string_view value = absl::StripLeadingAsciiWhitespace(sql.substr(at + option.size()));
    if (!absl::ConsumePrefix(&value, "=")) continue;  // content_rowid
    value = absl::StripLeadingAsciiWhitespace(value);
    if (value.empty()) return "";
    const char quote = value[0] == '[' ? ']' : value[0];
    if (quote != ']' && quote != '"' && quote != '\'' && quote != '`') {
      value = value.substr(0, value.find_first_of(",)"));
      return std::string(absl::StripTrailingAsciiWhitespace(value));
    }
    std::string name;
    for (size_t i = 1; i < value.size(); ++i) {
      if (value[i] == quote) {
        // Twice it means itself.
        if (i + 1 == value.size() || value[i + 1] != quote) break;
        ++i;
      }
      name += value[i];
    }
    return name;
  }
  return "";
}

}  // namespace ptdoc::sync
