#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/model/change.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/schema.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {

// A row of the app's table as it stands in one snapshot.
struct Row {
  bool absent = true;
  std::vector<Value> values;  // of TablePlan::columns, in their order, as others know them
  // What is known in this file alone: the key as it stands here, where it differs;
  // the values of the translated columns; the local integer.
  std::vector<Value> local_key = {};
  std::vector<Value> local_values = {};
  Value local_id = Value::Null();
  // The first column whose integer refers to a row that is not there: it has no
  // meaning on another device, and the row cannot be sent.
  int dangling = -1;
  RowHashes hashes;
  std::string user;              // of modified_by_column; empty if it names none
  TimeNs stamp = kSmallestTime;  // of last_modified_column
  // Absent, but the key's collation finds another row that is written
  // differently (RED for red): nothing may be inserted here.
  bool other_spelling = false;
  // Longer than a connection reads (sqlite::kValueBytesMax): `values` are its key
  // and NULLs. It is like nothing that anybody knows, and cannot be sent.
  bool unreadable = false;
};

// A foreign key that leads into or out of a synced table.
struct Reference {
  std::string child_table;
  std::vector<std::string> child_columns;
  std::string parent_table;
  std::vector<std::string> parent_columns;
  std::string on_delete = "NO ACTION";
  std::string on_update = "NO ACTION";
};

// Every foreign key of the file whose parent is there.
std::vector<Reference> ReferencesOf(const std::vector<TableInfo>& schema);

// One synced table as the replica works on it: the plan's entry with its SQL.
struct Table {
  TablePlan plan;
  int64_t columns_id = 0;
  const Plan* whole = nullptr;        // the plan that it is part of
  std::vector<size_t> key_at;         // where the key's columns stand in plan.columns
  std::vector<size_t> translated_at;  // the same of plan.translations
  bool translates_key = false;
  bool is_translated_to = false;  // another table's integers mean rows of this one
  std::string select_sql;         // one row by key
  std::string slice_sql;          // rows after a key, in key order; last parameter: limit
  std::string first_slice_sql;    // the same from the start
  std::string delete_sql;
  std::string insert_sql[2];             // a whole row without stamps, and with them
  std::vector<std::string> default_sql;  // per column; empty = NULL
  // Of defaults that are the same every time: their hash; else absent.
  std::vector<std::optional<uint64_t>> default_hash;
  std::vector<Reference> parents;  // this table's foreign keys
  // By the configuration alone, and to or from a table that keeps its integer keys.
  std::vector<Reference> said_parents;
  std::vector<Reference> said_children;
  std::vector<Reference> children;  // foreign keys that lead to this table
  // Key columns of other tables that name rows of this one by its local integer.
  struct Link {
    std::string table;
    std::string column;
    bool is_indexed = false;  // some index begins with it
  };
  std::vector<Link> links;
  std::vector<std::string> fts;             // FTS5 tables whose content is this table
  std::vector<std::string> unique_columns;  // in any UNIQUE index; not of the key
  bool sync_state_is_text = true;
  // Where the schema itself says what a conflict does, our statements say ABORT.
  // Elsewhere nothing: it would hold for the app's triggers, too, in the place of
  // their own OR IGNORE and OR REPLACE.
  std::string or_abort;
  // Seen: a statement for one row writes others, too (the app's triggers).
  bool writes_more = false;
  bool utf16 = false;  // the file's encoding: it keeps no text that is not UTF-8
  // For states of an earlier schema: where each present column stood, or -1.
  absl::flat_hash_map<int64_t, std::vector<int>> earlier;

  const std::string& type() const { return plan.type; }
  bool IsKey(size_t column) const;
  // True if the EntityId alone says what stands in it: a key column whose case is not
  // ignored.
  bool IsFixed(size_t column) const;
  int Find(absl::string_view column) const;  // -1 if it is not synced
  int FindAnyCase(absl::string_view column) const;
  std::vector<Value> KeyOf(const std::vector<Value>& values) const;
  // The row's key as it stands in this file: its place in a slice.
  std::vector<Value> LocalKeyOf(const Row& row) const;
  // What this file holds in a column, synced or its local integer; null if it is neither.
  const Value* LocalValue(const Row& row, absl::string_view column) const;
  absl::StatusOr<std::string> IdOf(std::span<const Value> key) const;
  absl::StatusOr<std::vector<Value>> KeyFromId(absl::string_view id) const;
  // True if the column stores `value` as it is: by its affinity and, of a text,
  // by the file's encoding.
  bool Keeps(size_t column, const Value& value) const;
  // All values as fields, for archives and whole changes.
  Fields FieldsOf(std::vector<Value> values) const;
};

// Makes it from the plan, which must outlive it, and the schema of `db`.
absl::StatusOr<Table> MakeTable(const Plan& whole, const TablePlan& plan,
                                const std::vector<TableInfo>& schema, sqlite::Database& db,
                                Ledger& ledger);

// The row of this key, as others know it.
absl::StatusOr<Row> ReadRow(sqlite::Database& db, const Table& table, Ledger& ledger,
                            std::span<const Value> key);
// So many bytes of values, and one row more, are in memory at once.
inline constexpr size_t kSliceBytesMax = 4 << 20;
// At most `limit` rows and kSliceBytesMax after `after` (LocalKeyOf; empty: from
// the start), in the order of the keys in this file. None: it was the end.
absl::StatusOr<std::vector<Row>> ReadSlice(sqlite::Database& db, const Table& table, Ledger& ledger,
                                           const std::vector<Value>& after, size_t limit);
// The value that SQLite would store if an INSERT did not name this column.
absl::StatusOr<Value> DefaultOf(sqlite::Database& db, const Table& table, size_t column);

RowHashes HashesOf(const Table& table, const Ledger& ledger, const std::vector<Value>& values);

// Which columns of `now` (present) are not as `then` (present) says. A column
// that `then` does not know counts only if it holds neither NULL nor its
// default: a migration is no edit.
absl::StatusOr<std::vector<bool>> ChangedColumns(Table& table, Ledger& ledger,
                                                 const RowHashes& then, const Row& now);
// Which columns the app has gained since `then`.
absl::StatusOr<std::vector<bool>> GainedColumns(Table& table, Ledger& ledger,
                                                const RowHashes& then);
// The whole row but for columns that the app has gained since `then` and that
// nobody has written yet: of those the service may hold what is not here.
absl::StatusOr<Fields> KnownFields(Table& table, Ledger& ledger, const RowHashes& then,
                                   const Row& now);
absl::StatusOr<bool> SameRow(Table& table, Ledger& ledger, const RowHashes& then, const Row& now);

// The integers that rows will get which are not written yet.
using ReservedIds = std::map<EntityKey, int64_t>;

// `values` (all of them, or those that are `written`) as this file stores them.
// An error that MissingParent() knows where a row that they refer to is neither
// there nor among `reserved`.
absl::StatusOr<std::vector<Value>> LocalValues(sqlite::Database& db, const Table& table,
                                               const std::vector<Value>& values,
                                               const std::vector<bool>* written,
                                               const ReservedIds* reserved);
// The row that was missed; absent for every other status.
std::optional<EntityKey> MissingParent(const absl::Status& status);
// The integer that the next row of a table with a local key can get, above all
// that are there and in `reserved`, and those of rows that are gone and still named.
absl::StatusOr<int64_t> NextLocalId(sqlite::Database& db, const Table& table, Ledger& ledger,
                                    const ReservedIds& reserved);

// Writes one row: INSERT or UPDATE, as the caller knows which; `values` are
// LocalValues, `key` is LocalKeyOf. `written` says which columns an UPDATE sets
// (an INSERT sets all; `local_id`, if not null, is the integer it gets). The
// stamped columns follow `stamps`.
absl::Status InsertRow(sqlite::Database& db, const Table& table, const std::vector<Value>& values,
                       const int64_t* local_id, const Version* stamps);
absl::Status UpdateRow(sqlite::Database& db, const Table& table, std::span<const Value> key,
                       const std::vector<Value>& values, const std::vector<bool>& written,
                       const Version* stamps);
absl::Status DeleteRow(sqlite::Database& db, const Table& table, std::span<const Value> key);

}  // namespace ptdoc::sync
