#include "sync-service/store/store_error.h"

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {
namespace {

constexpr int kIoError = 10;  // SQLITE_IOERR, the low byte of its extended codes

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
      return absl::InternalError(absl::StrCat("The store failed (", status.message(), ")."));
  }
}

absl::Status CommitError(const absl::Status& status) {
  if ((sqlite::ExtendedCode(status) & 0xff) != kIoError) return StoreError(status);
  return absl::UnknownError(absl::StrCat("The store failed while it committed (", status.message(),
                                         "). Whether this was stored is not known."));
}

}  // namespace ptdoc::sync
