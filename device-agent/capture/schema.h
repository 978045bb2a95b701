#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/entity_id.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// One object that capture puts into the app's file.
struct SchemaObject {
  std::string name;
  std::string sql;  // as it stands in sqlite_master
};

struct ColumnInfo {
  std::string name;
  std::string declared_type;
  Affinity affinity = Affinity::kBlob;
  std::string collation = "BINARY";  // an index of it may have another one
  bool not_null = false;
  bool has_default = false;  // other than NULL
  std::string default_sql;   // the expression, made portable
  bool generated = false;    // STORED or VIRTUAL: read, never written or sent
  int key_position = 0;      // from 1 in the PRIMARY KEY; 0 = not in it
};

struct UniqueIndex {
  std::string name;
  std::vector<std::string> columns;     // of an expression index: its plain columns
  std::vector<std::string> collations;  // one per column
  bool partial = false;
  std::string condition;     // of a partial index: the SQL after WHERE, made portable
  bool expression = false;   // at least one part is no plain column
  bool primary_key = false;  // the PRIMARY KEY's own
};

struct ForeignKeyInfo {
  std::string parent_table;
  std::vector<std::string> columns;
  std::vector<std::string> parent_columns;  // empty = the parent's primary key
  // As SQLite spells them: NO ACTION, RESTRICT, SET NULL, SET DEFAULT, CASCADE.
  std::string on_delete = "NO ACTION";
  std::string on_update = "NO ACTION";
};

struct TableInfo {
  std::string name;
  std::vector<ColumnInfo> columns;       // of virtual tables: none
  std::vector<std::string> primary_key;  // empty: no declared key
  std::vector<UniqueIndex> uniques;      // by name
  std::vector<ForeignKeyInfo> foreign_keys;
  std::vector<std::string> app_triggers;  // names of triggers on it that are not ours
  // Of those, each that listens to UPDATE: its columns in lower case, none = all.
  std::vector<std::vector<std::string>> app_update_columns;
  bool without_rowid = false;
  bool is_virtual = false;   // FTS, R-tree ...
  bool is_shadow = false;    // belongs to a virtual table
  bool rowid_alias = false;  // INTEGER PRIMARY KEY
  bool autoincrement = false;
  std::string sql;

  const ColumnInfo* Column(absl::string_view column) const;  // ASCII case ignored, as SQLite does
};

// Every table of `main` but SQLite's own and ours, in order of creation. The
// caller's transaction, if he wants one picture.
absl::StatusOr<std::vector<TableInfo>> ReadSchema(sqlite::Database& db);

// True for the tables and triggers that capture makes: SyncLog, SyncControl,
// SyncT<number>_<letters>. The app's own objects may begin with "Sync" too.
bool IsOurTable(absl::string_view name);
bool IsOurTrigger(absl::string_view name);
// The table number in a trigger's name; 0 if it is not ours.
int NumberOfTrigger(absl::string_view name);

// `sql` without comments, and with "text" in double quotes as 'text' where it
// names no column of `table` (which may be null): SQLite takes such text in a
// CREATE TABLE or CREATE INDEX that it loads, but not in a trigger, if the
// connection has double-quoted strings off.
std::string PortableExpression(absl::string_view sql, const TableInfo* table);

// True for an error of SQL that does not fit the schema (no such table, column,
// function, collation). Any other one, of a busy file, a sick disk, memory that
// ran out, says nothing of the schema.
bool IsAboutSchema(const absl::Status& status);

// What follows WHERE in the text of a CREATE INDEX; empty if there is none.
std::string IndexCondition(absl::string_view create_index_sql);

// The table that the text of an FTS5 table names as the place of its content, as
// it is written in content=...: bare, or in any of SQLite's quotes. Empty if it
// names none.
std::string ContentTableOf(absl::string_view create_table_sql);

}  // namespace ptdoc::sync
