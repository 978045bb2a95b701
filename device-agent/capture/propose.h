#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"

namespace ptdoc::sync {

// The [[entity]] blocks, table and key alone, with which tables that are refused
// for their integers could be synced by what is UNIQUE NOT NULL in them. Empty:
// there are none. Errors as of MakePlan.
absl::StatusOr<std::vector<EntityConfig>> ProposeEntities(sqlite::Database& db,
                                                          const PlanRequest& request);

}  // namespace ptdoc::sync
