#include <gtest/gtest.h>

#include "common/model/row_json.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

// A conflict in which "mine" lost to "theirs"; returns the loser's answer.
ChangeResult MakeConflict(TestService& service, const EntityKey& key = kP1) {
  const ChangeResult base =
      PushOne(service, "a", At(Create(key, Texts({{"Name", "x"}})), service.Ago(600)));
  PushOne(service, "b", At(Delta(key, base, Texts({{"Name", "theirs"}})), service.Ago(10)));
  return PushOne(service, "a", At(Delta(key, base, Texts({{"Name", "mine"}})), service.Ago(20)));
}

ResolveRequest RequestFor(const ChangeResult& lost, ResolveAction action) {
  ResolveRequest request;
  request.conflict_id = lost.conflict_id;
  request.action = action;
  request.expected_revision = lost.revision;
  request.reason_code = "checked";
  return request;
}

ArchiveRow Conflict(TestService& service, const std::string& id) {
  return **service.Read()->FindConflict(kTenant, id);
}

TEST(ReviewTest, KeepMarksTheConflictAndWritesNoVersion) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);

  const absl::StatusOr<Revision> revision =
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kKeep));

  ASSERT_TRUE(revision.ok()) << revision.status();
  EXPECT_EQ(*revision, lost.revision);
  const ArchiveRow row = Conflict(service, lost.conflict_id);
  EXPECT_TRUE(row.is_resolved);
  EXPECT_EQ(row.resolved_action, "Kept");
  EXPECT_EQ(row.resolved_by, "reviewer-1");
  EXPECT_EQ(row.resolved_at, service.clock().Now());
  const AuditEvent audit = service.AuditRows().back().event;
  EXPECT_EQ(audit.event, "resolve");
  EXPECT_EQ(audit.outcome, "Kept");
  EXPECT_EQ(audit.reason, "checked");
  EXPECT_EQ(audit.user, "reviewer-1");
}

TEST(ReviewTest, RepeatedKeepChangesNothing) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ASSERT_TRUE(
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kKeep)).ok());
  const size_t audits = service.AuditRows().size();

  EXPECT_TRUE(
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kKeep)).ok());

  EXPECT_EQ(service.AuditRows().size(), audits);
}

TEST(ReviewTest, RestoreWritesTheLoserAndArchivesWhatItReplaces) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);

  const absl::StatusOr<Revision> revision =
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kRestore));

  ASSERT_TRUE(revision.ok()) << revision.status();
  EXPECT_EQ(*revision, lost.revision + 1);
  const std::optional<StoredVersion> head = service.Head(kP1);
  EXPECT_EQ(head->version.revision, *revision);
  EXPECT_EQ(head->version.fields, Texts({{"Name", "mine"}}));
  EXPECT_EQ(head->version.modified_by, "reviewer-1");
  EXPECT_EQ(head->version.last_modified, service.Now());
  EXPECT_EQ(Conflict(service, lost.conflict_id).resolved_action, "Restored");
  ASSERT_EQ(service.Archives().size(), 2u);
  const ArchiveRow replaced = service.Archives()[1];
  EXPECT_EQ(replaced.resolution_type, "Manual");
  EXPECT_EQ(replaced.rule, "review");
  EXPECT_TRUE(replaced.is_resolved);
  EXPECT_EQ(replaced.resolved_action, "Replaced");
  EXPECT_EQ(*FieldsFromJson(replaced.archived_json), Texts({{"Name", "theirs"}}));
  EXPECT_EQ(*FieldsFromJson(replaced.chosen_json), Texts({{"Name", "mine"}}));
  const ConflictNotice notice = {replaced.conflict_id, Resolution::kManual, "b", lost.revision,
                                 lost.conflict_id};
  EXPECT_EQ(head->version.conflict, notice);
}

TEST(ReviewTest, ReplacedVersionCanBeRestoredAgain) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ResolveRequest request = RequestFor(lost, ResolveAction::kRestore);
  const absl::StatusOr<Revision> first = service.engine().ResolveConflict(Admin(), request);
  ASSERT_TRUE(first.ok());
  request.conflict_id = service.Archives()[1].conflict_id;
  request.expected_revision = *first;

  ASSERT_TRUE(service.engine().ResolveConflict(Admin(), request).ok());

  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "theirs"}}));
}

TEST(ReviewTest, TimeOfAResolutionIsAboveTheCurrentOne) {
  TestService service;
  const ChangeResult base = PushOne(service, "a", Create(kP1, Texts({{"Name", "x"}})));
  const TimeNs ahead = service.Now() + 30'000'000'000;
  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "theirs"}})), ahead));
  const ChangeResult lost = PushOne(service, "a", Delta(kP1, base, Texts({{"Name", "mine"}})));

  ASSERT_TRUE(
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kRestore)).ok());

  EXPECT_EQ(service.Head(kP1)->version.last_modified, ahead + 1);
  EXPECT_EQ(service.Head(kP1)->claimed_time, service.Now());
}

TEST(ReviewTest, LostDeletionIsRestoredAsADeletion) {
  TestService service;
  const ChangeResult base =
      PushOne(service, "a", At(Create(kP1, Texts({{"Name", "x"}})), service.Ago(600)));
  PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(10)));
  const ChangeResult lost = PushOne(service, "a", At(Delete(kP1, base), service.Ago(20)));

  ASSERT_TRUE(
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kRestore)).ok());

  EXPECT_TRUE(service.Head(kP1)->version.deleted);
}

TEST(ReviewTest, EditWritesTheGivenContent) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ResolveRequest request = RequestFor(lost, ResolveAction::kEdit);
  request.content = Texts({{"Name", "both"}});

  ASSERT_TRUE(service.engine().ResolveConflict(Admin(), request).ok());

  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "both"}}));
  EXPECT_EQ(Conflict(service, lost.conflict_id).resolved_action, "Edited");
}

TEST(ReviewTest, ContentThatStandsAlreadyMakesNoNewRevision) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ResolveRequest request = RequestFor(lost, ResolveAction::kEdit);
  request.content = Texts({{"Name", "theirs"}});

  const absl::StatusOr<Revision> revision = service.engine().ResolveConflict(Admin(), request);

  ASSERT_TRUE(revision.ok());
  EXPECT_EQ(*revision, lost.revision);
  EXPECT_TRUE(Conflict(service, lost.conflict_id).is_resolved);
  EXPECT_EQ(service.Archives().size(), 1u);
}

TEST(ReviewTest, AnotherRevisionThanTheOneSeenAborts) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ResolveRequest request = RequestFor(lost, ResolveAction::kRestore);
  request.expected_revision -= 1;

  const absl::Status status = service.engine().ResolveConflict(Admin(), request).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(status), "REVISION");
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "theirs"}}));
  EXPECT_FALSE(Conflict(service, lost.conflict_id).is_resolved);
}

TEST(ReviewTest, NobodyWritesOverASignedVersion) {
  TestService service;
  const ChangeResult lost = MakeConflict(service, kNote);
  const ChangeResult signature =
      PushOne(service, "b", Delta(kNote, lost, Texts({{"SignatureHash", "s"}})));
  ResolveRequest request = RequestFor(lost, ResolveAction::kRestore);
  request.expected_revision = signature.revision;

  for (const ResolveAction action : {ResolveAction::kRestore, ResolveAction::kEdit}) {
    request.action = action;
    request.content = Texts({{"Name", "edited"}});
    const absl::Status status = service.engine().ResolveConflict(Admin(), request).status();

    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReasonOf(status), "SIGNED");
  }
  EXPECT_EQ(service.Head(kNote)->version.revision, signature.revision);
}

TEST(ReviewTest, NobodyWritesOverALockedVersion) {
  TestService service;
  const ChangeResult lost = MakeConflict(service, kForm);
  Fields lock;
  lock.Set("IsLocked", Value::Integer(1));
  const ChangeResult locked = PushOne(service, "b", Delta(kForm, lost, lock));
  ResolveRequest request = RequestFor(lost, ResolveAction::kRestore);
  request.expected_revision = locked.revision;

  EXPECT_EQ(ReasonOf(service.engine().ResolveConflict(Admin(), request).status()), "LOCKED");
}

TEST(ReviewTest, CollidedRowIsNotRestoredOverAnotherPatient) {
  TestService service;
  const ChangeResult there = PushOne(service, "a", Create(kP1, Texts({{"Name", "Ann"}})));
  Change other = Create(kP1, Texts({{"Name", "Bob"}}));
  other.integer_key = true;
  ChangeResult lost = PushOne(service, "b", other);
  lost.revision = there.revision;

  const absl::Status restored =
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kRestore)).status();

  EXPECT_EQ(ReasonOf(restored), "KEY_COLLISION");
  EXPECT_EQ(service.Head(kP1)->version.fields, Texts({{"Name", "Ann"}}));
  EXPECT_TRUE(
      service.engine().ResolveConflict(Admin(), RequestFor(lost, ResolveAction::kKeep)).ok());
}

TEST(ReviewTest, UnusableRequestsAreRefused) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  ResolveRequest unknown = RequestFor(lost, ResolveAction::kKeep);
  unknown.conflict_id = "00000000-0000-4000-8000-000000000000";
  ResolveRequest free_text = RequestFor(lost, ResolveAction::kKeep);
  free_text.reason_code = "the patient said so";
  ResolveRequest no_content = RequestFor(lost, ResolveAction::kEdit);

  EXPECT_EQ(service.engine().ResolveConflict(Admin(), unknown).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(service.engine().ResolveConflict(Admin(), free_text).status()), "FIELD");
  EXPECT_EQ(ReasonOf(service.engine().ResolveConflict(Admin(), no_content).status()), "FIELD");
  EXPECT_FALSE(Conflict(service, lost.conflict_id).is_resolved);
}

TEST(ReviewTest, ConflictOfAnotherTenantIsNotFound) {
  TestService service;
  const ChangeResult lost = MakeConflict(service);
  Principal stranger = Admin();
  stranger.tenant = "other-clinic";

  const absl::Status status =
      service.engine().ResolveConflict(stranger, RequestFor(lost, ResolveAction::kKeep)).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

ChangeResult PushForm(TestService& service, Value locked) {
  Fields fields = Texts({{"Text", "t"}});
  fields.Set("IsLocked", std::move(locked));
  return PushOne(service, "a", Create(kForm, fields));
}

TEST(UnlockTest, LockedFieldTurnsFalseInItsOwnType) {
  const std::vector<std::pair<Value, Value>> cases = {
      {Value::Integer(1), Value::Integer(0)},  {Value::Real(1.0), Value::Real(0.0)},
      {Value::Text("1"), Value::Text("0")},    {Value::Text("TRUE"), Value::Text("false")},
      {Value::Text("yes"), Value::Text("no")}, {Value::Blob("x"), Value::Blob("")}};
  for (const auto& [locked, unlocked] : cases) {
    TestService service;
    const ChangeResult form = PushForm(service, locked);

    const absl::StatusOr<Revision> revision = service.engine().Unlock(Admin(), kForm, "reopen");

    ASSERT_TRUE(revision.ok()) << revision.status();
    EXPECT_EQ(*revision, form.revision + 1);
    const std::optional<StoredVersion> head = service.Head(kForm);
    EXPECT_EQ(*head->version.fields.Find("IsLocked"), unlocked);
    EXPECT_EQ(*head->version.fields.Find("Text"), Value::Text("t"));
    EXPECT_GT(head->version.last_modified, service.Now());
    EXPECT_EQ(service.AuditRows().back().event.event, "unlock");
    EXPECT_EQ(service.AuditRows().back().event.reason, "reopen");
  }
}

TEST(UnlockTest, UnlockedFormTakesEditsAgain) {
  TestService service;
  const ChangeResult form = PushForm(service, Value::Integer(1));
  ASSERT_TRUE(service.engine().Unlock(Admin(), kForm, "reopen").ok());
  ChangeResult unlocked = form;
  unlocked.revision += 1;
  unlocked.check.clear();

  EXPECT_EQ(PushOne(service, "a", Delta(kForm, unlocked, Texts({{"Text", "u"}}))).outcome,
            Outcome::kAccepted);
}

TEST(UnlockTest, WhatIsNotLockedOrNotThereIsRefused) {
  TestService service;
  PushForm(service, Value::Integer(0));
  const ChangeResult gone = PushOne(service, "a", Create(kP1, Texts({{"Name", "x"}})));
  PushOne(service, "a", Delete(kP1, gone));

  EXPECT_EQ(ReasonOf(service.engine().Unlock(Admin(), kForm, "r").status()), "NOT_LOCKED");
  EXPECT_EQ(service.engine().Unlock(Admin(), kP1, "r").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(service.engine().Unlock(Admin(), kNote, "r").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(service.engine().Unlock(Admin(), kForm, "free text").status()), "FIELD");
}

TEST(UnlockTest, SignedFormStaysAsItIs) {
  TestService service;
  Fields fields = Texts({{"SignatureHash", "s"}});
  fields.Set("IsLocked", Value::Integer(1));
  PushOne(service, "a", Create(kForm, fields));

  EXPECT_EQ(ReasonOf(service.engine().Unlock(Admin(), kForm, "reopen").status()), "SIGNED");
  EXPECT_EQ(service.Head(kForm)->version.fields, fields);
}

}  // namespace
}  // namespace ptdoc::sync
