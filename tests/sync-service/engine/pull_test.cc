#include <gtest/gtest.h>

#include <map>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

std::vector<std::string> IdsOf(const PullPage& page) {
  std::vector<std::string> ids;
  for (const Version& version : page.versions) ids.push_back(version.key.id);
  return ids;
}

// One batch that creates these patients.
PushAnswer CreateAll(TestService& service, const std::vector<std::string>& ids,
                     const std::string& type = "Patient") {
  std::vector<Change> changes;
  for (const std::string& id : ids) changes.push_back(Create({type, id}, Texts({{"Name", id}})));
  return MustPush(service, BatchOf(service, "a", changes));
}

using Strings = std::vector<std::string>;

TEST(PullTest, EmptyStoreIsCaughtUpAtOnce) {
  TestService service;

  const PullPage page = MustPull(service, PullFrom("b", ""));

  EXPECT_TRUE(page.versions.empty());
  EXPECT_TRUE(page.caught_up);
  EXPECT_TRUE(page.batch_end);
  EXPECT_FALSE(page.cursor.empty());
  EXPECT_EQ(page.remaining, 0u);
}

TEST(PullTest, CursorOfAnEmptyStoreSeesTheFirstChange) {
  TestService service;
  const std::string cursor = MustPull(service, PullFrom("b", "")).cursor;
  CreateAll(service, {"p1"});

  const PullPage page = MustPull(service, PullFrom("b", cursor));

  EXPECT_EQ(IdsOf(page), Strings{"p1"});
  EXPECT_TRUE(page.caught_up);
}

TEST(PullTest, PullFromTheStartGivesHeadsWithoutTombstones) {
  TestService service;
  const PushAnswer created = CreateAll(service, {"p1", "p2", "p3"});
  PushOne(service, "a", Delete(Patient("p2"), created.results[1]));
  PushOne(service, "a", Delta(Patient("p1"), created.results[0], Texts({{"Name", "newer"}})));

  const PullPage page = MustPull(service, PullFrom("a", ""));

  EXPECT_EQ(IdsOf(page), (Strings{"p3", "p1"}));
  EXPECT_EQ(page.versions[1].fields, Texts({{"Name", "newer"}}));
  EXPECT_TRUE(page.caught_up);
}

// Rows that were given out already, and rows still to come, are deleted and
// edited between the pages.
TEST(PullTest, SnapshotInPagesEndsWithTheHeadsWhateverHappensInBetween) {
  TestService service;
  std::map<std::string, ChangeResult> bases;
  for (int i = 0; i < 12; ++i) {
    const std::string id = "p" + std::to_string(i);
    bases[id] = CreateAll(service, {id}).results[0];
  }
  const std::vector<std::pair<std::string, std::string>> between = {
      {"p0", "p11"}, {"p1", "p10"}, {"p4", "p9"}, {"p2", "p8"}};
  std::map<std::string, Fields> held;
  PullQuery query = PullFrom("b", "");
  query.page_size = 3;
  bool caught_up = false;
  for (size_t step = 0; !caught_up; ++step) {
    ASSERT_LT(step, 20u);

    const PullPage page = MustPull(service, query);
    for (const Version& version : page.versions) {
      held.erase(version.key.id);
      if (!version.deleted) held[version.key.id] = version.fields;
    }
    query.cursor = page.cursor;
    caught_up = page.caught_up;

    if (step >= between.size()) continue;
    const auto& [deleted, edited] = between[step];
    PushOne(service, "a", Delete(Patient(deleted), bases[deleted]));
    PushOne(service, "a", Delta(Patient(edited), bases[edited], Texts({{"Name", "newer"}})));
  }

  std::map<std::string, Fields> heads;
  for (const auto& [id, base] : bases) {
    const std::optional<StoredVersion> head = service.Head(Patient(id));
    if (!head->version.deleted) heads[id] = head->version.fields;
  }
  EXPECT_EQ(heads.size(), 8u);
  EXPECT_EQ(held, heads);
}

// A deletion that a device was not told of, and then was pruned: the cursor has
// expired, and the device is told to begin anew.
TEST(PullTest, SnapshotThatWasLeftOpenExpiresWhenATombstoneBehindItIsPruned) {
  TestService service;
  const PushAnswer created = CreateAll(service, {"p1"});
  CreateAll(service, {"p2"});
  PullQuery query = PullFrom("b", "");
  query.page_size = 1;
  query.cursor = MustPull(service, query).cursor;
  PushOne(service, "a", Delete(Patient("p1"), created.results[0]));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());

  const absl::StatusOr<PullPage> page = service.engine().Pull(query);

  EXPECT_EQ(ReasonOf(page.status()), "CURSOR_EXPIRED");
}

TEST(PullTest, LogGivesEveryVersionAndTombstonesInOrder) {
  TestService service;
  const std::string cursor = MustPull(service, PullFrom("b", "")).cursor;
  const PushAnswer created = CreateAll(service, {"p1"});
  const ChangeResult edited =
      PushOne(service, "a", Delta(Patient("p1"), created.results[0], Texts({{"Name", "y"}})));
  PushOne(service, "a", Delete(Patient("p1"), edited));

  const PullPage page = MustPull(service, PullFrom("b", cursor));

  ASSERT_EQ(page.versions.size(), 3u);
  EXPECT_EQ(page.versions[0].revision, 1);
  EXPECT_EQ(page.versions[1].fields, Texts({{"Name", "y"}}));
  EXPECT_TRUE(page.versions[2].deleted);
}

TEST(PullTest, SnapshotPagesAreCutWhereBatchesEnded) {
  TestService service;
  CreateAll(service, {"a1", "a2"});
  CreateAll(service, {"b1", "b2"});
  PullQuery query = PullFrom("b", "");
  query.page_size = 3;

  const PullPage first = MustPull(service, query);
  query.cursor = first.cursor;
  const PullPage second = MustPull(service, query);

  EXPECT_EQ(IdsOf(first), (Strings{"a1", "a2"}));
  EXPECT_TRUE(first.batch_end);
  EXPECT_FALSE(first.caught_up);
  EXPECT_EQ(IdsOf(second), (Strings{"b1", "b2"}));
  EXPECT_TRUE(second.caught_up);
}

TEST(PullTest, LogPagesAreCutWhereBatchesEnded) {
  TestService service;
  const std::string start = MustPull(service, PullFrom("b", "")).cursor;
  CreateAll(service, {"a1", "a2"});
  CreateAll(service, {"b1", "b2"});
  PullQuery query = PullFrom("b", start);
  query.page_size = 3;

  const PullPage first = MustPull(service, query);
  query.cursor = first.cursor;
  const PullPage second = MustPull(service, query);

  EXPECT_EQ(IdsOf(first), (Strings{"a1", "a2"}));
  EXPECT_TRUE(first.batch_end);
  EXPECT_EQ(IdsOf(second), (Strings{"b1", "b2"}));
  EXPECT_TRUE(second.caught_up);
}

// A batch longer than a page, read in pieces by the process that keeps the
// position; no piece but the last may leave with a cursor.
void ExpectOneBatchOverThreePages(TestService& service, PullQuery query) {
  query.page_size = 2;
  const PullPage first = MustPull(service, query);
  const PullPage second = MustPull(service, query, &*first.next);
  const PullPage third = MustPull(service, query, &*second.next);

  EXPECT_EQ(IdsOf(first), (Strings{"p1", "p2"}));
  EXPECT_EQ(IdsOf(second), (Strings{"p3", "p4"}));
  EXPECT_EQ(IdsOf(third), (Strings{"p5"}));
  for (const PullPage& page : {first, second}) {
    EXPECT_FALSE(page.batch_end);
    EXPECT_FALSE(page.caught_up);
    EXPECT_TRUE(page.cursor.empty());
  }
  EXPECT_TRUE(third.batch_end);
  EXPECT_TRUE(third.caught_up);
  EXPECT_FALSE(third.cursor.empty());
}

TEST(PullTest, BatchLongerThanAPageSpansPagesOfTheLog) {
  TestService service;
  const std::string start = MustPull(service, PullFrom("b", "")).cursor;
  CreateAll(service, {"p1", "p2", "p3", "p4", "p5"});

  ExpectOneBatchOverThreePages(service, PullFrom("b", start));
}

TEST(PullTest, BatchLongerThanAPageSpansPagesOfTheSnapshot) {
  TestService service;
  CreateAll(service, {"p1", "p2", "p3", "p4", "p5"});

  ExpectOneBatchOverThreePages(service, PullFrom("b", ""));
}

TEST(PullTest, SnapshotGoesOnInTheLogWithWhatCameMeanwhile) {
  TestService service;
  const PushAnswer first = CreateAll(service, {"p1"});
  CreateAll(service, {"p2"});
  PullQuery query = PullFrom("b", "");
  query.page_size = 1;
  const PullPage page1 = MustPull(service, query);
  PushOne(service, "a", Delta(Patient("p1"), first.results[0], Texts({{"Name", "new"}})));

  query.cursor = page1.cursor;
  const PullPage page2 = MustPull(service, query);
  query.cursor = page2.cursor;
  const PullPage page3 = MustPull(service, query);

  EXPECT_EQ(IdsOf(page1), Strings{"p1"});
  EXPECT_EQ(IdsOf(page2), Strings{"p2"});
  EXPECT_FALSE(page2.caught_up);
  ASSERT_EQ(IdsOf(page3), Strings{"p1"});
  EXPECT_EQ(page3.versions[0].fields, Texts({{"Name", "new"}}));
  EXPECT_TRUE(page3.caught_up);
}

TEST(PullTest, OnlyTheNamedTypesComeAndTheCursorMovesOverTheOthers) {
  TestService service;
  PullQuery query = PullFrom("b", "");
  query.types = {"Visit"};
  query.cursor = MustPull(service, query).cursor;
  CreateAll(service, {"p1", "p2"});

  const PullPage nothing = MustPull(service, query);
  EXPECT_TRUE(nothing.versions.empty());
  EXPECT_TRUE(nothing.caught_up);
  EXPECT_NE(nothing.cursor, query.cursor);

  query.cursor = nothing.cursor;
  CreateAll(service, {"v1"}, "Visit");
  EXPECT_EQ(IdsOf(MustPull(service, query)), Strings{"v1"});
}

TEST(PullTest, PageEndsWhereItsBatchEndsThoughItsLastVersionsAreOfOtherTypes) {
  TestService service;
  PullQuery query = PullFrom("b", "");
  query.types = {"Visit"};
  query.page_size = 1;
  query.cursor = MustPull(service, query).cursor;
  MustPush(service, BatchOf(service, "a",
                            {Create({"Visit", "v1"}, {}), Create(Patient("p1"), {}),
                             Create(Patient("p2"), {})}));
  CreateAll(service, {"v2"}, "Visit");

  const PullPage page = MustPull(service, query);

  EXPECT_EQ(IdsOf(page), Strings{"v1"});
  EXPECT_TRUE(page.batch_end);
  query.cursor = page.cursor;
  EXPECT_EQ(IdsOf(MustPull(service, query)), Strings{"v2"});
}

TEST(PullTest, RemainingNeverGrowsWithinOneCatchUp) {
  TestService service;
  for (int i = 0; i < 9; ++i) CreateAll(service, {"p" + std::to_string(i)});
  PullQuery query = PullFrom("b", "");
  query.page_size = 2;
  PullPage page = MustPull(service, query);
  EXPECT_EQ(page.remaining, 7u);
  std::vector<uint64_t> seen = {page.remaining};

  for (int i = 0; !page.caught_up && i < 50; ++i) {
    if (i < 5) CreateAll(service, {"later" + std::to_string(i)});
    page = MustPull(service, query, &*page.next);
    seen.push_back(page.remaining);
  }

  EXPECT_TRUE(page.caught_up);
  EXPECT_TRUE(std::is_sorted(seen.rbegin(), seen.rend()));
  EXPECT_EQ(seen.back(), 0u);
}

TEST(PullTest, NextCatchUpOfAFollowerIsCountedAnew) {
  TestService service;
  PullQuery query = PullFrom("b", "");
  query.page_size = 1;
  const PullPage idle = MustPull(service, query);
  for (const char* id : {"p1", "p2", "p3"}) CreateAll(service, {id});

  const PullPage page = MustPull(service, query, &*idle.next);

  EXPECT_EQ(page.versions.size(), 1u);
  EXPECT_EQ(page.remaining, 2u);
}

TEST(PullTest, PageSizeIsBounded) {
  TestService service;
  std::vector<std::string> ids(kPageVersionsMax + 1);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = "p" + std::to_string(i);
  CreateAll(service, ids);
  PullQuery query = PullFrom("b", "");

  EXPECT_EQ(MustPull(service, query).versions.size(), kPageVersionsDefault);
  query.page_size = 1'000'000;
  EXPECT_EQ(MustPull(service, query).versions.size(), kPageVersionsMax);
}

TEST(PullTest, FetchGivesHeadsTombstonesAndWhatIsMissing) {
  TestService service;
  const PushAnswer created = CreateAll(service, {"p1", "p2"});
  PushOne(service, "a", Delete(Patient("p2"), created.results[1]));
  const std::vector<EntityKey> keys = {Patient("p2"), Patient("none"), Patient("p1")};

  const absl::StatusOr<FetchPage> page = service.engine().Fetch(DeviceOf("b"), keys);

  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->versions.size(), 2u);
  EXPECT_TRUE(page->versions[0].deleted);
  EXPECT_EQ(page->versions[1].key, Patient("p1"));
  EXPECT_EQ(page->missing, std::vector<EntityKey>{Patient("none")});
}

TEST(PullTest, FetchAndPullSeeNothingOfAnotherTenant) {
  TestService service;
  CreateAll(service, {"p1"});
  PullQuery query = PullFrom("b", "");
  query.who.tenant = "other-clinic";
  const std::vector<EntityKey> keys = {Patient("p1")};

  EXPECT_TRUE(MustPull(service, query).versions.empty());
  const absl::StatusOr<FetchPage> page = service.engine().Fetch(query.who, keys);
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->versions.empty());
}

TEST(PullTest, FetchOfTooManyIsRefused) {
  TestService service;
  const std::vector<EntityKey> keys(kFetchKeysMax + 1, Patient("p1"));

  EXPECT_EQ(ReasonOf(service.engine().Fetch(DeviceOf("b"), keys).status()), "MESSAGE_TOO_LARGE");
}

// The feed from here on, as its reader keeps it.
PullPosition StandingAt(TestService& service, const std::string& device) {
  return *MustPull(service, PullFrom(device, "")).next;
}

TEST(OwnBatchTest, IsLeftOutAndTheCursorStandsBehindIt) {
  TestService service;
  CreateAll(service, {"p0"});
  PullPosition position = StandingAt(service, "a");
  for (const Strings& ids : {Strings{"p1", "p2"}, Strings{"p3"}}) {
    position.own.push_back(*CreateAll(service, ids).own);
  }

  const PullPage page = MustPull(service, PullFrom("a", ""), &position);
  CreateAll(service, {"p4"});
  const PullPage later = MustPull(service, PullFrom("a", page.cursor));

  EXPECT_EQ(IdsOf(page), Strings{});
  EXPECT_TRUE(page.caught_up);
  EXPECT_TRUE(page.next->own.empty());
  EXPECT_EQ(IdsOf(later), Strings{"p4"});
}

TEST(OwnBatchTest, IsLeftOutAmongOthers) {
  TestService service;
  for (const size_t page_size : {1, 2, 3, 100}) {
    PullPosition position = StandingAt(service, "a");
    const std::string round = std::to_string(page_size);
    CreateAll(service, {"p1-" + round});
    position.own.push_back(*CreateAll(service, {"p2-" + round, "p3-" + round, "p4-" + round}).own);
    CreateAll(service, {"p5-" + round, "p6-" + round});
    PullQuery query = PullFrom("a", "");
    query.page_size = page_size;
    Strings seen;

    for (bool caught_up = false; !caught_up;) {
      const PullPage page = MustPull(service, query, &position);
      for (const std::string& id : IdsOf(page)) seen.push_back(id);
      position = *page.next;
      caught_up = page.caught_up;
    }

    EXPECT_EQ(seen, (Strings{"p1-" + round, "p5-" + round, "p6-" + round})) << page_size;
    EXPECT_TRUE(position.own.empty());
  }
}

TEST(OwnBatchTest, IsShownWhereItsAnswerDoesNotSayAllOfIt) {
  TestService service;
  const PushAnswer created = CreateAll(service, {"p1"});
  PushOne(service, "b", Delta(Patient("p1"), created.results[0], Texts({{"Name", "of b"}})));
  const PushBatch late =
      BatchOf(service, "a",
              {Delta(Patient("p1"), created.results[0], Texts({{"Name", "of a"}})),
               Create(Patient("p2"), Texts({{"Name", "new"}}))});

  const PushAnswer conflict = MustPush(service, late);
  const PushAnswer again = MustPush(service, late);
  const PushAnswer nothing = MustPush(service, BatchOf(service, "a", {}));

  EXPECT_TRUE(conflict.appended);
  EXPECT_FALSE(conflict.own.has_value());
  EXPECT_FALSE(again.own.has_value());
  EXPECT_FALSE(nothing.own.has_value());
}

}  // namespace
}  // namespace ptdoc::sync
