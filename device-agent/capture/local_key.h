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

// Rows that are gone from the file while others still name them by their integers.
class GoneRows {
 public:
  virtual ~GoneRows() = default;
  // The EntityId of the last row of this type that had this integer, if it is known.
  virtual absl::StatusOr<std::optional<std::string>> OwnerOf(absl::string_view type,
                                                             int64_t local) const = 0;
  // The integer that this row had, if it is known.
  virtual absl::StatusOr<std::optional<int64_t>> NumberOf(absl::string_view type,
                                                          absl::string_view id) const = 0;
};

// Where `gone` is not null it is asked of rows that are not there.

// The EntityId of the row of `parent` that has this local integer. Absent: there
// is none, or its key is no id (NULL in it, or a row that it hangs on is not
// there).
absl::StatusOr<std::optional<std::string>> IdOfLocal(sqlite::Database& db, const Plan& plan,
                                                     const TablePlan& parent, const Value& local,
                                                     const GoneRows* gone = nullptr);

// The local integer of this row; absent: it is not there.
absl::StatusOr<std::optional<Value>> LocalOfId(sqlite::Database& db, const Plan& plan,
                                               const TablePlan& parent, absl::string_view id,
                                               const GoneRows* gone = nullptr);

// Apps write 0 or -1 where they could write NULL. SQLite gives no row such a number by
// itself, so that it means the same on every device.
bool MeansNoRow(const Value& value);

// One value of a translated column as others know it. Absent: it refers to a row
// that is not there. NULL stays NULL, and what means no row (if there is none).
absl::StatusOr<std::optional<Value>> ToShared(sqlite::Database& db, const Plan& plan,
                                              const Translation& translation, const Value& local,
                                              const GoneRows* gone = nullptr);
// And back. A value that is no id of others (an integer that the app left) stays.
absl::StatusOr<std::optional<Value>> ToLocal(sqlite::Database& db, const Plan& plan,
                                             const Translation& translation, const Value& shared,
                                             const GoneRows* gone = nullptr);

// A table's key as it stands in this file; absent: a row that it hangs on is not there.
absl::StatusOr<std::optional<std::vector<Value>>> LocalKey(sqlite::Database& db, const Plan& plan,
                                                           const TablePlan& table,
                                                           std::span<const Value> shared,
                                                           const GoneRows* gone = nullptr);
// A key as others know it; absent as above.
absl::StatusOr<std::optional<std::vector<Value>>> SharedKey(sqlite::Database& db, const Plan& plan,
                                                            const TablePlan& table,
                                                            std::span<const Value> local,
                                                            const GoneRows* gone = nullptr);

// Under an id_range a row of a higher range is kept under its number with a
// minus: above the range it would be SQLite's next number's predecessor.
Value SharedNumber(const Value& local);

}  // namespace ptdoc::sync
