#include "sync-service/engine/pages.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {
namespace {

// Ends the snapshot: from here on the log tells what happened since.
void EnterLog(Cursor* cursor) {
  cursor->sequence = cursor->snapshot_end;
  cursor->tag = cursor->snapshot_tag;
  cursor->snapshot_end = 0;
  cursor->snapshot_tag = 0;
}

absl::StatusOr<BatchSpan> BatchOf(StoreReader& reader, absl::string_view tenant,
                                  Revision revision) {
  PT_ASSIGN_OR_RETURN(const std::optional<BatchSpan> span, reader.BatchAround(tenant, revision));
  if (!span.has_value()) return absl::InternalError("A version of the log is in no batch.");
  return *span;
}

absl::StatusOr<bool> HasHeads(StoreReader& reader, const SliceQuery& query, Revision after,
                              Revision up_to) {
  if (after >= up_to) return false;
  PT_ASSIGN_OR_RETURN(
      const std::vector<Version> heads,
      reader.ReadHeads(query.tenant, after, up_to, query.types, /*limit=*/1, /*bytes_max=*/1));
  return !heads.empty();
}

// Cuts a slice of heads, which ends at any head, back to where a batch ended. If
// it holds the beginning of one batch and nothing else, the rest is read, too:
// in another snapshot some of it might be superseded, and half of the batch
// would be seen.
absl::Status CutHeads(StoreReader& reader, const SliceQuery& query, FeedSlice* slice) {
  const Revision last = slice->versions.back().revision;
  PT_ASSIGN_OR_RETURN(const BatchSpan span, BatchOf(reader, query.tenant, last));
  PT_ASSIGN_OR_RETURN(const bool is_cut, HasHeads(reader, query, last, span.end.sequence));
  if (!is_cut) {
    slice->next.sequence = span.end.sequence;
    return absl::OkStatus();
  }
  if (slice->versions.front().revision > span.after) {
    PT_ASSIGN_OR_RETURN(slice->rest,
                        reader.ReadHeads(query.tenant, last, span.end.sequence, query.types,
                                         kBatchChangesMax, std::numeric_limits<size_t>::max()));
    slice->next.sequence = span.end.sequence;
    return absl::OkStatus();
  }
  std::erase_if(slice->versions,
                [&](const Version& version) { return version.revision > span.after; });
  slice->next.sequence = span.after;
  return absl::OkStatus();
}

absl::StatusOr<FeedSlice> ReadSnapshotSlice(StoreReader& reader, const SliceQuery& query,
                                            const Cursor& at) {
  FeedSlice slice;
  slice.next = at;
  slice.batch_end = true;
  PT_ASSIGN_OR_RETURN(slice.versions, reader.ReadHeads(query.tenant, at.sequence, at.snapshot_end,
                                                       query.types, query.limit, kPageBytesMax));
  const bool full = slice.versions.size() >= query.limit;
  if (slice.versions.empty()) {
    slice.next.sequence = at.snapshot_end;
  } else {
    PT_RETURN_IF_ERROR(CutHeads(reader, query, &slice));
  }
  // A full slice is seldom the last one; else look, and save an empty page.
  bool more = full;
  if (!full && slice.next.sequence < at.snapshot_end) {
    PT_ASSIGN_OR_RETURN(more, HasHeads(reader, query, slice.next.sequence, at.snapshot_end));
  }
  if (slice.next.sequence >= at.snapshot_end || !more) EnterLog(&slice.next);
  return slice;
}

// Nothing wanted up to `covered`.
absl::StatusOr<FeedSlice> SkipTo(StoreReader& reader, const SliceQuery& query, const Cursor& at,
                                 Revision covered) {
  FeedSlice slice;
  slice.next = at;
  slice.next.sequence = std::max(covered, at.sequence);
  slice.next.tag = 0;
  PT_ASSIGN_OR_RETURN(const std::optional<BatchEnd> end,
                      reader.FindBatchEnd(query.tenant, slice.next.sequence));
  if (!end.has_value()) return slice;
  slice.next.tag = end->tag;
  slice.batch_end = true;
  return slice;
}

// How many of `feed` stand before its last batch end.
size_t WholeBatches(const std::vector<FeedVersion>& feed) {
  const auto last = std::find_if(feed.rbegin(), feed.rend(),
                                 [](const FeedVersion& entry) { return entry.batch_end; });
  return static_cast<size_t>(feed.rend() - last);
}

absl::StatusOr<FeedSlice> ReadLogSlice(StoreReader& reader, const SliceQuery& query,
                                       const Cursor& at) {
  FeedSlice slice;
  slice.next = at;
  slice.batch_end = true;
  if (IsCaughtUp(at, query.newest)) return slice;
  Revision covered = at.sequence;
  PT_ASSIGN_OR_RETURN(
      std::vector<FeedVersion> feed,
      reader.ReadLog(query.tenant, at.sequence, query.types, query.limit, kPageBytesMax, &covered));
  if (feed.empty()) return SkipTo(reader, query, at, covered);
  if (PT_PLANTED("feed from heads")) {
    PT_ASSIGN_OR_RETURN(slice.versions,
                        reader.ReadHeads(query.tenant, at.sequence, query.newest.sequence,
                                         query.types, kBatchChangesMax, kMessageBytesMax));
    slice.next.sequence = query.newest.sequence;
    slice.next.tag = query.newest.tag;
    return slice;
  }
  const size_t whole = WholeBatches(feed);
  const size_t kept = whole > 0 ? whole : feed.size();
  const bool covers_all = (kept == feed.size() && covered >= query.newest.sequence) ||
                          PT_PLANTED("a cursor stands at the end of the log");
  const Revision last = feed[kept - 1].version.revision;
  slice.versions.reserve(kept);
  for (size_t i = 0; i < kept; ++i) slice.versions.push_back(std::move(feed[i].version));
  if (whole == 0) {  // One batch fills the slice and goes on.
    slice.next.sequence = last;
    slice.next.tag = 0;
    slice.batch_end = false;
    return slice;
  }
  BatchEnd end = query.newest;
  if (!covers_all) {
    PT_ASSIGN_OR_RETURN(const BatchSpan span, BatchOf(reader, query.tenant, last));
    end = span.end;
  }
  slice.next.sequence = end.sequence;
  slice.next.tag = end.tag;
  return slice;
}

}  // namespace

absl::StatusOr<FeedSlice> ReadSlice(StoreReader& reader, const SliceQuery& query,
                                    const Cursor& at) {
  if (at.snapshot_end > 0) return ReadSnapshotSlice(reader, query, at);
  return ReadLogSlice(reader, query, at);
}

absl::StatusOr<uint64_t> CountFrom(StoreReader& reader, const SliceQuery& query, const Cursor& at) {
  uint64_t heads = 0;
  Revision log_after = at.sequence;
  if (at.snapshot_end > 0) {
    PT_ASSIGN_OR_RETURN(heads,
                        reader.CountHeads(query.tenant, at.sequence, at.snapshot_end, query.types));
    log_after = at.snapshot_end;
  }
  // The revisions of a tenant have no gaps.
  if (query.types.empty()) {
    return heads + static_cast<uint64_t>(query.newest.sequence - log_after);
  }
  PT_ASSIGN_OR_RETURN(const uint64_t logged,
                      reader.CountLog(query.tenant, log_after, query.newest.sequence, query.types));
  return heads + logged;
}

bool IsCaughtUp(const Cursor& cursor, const BatchEnd& newest) {
  return cursor.snapshot_end == 0 && cursor.sequence >= newest.sequence;
}

}  // namespace ptdoc::sync
