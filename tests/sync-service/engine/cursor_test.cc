#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

const Fields kFields = Texts({{"Name", "x"}});

// The cursor of a device that holds everything.
std::string CaughtUpCursor(TestService& service) {
  PushOne(service, "a", Create(Patient("p1"), kFields));
  const PullPage page = MustPull(service, PullFrom("a", ""));
  EXPECT_TRUE(page.caught_up);
  return page.cursor;
}

absl::Status PushWith(TestService& service, const std::string& cursor) {
  PushBatch batch = BatchOf(service, "a", {Create(Patient("new"), kFields)});
  batch.cursor = cursor;
  return service.Push(batch).status();
}

absl::Status PullWith(TestService& service, const std::string& cursor) {
  return service.engine().Pull(PullFrom("a", cursor)).status();
}

void ExpectRebaseline(const absl::Status& status, const std::string& reason,
                      const std::string& shared_revision) {
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), reason);
  EXPECT_EQ(ReasonMetadata(status)[kMetaSharedRevision], shared_revision);
}

TEST(CursorTest, ValidCursorIsTakenByPushAndPull) {
  TestService service;
  const std::string cursor = CaughtUpCursor(service);

  EXPECT_TRUE(PushWith(service, cursor).ok());
  EXPECT_TRUE(PullWith(service, cursor).ok());
  EXPECT_TRUE(service.engine().CheckPull(PullFrom("a", cursor)).ok());
}

TEST(CursorTest, GarbageIsMalformed) {
  TestService service;
  const std::string cursor = CaughtUpCursor(service);
  std::string changed = cursor;
  changed[changed.size() / 2] = changed[changed.size() / 2] == 'A' ? 'B' : 'A';

  for (const std::string& text : {std::string("garbage"), changed}) {
    EXPECT_EQ(ReasonOf(PushWith(service, text)), "CURSOR_MALFORMED");
    EXPECT_EQ(ReasonOf(PullWith(service, text)), "CURSOR_MALFORMED");
  }
}

TEST(CursorTest, CursorOfAnotherTenantIsMalformed) {
  TestService service;
  const std::string cursor = CaughtUpCursor(service);
  PullQuery query = PullFrom("a", cursor);
  query.who.tenant = "other-clinic";

  EXPECT_EQ(ReasonOf(service.engine().Pull(query).status()), "CURSOR_MALFORMED");
}

TEST(CursorTest, RestoredStoreHasAnotherEpochAndTellsWhatItShares) {
  TestService service;
  CaughtUpCursor(service);
  ASSERT_TRUE(service.store().Backup(service.BackupPath()).ok());
  PushOne(service, "a", Create(Patient("p2"), kFields));
  const std::string cursor = MustPull(service, PullFrom("a", "")).cursor;

  service.Reopen(service.BackupPath());

  ExpectRebaseline(PushWith(service, cursor), "EPOCH_CHANGED", "0");
  ExpectRebaseline(PullWith(service, cursor), "EPOCH_CHANGED", "0");
  EXPECT_FALSE(service.Head(Patient("new")).has_value());
}

TEST(CursorTest, PositionKeptByAFollowerEndsWithTheEpoch) {
  TestService service;
  CaughtUpCursor(service);
  ASSERT_TRUE(service.store().Backup(service.BackupPath()).ok());
  const PullPage page = MustPull(service, PullFrom("a", ""));

  service.Reopen(service.BackupPath());

  ExpectRebaseline(service.engine().Pull(PullFrom("a", ""), &*page.next).status(), "EPOCH_CHANGED",
                   "0");
}

// The store's file is put back by hand, so that its epoch is the old one.
void PutBackByHand(TestService& service, const std::string& from) {
  const auto everything = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::remove(service.path() + "-wal");
  std::filesystem::remove(service.path() + "-shm");
  std::filesystem::copy_file(from, service.path(), everything);
}

TEST(CursorTest, CursorAboveTheNewestRevisionIsOfAForkedHistory) {
  TestService service;
  CaughtUpCursor(service);
  ASSERT_TRUE(service.store().Backup(service.BackupPath()).ok());
  PushOne(service, "a", Create(Patient("p2"), kFields));
  const std::string cursor = MustPull(service, PullFrom("a", "")).cursor;

  service.Close();
  PutBackByHand(service, service.BackupPath());
  service.Reopen();

  ExpectRebaseline(PushWith(service, cursor), "HISTORY_FORKED", "0");
  ExpectRebaseline(PullWith(service, cursor), "HISTORY_FORKED", "0");
}

TEST(CursorTest, RevisionThatWasGivenOutAgainIsFoundByTheTagOfItsBatch) {
  TestService service;
  CaughtUpCursor(service);
  ASSERT_TRUE(service.store().Backup(service.BackupPath()).ok());
  PushOne(service, "a", Create(Patient("p2"), kFields));
  const std::string cursor = MustPull(service, PullFrom("a", "")).cursor;
  service.Close();
  PutBackByHand(service, service.BackupPath());
  service.Reopen();
  PushOne(service, "b", Create(Patient("p3"), kFields));

  ExpectRebaseline(PullWith(service, cursor), "HISTORY_FORKED", "0");
}

// What a device was last answered, by a service that forgot it since: its cursor
// is of before that.
struct Forgotten {
  std::string cursor;
  PushBatch batch;
  std::string witness;
};

Forgotten ForgetAPush(TestService& service) {
  Forgotten forgotten;
  forgotten.cursor = CaughtUpCursor(service);
  EXPECT_TRUE(service.store().Backup(service.BackupPath()).ok());
  forgotten.batch = BatchOf(service, "a", {Create(Patient("p2"), kFields)});
  forgotten.witness = service.Push(forgotten.batch)->witness;
  service.Close();
  PutBackByHand(service, service.BackupPath());
  service.Reopen();
  return forgotten;
}

TEST(CursorTest, WitnessTellsAForkThatTheCursorHasNotReached) {
  TestService service;
  const Forgotten forgotten = ForgetAPush(service);
  PushOne(service, "b", Create(Patient("p3"), kFields));
  PushBatch batch = BatchOf(service, "a", {Create(Patient("new"), kFields)});
  batch.cursor = forgotten.cursor;
  batch.witness = forgotten.witness;
  PullQuery query = PullFrom("a", forgotten.cursor);
  query.witness = forgotten.witness;

  EXPECT_TRUE(PullWith(service, forgotten.cursor).ok());
  ExpectRebaseline(service.engine().Pull(query).status(), "HISTORY_FORKED", "0");
  ExpectRebaseline(service.Push(batch).status(), "HISTORY_FORKED", "0");
  // A device that has nothing to send, and follows an old stream, says no more.
  PushBatch report;
  report.who = DeviceOf("a");
  report.queue.emplace();
  report.witness = forgotten.witness;
  ExpectRebaseline(service.Push(report).status(), "HISTORY_FORKED", "0");
  ExpectRebaseline(service.engine().Fetch(DeviceOf("a"), {}, forgotten.witness).status(),
                   "HISTORY_FORKED", "0");
}

TEST(CursorTest, AnswerOfAnotherHistoryReplacesNoWitness) {
  TestService service;
  Forgotten forgotten = ForgetAPush(service);
  // A late copy of the batch comes first, then the device sends it again.
  const absl::StatusOr<PushAnswer> late = service.Push(forgotten.batch);
  forgotten.batch.witness = forgotten.witness;

  const absl::StatusOr<PushAnswer> again = service.Push(forgotten.batch);

  ASSERT_TRUE(late.ok() && again.ok());
  EXPECT_FALSE(late->witness.empty());
  EXPECT_EQ(again->witness, "");
}

TEST(CursorTest, WitnessFitsAfterItsHistoryWasPruned) {
  TestService service;
  const PushAnswer answer = *service.Push(BatchOf(service, "a", {Create(Patient("p1"), kFields)}));
  const ChangeResult second =
      PushOne(service, "a", Delta(Patient("p1"), answer.results[0], Texts({{"Name", "y"}})));
  PushOne(service, "a", Delta(Patient("p1"), second, Texts({{"Name", "z"}})));
  service.clock().Advance(absl::Hours(24 * 91));
  ASSERT_TRUE(service.engine().Prune().ok());
  PullQuery query = PullFrom("a", "");
  query.witness = answer.witness;

  EXPECT_TRUE(service.engine().Pull(query).ok());
}

TEST(CursorTest, CursorInsideASnapshotIsCheckedByTheSnapshotsEnd) {
  TestService service;
  PushOne(service, "a", Create(Patient("p1"), kFields));
  PushOne(service, "a", Create(Patient("p2"), kFields));
  PullQuery query = PullFrom("a", "");
  query.page_size = 1;
  const std::string cursor = MustPull(service, query).cursor;

  EXPECT_TRUE(PushWith(service, cursor).ok());
  EXPECT_TRUE(PullWith(service, cursor).ok());
}

TEST(CursorTest, CursorBelowThePrunedLogIsExpired) {
  TestService service;
  const ChangeResult base = PushOne(service, "a", Create(Patient("p1"), kFields));
  const std::string cursor = MustPull(service, PullFrom("a", "")).cursor;
  const ChangeResult next =
      PushOne(service, "a", Delta(Patient("p1"), base, Texts({{"Name", "y"}})));
  PushOne(service, "a", Delta(Patient("p1"), next, Texts({{"Name", "z"}})));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());

  ExpectRebaseline(PushWith(service, cursor), "CURSOR_EXPIRED", "0");
  ExpectRebaseline(PullWith(service, cursor), "CURSOR_EXPIRED", "0");
}

TEST(CursorTest, FollowerThatFellBehindThePrunedLogIsToldSo) {
  TestService service;
  const ChangeResult base = PushOne(service, "a", Create(Patient("p1"), kFields));
  const PullPage page = MustPull(service, PullFrom("a", ""));
  const ChangeResult next =
      PushOne(service, "a", Delta(Patient("p1"), base, Texts({{"Name", "y"}})));
  PushOne(service, "a", Delta(Patient("p1"), next, Texts({{"Name", "z"}})));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());

  ExpectRebaseline(service.engine().Pull(PullFrom("a", ""), &*page.next).status(), "CURSOR_EXPIRED",
                   "0");
}

TEST(CursorTest, PullAfterPruningGoesOnFromAFreshCursor) {
  TestService service;
  const ChangeResult base = PushOne(service, "a", Create(Patient("p1"), kFields));
  PushOne(service, "a", Delta(Patient("p1"), base, Texts({{"Name", "y"}})));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());
  const PullPage page = MustPull(service, PullFrom("a", ""));

  EXPECT_EQ(page.versions.size(), 1u);
  EXPECT_TRUE(PullWith(service, page.cursor).ok());
  EXPECT_TRUE(PushWith(service, page.cursor).ok());
}

TEST(CursorTest, OtherListOfTypesChangesTheScopeOfAPullButNotOfAPush) {
  TestService service;
  const std::string cursor = CaughtUpCursor(service);
  PullQuery query = PullFrom("a", cursor);
  query.types = {"Patient"};

  ExpectRebaseline(service.engine().Pull(query).status(), "SCOPE_CHANGED", "1");
  ExpectRebaseline(service.engine().CheckPull(query), "SCOPE_CHANGED", "1");
  EXPECT_TRUE(PushWith(service, cursor).ok());
}

TEST(CursorTest, OrderOfTypesDoesNotMatter) {
  TestService service;
  CaughtUpCursor(service);
  PullQuery query = PullFrom("a", "");
  query.types = {"Patient", "Visit"};
  query.cursor = MustPull(service, query).cursor;
  query.types = {"Visit", "Patient"};

  EXPECT_TRUE(service.engine().Pull(query).ok());
}

TEST(CursorTest, UnusableListOfTypesIsRefused) {
  TestService service;
  PullQuery query = PullFrom("a", "");
  query.types = {""};
  EXPECT_EQ(ReasonOf(service.engine().Pull(query).status()), "FIELD");

  query.types.assign(kTypesMax + 1, "T");
  EXPECT_EQ(ReasonOf(service.engine().Pull(query).status()), "FIELD");
}

}  // namespace
}  // namespace ptdoc::sync
