#include "common/merge/resolve.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

// The state of one side as the rows of the table ask for it.
enum class Standing : uint8_t { kAbsent, kDeleted, kDraft, kLocked, kSigned };

Standing StandingOf(const TypePolicy& policy, const Candidate* candidate) {
  if (candidate == nullptr) return Standing::kAbsent;
  if (candidate->deleted) return Standing::kDeleted;
  if (IsSigned(policy, candidate->fields)) return Standing::kSigned;
  if (IsLocked(policy, candidate->fields)) return Standing::kLocked;
  return Standing::kDraft;
}

bool SameContent(const Candidate& a, const Candidate& b) {
  if (a.deleted || b.deleted) return a.deleted == b.deleted;
  return a.fields == b.fields;
}

Decision Accepted() {
  Decision decision;
  decision.outcome = Outcome::kAccepted;
  decision.winner = Winner::kIncoming;
  decision.rule = "6";
  return decision;
}

Decision KeyCollision() {
  Decision decision;
  decision.outcome = Outcome::kFailed;
  decision.resolution = Resolution::kKeyCollision;
  decision.rule = "6c";
  decision.error = ErrorCode::kKeyCollision;
  decision.archive_incoming = true;
  return decision;
}

Decision IncomingWins(Resolution resolution, const char* rule) {
  Decision decision;
  decision.outcome = Outcome::kConflict;
  decision.resolution = resolution;
  decision.winner = Winner::kIncoming;
  decision.rule = rule;
  decision.archive_current = true;
  return decision;
}

Decision CurrentStands(Resolution resolution, const char* rule) {
  Decision decision;
  decision.outcome = Outcome::kConflict;
  decision.resolution = resolution;
  decision.winner = Winner::kCurrent;
  decision.rule = rule;
  decision.archive_incoming = true;
  return decision;
}

// The rank of a writing: below 0 if `a` is the earlier one, 0 if they are equal.
// Of two at one time, one that was clamped is the lesser.
int CompareRank(const Candidate& a, const Candidate& b) {
  if (a.time != b.time) return a.time < b.time ? -1 : 1;
  if (a.clamped != b.clamped) return a.clamped ? -1 : 1;
  return a.device.compare(b.device);
}

// A total order over versions of different content, so the order of arrival
// does not matter, unless a time was clamped.
//
// A clamped time never wins. Its own effective time does not see to that, for
// what stands is not always later than the incoming change's base: it may have
// beaten that base at the same time by its device, it may be a form that was
// locked earlier and unlocked since, or a row that was created anew over a
// tombstone by a device whose clock is behind; and without a base the incoming
// time is the smallest but one, which beats rows that have the smallest.
bool IncomingIsLater(const Candidate& incoming, const Candidate& current) {
  if (incoming.clamped && !PT_PLANTED("clamp to the time of arrival")) return false;
  const int rank = CompareRank(incoming, current);
  if (PT_PLANTED("the later arrival wins")) return true;
  if (PT_PLANTED("an equal time wins")) return incoming.time >= current.time;
  return rank != 0 ? rank > 0 : incoming.content_hash > current.content_hash;
}

// One content has one rank, the greatest that anybody wrote it with: else a
// third change would win or lose by which of the two writings came first.
Decision Unchanged(const Candidate& incoming, const Candidate& current) {
  Decision decision;
  decision.outcome = Outcome::kUnchanged;
  decision.rule = "3";
  decision.raises_time = !incoming.clamped && CompareRank(incoming, current) > 0;
  return decision;
}

Decision LastWriteWins(const Question& question) {
  return IncomingIsLater(*question.incoming, *question.current)
             ? IncomingWins(Resolution::kLocalWins, "8")
             : CurrentStands(Resolution::kServerWins, "8");
}

// A deletion has no fields, and what is made from no known base none to compare
// with.
bool CanMerge(const Question& question) {
  return question.base != nullptr && !question.base->deleted && !question.current->deleted &&
         !question.incoming->deleted;
}

// What one side lost is archived whole, with the other's values in it: both
// sides may have lost something. What was sent is archived, too, where something
// else stands than was sent, if only because current's changes were added: it
// stands nowhere else.
Decision Merge(const Question& question) {
  Decision decision;
  decision.rule = "9";
  MergedFields merged = MergeFields(*question.base, *question.current, *question.incoming);
  decision.raises_time =
      !question.incoming->clamped && CompareRank(*question.incoming, *question.current) > 0;
  decision.winner = merged.is_current ? Winner::kCurrent : Winner::kIncoming;
  decision.archive_current = merged.current_lost;
  decision.archive_incoming = !merged.is_incoming;
  const bool is_conflict = decision.archive_current || decision.archive_incoming;
  decision.outcome = is_conflict ? Outcome::kConflict : Outcome::kAccepted;
  if (is_conflict) decision.resolution = Resolution::kMerged;
  decision.merged = std::move(merged);
  return decision;
}

// Two versions, neither made from the other, and current is no signed or
// locked one.
Decision ResolveConflict(const Question& question, Standing incoming) {
  if (incoming == Standing::kSigned) return IncomingWins(Resolution::kSignedWins, "7");
  if (incoming == Standing::kLocked) return IncomingWins(Resolution::kLockedWins, "7");
  switch (question.policy->policy) {
    case ConflictPolicy::kLastWriteWins:
      return LastWriteWins(question);
    case ConflictPolicy::kMergeFields:
      return CanMerge(question) ? Merge(question) : LastWriteWins(question);
    case ConflictPolicy::kManual:
      return CurrentStands(Resolution::kManual, "10");
  }
  return CurrentStands(Resolution::kManual, "10");
}

TimeNs OneStepAfter(TimeNs time) {
  return time == std::numeric_limits<TimeNs>::max() ? time : time + 1;
}

TimeNs SaturatingAdd(TimeNs a, TimeNs b) {
  TimeNs sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<TimeNs>::max() : std::numeric_limits<TimeNs>::min();
}

}  // namespace

Decision Resolve(const Question& question) {
  PT_CHECK(question.policy != nullptr && question.incoming != nullptr);
  PT_CHECK(question.current != nullptr || !question.base_is_current);
  const Standing current = StandingOf(*question.policy, question.current);
  const Standing incoming = StandingOf(*question.policy, question.incoming);
  const bool has_base = question.base_revision > 0;

  if (current == Standing::kAbsent) {
    return has_base ? CurrentStands(Resolution::kServerWins, "6b") : Accepted();
  }
  if (SameContent(*question.incoming, *question.current)) {
    return Unchanged(*question.incoming, *question.current);
  }
  if (PT_PLANTED("sign check after last write wins") && !question.base_is_current && has_base &&
      IncomingIsLater(*question.incoming, *question.current)) {
    return IncomingWins(Resolution::kLocalWins, "8");
  }
  if (current == Standing::kSigned) return CurrentStands(Resolution::kRejectedImmutable, "4");
  if (current == Standing::kLocked && !PT_PLANTED("a lock does not bind")) {
    return CurrentStands(Resolution::kRejectedLocked, "5");
  }
  const bool nothing_there = !has_base && current == Standing::kDeleted;
  if (PT_PLANTED("the base is not looked at")) return Accepted();
  if (question.base_is_current || nothing_there) return Accepted();
  if (!has_base && question.collision_possible) return KeyCollision();
  return ResolveConflict(question, incoming);
}

TimeNs EffectiveTime(std::optional<TimeNs> claimed, TimeNs now, TimeNs max_skew_ns,
                     std::optional<TimeNs> base_time) {
  const TimeNs after_base = OneStepAfter(base_time.value_or(kSmallestTime));
  TimeNs time = std::max(claimed.value_or(now), kSmallestTime);
  if (PT_PLANTED("clamp to the time of arrival")) return std::min(time, now);
  if (IsClamped(claimed, now, max_skew_ns)) time = after_base;
  return base_time.has_value() ? std::max(time, after_base) : time;
}

bool IsClamped(std::optional<TimeNs> claimed, TimeNs now, TimeNs max_skew_ns) {
  return claimed.has_value() && *claimed > SaturatingAdd(now, max_skew_ns);
}

}  // namespace ptdoc::sync
