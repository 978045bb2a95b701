#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// For names that are no table of the app's: its views, SQLite's own tables and
// ours. Empty if the file has nothing of this name.
absl::StatusOr<std::optional<Refusal>> RefuseName(sqlite::Database& db, const std::string& name);

// Why a table cannot be synced by `key` (as the file spells it; empty = its
// PRIMARY KEY), if so. Of one that `is_synced` already the rows are not looked
// at: one number among its keys must not stop the others for good.
absl::StatusOr<std::optional<Refusal>> RefuseTable(sqlite::Database& db, const TableInfo& table,
                                                   const std::vector<std::string>& key,
                                                   bool is_synced);

// A type, or a column that is synced, whose name no message can carry.
std::optional<Refusal> RefuseEncoding(const TableInfo& table, const std::string& type,
                                      const std::vector<std::string>& columns);

// Tables of the plan that refer to the local integer of another one (its key
// is a uuid beside it) leave the plan: the number means another row on each
// device.
void RefuseIntegerReferences(const std::vector<TableInfo>& schema, Plan* plan);

}  // namespace ptdoc::sync
