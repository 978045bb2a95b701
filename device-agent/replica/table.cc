#include "device-agent/replica/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/capture/stamp.h"
#include "device-agent/replica/gone_numbers.h"
#include "device-agent/replica/table_sql.h"

namespace ptdoc::sync {
namespace {

// The synced columns, then those of the two stamps that are configured, then the
// local integer: nothing that is no column of the table, for it may have as many as
// a result can have.
std::string SelectList(const TablePlan& plan) {
  std::string out = QuotedList(plan.columns);
  for (const std::string& stamp :
       {plan.config.modified_by_column, plan.config.last_modified_column}) {
    if (!stamp.empty()) absl::StrAppend(&out, ", ", QuoteName(stamp));
  }
  if (!plan.local_key.empty()) absl::StrAppend(&out, ", ", QuoteName(plan.local_key));
  return out;
}

void MakeSql(Table* table) {
  const TablePlan& plan = table->plan;
  const std::string select = absl::StrCat("SELECT ", SelectList(plan), " FROM ", From(*table));
  const size_t keys = plan.key.size();
  std::string not_null;
  for (const std::string& column : plan.key) {
    absl::StrAppend(&not_null, not_null.empty() ? "" : " AND ", QuoteName(column), " IS NOT NULL");
  }
  const std::string order = absl::StrCat(" ORDER BY ", QuotedList(plan.key), " LIMIT ?");
  table->select_sql = absl::StrCat(select, " WHERE ", KeyIs(plan.key, 1));
  table->first_slice_sql = absl::StrCat(select, " WHERE ", not_null, order, "1");
  table->slice_sql = absl::StrCat(select, " WHERE (", QuotedList(plan.key), ") > (", Marks(1, keys),
                                  ") AND ", not_null, order, keys + 1);
  table->delete_sql = absl::StrCat("DELETE FROM ", From(*table), " WHERE ", KeyIs(plan.key, 1));
}

const TableInfo* FindTable(const std::vector<TableInfo>& schema, absl::string_view name) {
  for (const TableInfo& table : schema) {
    if (absl::EqualsIgnoreCase(table.name, name)) return &table;
  }
  return nullptr;
}

std::optional<Reference> ReferenceOf(const TableInfo& child, const ForeignKeyInfo& key,
                                     const std::vector<TableInfo>& schema) {
  Reference reference{child.name,         key.columns,   key.parent_table,
                      key.parent_columns, key.on_delete, key.on_update};
  const TableInfo* parent = FindTable(schema, key.parent_table);
  if (parent == nullptr) return std::nullopt;
  if (reference.parent_columns.empty()) reference.parent_columns = parent->primary_key;
  if (reference.parent_columns.size() != reference.child_columns.size()) return std::nullopt;
  return reference;
}

void FindReferences(const std::vector<TableInfo>& schema, Table* table) {
  for (const Reference& reference : ReferencesOf(schema)) {
    if (absl::EqualsIgnoreCase(reference.child_table, table->plan.table)) {
      table->parents.push_back(reference);
    }
    if (absl::EqualsIgnoreCase(reference.parent_table, table->plan.table)) {
      table->children.push_back(reference);
    }
  }
}

void FindSaidReferences(const Plan& plan, Table* table) {
  for (const TablePlan& child : plan.tables) {
    for (const auto& [column, type] : child.config.references) {
      const TablePlan* parent = plan.ByType(type);
      if (parent == nullptr || !parent->integer_key || parent->key.size() != 1) continue;
      const Reference reference{child.table, {column}, parent->table, {parent->key[0]}, "", ""};
      if (child.type == table->type()) table->said_parents.push_back(reference);
      if (parent->type == table->type()) table->said_children.push_back(reference);
    }
  }
}

// FTS5 tables that name this one as the place of their content.
void FindSearchIndexes(const std::vector<TableInfo>& schema, Table* table) {
  for (const TableInfo& info : schema) {
    if (!info.is_virtual || !absl::StrContains(absl::AsciiStrToLower(info.sql), "fts5")) continue;
    if (absl::EqualsIgnoreCase(ContentTableOf(info.sql), table->plan.table)) {
      table->fts.push_back(info.name);
    }
  }
}

// Of an index with an expression: every column whose name stands in its text, or
// a few more.
absl::StatusOr<std::vector<std::string>> ColumnsOfIndex(sqlite::Database& db, const Table& table,
                                                        const UniqueIndex& index) {
  if (!index.expression) return index.columns;
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare("SELECT sql FROM main.sqlite_master WHERE type = 'index' AND "
                                 "name = ?1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, index.name).Step());
  const std::string sql = found ? absl::AsciiStrToLower(stmt.Text(0)) : std::string();
  std::vector<std::string> columns;
  for (const std::string& column : table.plan.columns) {
    if (absl::StrContains(sql, absl::AsciiStrToLower(column))) columns.push_back(column);
  }
  return columns;
}

absl::Status FindUniqueColumns(sqlite::Database& db, const TableInfo& info, Table* table) {
  for (const UniqueIndex& index : info.uniques) {
    PT_ASSIGN_OR_RETURN(const std::vector<std::string> columns, ColumnsOfIndex(db, *table, index));
    for (const std::string& column : columns) {
      const int at = table->Find(column);
      if (at < 0 || table->IsKey(static_cast<size_t>(at))) continue;
      if (std::find(table->unique_columns.begin(), table->unique_columns.end(), column) ==
          table->unique_columns.end()) {
        table->unique_columns.push_back(table->plan.columns[static_cast<size_t>(at)]);
      }
    }
  }
  return absl::OkStatus();
}

// By an index that begins with it and holds every row.
absl::StatusOr<bool> IsIndexed(sqlite::Database& db, const std::string& table,
                               const std::string& column) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement stmt,
      db.Prepare("SELECT 1 FROM pragma_index_list(?1) l, pragma_index_info(l.name) c WHERE "
                 "l.partial = 0 AND c.seqno = 0 AND c.name = ?2 COLLATE NOCASE"));
  return stmt.Bind(1, table).Bind(2, column).Step();
}

// The value as a column of this affinity stores it.
std::string StoredAs(const std::string& sql, Affinity affinity) {
  switch (affinity) {
    case Affinity::kText:
      return absl::StrCat("CAST((", sql, ") AS TEXT)");
    case Affinity::kReal:
      return absl::StrCat("CAST((", sql, ") AS REAL)");
    default:
      return absl::StrCat("CAST((", sql, ") AS NUMERIC)");
  }
}

bool IsConstantSql(absl::string_view sql) {
  return !absl::StrContains(sql, "(") && !absl::StrContains(absl::AsciiStrToLower(sql), "current_");
}

absl::Status ReadDefaults(sqlite::Database& db, Ledger& ledger, Table* table) {
  table->default_sql.assign(table->plan.columns.size(), "");
  table->default_hash.assign(table->plan.columns.size(), std::nullopt);
  const std::string sql = absl::StrCat("SELECT name, dflt_value FROM pragma_table_info(",
                                       sqlite::QuoteText(table->plan.table), ")");
  {
    PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql));
    while (true) {
      PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
      if (!found) break;
      const int at = table->Find(stmt.Text(0));
      if (at >= 0) table->default_sql[static_cast<size_t>(at)] = std::string(stmt.Text(1));
    }
  }
  for (size_t i = 0; i < table->default_sql.size(); ++i) {
    if (!IsConstantSql(table->default_sql[i])) continue;
    // A row of that number may come and go.
    const bool translated = TranslationOf(table->plan, table->plan.columns[i]) != nullptr;
    if (translated && !table->default_sql[i].empty()) continue;
    const absl::StatusOr<Value> value = DefaultOf(db, *table, i);
    if (!value.ok() && !IsAboutSchema(value.status())) return value.status();
    if (value.ok()) table->default_hash[i] = ledger.HashOf(*value);
  }
  return absl::OkStatus();
}

// An integer that refers to no row is told apart from every id. In a key there
// is nothing to call it: such a row has no id.
Value DanglingValue(const Table& table, size_t column, const Value& local) {
  if (table.IsKey(column)) return Value::Null();
  return local.type() == Value::Type::kText ? Value::Blob(local.bytes()) : local;
}

// Puts what others know into the place of what stands in this file.
absl::Status ShareValues(sqlite::Database& db, const Table& table, Ledger& ledger, Row* row) {
  const GoneNumbers gone(ledger);
  if (table.translates_key) row->local_key = table.KeyOf(row->values);
  row->local_values.reserve(table.translated_at.size());
  for (size_t i = 0; i < table.translated_at.size(); ++i) {
    const size_t at = table.translated_at[i];
    row->local_values.push_back(row->values[at]);
    // A key goes on naming a row that is gone: by it the row that hangs on it is known.
    PT_ASSIGN_OR_RETURN(std::optional<Value> shared,
                        ToShared(db, *table.whole, table.plan.translations[i], row->local_values[i],
                                 table.IsKey(at) ? &gone : nullptr));
    if (!shared.has_value() && row->dangling < 0) row->dangling = static_cast<int>(at);
    row->values[at] =
        shared.has_value() ? *std::move(shared) : DanglingValue(table, at, row->local_values[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Row> RowFrom(sqlite::Database& db, const Table& table, Ledger& ledger,
                            const sqlite::Statement& stmt) {
  Row row;
  row.absent = false;
  const int columns = static_cast<int>(table.plan.columns.size());
  row.values.reserve(table.plan.columns.size());
  for (int i = 0; i < columns; ++i) row.values.push_back(stmt.ColumnValue(i));
  int next = columns;
  if (!table.plan.config.modified_by_column.empty()) {
    const Value user = stmt.ColumnValue(next++);
    if (user.type() == Value::Type::kText) row.user = user.bytes();
    if (user.type() == Value::Type::kInteger) row.user = absl::StrCat(user.integer());
  }
  if (!table.plan.config.last_modified_column.empty()) {
    row.stamp =
        ParseStamp(table.plan.time_format, stmt.ColumnValue(next++)).value_or(kSmallestTime);
  }
  if (!table.plan.local_key.empty()) row.local_id = stmt.ColumnValue(next);
  if (!table.translated_at.empty()) PT_RETURN_IF_ERROR(ShareValues(db, table, ledger, &row));
  row.hashes = HashesOf(table, ledger, row.values);
  return row;
}

// For a state of an earlier schema: where each of the present columns stood.
absl::StatusOr<const std::vector<int>*> EarlierColumns(Table& table, Ledger& ledger,
                                                       int64_t columns_id) {
  const auto known = table.earlier.find(columns_id);
  if (known != table.earlier.end()) return &known->second;
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> then, ledger.ColumnsOf(columns_id));
  std::vector<int> at;
  for (const std::string& column : table.plan.columns) {
    const auto found = std::find(then.begin(), then.end(), column);
    at.push_back(found == then.end() ? -1 : static_cast<int>(found - then.begin()));
  }
  return &(table.earlier[columns_id] = std::move(at));
}

bool IsNoEdit(const Table& table, size_t column, const Row& now, uint64_t null_hash) {
  const uint64_t hash = now.hashes.hashes[column];
  return hash == null_hash || table.default_hash[column] == hash;
}

size_t BytesOf(const Row& row) {
  size_t bytes = 0;
  for (const Value& value : row.values) {
    const bool long_one = value.type() == Value::Type::kText || value.type() == Value::Type::kBlob;
    bytes += long_one ? value.bytes().size() : sizeof(int64_t);
  }
  return bytes;
}

bool IsTooBig(const absl::Status& status) {
  constexpr int kTooBig = 18;  // SQLITE_TOOBIG
  return (sqlite::ExtendedCode(status) & 0xff) == kTooBig;
}

Row UnreadableRow(const Table& table, const Ledger& ledger, std::span<const Value> key) {
  Row row;
  row.absent = false;
  row.unreadable = true;
  row.values.assign(table.plan.columns.size(), Value::Null());
  for (size_t i = 0; i < key.size(); ++i) row.values[table.key_at[i]] = key[i];
  row.hashes = HashesOf(table, ledger, row.values);
  return row;
}

// The keys of a slice as they stand in this file, for a slice in which one row is too long to be
// read.
absl::StatusOr<std::vector<std::vector<Value>>> ReadKeys(sqlite::Database& db, const Table& table,
                                                         const std::vector<Value>& after,
                                                         size_t limit) {
  const std::string& slice = after.empty() ? table.first_slice_sql : table.slice_sql;
  const std::string sql = absl::StrCat("SELECT ", QuotedList(table.plan.key),
                                       slice.substr(slice.find(" FROM " + From(table))));
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql));
  BindAll(stmt, 1, after);
  stmt.Bind(static_cast<int>(after.size()) + 1, static_cast<int64_t>(limit));
  std::vector<std::vector<Value>> keys;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return keys;
    std::vector<Value>& key = keys.emplace_back();
    for (int i = 0; i < stmt.column_count(); ++i) key.push_back(stmt.ColumnValue(i));
  }
}

absl::StatusOr<Row> ReadLocalRow(sqlite::Database& db, const Table& table, Ledger& ledger,
                                 const std::vector<Value>& local_key) {
  const GoneNumbers gone(ledger);
  PT_ASSIGN_OR_RETURN(const auto key, SharedKey(db, *table.whole, table.plan, local_key, &gone));
  if (key.has_value()) {
    PT_ASSIGN_OR_RETURN(Row row, ReadRow(db, table, ledger, *key));
    if (table.translates_key) row.local_key = local_key;
    return row;
  }
  // It has no id, and nobody looks at the rest of it.
  Row row = UnreadableRow(table, ledger, std::vector<Value>(local_key.size(), Value::Null()));
  row.local_key = local_key;
  return row;
}

absl::StatusOr<std::vector<Row>> ReadOneByOne(sqlite::Database& db, const Table& table,
                                              Ledger& ledger, const std::vector<Value>& after,
                                              size_t limit) {
  PT_ASSIGN_OR_RETURN(const std::vector<std::vector<Value>> keys,
                      ReadKeys(db, table, after, limit));
  std::vector<Row> rows;
  size_t bytes = 0;
  for (const std::vector<Value>& key : keys) {
    PT_ASSIGN_OR_RETURN(Row row, ReadLocalRow(db, table, ledger, key));
    bytes += BytesOf(row);
    rows.push_back(std::move(row));
    if (bytes > kSliceBytesMax) break;
  }
  return rows;
}

}  // namespace

std::vector<Reference> ReferencesOf(const std::vector<TableInfo>& schema) {
  std::vector<Reference> references;
  for (const TableInfo& info : schema) {
    for (const ForeignKeyInfo& key : info.foreign_keys) {
      std::optional<Reference> reference = ReferenceOf(info, key, schema);
      if (reference.has_value()) references.push_back(*std::move(reference));
    }
  }
  return references;
}

bool Table::IsKey(size_t column) const {
  return std::find(key_at.begin(), key_at.end(), column) != key_at.end();
}

bool Table::IsFixed(size_t column) const {
  const auto at = std::find(key_at.begin(), key_at.end(), column);
  if (at == key_at.end()) return false;
  const auto which = static_cast<size_t>(at - key_at.begin());
  return which >= plan.ignores_case.size() || !plan.ignores_case[which];
}

int Table::Find(absl::string_view column) const {
  for (size_t i = 0; i < plan.columns.size(); ++i) {
    if (plan.columns[i] == column) return static_cast<int>(i);
  }
  return -1;
}

int Table::FindAnyCase(absl::string_view column) const {
  for (size_t i = 0; i < plan.columns.size(); ++i) {
    if (absl::EqualsIgnoreCase(plan.columns[i], column)) return static_cast<int>(i);
  }
  return -1;
}

std::vector<Value> Table::KeyOf(const std::vector<Value>& values) const {
  std::vector<Value> key;
  key.reserve(key_at.size());
  for (const size_t at : key_at) key.push_back(values[at]);
  return key;
}

std::vector<Value> Table::LocalKeyOf(const Row& row) const {
  return translates_key ? row.local_key : KeyOf(row.values);
}

const Value* Table::LocalValue(const Row& row, absl::string_view column) const {
  if (row.absent) return nullptr;
  if (!plan.local_key.empty() && absl::EqualsIgnoreCase(column, plan.local_key)) {
    return &row.local_id;
  }
  for (size_t i = 0; i < plan.columns.size(); ++i) {
    if (!absl::EqualsIgnoreCase(plan.columns[i], column)) continue;
    const auto found = std::find(translated_at.begin(), translated_at.end(), i);
    if (found == translated_at.end() || row.local_values.empty()) return &row.values[i];
    return &row.local_values[static_cast<size_t>(found - translated_at.begin())];
  }
  return nullptr;
}

absl::StatusOr<std::string> Table::IdOf(std::span<const Value> key) const {
  return EntityIdOf(plan, key);
}

absl::StatusOr<std::vector<Value>> Table::KeyFromId(absl::string_view id) const {
  return KeyOfEntityId(plan, id);
}

// SQLite has U+FFFD for what it cannot convert, U+FFFE and U+FFFF among it.
bool Table::Keeps(size_t column, const Value& value) const {
  const bool none = MeansNoRow(value) && TranslationOf(plan, plan.columns[column]) != nullptr;
  if (none) return true;
  if (!AffinityKeeps(plan.affinities[column], value)) return false;
  if (!utf16 || value.type() != Value::Type::kText) return true;
  const absl::string_view text = value.bytes();
  return IsUtf8(text) && !absl::StrContains(text, "\xEF\xBF\xBE") &&
         !absl::StrContains(text, "\xEF\xBF\xBF");
}

Fields Table::FieldsOf(std::vector<Value> values) const {
  std::vector<Field> fields;
  fields.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    fields.push_back({plan.columns[i], std::move(values[i])});
  }
  return Fields(std::move(fields));
}

absl::StatusOr<Table> MakeTable(const Plan& whole, const TablePlan& plan,
                                const std::vector<TableInfo>& schema, sqlite::Database& db,
                                Ledger& ledger) {
  Table table;
  table.whole = &whole;
  table.plan = plan;
  PT_ASSIGN_OR_RETURN(table.columns_id, ledger.ColumnsId(plan.columns));
  for (const std::string& column : plan.key) {
    const int at = table.Find(column);
    if (at < 0) return absl::InternalError("a key column is not among the synced columns");
    table.key_at.push_back(static_cast<size_t>(at));
  }
  for (const Translation& translation : plan.translations) {
    const int at = table.Find(translation.column);
    if (at < 0) return absl::InternalError("a translated column is not among the synced columns");
    table.translated_at.push_back(static_cast<size_t>(at));
    table.translates_key |= table.IsKey(static_cast<size_t>(at));
  }
  for (const TablePlan& other : whole.tables) {
    for (const Translation& translation : other.translations) {
      const bool row = translation.kind == TranslationKind::kRow;
      if (!row || translation.parent != plan.type) continue;
      table.is_translated_to = true;
      const bool of_key =
          std::find(other.key.begin(), other.key.end(), translation.column) != other.key.end();
      if (!of_key) continue;
      PT_ASSIGN_OR_RETURN(const bool indexed, IsIndexed(db, other.table, translation.column));
      table.links.push_back({other.table, translation.column, indexed});
    }
  }
  MakeSql(&table);
  FindReferences(schema, &table);
  FindSaidReferences(whole, &table);
  FindSearchIndexes(schema, &table);
  const TableInfo* info = FindTable(schema, plan.table);
  if (info != nullptr) {
    PT_RETURN_IF_ERROR(FindUniqueColumns(db, *info, &table));
    if (absl::StrContains(absl::AsciiStrToLower(info->sql), "conflict")) {
      table.or_abort = "OR ABORT ";
    }
    const ColumnInfo* state = info->Column(plan.config.sync_state_column);
    table.sync_state_is_text = state == nullptr || state->affinity == Affinity::kText ||
                               state->affinity == Affinity::kBlob;
  }
  PT_RETURN_IF_ERROR(ReadDefaults(db, ledger, &table));
  PT_ASSIGN_OR_RETURN(const Value encoding, db.QueryValue("PRAGMA encoding"));
  MakeInsertSql(&table);
  table.utf16 = encoding.type() == Value::Type::kText && encoding.bytes() != "UTF-8";
  return table;
}

absl::StatusOr<Row> ReadRow(sqlite::Database& db, const Table& table, Ledger& ledger,
                            std::span<const Value> key) {
  Row row;
  row.hashes.absent = true;
  std::vector<Value> here;
  if (table.translates_key) {
    const GoneNumbers gone(ledger);
    PT_ASSIGN_OR_RETURN(auto local, LocalKey(db, *table.whole, table.plan, key, &gone));
    if (!local.has_value()) return row;
    here = *std::move(local);
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(table.select_sql));
  BindAll(stmt, 1, table.translates_key ? here : key);
  const absl::StatusOr<bool> found = stmt.Step();
  if (IsTooBig(found.status())) {
    Row unreadable = UnreadableRow(table, ledger, key);
    if (table.translates_key) unreadable.local_key = std::move(here);
    return unreadable;
  }
  PT_RETURN_IF_ERROR(found.status());
  if (!*found) return row;
  PT_ASSIGN_OR_RETURN(Row there, RowFrom(db, table, ledger, stmt));
  for (size_t i = 0; i < key.size(); ++i) {
    const Value& spelled = there.values[table.key_at[i]];
    if (spelled == key[i]) continue;
    if (FoldedKeyValue(table.plan, i, spelled) == FoldedKeyValue(table.plan, i, key[i])) continue;
    row.other_spelling = true;
    return row;
  }
  return there;
}

absl::StatusOr<std::vector<Row>> ReadSlice(sqlite::Database& db, const Table& table, Ledger& ledger,
                                           const std::vector<Value>& after, size_t limit) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(after.empty() ? table.first_slice_sql : table.slice_sql));
  BindAll(stmt, 1, after);
  stmt.Bind(static_cast<int>(after.size()) + 1, static_cast<int64_t>(limit));
  std::vector<Row> rows;
  size_t bytes = 0;
  while (bytes <= kSliceBytesMax) {
    const absl::StatusOr<bool> found = stmt.Step();
    if (IsTooBig(found.status())) return ReadOneByOne(db, table, ledger, after, limit);
    PT_RETURN_IF_ERROR(found.status());
    if (!*found) break;
    PT_ASSIGN_OR_RETURN(Row row, RowFrom(db, table, ledger, stmt));
    rows.push_back(std::move(row));
    bytes += BytesOf(rows.back());
  }
  return rows;
}

absl::StatusOr<Value> DefaultOf(sqlite::Database& db, const Table& table, size_t column) {
  const std::string& sql = table.default_sql[column];
  if (sql.empty()) return Value::Null();
  PT_ASSIGN_OR_RETURN(Value value, db.QueryValue(absl::StrCat("SELECT (", sql, ")")));
  const Translation* translation = TranslationOf(table.plan, table.plan.columns[column]);
  if (translation != nullptr) {
    PT_ASSIGN_OR_RETURN(std::optional<Value> shared,
                        ToShared(db, *table.whole, *translation, value));
    return shared.has_value() ? *std::move(shared) : DanglingValue(table, column, value);
  }
  const Affinity affinity = table.plan.affinities[column];
  if (AffinityKeeps(affinity, value)) return value;
  return db.QueryValue(absl::StrCat("SELECT ", StoredAs(sql, affinity)));
}

RowHashes HashesOf(const Table& table, const Ledger& ledger, const std::vector<Value>& values) {
  RowHashes row;
  row.columns_id = table.columns_id;
  row.hashes.reserve(values.size());
  for (const Value& value : values) row.hashes.push_back(ledger.HashOf(value));
  return row;
}

absl::StatusOr<std::vector<bool>> ChangedColumns(Table& table, Ledger& ledger,
                                                 const RowHashes& then, const Row& now) {
  std::vector<bool> changed(now.values.size(), false);
  if (then.columns_id == now.hashes.columns_id) {
    for (size_t i = 0; i < changed.size(); ++i) {
      changed[i] = then.hashes[i] != now.hashes.hashes[i];
    }
    return changed;
  }
  PT_ASSIGN_OR_RETURN(const std::vector<int>* at, EarlierColumns(table, ledger, then.columns_id));
  const uint64_t null_hash = ledger.HashOf(Value::Null());
  for (size_t i = 0; i < changed.size(); ++i) {
    const int was = (*at)[i];
    changed[i] = was >= 0 ? then.hashes[static_cast<size_t>(was)] != now.hashes.hashes[i]
                          : !IsNoEdit(table, i, now, null_hash);
  }
  return changed;
}

absl::StatusOr<std::vector<bool>> GainedColumns(Table& table, Ledger& ledger,
                                                const RowHashes& then) {
  std::vector<bool> gained(table.plan.columns.size(), false);
  if (then.columns_id == table.columns_id) return gained;
  PT_ASSIGN_OR_RETURN(const std::vector<int>* at, EarlierColumns(table, ledger, then.columns_id));
  for (size_t i = 0; i < gained.size(); ++i) gained[i] = (*at)[i] < 0;
  return gained;
}

absl::StatusOr<Fields> KnownFields(Table& table, Ledger& ledger, const RowHashes& then,
                                   const Row& now) {
  if (then.absent || then.columns_id == now.hashes.columns_id) return table.FieldsOf(now.values);
  PT_ASSIGN_OR_RETURN(const std::vector<int>* at, EarlierColumns(table, ledger, then.columns_id));
  const uint64_t null_hash = ledger.HashOf(Value::Null());
  std::vector<Field> fields;
  for (size_t i = 0; i < now.values.size(); ++i) {
    if ((*at)[i] < 0 && IsNoEdit(table, i, now, null_hash)) continue;
    fields.push_back({table.plan.columns[i], now.values[i]});
  }
  return Fields(std::move(fields));
}

absl::StatusOr<bool> SameRow(Table& table, Ledger& ledger, const RowHashes& then, const Row& now) {
  if (then.absent || now.absent) return then.absent == now.absent;
  if (then.columns_id == now.hashes.columns_id) return then.hashes == now.hashes.hashes;
  PT_ASSIGN_OR_RETURN(const std::vector<bool> changed, ChangedColumns(table, ledger, then, now));
  return std::find(changed.begin(), changed.end(), true) == changed.end();
}

}  // namespace ptdoc::sync
