#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// Columns as our tables write them: times as text (FormatUtc).
std::string TextColumn(const sqlite::Statement& row, int index);
// DATA_LOSS for a text that is no time.
absl::StatusOr<absl::Time> TimeColumn(const sqlite::Statement& row, int index);
absl::StatusOr<std::optional<absl::Time>> OptionalTimeColumn(const sqlite::Statement& row,
                                                             int index);

// NULL for an absent time.
void BindTime(sqlite::Statement* statement, int index, const std::optional<absl::Time>& time);

}  // namespace ptdoc::sync
