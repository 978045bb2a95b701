#pragma once

#include <optional>
#include <string>

#include "common/merge/policy.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// One side of a decision: a whole version, as the table compares it.
struct Candidate {
  Revision revision = 0;  // 0 for the incoming one
  bool deleted = false;
  Fields fields;
  TimeNs time = kSmallestTime;  // the effective one
  // The claimed time was beyond the skew, so that `time` says nothing of when it
  // was written.
  bool clamped = false;
  std::string device;
  std::string content_hash;
};

enum class Winner : uint8_t {
  kIncoming,  // becomes a new revision
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
  // Row 3: time and device of `current` become those of the incoming change, of
  // which it now is the later writing.
  bool raises_time = false;
};

// What is asked: `incoming` is a whole version already (base + sent fields).
struct Question {
  const TypePolicy* policy = nullptr;
  Revision base_revision = 0;
  // The base fits `current` by revision and check.
  bool base_is_current = false;
  // Base 0 under an integer key: row 6c applies.
  bool collision_possible = false;
  // The version that the change was made from, if the service has it.
  const Candidate* base = nullptr;
  // Absent: no version at all. A tombstone is a candidate with `deleted`.
  const Candidate* current = nullptr;
  const Candidate* incoming = nullptr;
};

// Rows 3 to 8 and 10 of the decision table (docs/CONFLICTS.md), by the first
// one that fits. Pure: no clock, no I/O, no memory; the same question always has
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
