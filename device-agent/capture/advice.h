#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// What people should know before this table is synced, each a sentence without
// content: NULL in keys, keys that differ by case or carry a meaning, foreign
// keys that lead out of the plan, the app's triggers, what capture cannot see.
absl::StatusOr<std::vector<std::string>> Advise(sqlite::Database& db, const TableInfo& table,
                                                const Plan& plan, const TablePlan& entry);

// Sets the mode in which versions of others can be written, by compiling one
// insert, update and delete on this connection, with and without the app's
// triggers.
absl::Status ProbeApplyMode(sqlite::Database& db, TablePlan* entry);

}  // namespace ptdoc::sync
