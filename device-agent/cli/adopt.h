#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device-agent/cli/agent_context.h"

namespace ptdoc::sync {

// What became of the open items of PTDoc's own queue in the app's file.
struct Adopted {
  int64_t edits = 0;
  int64_t deletions = 0;
  int64_t not_synced = 0;  // of types that no synced table has
  int64_t unknown = 0;     // creations and updates of rows that are not there
  int64_t other_case = 0;  // GUIDs that the queue spells in another case than the row
  int64_t open_conflicts = 0;
  bool before = false;  // done by an earlier init: nothing was taken over again
};

// Takes the open items (Pending, Processing, Failed) of the app's SyncQueueItems
// over into the ledger, with their times: what they announce is an edit, and no
// longer a row that was there before init. The app's tables are only read. After
// `init`; the replica of `options` must be free. FAILED_PRECONDITION (NO_QUEUE) if
// the file has no such table.
absl::StatusOr<Adopted> Adopt(AgentContext& context, const ReplicaOptions& options);

}  // namespace ptdoc::sync
