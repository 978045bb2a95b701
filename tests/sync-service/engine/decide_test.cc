#include "sync-service/engine/decide.h"

#include <gtest/gtest.h>

#include "common/model/row_json.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

// The entity's first version, by device "a", a minute ago.
ChangeResult Start(TestService& service, const EntityKey& key, Fields fields) {
  return PushOne(service, "a", At(Create(key, std::move(fields)), service.Ago(60)));
}

TEST(DecideTest, NewEntityIsAcceptedWithRevisionAndCheck) {
  TestService service;

  const ChangeResult result = PushOne(service, "a", Create(kP1, Texts({{"Name", "x"}})));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(result.rule, "6");
  EXPECT_EQ(result.revision, 1);
  EXPECT_EQ(result.check, service.Head(kP1)->version.check);
  EXPECT_FALSE(result.current.has_value());
}

TEST(DecideTest, ChangeOfTheCurrentVersionIsAcceptedWhateverItsTime) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));

  const ChangeResult result =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(9999)));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "y"}}));
  // Above its base's, so that a third device can order the two.
  EXPECT_EQ(service.Head(kP1)->version.last_modified, service.Ago(60) + 1);
  EXPECT_EQ(service.Head(kP1)->claimed_time, service.Ago(9999));
}

TEST(DecideTest, SameContentIsUnchangedAndRaisesTheTime) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));

  const ChangeResult result =
      PushOne(service, "b", At(Create(kP1, Texts({{"Name", "x"}})), service.Ago(10)));

  EXPECT_EQ(result.outcome, Outcome::kUnchanged);
  EXPECT_EQ(result.rule, "3");
  EXPECT_EQ(result.revision, base.revision);
  EXPECT_EQ(result.check, base.check);
  EXPECT_EQ(service.Head(kP1)->version.last_modified, service.Ago(10));
  EXPECT_TRUE(service.Archives().empty());
  EXPECT_EQ(service.AuditRows().size(), 1u);
}

TEST(DecideTest, SameContentWithAnEarlierTimeLeavesTheTime) {
  TestService service;
  Start(service, kP1, Texts({{"Name", "x"}}));

  PushOne(service, "b", At(Create(kP1, Texts({{"Name", "x"}})), service.Ago(600)));

  EXPECT_EQ(service.Head(kP1)->version.last_modified, service.Ago(60));
}

TEST(DecideTest, LaterOfTwoDraftsWinsAndTheOtherIsArchivedWhole) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}, {"City", "c"}}));
  const ChangeResult mine =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "mine"}})), service.Ago(20)));

  const ChangeResult result =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "later"}})), service.Ago(10)));

  EXPECT_EQ(result.outcome, Outcome::kConflict);
  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(result.rule, "8");
  EXPECT_FALSE(result.current.has_value());
  EXPECT_EQ(result.revision, mine.revision + 1);
  const std::vector<ArchiveRow> archives = service.Archives();
  ASSERT_EQ(archives.size(), 1u);
  const ArchiveRow& row = archives[0];
  EXPECT_EQ(row.conflict_id, result.conflict_id);
  EXPECT_EQ(row.resolution_type, "LocalWins");
  EXPECT_EQ(row.rule, "8");
  EXPECT_EQ(*FieldsFromJson(row.archived_json), Texts({{"Name", "mine"}, {"City", "c"}}));
  EXPECT_EQ(*FieldsFromJson(row.chosen_json), Texts({{"Name", "later"}, {"City", "c"}}));
  EXPECT_EQ(*FieldsFromJson(row.base_json), Texts({{"Name", "x"}, {"City", "c"}}));
  EXPECT_EQ(row.archived_device, "a");
  EXPECT_EQ(row.chosen_device, "b");
  EXPECT_EQ(row.archived_time / 1'000'000, service.Ago(20) / 1'000'000);
  EXPECT_EQ(row.chosen_time / 1'000'000, service.Ago(10) / 1'000'000);
  EXPECT_FALSE(row.is_resolved);
}

TEST(DecideTest, WinnerTellsTheDeviceWhoseAcceptedVersionLost) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  const ChangeResult mine =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "mine"}})), service.Ago(20)));

  const ChangeResult result =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "later"}})), service.Ago(10)));

  const std::optional<StoredVersion> head = service.Head(kP1);
  const ConflictNotice expected{result.conflict_id, Resolution::kLocalWins, "a", mine.revision};
  ASSERT_TRUE(head->version.conflict.has_value());
  EXPECT_EQ(*head->version.conflict, expected);
}

TEST(DecideTest, WinnerOverAVersionOfTheSameDeviceCarriesNoNotice) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "mine"}})), service.Ago(20)));

  PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "later"}})), service.Ago(10)));

  EXPECT_FALSE(service.Head(kP1)->version.conflict.has_value());
  EXPECT_EQ(service.Archives().size(), 1u);
}

TEST(DecideTest, EarlierOfTwoDraftsLosesAndGetsTheWinner) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  const ChangeResult winner =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "later"}})), service.Ago(10)));

  const ChangeResult result =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "mine"}})), service.Ago(20)));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
  EXPECT_EQ(result.revision, winner.revision);
  EXPECT_EQ(result.check, winner.check);
  ASSERT_TRUE(result.current.has_value());
  EXPECT_EQ(result.current->fields, Texts({{"Name", "later"}}));
  EXPECT_EQ(service.Head(kP1)->version.revision, winner.revision);
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(*FieldsFromJson(service.Archives()[0].archived_json), Texts({{"Name", "mine"}}));
}

TEST(DecideTest, LoserThatHoldsNothingMoreIsResolvedAtOnce) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "b",
          At(Delta(kP1, base, Texts({{"Name", "n"}, {"City", "c"}})), service.Ago(10)));

  PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "n"}})), service.Ago(20)));

  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_TRUE(service.Archives()[0].is_resolved);
}

TEST(DecideTest, LostDeletionIsArchivedAsNullAndResolved) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "kept"}})), service.Ago(10)));

  const ChangeResult result = PushOne(service, "a", At(Delete(kP1, base), service.Ago(20)));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(service.Archives()[0].archived_json, "null");
  EXPECT_TRUE(service.Archives()[0].is_resolved);
}

TEST(DecideTest, DeletionThatWinsArchivesTheRowAndLeavesATombstone) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "edited"}})), service.Ago(20)));

  const ChangeResult result = PushOne(service, "a", At(Delete(kP1, base), service.Ago(10)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_TRUE(service.Head(kP1)->version.deleted);
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(service.Archives()[0].chosen_json, "null");
  EXPECT_FALSE(service.Archives()[0].is_resolved);
}

TEST(DecideTest, SignedVersionRefusesEditsAndDeletions) {
  TestService service;
  const ChangeResult base = Start(service, kNote, Texts({{"Text", "t"}}));
  const ChangeResult signature =
      PushOne(service, "a", Delta(kNote, base, Texts({{"SignatureHash", "s"}})));

  const ChangeResult edit = PushOne(service, "b", Delta(kNote, signature, Texts({{"Text", "u"}})));
  const ChangeResult gone = PushOne(service, "b", Delete(kNote, signature));

  for (const ChangeResult& result : {edit, gone}) {
    EXPECT_EQ(result.outcome, Outcome::kConflict);
    EXPECT_EQ(result.resolution, Resolution::kRejectedImmutable);
    EXPECT_EQ(result.rule, "4");
    EXPECT_EQ(result.revision, signature.revision);
    ASSERT_TRUE(result.current.has_value());
    EXPECT_EQ(result.current->fields, Texts({{"Text", "t"}, {"SignatureHash", "s"}}));
  }
  EXPECT_EQ(service.Archives().size(), 2u);
}

TEST(DecideTest, LockedVersionRefusesEdits) {
  TestService service;
  Fields locked = Texts({{"Text", "t"}});
  locked.Set("IsLocked", Value::Integer(1));
  const ChangeResult base = Start(service, kForm, locked);

  const ChangeResult result = PushOne(service, "b", Delta(kForm, base, Texts({{"Text", "u"}})));

  EXPECT_EQ(result.resolution, Resolution::kRejectedLocked);
  EXPECT_EQ(result.rule, "5");
  EXPECT_EQ(service.Head(kForm)->version.fields, locked);
}

TEST(DecideTest, SignatureWinsOverALaterDraft) {
  TestService service;
  const ChangeResult base = Start(service, kNote, Texts({{"Text", "t"}}));
  PushOne(service, "b", At(Delta(kNote, base, Texts({{"Text", "draft"}})), service.Ago(5)));

  const ChangeResult result = PushOne(
      service, "a", At(Delta(kNote, base, Texts({{"SignatureHash", "s"}})), service.Ago(30)));

  EXPECT_EQ(result.resolution, Resolution::kSignedWins);
  EXPECT_EQ(result.rule, "7");
  EXPECT_EQ(service.Head(kNote)->version.fields, Texts({{"Text", "t"}, {"SignatureHash", "s"}}));
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(*FieldsFromJson(service.Archives()[0].archived_json), Texts({{"Text", "draft"}}));
  EXPECT_EQ(service.Head(kNote)->version.conflict->lost_device, "b");
}

TEST(DecideTest, ManualPolicyKeepsCurrentAndAsksAPersonEvenAboutADeletion) {
  TestService service;
  service.options.policies.Set("Patient", {.policy = ConflictPolicy::kManual});
  service.Reopen();
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "b", Delta(kP1, base, Texts({{"Name", "b"}})));

  const ChangeResult result = PushOne(service, "a", Delete(kP1, base));

  EXPECT_EQ(result.resolution, Resolution::kManual);
  EXPECT_EQ(result.rule, "10");
  EXPECT_EQ(result.current->fields, Texts({{"Name", "b"}}));
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_FALSE(service.Archives()[0].is_resolved);
}

TEST(DecideTest, ChangeOfWhatIsGoneEntirelyIsArchived) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "a", Delete(kP1, base));
  service.clock().Advance(absl::Hours(24 * 200));
  ASSERT_TRUE(service.engine().Prune().ok());
  ASSERT_FALSE(service.Head(kP1).has_value());
  Change whole = Delta(kP1, base, Texts({{"Name", "late"}}));
  whole.complete = true;

  const ChangeResult result = PushOne(service, "b", whole);

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
  EXPECT_EQ(result.rule, "6b");
  EXPECT_EQ(result.revision, 0);
  ASSERT_TRUE(result.current.has_value());
  EXPECT_TRUE(result.current->deleted);
  EXPECT_EQ(result.current->revision, 0);
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(service.Archives()[0].chosen_json, "null");
  EXPECT_FALSE(service.Archives()[0].is_resolved);
}

TEST(DecideTest, TimeFarAheadWinsNoConflict) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "b"}})), service.Ago(10)));
  const TimeNs ahead = service.Now() + 3'600'000'000'000;

  const ChangeResult result =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "a"}})), ahead));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
}

// The standing version beat the base at the base's own time, by its device. One
// step after the base is later than that.
TEST(DecideTest, TimeFarAheadDoesNotBeatAVersionThatIsAsOldAsItsBase) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  const ChangeResult tied =
      PushOne(service, "b", At(Create(kP1, Texts({{"Name", "b"}})), service.Ago(60)));
  ASSERT_EQ(tied.resolution, Resolution::kLocalWins);
  ASSERT_EQ(service.Head(kP1)->version.last_modified, service.Ago(60));

  const ChangeResult result =
      PushOne(service, "z",
              At(Delta(kP1, base, Texts({{"Name", "z"}})), service.Now() + 3'600'000'000'000));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
}

// A row that was there before syncing was set up has the smallest time.
TEST(DecideTest, TimeFarAheadWithoutABaseDoesNotBeatARowOfUnknownAge) {
  TestService service;
  PushOne(service, "a", At(Create(kP1, Texts({{"Name", "old"}})), kSmallestTime));

  const ChangeResult result = PushOne(
      service, "z", At(Create(kP1, Texts({{"Name", "z"}})), service.Now() + 3'600'000'000'000));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
}

// A lock wins over a later draft; once it is opened the row is older than the
// draft that others may have seen and edited.
TEST(DecideTest, TimeFarAheadDoesNotBeatAFormThatWasLockedEarlierAndOpened) {
  TestService service;
  const ChangeResult base = Start(service, kForm, Texts({{"Text", "t"}}));
  const ChangeResult draft =
      PushOne(service, "b",
              At(Delta(kForm, base, Texts({{"Text", "draft"}})), service.Now() + 59'000'000'000));
  Fields locked = Texts({{"Text", "locked"}});
  locked.Set("IsLocked", Value::Integer(1));
  PushOne(service, "c", At(Delta(kForm, base, locked), service.Ago(30)));
  ASSERT_TRUE(service.engine().Unlock(Admin(), kForm, "CORRECTION").ok());
  ASSERT_LT(service.Head(kForm)->version.last_modified, service.Now() + 59'000'000'000);

  const ChangeResult result =
      PushOne(service, "z",
              At(Delta(kForm, draft, Texts({{"Text", "z"}})), service.Now() + 3'600'000'000'000));

  EXPECT_EQ(result.resolution, Resolution::kServerWins);
}

TEST(DecideTest, ClaimedTimeIsKeptBesideTheClampedOne) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}}));
  const TimeNs ahead = service.Now() + 3'600'000'000'000;

  PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "a"}})), ahead));

  EXPECT_EQ(service.Head(kP1)->claimed_time, ahead);
  EXPECT_EQ(service.Head(kP1)->version.last_modified, service.Ago(60) + 1);
}

TEST(DecideTest, TimeWithinTheSkewIsTakenAsItIs) {
  TestService service;
  const TimeNs ahead = service.Now() + 59'000'000'000;

  PushOne(service, "a", At(Create(kP1, Texts({{"Name", "a"}})), ahead));

  EXPECT_EQ(service.Head(kP1)->version.last_modified, ahead);
}

TEST(DecideTest, ChangeWithoutATimeHasTheServicesTime) {
  TestService service;

  PushOne(service, "a", Create(kP1, Texts({{"Name", "a"}})));

  EXPECT_EQ(service.Head(kP1)->version.last_modified, service.Now());
}

TEST(DecideTest, FieldsKeepTheTimeAtWhichTheyWereLastChanged) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"Name", "x"}, {"City", "c"}}));

  PushOne(
      service, "a",
      At(Delta(kP1, base, Texts({{"Name", "y"}, {"City", "c"}, {"Zip", "1"}})), service.Ago(5)));

  // City, Name, Zip.
  const std::vector<TimeNs> expected = {service.Ago(60), service.Ago(5), service.Ago(5)};
  EXPECT_EQ(service.Head(kP1)->field_times, expected);
}

TEST(DecideTest, RaisedTimeRaisesTheFieldsThatTheLaterWritingChanged) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"City", "c"}, {"Name", "x"}}));
  PushOne(service, "a", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(30)));

  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(10)));

  const std::optional<StoredVersion> head = service.Head(kP1);
  EXPECT_EQ(head->version.last_modified, service.Ago(10));
  EXPECT_EQ(head->field_times, (std::vector<TimeNs>{service.Ago(60), service.Ago(10)}));
}

// The earlier writing of the same content may still be the later one of a field.
TEST(DecideTest, FieldTimesRiseEachByItself) {
  TestService service;
  const ChangeResult base = Start(service, kP1, Texts({{"City", "c"}, {"Name", "x"}}));
  const ChangeResult other =
      PushOne(service, "a", At(Delta(kP1, base, Texts({{"City", "d"}})), service.Ago(50)));
  PushOne(service, "a", At(Delta(kP1, other, Texts({{"Name", "y"}})), service.Ago(10)));

  PushOne(service, "b",
          At(Delta(kP1, base, Texts({{"City", "d"}, {"Name", "y"}})), service.Ago(20)));

  const std::optional<StoredVersion> head = service.Head(kP1);
  EXPECT_EQ(head->version.last_modified, service.Ago(10));
  EXPECT_EQ(head->field_times, (std::vector<TimeNs>{service.Ago(20), service.Ago(10)}));
  EXPECT_EQ(head->raised_by, "");
}

TEST(DecideTest, SameContentAtOneTimeTakesTheGreaterDevice) {
  TestService service;
  Start(service, kP1, Texts({{"Name", "x"}}));

  PushOne(service, "c", At(Create(kP1, Texts({{"Name", "x"}})), service.Ago(60)));
  PushOne(service, "b", At(Create(kP1, Texts({{"Name", "x"}})), service.Ago(60)));

  const std::optional<StoredVersion> head = service.Head(kP1);
  EXPECT_EQ(head->raised_by, "c");
  EXPECT_EQ(head->device, "a");
}

TEST(DecideTest, ClampedTimeRaisesNothing) {
  TestService service;
  Start(service, kP1, Texts({{"Name", "x"}}));
  const TimeNs before = service.Head(kP1)->version.last_modified;
  const TimeNs ahead = service.Now() + 3'600'000'000'000;

  PushOne(service, "b", At(Create(kP1, Texts({{"Name", "x"}})), ahead));

  EXPECT_EQ(service.Head(kP1)->version.last_modified, before);
  EXPECT_EQ(service.Head(kP1)->raised_by, "");
}

TEST(DecideTest, SecondChangeOfAnEntityInABatchStandsOnTheFirst) {
  TestService service;
  const PushBatch batch = BatchOf(
      service, "a", {Create(kP1, Texts({{"Name", "x"}})), Delta(kP1, {}, Texts({{"City", "c"}}))});

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(answer.results[1].outcome, Outcome::kAccepted);
  EXPECT_EQ(answer.results[0].revision, 1);
  EXPECT_EQ(answer.results[1].revision, 2);
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "x"}, {"City", "c"}}));
  EXPECT_TRUE(service.Archives().empty());
}

TEST(DecideTest, SignatureInABatchBindsItsLaterChanges) {
  TestService service;
  const PushBatch batch = BatchOf(service, "a",
                                  {Create(kNote, Texts({{"Text", "t"}, {"SignatureHash", "s"}})),
                                   Delta(kNote, {}, Texts({{"Text", "u"}}))});

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[1].resolution, Resolution::kRejectedImmutable);
  EXPECT_EQ(answer.results[1].revision, answer.results[0].revision);
  EXPECT_EQ(answer.results[1].current->revision, answer.results[0].revision);
  EXPECT_EQ(service.Head(kNote)->version.fields, Texts({{"Text", "t"}, {"SignatureHash", "s"}}));
}

TEST(DecideTest, EveryAcceptedOrRefusedChangeHasAnAuditRow) {
  TestService service;
  Change invalid = Create(Patient("p2"), {});
  invalid.base_revision = -1;
  PushBatch batch = BatchOf(service, "a", {Create(kP1, Texts({{"Name", "x"}})), invalid});
  batch.changes[0].modified_by = "claimed";
  MustPush(service, batch);

  const std::vector<AuditRow> rows = service.AuditRows();

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].event.event, "change");
  EXPECT_EQ(rows[0].event.device, "a");
  EXPECT_EQ(rows[0].event.claimed, "claimed");
  EXPECT_EQ(rows[0].event.key, kP1);
  EXPECT_EQ(rows[0].event.outcome, "Accepted");
  EXPECT_EQ(rows[0].event.rule, "6");
  EXPECT_EQ(rows[0].event.revision, 1);
  EXPECT_EQ(rows[1].event.outcome, "Failed");
  EXPECT_EQ(rows[1].event.reason, "INVALID_CHANGE");
}

TEST(DecideTest, AuditChainVerifies) {
  TestService service;
  ChangeResult last = Start(service, kP1, Texts({{"Name", "x"}}));
  for (int i = 0; i < 5; ++i)
    last = PushOne(service, "a", Delta(kP1, last, Texts({{"Name", std::to_string(i)}})));

  const absl::StatusOr<AuditVerdict> verdict = VerifyAudit(*service.Read(), kTenant);

  ASSERT_TRUE(verdict.ok());
  EXPECT_TRUE(verdict->intact);
  EXPECT_EQ(verdict->entries, 6u);
}

}  // namespace
}  // namespace ptdoc::sync
