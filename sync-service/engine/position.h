#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/cursor.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// Opens a cursor that came from outside, and checks that the history it stands
// in is still this store's. CURSOR_MALFORMED; FAILED_PRECONDITION with
// EPOCH_CHANGED, HISTORY_FORKED or CURSOR_EXPIRED and kMetaSharedRevision, from
// which a device starts its re-baseline. The types digest is not looked at.
absl::StatusOr<Cursor> OpenFeedCursor(StoreReader& reader, absl::string_view tenant,
                                      const StoreMeta& meta, absl::string_view text);

// What a cursor relies on: the log is read on from here sooner or later.
BatchEnd GroundOf(const Cursor& cursor);

// The same for a position that this process made and kept, possibly inside a
// batch: only a restore or retention can have taken its ground away.
absl::Status CheckPosition(StoreReader& reader, absl::string_view tenant, const StoreMeta& meta,
                           const Cursor& cursor);

// What a device remembers beside its cursor: a place in the history that its
// rows may rely on, made by SealWitness. Empty = nothing to check. EPOCH_CHANGED
// and HISTORY_FORKED as above, CURSOR_MALFORMED; never CURSOR_EXPIRED: nobody
// reads on from a witness. Returns the revision up to which it proves the caller's
// history to be this one, 0 if it proves nothing.
absl::StatusOr<Revision> CheckWitness(StoreReader& reader, absl::string_view tenant,
                                      const StoreMeta& meta, absl::string_view witness);

// A witness of all that the store holds as `reader` sees it.
absl::StatusOr<std::string> SealWitness(StoreReader& reader, absl::string_view tenant,
                                        const StoreMeta& meta);

// FAILED_PRECONDITION with this reason. `shared`: up to this revision the caller's
// history is proven to be this one; 0 = nothing is. (That the store was restored
// says nothing of the times when its file was set back by hand.)
absl::Status RebaselineError(absl::string_view reason, absl::string_view message,
                             Revision shared = 0);

}  // namespace ptdoc::sync
