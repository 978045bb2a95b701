#include "sync-service/store/store_error.h"

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {
namespace {

// Result codes of SQLite: the low byte of its extended ones.
constexpr int kPermission = 3;
constexpr int kAborted = 4;
constexpr int kNoMemory = 7;
constexpr int kReadOnly = 8;
constexpr int kIoError = 10;
constexpr int kCannotOpen = 14;

int PrimaryCode(const absl::Status& status) {
  return sqlite::ExtendedCode(status) & 0xff;
}

// The disk or its mount refuses for now. It may come back, and then the store
// goes on by itself.
bool IsDiskAway(const absl::Status& status) {
  const int code = PrimaryCode(status);
  return code == kPermission || code == kReadOnly || code == kIoError || code == kCannotOpen;
}

// Also the rest of a transaction that had to end because of it.
bool IsOutOfMemory(const absl::Status& status) {
  return PrimaryCode(status) == kNoMemory || PrimaryCode(status) == kAborted;
}

}  // namespace

absl::Status StoreError(const absl::Status& status) {
  if (status.ok() || sqlite::ExtendedCode(status) == 0) return status;
  switch (status.code()) {
    case absl::StatusCode::kAborted:
      return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                         "The store is in use by another process. Nothing was stored. "
                         "Try again in a moment.");
    case absl::StatusCode::kResourceExhausted:
      return ReasonError(absl::StatusCode::kResourceExhausted, "STORE_FULL",
                         "The store's disk is full. Nothing was stored; devices keep their "
                         "changes. Free disk space.");
    case absl::StatusCode::kDataLoss:
      return absl::DataLossError(absl::StrCat("The store's file is damaged (", status.message(),
                                              "). Restore it from a backup."));
    default:
      if (IsDiskAway(status)) {
        return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                           absl::StrCat("The store cannot be read or written (", status.message(),
                                        "). Nothing was stored; devices keep their changes. "
                                        "Look at its disk, mount and permissions."));
      }
      if (IsOutOfMemory(status)) {
        return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                           absl::StrCat("The store has no memory to work with (", status.message(),
                                        "). Nothing was stored; devices keep their changes. Give "
                                        "the service more memory."));
      }
      return absl::InternalError(absl::StrCat("The store failed (", status.message(), ")."));
  }
}

absl::Status CommitError(const absl::Status& status) {
  const int code = PrimaryCode(status);
  if (code != kIoError && code != kNoMemory) return StoreError(status);
  return ReasonError(absl::StatusCode::kUnknown, "STORE_AWAY",
                     absl::StrCat("The store failed while it committed (", status.message(),
                                  "). Whether this was stored is not known. Look whether it is, "
                                  "before you do it again."));
}

}  // namespace ptdoc::sync
