#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptdoc::sync {

// What a caller of the store is told (store.h) for an error of SQLite; other
// statuses pass as they are.
absl::Status StoreError(const absl::Status& status);

// The same for COMMIT, where a failed read or write may come after the commit
// was already on the disk: UNKNOWN.
absl::Status CommitError(const absl::Status& status);

inline absl::Status Mapped(const absl::Status& status) {
  return status.ok() ? status : StoreError(status);
}

template <typename T>
absl::StatusOr<T> Mapped(absl::StatusOr<T> result) {
  if (!result.ok()) return StoreError(result.status());
  return result;
}

}  // namespace ptdoc::sync
