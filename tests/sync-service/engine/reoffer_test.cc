#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

ChangeResult Start(TestService& service) {
  return PushOne(service, "a", At(Create(kP1, Texts({{"Name", "old"}})), service.Ago(600)));
}

// The answer to content that the entity had before.
void ExpectOldContent(const ChangeResult& result) {
  EXPECT_EQ(result.outcome, Outcome::kUnchanged);
  EXPECT_EQ(result.resolution, Resolution::kNone);
  EXPECT_EQ(result.rule, "reoffer");
  EXPECT_TRUE(result.conflict_id.empty());
  EXPECT_TRUE(result.current.has_value());
}

TEST(ReofferTest, OldContentNeverWinsEvenWithALaterTime) {
  TestService service;
  const ChangeResult base = Start(service);
  const ChangeResult newer =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "new"}})), service.Ago(60)));

  const ChangeResult result =
      PushOne(service, "b", At(Reoffer(kP1, Texts({{"Name", "old"}})), service.Ago(1)));

  ExpectOldContent(result);
  EXPECT_EQ(result.revision, newer.revision);
  EXPECT_EQ(result.check, newer.check);
  EXPECT_EQ(result.current->fields, Texts({{"Name", "new"}}));
  EXPECT_TRUE(service.Archives().empty());
  EXPECT_EQ(service.AuditRows().size(), 2u);
}

TEST(ReofferTest, OldContentResurrectsNothing) {
  TestService service;
  const ChangeResult gone = PushOne(service, "a", Delete(kP1, Start(service)));

  const ChangeResult result = PushOne(service, "b", Reoffer(kP1, Texts({{"Name", "old"}})));

  ExpectOldContent(result);
  EXPECT_EQ(result.revision, gone.revision);
  EXPECT_TRUE(result.current->deleted);
  EXPECT_TRUE(service.Head(kP1)->version.deleted);
}

TEST(ReofferTest, OldContentIsKnownAfterItsTombstoneWasPruned) {
  TestService service;
  PushOne(service, "a", Delete(kP1, Start(service)));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());
  ASSERT_FALSE(service.Head(kP1).has_value());

  const ChangeResult result = PushOne(service, "b", Reoffer(kP1, Texts({{"Name", "old"}})));

  ExpectOldContent(result);
  EXPECT_EQ(result.revision, 0);
  EXPECT_TRUE(result.check.empty());
  EXPECT_TRUE(result.current->deleted);
  EXPECT_EQ(result.current->revision, 0);
  EXPECT_FALSE(service.Head(kP1).has_value());
}

TEST(ReofferTest, ContentThatIsHeldNowIsUnchangedAndSendsNothingBack) {
  TestService service;
  const ChangeResult base = Start(service);

  const ChangeResult result = PushOne(service, "b", Reoffer(kP1, Texts({{"Name", "old"}})));

  EXPECT_EQ(result.outcome, Outcome::kUnchanged);
  EXPECT_EQ(result.revision, base.revision);
  EXPECT_FALSE(result.current.has_value());
}

TEST(ReofferTest, ContentThatTheServiceNeverHadIsTaken) {
  TestService service;

  const ChangeResult result = PushOne(service, "b", Reoffer(kP1, Texts({{"Name", "lost"}})));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "lost"}}));
}

TEST(ReofferTest, UnknownContentBesideOtherContentIsAConflictByTime) {
  TestService service;
  Start(service);

  const ChangeResult earlier =
      PushOne(service, "b", At(Reoffer(kP1, Texts({{"Name", "lost"}})), kSmallestTime));
  const ChangeResult later =
      PushOne(service, "b", At(Reoffer(kP1, Texts({{"Name", "later"}})), service.Ago(1)));

  EXPECT_EQ(earlier.resolution, Resolution::kServerWins);
  EXPECT_EQ(later.resolution, Resolution::kLocalWins);
  EXPECT_EQ(service.Archives().size(), 2u);
}

TEST(ReofferTest, IntegerKeyDoesNotCollide) {
  TestService service;
  Start(service);
  Change reoffer = At(Reoffer(kP1, Texts({{"Name", "other"}})), service.Ago(1));
  reoffer.integer_key = true;

  EXPECT_EQ(PushOne(service, "b", reoffer).resolution, Resolution::kLocalWins);
}

TEST(ReofferTest, ReofferOfAnOlderAppErasesNoColumns) {
  TestService service;
  PushOne(service, "a",
          At(Create(kP1, Texts({{"Name", "x"}, {"NewColumn", "n"}})), service.Ago(600)));

  const ChangeResult result =
      PushOne(service, "b", At(Reoffer(kP1, Texts({{"Name", "y"}})), service.Ago(1)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "y"}, {"NewColumn", "n"}}));
}

TEST(ReofferTest, OldContentIsKnownThoughTheAppLacksAColumn) {
  TestService service;
  const ChangeResult base = PushOne(
      service, "a", At(Create(kP1, Texts({{"Name", "old"}, {"NewColumn", "n"}})), service.Ago(9)));
  PushOne(service, "a", Delta(kP1, base, Texts({{"Name", "new"}})));

  const ChangeResult result =
      PushOne(service, "b", At(Reoffer(kP1, Texts({{"Name", "old"}})), service.Now() + 1));

  ExpectOldContent(result);
}

TEST(ReofferTest, BaseOfAReofferIsIgnored) {
  TestService service;
  Start(service);
  Change reoffer = At(Reoffer(kP1, Texts({{"Name", "x"}})), kSmallestTime);
  reoffer.base_revision = 1;

  EXPECT_EQ(PushOne(service, "b", reoffer).resolution, Resolution::kServerWins);
}

}  // namespace
}  // namespace ptdoc::sync
