#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device-agent/capture/references.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// What would make it possible to sync a table that is refused: sentences without a
// capital and a full stop, and SQL. Nothing here looks at rows.

bool IsBinaryCollation(const std::string& collation);
bool IsNoCaseCollation(const std::string& collation);
// One of these two: keys under any other one are not told apart as others do.
bool CanBeKeyCollation(const std::string& collation);
// True if the index compares each column as that is declared.
bool HasOwnCollations(const TableInfo& table, const UniqueIndex& index);

inline constexpr char kKeyColumnRemedy[] =
    "give it a column that names its rows everywhere, such as a uuid";
inline constexpr char kKeyColumnSqlHint[] =
    " (`device-agent init --dry-run --all-tables` prints SQL that adds one)";

// `key = "..." in the [[entity]] of "..."`.
std::string ToConfig(const TableInfo& table, const std::vector<std::string>& columns);

// A UNIQUE index, the PRIMARY KEY's too, whose columns name a row on every device:
// one whose columns are never NULL first, then the one of fewest columns. Null if
// there is none.
const UniqueIndex* UsefulKey(const Candidate& candidate, const ReferenceMap& references);
// Of an index whose collations are not those of its columns: to make another one.
std::string SecondIndexRemedy(const TableInfo& table, const UniqueIndex& index);
// How many of its columns may hold NULL: such rows would stay behind.
int64_t NullableColumns(const TableInfo& table, const UniqueIndex& index);

// Statements that give every row, now and later, a key of its own (kKeyColumnName).
// None for tables whose rows have no rowid to find them by, or where OtherWays names
// columns that are there.
std::vector<std::string> KeyColumnSql(const TableInfo& table);
// The ways out for a table of integers that has no UsefulKey.
std::string OtherWays(const Candidate& candidate, const ReferenceMap& references, bool has_sql);

}  // namespace ptdoc::sync
