#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/references.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// For names that are no table of the app's: its views, SQLite's own tables and
// ours. Empty if the file has nothing of this name.
absl::StatusOr<std::optional<Refusal>> RefuseName(sqlite::Database& db, const std::string& name);

// Why a table that nobody named stays out: what it holds is about this file alone.
std::optional<Refusal> RefuseUnnamed(const TableInfo& table);

// Of each of the key's columns: true if it is NOCASE, as an index of exactly these
// columns has it. Meaningful for a key that RefuseTable lets pass.
std::vector<bool> KeyIgnoresCase(const TableInfo& table, const std::vector<std::string>& key);

// Why a table cannot be synced by `key` (as the file spells it; empty = its
// PRIMARY KEY), if so, whatever other tables are synced.
std::optional<Refusal> RefuseTable(const TableInfo& table, const std::vector<std::string>& key);

// A type, or a column that is synced, whose name no message can carry.
std::optional<Refusal> RefuseEncoding(const TableInfo& table, const std::string& type,
                                      const std::vector<std::string>& columns);

// True if a row has numbers alone in its key, where the declared types leave
// that open.
absl::StatusOr<bool> HasNumericKeys(sqlite::Database& db, const TableInfo& table,
                                    const std::vector<std::string>& key);

// Why it cannot be synced together with the others: integers in its key, or in
// columns that refer to rows which other devices know by other numbers.
std::optional<Refusal> RefuseIntegers(const Candidate& candidate, const ReferenceMap& references);

}  // namespace ptdoc::sync
