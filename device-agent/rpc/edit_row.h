#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/model/change.h"
#include "device-agent/capture/plan.h"

namespace ptdoc::sync {

// Writes `fields` into the row `key` of the app's file, as the app itself would:
// with every trigger on and foreign keys enforced, so that it is captured as an
// edit. The key's columns must be among `fields` and name this row; columns that
// are not named stay as they are. A row that is not there is inserted.
//
// FIELD: a column that is not synced, or another key. TYPE_UNKNOWN.
// SCHEMA_REFUSES: a constraint or a trigger of the app. BLOCKED_BY_APP
// (UNAVAILABLE) while the app holds its file. Nothing was changed by any error.
absl::Status EditRow(const std::string& database, const Plan& plan, const EntityKey& key,
                     const Fields& fields);

}  // namespace ptdoc::sync
