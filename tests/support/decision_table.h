#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/merge/resolve.h"

namespace ptdoc::sync {

// Every question that the decision table can be asked, by kind: what tests
// check for totality and what docs/CONFLICTS.md prints.

// What the service holds.
enum class Held : uint8_t { kNone, kLive, kDeleted, kSigned, kLocked };
// What arrives. kSame has the content that the service holds already.
enum class Arriving : uint8_t { kEdit, kDelete, kSign, kLock, kSame };
// The base that the change was made from.
enum class BaseKind : uint8_t { kFits, kOlder, kNone, kNoneIntegerKey };

struct DecisionCase {
  ConflictPolicy policy = ConflictPolicy::kLastWriteWins;
  Held held = Held::kNone;
  Arriving arriving = Arriving::kEdit;
  BaseKind base = BaseKind::kFits;
  bool incoming_is_later = true;
};

inline constexpr Held kAllHeld[] = {Held::kNone, Held::kLive, Held::kDeleted, Held::kSigned,
                                    Held::kLocked};
inline constexpr Arriving kAllArriving[] = {Arriving::kEdit, Arriving::kDelete, Arriving::kSign,
                                            Arriving::kLock, Arriving::kSame};
inline constexpr BaseKind kAllBases[] = {BaseKind::kFits, BaseKind::kOlder, BaseKind::kNone,
                                         BaseKind::kNoneIntegerKey};
inline constexpr ConflictPolicy kAllPolicies[] = {
    ConflictPolicy::kLastWriteWins, ConflictPolicy::kManual, ConflictPolicy::kMergeFields};

// False for what cannot be: a base that fits nothing, the content of nothing.
bool IsPossible(const DecisionCase& decision_case);
std::vector<DecisionCase> AllDecisionCases();
Decision Decide(const DecisionCase& decision_case);

// A change on its way to OneEntity.
struct Arrival {
  Candidate version;
  Revision base_revision = 0;
};

// `version` with times and writers of its fields: those that have `base`'s value
// (null: none has) keep what they have there.
Candidate Stamped(Candidate version, const Candidate* base);

// One entity at a service, without a store: keeps the head as the engine does,
// and every version that was one.
class OneEntity {
 public:
  explicit OneEntity(ConflictPolicy policy) { policy_.policy = policy; }

  // Puts `version` there as if it had been accepted.
  void Start(Candidate version);
  Decision Arrive(const Arrival& arrival);

  const std::optional<Candidate>& head() const { return head_; }
  Revision revision() const { return head_.has_value() ? head_->revision : 0; }

 private:
  void Raise(Candidate head);
  void RaiseAsWritten(const Candidate& incoming, const Decision& decision);

  TypePolicy policy_;
  std::optional<Candidate> head_;
  std::map<Revision, Candidate> versions_;
  Revision last_revision_ = 0;
};

// The version that `device` makes by doing `arriving` (not kSame) at `time`.
Candidate MakeVersion(Arriving arriving, TimeNs time, absl::string_view device);
// What `held` (not kNone) stands for.
Candidate MakeHeld(Held held);
// True if the content of both is the same.
bool SameContentAs(const Candidate& a, const Candidate& b);

// Two changes made offline from one base, delivered one after the other.
struct TwoArrivals {
  Decision first;
  Decision second;
  std::optional<Candidate> head;  // what stands in the end
};
TwoArrivals DeliverBoth(ConflictPolicy policy, Held before, const Candidate& first,
                        const Candidate& second);

// The two generated tables, from the begin mark to the end mark.
std::string DecisionTableBlock();
inline constexpr absl::string_view kTableBegin = "<!-- decision-table:begin -->";
inline constexpr absl::string_view kTableEnd = "<!-- decision-table:end -->";
// Where the block stands in `page`, marks included; empty if it has none.
absl::string_view FindTableBlock(absl::string_view page);

}  // namespace ptdoc::sync
