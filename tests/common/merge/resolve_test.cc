#include "common/merge/resolve.h"

#include <limits>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/decision_table.h"

namespace ptdoc::sync {
namespace {

constexpr TimeNs kMaxTime = std::numeric_limits<TimeNs>::max();

// Asks about `incoming` made from an older base (revision 1) while the service
// holds `current` as revision 2.
Decision ResolveConcurrent(const Candidate& current, const Candidate& incoming,
                           ConflictPolicy policy = ConflictPolicy::kLastWriteWins) {
  TypePolicy type_policy;
  type_policy.policy = policy;
  Question question;
  question.policy = &type_policy;
  question.base_revision = 1;
  question.current = &current;
  question.incoming = &incoming;
  return Resolve(question);
}

void ExpectStands(const Decision& decision, Resolution resolution, const std::string& rule) {
  EXPECT_EQ(decision.outcome, Outcome::kConflict);
  EXPECT_EQ(decision.resolution, resolution);
  EXPECT_EQ(decision.winner, Winner::kCurrent);
  EXPECT_EQ(decision.rule, rule);
  EXPECT_TRUE(decision.archive_incoming);
  EXPECT_FALSE(decision.archive_current);
}

void ExpectReplaces(const Decision& decision, Resolution resolution, const std::string& rule) {
  EXPECT_EQ(decision.outcome, Outcome::kConflict);
  EXPECT_EQ(decision.resolution, resolution);
  EXPECT_EQ(decision.winner, Winner::kIncoming);
  EXPECT_EQ(decision.rule, rule);
  EXPECT_FALSE(decision.archive_incoming);
  EXPECT_TRUE(decision.archive_current);
}

TEST(ResolveTest, IsUnchangedWhenTheContentIsTheSame) {
  for (const Held held : {Held::kLive, Held::kDeleted, Held::kSigned, Held::kLocked}) {
    for (const BaseKind base : kAllBases) {
      const Decision decision =
          Decide({ConflictPolicy::kLastWriteWins, held, Arriving::kSame, base, true});
      EXPECT_EQ(decision.outcome, Outcome::kUnchanged);
      EXPECT_EQ(decision.winner, Winner::kNeither);
      EXPECT_STREQ(decision.rule, "3");
      EXPECT_FALSE(decision.archive_incoming || decision.archive_current);
    }
  }
}

TEST(ResolveTest, IsUnchangedForTwoDeletionsWhateverTheirFields) {
  const Candidate current = MakeVersion(Arriving::kDelete, 10, "a");
  Candidate incoming = MakeVersion(Arriving::kDelete, 20, "b");
  incoming.fields.Set("Id", Value::Text("n1"));

  EXPECT_STREQ(ResolveConcurrent(current, incoming).rule, "3");
}

TEST(ResolveTest, RefusesAnythingUponASignedVersion) {
  for (const ConflictPolicy policy : kAllPolicies) {
    for (const BaseKind base : kAllBases) {
      for (const Arriving arriving :
           {Arriving::kEdit, Arriving::kDelete, Arriving::kSign, Arriving::kLock}) {
        ExpectStands(Decide({policy, Held::kSigned, arriving, base, true}),
                     Resolution::kRejectedImmutable, "4");
        ExpectStands(Decide({policy, Held::kLocked, arriving, base, true}),
                     Resolution::kRejectedLocked, "5");
      }
    }
  }
}

TEST(ResolveTest, NamesTheSignatureWhenAVersionIsSignedAndLocked) {
  Candidate current = MakeHeld(Held::kSigned);
  current.fields.Set("IsLocked", Value::Integer(1));

  ExpectStands(ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 20, "b")),
               Resolution::kRejectedImmutable, "4");
}

TEST(ResolveTest, AcceptsWhenTheBaseIsWhatTheServiceHolds) {
  for (const Held held : {Held::kLive, Held::kDeleted}) {
    for (const bool later : {true, false}) {
      const Decision decision =
          Decide({ConflictPolicy::kManual, held, Arriving::kEdit, BaseKind::kFits, later});
      EXPECT_EQ(decision.outcome, Outcome::kAccepted);
      EXPECT_EQ(decision.resolution, Resolution::kNone);
      EXPECT_EQ(decision.winner, Winner::kIncoming);
      EXPECT_STREQ(decision.rule, "6");
      EXPECT_FALSE(decision.archive_incoming || decision.archive_current);
    }
  }
}

TEST(ResolveTest, AcceptsWithoutABaseWhenNothingOrATombstoneIsThere) {
  for (const Held held : {Held::kNone, Held::kDeleted}) {
    for (const BaseKind base : {BaseKind::kNone, BaseKind::kNoneIntegerKey}) {
      const Decision decision =
          Decide({ConflictPolicy::kLastWriteWins, held, Arriving::kEdit, base, false});
      EXPECT_EQ(decision.outcome, Outcome::kAccepted);
      EXPECT_STREQ(decision.rule, "6");
    }
  }
}

TEST(ResolveTest, LetsAPrunedDeletionStand) {
  const Decision decision = Decide(
      {ConflictPolicy::kLastWriteWins, Held::kNone, Arriving::kEdit, BaseKind::kOlder, true});

  ExpectStands(decision, Resolution::kServerWins, "6b");
}

TEST(ResolveTest, FailsWhenTwoEntitiesMeetUnderOneIntegerKey) {
  for (const Arriving arriving : {Arriving::kEdit, Arriving::kSign, Arriving::kLock}) {
    const Decision decision = Decide(
        {ConflictPolicy::kLastWriteWins, Held::kLive, arriving, BaseKind::kNoneIntegerKey, true});
    EXPECT_EQ(decision.outcome, Outcome::kFailed);
    EXPECT_EQ(decision.resolution, Resolution::kKeyCollision);
    EXPECT_EQ(decision.error, ErrorCode::kKeyCollision);
    EXPECT_EQ(decision.winner, Winner::kNeither);
    EXPECT_STREQ(decision.rule, "6c");
    EXPECT_TRUE(decision.archive_incoming);
    EXPECT_FALSE(decision.archive_current);
  }
}

TEST(ResolveTest, LetsASignatureOrALockWinOverADraftOfALaterTime) {
  for (const ConflictPolicy policy : kAllPolicies) {
    for (const Held held : {Held::kLive, Held::kDeleted}) {
      ExpectReplaces(Decide({policy, held, Arriving::kSign, BaseKind::kOlder, false}),
                     Resolution::kSignedWins, "7");
      ExpectReplaces(Decide({policy, held, Arriving::kLock, BaseKind::kOlder, false}),
                     Resolution::kLockedWins, "7");
    }
  }
}

TEST(ResolveTest, NamesTheSignatureWhenTheIncomingIsSignedAndLocked) {
  Candidate incoming = MakeVersion(Arriving::kSign, 5, "b");
  incoming.fields.Set("IsLocked", Value::Integer(1));

  ExpectReplaces(ResolveConcurrent(MakeHeld(Held::kLive), incoming), Resolution::kSignedWins, "7");
}

TEST(ResolveTest, LetsTheLaterWriteWin) {
  const Candidate current = MakeVersion(Arriving::kEdit, 10, "b");

  ExpectReplaces(ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 11, "a")),
                 Resolution::kLocalWins, "8");
  ExpectStands(ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 9, "c")),
               Resolution::kServerWins, "8");
}

TEST(ResolveTest, LetsTheGreaterDeviceWinWhenTimesAreEqual) {
  const Candidate current = MakeVersion(Arriving::kEdit, 10, "tablet-b");

  ExpectReplaces(ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 10, "tablet-c")),
                 Resolution::kLocalWins, "8");
  ExpectStands(ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 10, "tablet-a")),
               Resolution::kServerWins, "8");
}

TEST(ResolveTest, LetsTheGreaterContentHashWinWhenTimesAndDevicesAreEqual) {
  Candidate current = MakeVersion(Arriving::kEdit, 10, "a");
  Candidate incoming = MakeVersion(Arriving::kDelete, 10, "a");
  current.content_hash = "\x7f";
  incoming.content_hash = "\x80";

  ExpectReplaces(ResolveConcurrent(current, incoming), Resolution::kLocalWins, "8");
  ExpectStands(ResolveConcurrent(incoming, current), Resolution::kServerWins, "8");
}

TEST(ResolveTest, TreatsADeletionAsAnyOtherVersion) {
  const Candidate edit = MakeVersion(Arriving::kEdit, 10, "a");
  const Candidate deletion = MakeVersion(Arriving::kDelete, 11, "b");

  ExpectReplaces(ResolveConcurrent(edit, deletion), Resolution::kLocalWins, "8");
  ExpectStands(ResolveConcurrent(deletion, edit), Resolution::kServerWins, "8");
}

TEST(ResolveTest, ArchivesALostDeletion) {
  const Candidate tombstone = MakeVersion(Arriving::kDelete, 10, "a");
  const Candidate edit = MakeVersion(Arriving::kEdit, 11, "b");

  ExpectReplaces(ResolveConcurrent(tombstone, edit), Resolution::kLocalWins, "8");
}

TEST(ResolveTest, LeavesTheCurrentVersionWhenPeopleMustDecide) {
  const Candidate current = MakeVersion(Arriving::kEdit, 10, "a");

  ExpectStands(
      ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 20, "b"), ConflictPolicy::kManual),
      Resolution::kManual, "10");
}

TEST(EffectiveTimeTest, IsTheClaimedTimeWithinTheSkew) {
  EXPECT_EQ(EffectiveTime(100, 1000, 60, std::nullopt), 100);
  EXPECT_EQ(EffectiveTime(1060, 1000, 60, std::nullopt), 1060);
  EXPECT_EQ(EffectiveTime(500, 1000, 60, 400), 500);
}

TEST(EffectiveTimeTest, IsTheServicesTimeWhenNoneIsClaimed) {
  EXPECT_EQ(EffectiveTime(std::nullopt, 1000, 60, std::nullopt), 1000);
  EXPECT_EQ(EffectiveTime(std::nullopt, 1000, 60, 2000), 2001);
}

TEST(EffectiveTimeTest, IsOneStepAfterTheBaseWhenTheClaimIsTooFarAhead) {
  EXPECT_EQ(EffectiveTime(1061, 1000, 60, 400), 401);
  EXPECT_EQ(EffectiveTime(1061, 1000, 60, std::nullopt), kSmallestTime + 1);
  EXPECT_EQ(EffectiveTime(kMaxTime, 1000, 60, std::nullopt), kSmallestTime + 1);
}

TEST(EffectiveTimeTest, IsAlwaysAboveTheBase) {
  EXPECT_EQ(EffectiveTime(100, 1000, 60, 400), 401);
  EXPECT_EQ(EffectiveTime(400, 1000, 60, 400), 401);
  EXPECT_EQ(EffectiveTime(401, 1000, 60, 400), 401);
  EXPECT_EQ(EffectiveTime(kSmallestTime, 1000, 60, kSmallestTime), kSmallestTime + 1);
}

TEST(EffectiveTimeTest, SaturatesAtTheEndsOfTime) {
  EXPECT_EQ(EffectiveTime(5, 1000, 60, kMaxTime), kMaxTime);
  EXPECT_EQ(EffectiveTime(kMaxTime, kMaxTime - 1, 60, std::nullopt), kMaxTime);
  EXPECT_EQ(EffectiveTime(kMaxTime, kMaxTime, kMaxTime, 3), kMaxTime);
  EXPECT_EQ(EffectiveTime(-5, 1000, 60, std::nullopt), kSmallestTime);
  EXPECT_EQ(EffectiveTime(std::numeric_limits<TimeNs>::min(), 1000, 60, std::nullopt),
            kSmallestTime);
}

// A device whose clock is a day ahead edits from revision 1; another edit from
// revision 1 came in before it.
TEST(EffectiveTimeTest, WinsNoConflictWhenTheServiceClampsIt) {
  constexpr TimeNs kNow = 1'000'000;
  constexpr TimeNs kBaseTime = 500'000;
  const Candidate current = MakeVersion(Arriving::kEdit, kBaseTime + 2, "tablet-a");
  const TimeNs time = EffectiveTime(kNow + 86'400'000, kNow, 60'000, kBaseTime);

  const Decision decision =
      ResolveConcurrent(current, MakeVersion(Arriving::kEdit, time, "tablet-b"));

  ExpectStands(decision, Resolution::kServerWins, "8");
}

TEST(EffectiveTimeTest, IsClampedBeyondTheSkewOnly) {
  EXPECT_FALSE(IsClamped(std::nullopt, 1000, 60));
  EXPECT_FALSE(IsClamped(1060, 1000, 60));
  EXPECT_TRUE(IsClamped(1061, 1000, 60));
  EXPECT_FALSE(IsClamped(kMaxTime, kMaxTime - 1, 60));
}

// What stands may be as early as the base of a clamped change, or earlier: its
// own time alone would let it win.
TEST(ResolveTest, ClampedChangeLosesWhateverTimeStands) {
  for (const TimeNs standing : {TimeNs{9}, TimeNs{10}, TimeNs{11}, TimeNs{12}}) {
    const Candidate current = MakeVersion(Arriving::kEdit, standing, "tablet-a");
    Candidate incoming = MakeVersion(Arriving::kEdit, 11, "tablet-b");
    incoming.clamped = true;

    ExpectStands(ResolveConcurrent(current, incoming), Resolution::kServerWins, "8");
  }
}

TEST(ResolveTest, StandingVersionThatWasClampedLosesATieWhateverTheDevice) {
  Candidate current = MakeVersion(Arriving::kEdit, 10, "tablet-z");
  current.clamped = true;

  const Decision decision =
      ResolveConcurrent(current, MakeVersion(Arriving::kEdit, 10, "tablet-a"));

  ExpectReplaces(decision, Resolution::kLocalWins, "8");
}

TEST(ResolveTest, SignatureWinsOverADraftEvenIfItsTimeWasClamped) {
  Candidate incoming = MakeVersion(Arriving::kSign, 10, "tablet-b");
  incoming.clamped = true;

  const Decision decision =
      ResolveConcurrent(MakeVersion(Arriving::kEdit, 20, "tablet-a"), incoming);

  ExpectReplaces(decision, Resolution::kSignedWins, "7");
}

TEST(ResolveTest, SameContentRaisesTimeAndDeviceTogether) {
  const auto raises = [](TimeNs time, const std::string& device, bool clamped) {
    Candidate incoming = MakeVersion(Arriving::kDelete, time, device);
    incoming.clamped = clamped;
    return ResolveConcurrent(MakeVersion(Arriving::kDelete, 10, "m"), incoming).raises_time;
  };

  EXPECT_TRUE(raises(11, "a", false));
  EXPECT_TRUE(raises(10, "z", false));
  EXPECT_FALSE(raises(10, "m", false));
  EXPECT_FALSE(raises(10, "a", false));
  EXPECT_FALSE(raises(9, "z", false));
  EXPECT_FALSE(raises(11, "z", true));
}

}  // namespace
}  // namespace ptdoc::sync
