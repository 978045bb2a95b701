#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/model/change.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// What a row of SyncConflictArchives is made from. The loser stands in it
// whole, with the winner and (if known) the base beside it.
struct Loss {
  std::string conflict_id;
  EntityKey key;
  Resolution resolution = Resolution::kNone;
  std::string rule;
  absl::Time detected_at;
  const StoredVersion* loser = nullptr;
  const StoredVersion* winner = nullptr;  // null: nothing is there (row 6b)
  const StoredVersion* base = nullptr;    // null: not known
  // A person should look at it. Absent: unless the loser holds nothing more than
  // the winner.
  std::optional<bool> is_open;
};

ArchiveRow MakeArchive(const Loss& loss);

// True if every non-null field of the loser has the same value in the winner: no
// person needs to look at it. A lost deletion holds nothing.
bool HoldsNothingMore(const StoredVersion& loser, const StoredVersion* winner);

// Row JSON of a version, "null" for a deletion.
std::string VersionJson(const Version& version);

}  // namespace ptdoc::sync
