#pragma once

#include <optional>
#include <string>

#include "common/merge/candidate.h"
#include "common/merge/fields.h"
#include "common/merge/policy.h"
#include "common/model/change.h"

namespace ptdoc::sync {

enum class Winner : uint8_t {
  kIncoming,  // becomes a new revision (with row 9: what was merged does)
  kCurrent,   // stands
  kNeither,   // nothing to decide: Unchanged, or Failed
};

// What Resolve decided. `loser` tells what must be archived.
struct Decision {
  Outcome outcome = Outcome::kFailed;
  Resolution resolution = Resolution::kNone;
  Winner winner = Winner::kNeither;
  const char* rule = "";  // row of the decision table
  ErrorCode error = ErrorCode::kNone;
  bool archive_incoming = false;
  bool archive_current = false;
  // Rows 3 and 9: the incoming change is the later writing. Row 3: time and device
  // of `current` become its own. Row 9: what was merged has its time.
  bool raises_time = false;
  // Row 9: what stands then, field by field.
  std::optional<MergedFields> merged = std::nullopt;
};

// What is asked: `incoming` is a whole version already (base + sent fields).
struct Question {
  const TypePolicy* policy = nullptr;
  Revision base_revision = 0;
  // The base fits `current` by revision and check.
  bool base_is_current = false;
  // Base 0 under an integer key: row 6c applies.
  bool collision_possible = false;
  // The version that the change was made from, if the service has it; null, too,
  // for a row that was deleted and made anew: it is never merged.
  const Candidate* base = nullptr;
  // Absent: no version at all. A tombstone is a candidate with `deleted`.
  const Candidate* current = nullptr;
  const Candidate* incoming = nullptr;
};

// Rows 3 to 10 of the decision table (docs/CONFLICTS.md), by the first one that
// fits. Pure: no clock, no I/O, no memory; the same question always has
// the same answer. `outcome` is kConflict whenever `resolution` is set, but for
// KeyCollision, which is kFailed.
Decision Resolve(const Question& question);

// The effective time of a change: claimed (`now` if it claims none), unless that
// is further than `max_skew_ns` ahead of `now`: then one step after the base, or
// after the smallest time without one. Always above the base's time; saturates.
TimeNs EffectiveTime(std::optional<TimeNs> claimed, TimeNs now, TimeNs max_skew_ns,
                     std::optional<TimeNs> base_time);

// The claimed time is further than `max_skew_ns` ahead of `now`. Such a change
// loses row 8 whatever time stands against it: its own is one step after its
// base's, and what stands is not always later than that (resolve.cc).
bool IsClamped(std::optional<TimeNs> claimed, TimeNs now, TimeNs max_skew_ns);

}  // namespace ptdoc::sync
