#include "sync-service/store/columns.h"

#include "common/base/status.h"
#include "common/base/time_text.h"

namespace ptdoc::sync {

std::string TextColumn(const sqlite::Statement& row, int index) {
  return std::string(row.Text(index));
}

absl::StatusOr<absl::Time> TimeColumn(const sqlite::Statement& row, int index) {
  absl::StatusOr<absl::Time> time = ParseTime(row.Text(index));
  if (!time.ok()) return absl::DataLossError("a time in the store is damaged");
  return time;
}

absl::StatusOr<std::optional<absl::Time>> OptionalTimeColumn(const sqlite::Statement& row,
                                                             int index) {
  if (row.IsNull(index)) return std::nullopt;
  PT_ASSIGN_OR_RETURN(const absl::Time time, TimeColumn(row, index));
  return time;
}

void BindTime(sqlite::Statement* statement, int index, const std::optional<absl::Time>& time) {
  if (time.has_value()) {
    statement->Bind(index, FormatUtc(*time));
  } else {
    statement->BindNull(index);
  }
}

}  // namespace ptdoc::sync
