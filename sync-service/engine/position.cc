#include "sync-service/engine/position.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kForked =
    "This cursor is of a history that the service does not have. Nothing was changed on either "
    "side. Settle open batches and pull from the start with an empty cursor.";
constexpr absl::string_view kExpired =
    "This cursor is older than the history that the service keeps. Nothing was changed on either "
    "side. Settle open batches and pull from the start with an empty cursor.";
constexpr absl::string_view kRestored =
    "The service's store was restored or replaced since this cursor was made. Nothing was changed "
    "on either side. Settle open batches and pull from the start with an empty cursor.";

absl::StatusOr<bool> IsExpired(StoreReader& reader, absl::string_view tenant,
                               const BatchEnd& ground) {
  PT_ASSIGN_OR_RETURN(const Revision pruned, reader.PrunedUpTo(tenant));
  return ground.sequence < pruned;
}

// A position of another life of the store under the same epoch: a file put
// back by hand. The batch's random tag finds it even where revisions were
// given out again.
absl::StatusOr<bool> IsForked(StoreReader& reader, absl::string_view tenant,
                              const BatchEnd& ground) {
  if (ground.sequence == 0) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<BatchEnd> end,
                      reader.FindBatchEnd(tenant, ground.sequence));
  return !end.has_value() || end->tag != ground.tag;
}

}  // namespace

BatchEnd GroundOf(const Cursor& cursor) {
  if (cursor.snapshot_end > 0) return {cursor.snapshot_end, cursor.snapshot_tag};
  return {cursor.sequence, cursor.tag};
}

absl::Status RebaselineError(absl::string_view reason, absl::string_view message, Revision shared) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, reason, message,
                     {{kMetaSharedRevision, absl::StrCat(shared)}});
}

namespace {

// With the error that a device starts its re-baseline from.
absl::StatusOr<Cursor> OpenSealed(absl::string_view tenant, const StoreMeta& meta,
                                  absl::string_view text) {
  absl::StatusOr<Cursor> cursor = OpenCursor(text, tenant, meta.mac_key, meta.epoch);
  if (cursor.ok() || !absl::IsFailedPrecondition(cursor.status())) return cursor;
  return RebaselineError(ReasonOf(cursor.status()), cursor.status().message());
}

}  // namespace

absl::StatusOr<Cursor> OpenFeedCursor(StoreReader& reader, absl::string_view tenant,
                                      const StoreMeta& meta, absl::string_view text) {
  PT_ASSIGN_OR_RETURN(Cursor cursor, OpenSealed(tenant, meta, text));
  const BatchEnd ground = GroundOf(cursor);
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader.Newest(tenant));
  if (ground.sequence > newest.sequence) {
    return RebaselineError("HISTORY_FORKED", kForked);
  }
  PT_ASSIGN_OR_RETURN(const bool expired, IsExpired(reader, tenant, ground));
  if (expired) return RebaselineError("CURSOR_EXPIRED", kExpired);
  PT_ASSIGN_OR_RETURN(const bool forked, IsForked(reader, tenant, ground));
  if (forked) return RebaselineError("HISTORY_FORKED", kForked);
  return cursor;
}

absl::StatusOr<Revision> CheckWitness(StoreReader& reader, absl::string_view tenant,
                                      const StoreMeta& meta, absl::string_view witness) {
  if (witness.empty() || PT_PLANTED("the witness is not looked at")) return 0;
  PT_ASSIGN_OR_RETURN(const Cursor cursor, OpenSealed(tenant, meta, witness));
  const BatchEnd ground = GroundOf(cursor);
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader.Newest(tenant));
  bool forked = ground.sequence > newest.sequence;
  // What retention has taken away can no longer be told from another history.
  PT_ASSIGN_OR_RETURN(const bool expired, IsExpired(reader, tenant, ground));
  if (!forked && !expired) {
    PT_ASSIGN_OR_RETURN(forked, IsForked(reader, tenant, ground));
  }
  if (forked) return RebaselineError("HISTORY_FORKED", kForked);
  return expired ? 0 : ground.sequence;
}

absl::StatusOr<std::string> SealWitness(StoreReader& reader, absl::string_view tenant,
                                        const StoreMeta& meta) {
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader.Newest(tenant));
  Cursor cursor;
  cursor.epoch = meta.epoch;
  cursor.sequence = newest.sequence;
  cursor.tag = newest.tag;
  return SealCursor(cursor, tenant, meta.mac_key);
}

absl::Status CheckPosition(StoreReader& reader, absl::string_view tenant, const StoreMeta& meta,
                           const Cursor& cursor) {
  if (cursor.epoch != meta.epoch) {
    return RebaselineError("EPOCH_CHANGED", kRestored);
  }
  PT_ASSIGN_OR_RETURN(const bool expired, IsExpired(reader, tenant, GroundOf(cursor)));
  if (expired) return RebaselineError("CURSOR_EXPIRED", kExpired);
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
