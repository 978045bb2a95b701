#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// Comparing every synced row with the service (docs/adr/0005-verify.md). The
// replica does what needs the two files, in slices; whoever drives it talks to
// the service in between. Nothing here holds content.

inline constexpr size_t kFindingsMax = 10'000;      // listed; more are only counted
inline constexpr size_t kWaitingKeysMax = 100'000;  // remembered, so as to be counted once
inline constexpr absl::Duration kVerifyResumeMax = absl::Hours(24);

// A range of the service's revisions; the same sums of the device's rows.
struct VerifyRange {
  Revision after = 0;
  Revision up_to = 0;
  int64_t rows = 0;
  uint64_t digest = 0;
  int64_t own_rows = 0;
  uint64_t own_digest = 0;

  bool equal() const { return rows == own_rows && digest == own_digest; }
};

enum class Difference : uint8_t { kDifferent = 1, kMissingHere = 2, kMissingThere = 3 };

struct VerifyFinding {
  EntityKey key;
  Difference kind = Difference::kDifferent;
  std::vector<std::string> columns;  // names of those that differ
  Revision there = 0;                // what the service holds; 0 = nothing
  Revision here = 0;                 // what the device had last; 0 = nothing
  bool repaired = false;
};

struct VerifyCount {
  uint64_t rows_here = 0;
  uint64_t waiting_here = 0;   // of rows_here: an edit that is not sent, and the like
  uint64_t waiting_there = 0;  // not of rows_here: a version that is not applied yet
  uint64_t different = 0;
  uint64_t missing_here = 0;
  uint64_t missing_there = 0;

  uint64_t rows() const { return rows_here + missing_here + waiting_there; }
  uint64_t equal() const {
    const uint64_t others = waiting_here + different + missing_there;
    return rows_here - (others < rows_here ? others : rows_here);
  }
};

enum class VerifyPhase : uint8_t {
  kRanges = 0,  // the service's sums are asked for
  kRows = 1,    // every row against its state, and into the sums
  kStates = 2,  // of a type: states whose row is gone
  kRanged = 3,  // ranges that differ: what the service holds in them
  kAround = 4,  // and what the device does
  kDone = 5,
};

// How far a verify has come: kept in the ledger from time to time.
struct VerifyProgress {
  std::string digest_key;
  std::string epoch;  // as of the beginning
  TimeNs begun = 0;
  VerifyPhase phase = VerifyPhase::kRanges;
  Revision up_to = 0;
  std::vector<VerifyRange> ranges;
  size_t range_at = 0;  // of kRanged
  Revision range_after = 0;
  std::vector<std::string> types;
  size_t type_at = 0;
  std::vector<Value> after;  // of kRows: the last key
  std::string after_id;      // of kStates and kAround
  uint64_t live_states = 0;  // of the type: rows that were met with a live state
  uint64_t known = 0;        // rows to be looked at, about
  std::map<std::string, VerifyCount> counts;
  std::map<EntityKey, VerifyFinding> findings;
  // Seen to wait without an item; true = the row is here.
  absl::flat_hash_map<EntityKey, bool> waiting;
  bool resumed = false;
  bool drained = false;  // by the last slice: the queue may have grown

  uint64_t rows_done() const;
  // The range of a revision; null if it lies outside of all.
  VerifyRange* RangeOf(Revision revision);
};

std::string EncodeVerify(const VerifyProgress& progress);
// DATA_LOSS for bytes that EncodeVerify did not make.
absl::StatusOr<VerifyProgress> DecodeVerify(absl::string_view bytes);

// What the service says of single entities.
struct TheirRow {
  EntityKey key;
  Revision revision = 0;
  std::string check;
  bool deleted = false;
  const std::vector<std::string>* names = nullptr;  // sorted
  std::vector<uint64_t> digests;                    // one a name
};

struct TheirRows {
  std::vector<std::vector<std::string>> shapes;
  std::vector<TheirRow> rows;
  std::vector<EntityKey> missing;
  Revision cursor = 0;
  Revision newest = 0;
};

}  // namespace ptdoc::sync
