#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/value.h"
#include "device-agent/capture/plan.h"

namespace ptdoc::sync {

// `value` as it stands in an EntityId: a text of a key column that ignores case
// (TablePlan::ignores_case) in small letters, of ASCII alone, as SQLite's NOCASE
// compares. Everything else as it is. NULL for a text with a NUL byte in such a
// column: NOCASE takes texts of one length for equal that differ after it.
Value FoldedKeyValue(const TablePlan& table, size_t key_column, const Value& value);

// The EntityId of a key as others know it (translated). INVALID_ARGUMENT
// (INVALID_KEY) as EncodeEntityId.
absl::StatusOr<std::string> EntityIdOf(const TablePlan& table, std::span<const Value> key);

// The inverse, in small letters where case is ignored: as a parameter it finds the
// row, however that is written. INVALID_ARGUMENT (INVALID_KEY) if `id` is none that
// EntityIdOf makes.
absl::StatusOr<std::vector<Value>> KeyOfEntityId(const TablePlan& table, absl::string_view id);

}  // namespace ptdoc::sync
