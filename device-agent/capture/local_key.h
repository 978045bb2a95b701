#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"

namespace ptdoc::sync {

// Between the integers by which rows are known in one app's file and the ids by
// which every device knows them. All read the file as it stands in the
// connection's transaction, and return its errors. `plan` is the plan that the
// tables are part of.

// The EntityId of the row of `parent` that has this local integer. Absent: there
// is none, or its key is no id (NULL in it, or a row that it hangs on is not
// there).
absl::StatusOr<std::optional<std::string>> IdOfLocal(sqlite::Database& db, const Plan& plan,
                                                     const TablePlan& parent, const Value& local);

// The local integer of this row; absent: it is not there.
absl::StatusOr<std::optional<Value>> LocalOfId(sqlite::Database& db, const Plan& plan,
                                               const TablePlan& parent, absl::string_view id);

// Apps write 0 or -1 where they could write NULL. SQLite gives no row such a number by
// itself, so that it means the same on every device.
bool MeansNoRow(const Value& value);

// One value of a translated column as others know it. Absent: it refers to a row
// that is not there. NULL stays NULL, and what means no row (if there is none).
absl::StatusOr<std::optional<Value>> ToShared(sqlite::Database& db, const Plan& plan,
                                              const Translation& translation, const Value& local);
// And back. A value that is no id of others (an integer that the app left) stays.
absl::StatusOr<std::optional<Value>> ToLocal(sqlite::Database& db, const Plan& plan,
                                             const Translation& translation, const Value& shared);

// A table's key as it stands in this file; absent: a row that it hangs on is not there.
absl::StatusOr<std::optional<std::vector<Value>>> LocalKey(sqlite::Database& db, const Plan& plan,
                                                           const TablePlan& table,
                                                           std::span<const Value> shared);
// A key as others know it; absent as above.
absl::StatusOr<std::optional<std::vector<Value>>> SharedKey(sqlite::Database& db, const Plan& plan,
                                                            const TablePlan& table,
                                                            std::span<const Value> local);

// Under an id_range a row of a higher range is kept under its number with a
// minus: above the range it would be SQLite's next number's predecessor.
Value SharedNumber(const Value& local);

}  // namespace ptdoc::sync
