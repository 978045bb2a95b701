#include <gtest/gtest.h>

#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

// Leaves one conflict: the phone's later edit of p1 won over the tablet's.
void MakeConflict(TestServer& server) {
  const v1::ChangeResult created = server.PushOne(PatientChange("p1", "Anna"), "tablet");
  server.clock().Advance(absl::Seconds(1));
  server.PushOne(PatientChange("p1", "Annabel", created.revision()), "tablet");
  server.clock().Advance(absl::Seconds(1));
  const v1::ChangeResult lost =
      server.PushOne(PatientChange("p1", "Annika", created.revision()), "phone");
  EXPECT_EQ(lost.outcome(), v1::OUTCOME_CONFLICT);
}

v1::Conflict OnlyConflict(TestServer& server, bool include_resolved = false) {
  CallContext call;
  v1::ListConflictsRequest request;
  request.set_include_resolved(include_resolved);
  v1::ListConflictsResponse response;
  EXPECT_TRUE(server.Admin()->ListConflicts(&call.context, request, &response).ok());
  EXPECT_EQ(response.conflicts_size(), 1);
  return response.conflicts_size() == 1 ? response.conflicts(0) : v1::Conflict();
}

v1::Conflict Details(TestServer& server, const std::string& conflict_id) {
  CallContext call;
  v1::GetConflictRequest request;
  request.set_conflict_id(conflict_id);
  v1::GetConflictResponse response;
  EXPECT_TRUE(server.Admin()->GetConflict(&call.context, request, &response).ok());
  return response.conflict();
}

TEST(AdminTest, AListOfConflictsIsWithoutContentsAndOneHasThem) {
  TestServer server;
  MakeConflict(server);

  const v1::Conflict listed = OnlyConflict(server);
  const v1::Conflict whole = Details(server, listed.conflict_id());

  EXPECT_EQ(listed.entity_id(), "p1");
  EXPECT_EQ(listed.resolution_type(), "LocalWins");
  EXPECT_EQ(listed.archived_data_json(), "");
  EXPECT_EQ(listed.archived_device_id(), "tablet");
  EXPECT_NE(whole.archived_data_json().find("Annabel"), std::string::npos);
  EXPECT_EQ(whole.current_revision(), 3);
  EXPECT_EQ(whole.rule(), "8");
}

TEST(AdminTest, RestoringALoserWritesARevisionThatFollowersSee) {
  TestServer server;
  MakeConflict(server);
  const v1::Conflict conflict = Details(server, OnlyConflict(server).conflict_id());
  CallContext pull_call("", "desk");
  v1::PullRequest follow;
  follow.set_follow(true);
  const auto pull = server.Sync()->Pull(&pull_call.context, follow);
  v1::PullResponse page;
  ASSERT_TRUE(pull->Read(&page));
  CallContext call;
  v1::ResolveConflictRequest request;
  request.set_conflict_id(conflict.conflict_id());
  request.set_action(v1::RESOLVE_ACTION_RESTORE);
  request.set_expected_revision(conflict.current_revision());
  request.set_reason_code("TYPO");
  v1::ResolveConflictResponse response;

  const grpc::Status status = server.Admin()->ResolveConflict(&call.context, request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.revision(), 4);
  EXPECT_TRUE(response.conflict().is_resolved());
  ASSERT_TRUE(pull->Read(&page));
  ASSERT_EQ(page.versions_size(), 1);
  EXPECT_EQ(page.versions(0).fields().at("Name").text(), "Annabel");
}

TEST(AdminTest, AResolutionOfAnOldRevisionIsAborted) {
  TestServer server;
  MakeConflict(server);
  CallContext call;
  v1::ResolveConflictRequest request;
  request.set_conflict_id(OnlyConflict(server).conflict_id());
  request.set_action(v1::RESOLVE_ACTION_EDIT);
  request.set_content_json("{\"Id\":\"p1\",\"Name\":\"Anne\"}");
  request.set_expected_revision(1);
  request.set_reason_code("TYPO");
  v1::ResolveConflictResponse response;

  const grpc::Status status = server.Admin()->ResolveConflict(&call.context, request, &response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(ReasonOf(status), "REVISION");
}

TEST(AdminTest, ContentThatIsNoRowJsonIsAFieldError) {
  TestServer server;
  CallContext call;
  v1::ResolveConflictRequest request;
  request.set_action(v1::RESOLVE_ACTION_EDIT);
  request.set_content_json("{broken");
  v1::ResolveConflictResponse response;

  EXPECT_EQ(ReasonOf(server.Admin()->ResolveConflict(&call.context, request, &response)), "FIELD");
}

// The loser and the winner are 2.5 MiB each.
TEST(AdminTest, AConflictThatIsLargerThanAMessageIsRefusedAndStillResolved) {
  TestServer server;
  const auto large = [](char letter) {
    v1::Change change = PatientChange("p1", "Anna");
    (*change.mutable_fields())["Scan"].set_text(std::string(2'600'000, letter));
    return change;
  };
  server.PushOne(large('a'), "tablet");
  server.clock().Advance(absl::Seconds(1));
  server.PushOne(large('b'), "phone");
  const std::string id = OnlyConflict(server).conflict_id();
  CallContext get_call;
  v1::GetConflictRequest get;
  get.set_conflict_id(id);
  v1::GetConflictResponse got;
  CallContext call;
  v1::ResolveConflictRequest resolve;
  resolve.set_conflict_id(id);
  resolve.set_action(v1::RESOLVE_ACTION_KEEP);
  resolve.set_reason_code("SEEN");
  v1::ResolveConflictResponse resolved;

  const grpc::Status refused = server.Admin()->GetConflict(&get_call.context, get, &got);
  const grpc::Status status = server.Admin()->ResolveConflict(&call.context, resolve, &resolved);

  EXPECT_EQ(ReasonOf(refused), "MESSAGE_TOO_LARGE");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(resolved.conflict().is_resolved());
  EXPECT_EQ(resolved.conflict().archived_data_json(), "");
}

TEST(AdminTest, AnUnknownConflictIsNotFound) {
  TestServer server;
  CallContext call;
  v1::GetConflictRequest request;
  request.set_conflict_id("none");
  v1::GetConflictResponse response;

  EXPECT_EQ(ReasonOf(server.Admin()->GetConflict(&call.context, request, &response)), "NOT_FOUND");
}

TEST(AdminTest, ALockedFormIsOpenedAgain) {
  TestServer server;
  v1::Change form = PatientChange("f1", "x");
  form.set_entity_type("IntakeForm");
  (*form.mutable_fields())["IsLocked"].set_integer(1);
  const v1::ChangeResult locked = server.PushOne(form);
  CallContext pull_call("", "desk");
  v1::PullRequest follow;
  follow.set_follow(true);
  const auto pull = server.Sync()->Pull(&pull_call.context, follow);
  v1::PullResponse page;
  ASSERT_TRUE(pull->Read(&page));
  CallContext call;
  v1::UnlockRequest request;
  request.set_entity_type("IntakeForm");
  request.set_entity_id("f1");
  request.set_reason_code("CORRECTION");
  v1::UnlockResponse response;

  const grpc::Status status = server.Admin()->Unlock(&call.context, request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_GT(response.revision(), locked.revision());
  // Without any move of the clock: told, not found by polling.
  ASSERT_TRUE(pull->Read(&page));
  ASSERT_EQ(page.versions_size(), 1);
  EXPECT_EQ(page.versions(0).revision(), response.revision());
}

TEST(AdminTest, ARevokedDeviceIsListedAndRefused) {
  TestServer server;
  server.PushOne(PatientChange("p1", "Anna"), "tablet");
  CallContext revoke_call;
  v1::RevokeDeviceRequest request;
  request.set_device_id("tablet");
  request.set_reason_code("LOST");
  v1::RevokeDeviceResponse revoked;
  ASSERT_TRUE(server.Admin()->RevokeDevice(&revoke_call.context, request, &revoked).ok());
  CallContext list_call;
  v1::ListDevicesResponse devices;
  CallContext status_call("", "tablet");
  v1::StatusResponse status;

  ASSERT_TRUE(
      server.Admin()->ListDevices(&list_call.context, v1::ListDevicesRequest(), &devices).ok());
  const grpc::Status refused =
      server.Sync()->Status(&status_call.context, v1::StatusRequest(), &status);

  ASSERT_EQ(devices.devices_size(), 1);
  EXPECT_TRUE(devices.devices(0).revoked());
  EXPECT_EQ(ReasonOf(refused), "DEVICE_REVOKED");
}

TEST(AdminTest, TheAuditIsListedInPagesAndIntact) {
  TestServer server;
  for (int i = 0; i < 5; ++i) server.PushOne(PatientChange("p" + std::to_string(i), "Anna"));
  CallContext list_call;
  v1::ListAuditRequest request;
  request.set_page_size(2);
  request.set_after_sequence(1);
  v1::ListAuditResponse page;
  CallContext verify_call;
  v1::VerifyAuditResponse verdict;

  ASSERT_TRUE(server.Admin()->ListAudit(&list_call.context, request, &page).ok());
  ASSERT_TRUE(
      server.Admin()->VerifyAudit(&verify_call.context, v1::VerifyAuditRequest(), &verdict).ok());

  ASSERT_EQ(page.entries_size(), 2);
  EXPECT_EQ(page.entries(0).sequence(), 2);
  EXPECT_EQ(page.entries(0).event(), "change");
  EXPECT_EQ(page.entries(0).hash().size(), 64U);
  EXPECT_TRUE(verdict.intact());
  EXPECT_EQ(verdict.entries(), 5U);
}

}  // namespace
}  // namespace ptdoc::sync
