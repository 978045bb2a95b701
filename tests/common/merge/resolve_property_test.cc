#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "gtest/gtest.h"
#include "tests/support/decision_table.h"

namespace ptdoc::sync {
namespace {

// How a case is named when it fails.
std::string Describe(const DecisionCase& c) {
  return absl::StrCat("policy ", static_cast<int>(c.policy), ", held ", static_cast<int>(c.held),
                      ", arriving ", static_cast<int>(c.arriving), ", base ",
                      static_cast<int>(c.base), c.incoming_is_later ? ", later" : ", earlier");
}

std::string ContentOf(const std::optional<Candidate>& head) {
  return head.has_value() ? head->content_hash : "nothing";
}

TEST(ResolvePropertyTest, EveryCaseHasExactlyOneRow) {
  const std::set<std::string> rows = {"3", "4", "5", "6", "6b", "6c", "7", "8", "9", "10"};
  std::set<std::string> met;
  for (const DecisionCase& c : AllDecisionCases()) {
    const std::string rule = Decide(c).rule;
    EXPECT_EQ(rows.count(rule), 1u) << Describe(c) << " gave '" << rule << "'";
    met.insert(rule);
  }
  EXPECT_EQ(met, rows);
}

TEST(ResolvePropertyTest, OutcomeIsConflictExactlyWhenAResolutionIsSet) {
  for (const DecisionCase& c : AllDecisionCases()) {
    const Decision decision = Decide(c);
    const bool collision = decision.resolution == Resolution::kKeyCollision;
    const bool resolved = decision.resolution != Resolution::kNone && !collision;
    EXPECT_EQ(decision.outcome == Outcome::kConflict, resolved) << Describe(c);
    EXPECT_EQ(decision.outcome == Outcome::kFailed, collision) << Describe(c);
    EXPECT_EQ(decision.error == ErrorCode::kKeyCollision, collision) << Describe(c);
  }
}

TEST(ResolvePropertyTest, TheLoserOfEveryConflictIsArchivedAndNothingElse) {
  for (const DecisionCase& c : AllDecisionCases()) {
    const Decision decision = Decide(c);
    if (decision.merged.has_value()) continue;  // Either may lose something: fields_test.cc.
    const bool lost = decision.resolution != Resolution::kNone;
    const bool incoming_wins = decision.winner == Winner::kIncoming;
    EXPECT_EQ(decision.archive_incoming, lost && !incoming_wins) << Describe(c);
    EXPECT_EQ(decision.archive_current, lost && incoming_wins) << Describe(c);
  }
}

TEST(ResolvePropertyTest, NothingReplacesASignedOrLockedVersion) {
  for (const DecisionCase& c : AllDecisionCases()) {
    if (c.held != Held::kSigned && c.held != Held::kLocked) continue;
    EXPECT_NE(Decide(c).winner, Winner::kIncoming) << Describe(c);
  }
}

TEST(ResolvePropertyTest, TheSameQuestionHasTheSameAnswer) {
  for (const DecisionCase& c : AllDecisionCases()) {
    EXPECT_STREQ(Decide(c).rule, Decide(c).rule);
    EXPECT_EQ(Decide(c).resolution, Decide(c).resolution);
  }
}

// A draft version with few times, devices and contents, so that ties are common.
Candidate RandomDraft(Rng& rng) {
  const bool deletes = rng.Below(4) == 0;
  Candidate draft = MakeVersion(deletes ? Arriving::kDelete : Arriving::kEdit,
                                static_cast<TimeNs>(rng.Below(3)), "device");
  draft.device = absl::StrCat("tablet-", rng.Below(3));
  if (!deletes) draft.fields.Set("Text", Value::Integer(static_cast<int64_t>(rng.Below(4))));
  draft.content_hash = ContentHash({"Note", "n1"}, draft.deleted, draft.fields);
  return draft;
}

TEST(ResolvePropertyTest, OfTwoDraftsTheWinnerDoesNotDependOnTheOrderOfArrival) {
  for (uint64_t seed = 1; seed <= 5000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const Candidate a = RandomDraft(rng);
    const Candidate b = RandomDraft(rng);

    const TwoArrivals a_first = DeliverBoth(ConflictPolicy::kLastWriteWins, Held::kLive, a, b);
    const TwoArrivals b_first = DeliverBoth(ConflictPolicy::kLastWriteWins, Held::kLive, b, a);

    EXPECT_EQ(ContentOf(a_first.head), ContentOf(b_first.head));
  }
}

TEST(ResolvePropertyTest, OfThreeDraftsTheWinnerDoesNotDependOnTheOrderOfArrival) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const std::array<Candidate, 3> drafts = {RandomDraft(rng), RandomDraft(rng), RandomDraft(rng)};
    std::set<std::string> contents;
    for (const Candidate& draft : drafts) contents.insert(draft.content_hash);
    // Two of one content are one version that two devices made: no conflict.
    if (contents.size() < drafts.size()) continue;

    std::set<std::string> winners;
    std::array<int, 3> order = {0, 1, 2};
    do {
      OneEntity entity(ConflictPolicy::kLastWriteWins);
      entity.Start(MakeHeld(Held::kLive));
      for (const int i : order) entity.Arrive({drafts[static_cast<size_t>(i)], 1});
      winners.insert(ContentOf(entity.head()));
    } while (std::next_permutation(order.begin(), order.end()));

    EXPECT_EQ(winners.size(), 1u);
  }
}

TEST(ResolvePropertyTest, ADraftAgainstASignatureOrLockGivesThatInEitherOrder) {
  for (const ConflictPolicy policy : kAllPolicies) {
    for (const Held before : {Held::kNone, Held::kLive, Held::kDeleted}) {
      for (const Arriving final_kind : {Arriving::kSign, Arriving::kLock}) {
        for (const Arriving draft_kind : {Arriving::kEdit, Arriving::kDelete}) {
          if (before != Held::kLive && draft_kind == Arriving::kDelete) continue;
          for (const TimeNs draft_time : {5, 10, 15}) {
            const Candidate draft = MakeVersion(draft_kind, draft_time, "tablet-b");
            const Candidate final_one = MakeVersion(final_kind, 10, "tablet-a");

            const TwoArrivals draft_first = DeliverBoth(policy, before, draft, final_one);
            const TwoArrivals final_first = DeliverBoth(policy, before, final_one, draft);

            EXPECT_EQ(ContentOf(draft_first.head), final_one.content_hash);
            EXPECT_EQ(ContentOf(final_first.head), final_one.content_hash);
          }
        }
      }
    }
  }
}

TEST(ResolvePropertyTest, OfTwoSignaturesOrLocksTheFirstBinds) {
  for (const ConflictPolicy policy : kAllPolicies) {
    for (const Arriving kind : {Arriving::kSign, Arriving::kLock}) {
      const Candidate a = MakeVersion(kind, 10, "tablet-a");
      const Candidate b = MakeVersion(kind, 20, "tablet-b");

      EXPECT_EQ(ContentOf(DeliverBoth(policy, Held::kLive, a, b).head), a.content_hash);
      EXPECT_EQ(ContentOf(DeliverBoth(policy, Held::kLive, b, a).head), b.content_hash);
    }
  }
}

}  // namespace
}  // namespace ptdoc::sync
