#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/cursor.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// A piece of the feed, read in one snapshot of the store.
struct FeedSlice {
  std::vector<Version> versions;
  // The rest of a batch of the snapshot that is longer than a slice; `next` is
  // behind it.
  std::vector<Version> rest;
  Cursor next;             // where the next slice begins
  bool batch_end = false;  // `next` is between two batches: it may leave the process
};

struct SliceQuery {
  absl::string_view tenant;
  const std::vector<std::string>& types;  // empty = all
  size_t limit = 0;                       // versions
  BatchEnd newest;                        // of the snapshot that is read
};

// The next slice from `at`: heads while the cursor is inside its snapshot, the
// log afterwards. Cut where a batch ended. Of a batch longer than `limit` the
// log gives the beginning without batch_end, the snapshot all of it, most of
// that in `rest`.
absl::StatusOr<FeedSlice> ReadSlice(StoreReader& reader, const SliceQuery& query, const Cursor& at);

// How many versions ReadSlice will give from `at` to the newest one, together.
// Reads indexes over all of them: once a catch-up, not once a page.
absl::StatusOr<uint64_t> CountFrom(StoreReader& reader, const SliceQuery& query, const Cursor& at);

// In the log, at the newest batch.
bool IsCaughtUp(const Cursor& cursor, const BatchEnd& newest);

}  // namespace ptdoc::sync
