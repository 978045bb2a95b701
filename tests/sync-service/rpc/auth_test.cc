#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <set>

#include "sync-service/rpc/call.h"
#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

// Calls any method by its name, with an empty message.
grpc::Status CallByName(TestServer& server, const std::string& path, grpc::ClientContext* context) {
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  const grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call = stub.PrepareUnaryCall(context, path, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  return status;
}

std::vector<std::string> AllMethods() {
  std::vector<std::string> paths;
  for (const auto* service :
       {v1::PushRequest::descriptor()->file()->FindServiceByName("SyncService"),
        v1::UnlockRequest::descriptor()->file()->FindServiceByName("AdminService")}) {
    for (int i = 0; i < service->method_count(); ++i) {
      paths.push_back("/" + service->full_name() + "/" + service->method(i)->name());
    }
  }
  return paths;
}

grpc::Status StatusCall(TestServer& server, const std::string& token,
                        const std::string& device = "") {
  CallContext call(token, device);
  v1::StatusResponse response;
  return server.Sync()->Status(&call.context, v1::StatusRequest(), &response);
}

TEST(AuthTest, EveryMethodIsRefusedWithoutAToken) {
  TestServer server;
  server.AddToken(Role::kDevice, "tablet");

  const std::vector<std::string> methods = AllMethods();

  EXPECT_EQ(methods.size(), static_cast<size_t>(Method::kVerifyAudit) + 1);
  for (const std::string& path : methods) {
    CallContext call;
    const grpc::Status status = CallByName(server, path, &call.context);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_EQ(ReasonOf(status), "TOKEN_MISSING") << path;
  }
}

TEST(AuthTest, AMonitorMayCallStatusAlone) {
  TestServer server;
  const std::string token = server.AddToken(Role::kMonitor, "nagios");

  for (const std::string& path : AllMethods()) {
    CallContext call(token);
    const grpc::Status status = CallByName(server, path, &call.context);
    EXPECT_EQ(ReasonOf(status), path == "/ptdoc.sync.v1.SyncService/Status" ? "" : "ROLE") << path;
  }
}

TEST(AuthTest, EachRoleMayCallItsOwnMethods) {
  const std::set<Method> sync = {Method::kPush, Method::kPull, Method::kRun, Method::kDigestRanges,
                                 Method::kDigestRows};
  const std::set<Method> conflicts = {Method::kListConflicts, Method::kGetConflict,
                                      Method::kResolveConflict};
  for (int i = 0; i <= static_cast<int>(Method::kVerifyAudit); ++i) {
    const Method method = static_cast<Method>(i);
    const bool status = method == Method::kStatus;
    const bool device = sync.contains(method);
    const bool review = conflicts.contains(method);

    EXPECT_EQ(MayCall(Role::kDevice, method), status || device) << MethodName(method);
    EXPECT_EQ(MayCall(Role::kReviewer, method), status || review) << MethodName(method);
    EXPECT_EQ(MayCall(Role::kAdmin, method), !device) << MethodName(method);
    EXPECT_EQ(MayCall(Role::kMonitor, method), status) << MethodName(method);
  }
}

// Every pair of role and method, over the wire. An allowed Push waits for its
// half-close and is tried in push_test.cc.
TEST(AuthTest, EachRoleIsHeldToItsMethodsOnTheWire) {
  TestServer server;
  const std::string sync = "/ptdoc.sync.v1.SyncService/";
  const std::string admin = "/ptdoc.sync.v1.AdminService/";
  const std::set<std::string> device = {sync + "Push", sync + "Pull", sync + "Run",
                                        sync + "DigestRanges", sync + "DigestRows"};
  const std::set<std::string> review = {admin + "ListConflicts", admin + "GetConflict",
                                        admin + "ResolveConflict"};
  for (const Role role : {Role::kDevice, Role::kReviewer, Role::kAdmin, Role::kMonitor}) {
    const std::string token = server.AddToken(role, "of-" + std::string(RoleName(role)));
    for (const std::string& path : AllMethods()) {
      const bool everybody = path == sync + "Status";
      const bool reviews = role == Role::kReviewer && review.contains(path);
      const bool allowed = everybody || reviews ||
                           (role == Role::kDevice && device.contains(path)) ||
                           (role == Role::kAdmin && !device.contains(path));
      if (allowed && path == sync + "Push") continue;
      CallContext call(token);

      const grpc::Status status = CallByName(server, path, &call.context);

      const bool refused = status.error_code() == grpc::StatusCode::PERMISSION_DENIED;
      EXPECT_EQ(refused, !allowed) << RoleName(role) << " " << path;
      EXPECT_EQ(ReasonOf(status) == "ROLE", !allowed) << RoleName(role) << " " << path;
    }
  }
}

TEST(AuthTest, WithoutAnyTokenEveryMethodIsOpen) {
  TestServer server;

  EXPECT_FALSE(server.server().tokens_required());
  for (const std::string& path : AllMethods()) {
    if (path == "/ptdoc.sync.v1.SyncService/Push") continue;  // Waits for a half-close.
    CallContext call;
    const grpc::Status status = CallByName(server, path, &call.context);
    EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_NE(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << path;
  }
}

TEST(AuthTest, TheReasonTellsWhatIsWrongWithAToken) {
  TestServer server;
  const std::string short_lived =
      server.AddToken(Role::kDevice, "watch", "clinic", absl::Seconds(1));
  const std::string revoked = server.AddToken(Role::kDevice, "phone");
  server.RevokeLastToken();
  const std::string good = server.AddToken(Role::kDevice, "tablet");
  server.clock().Advance(absl::Seconds(2));

  EXPECT_EQ(ReasonOf(StatusCall(server, "")), "TOKEN_MISSING");
  EXPECT_EQ(ReasonOf(StatusCall(server, "ptd_wrong")), "TOKEN_INVALID");
  EXPECT_EQ(ReasonOf(StatusCall(server, short_lived)), "TOKEN_EXPIRED");
  EXPECT_EQ(ReasonOf(StatusCall(server, revoked)), "TOKEN_REVOKED");
  EXPECT_EQ(ReasonOf(StatusCall(server, good, "phone")), "TOKEN_INVALID");
  EXPECT_TRUE(StatusCall(server, good, "tablet").ok());
  EXPECT_TRUE(StatusCall(server, good).ok());
}

TEST(AuthTest, IdentityDoesNotLeakFromOneCallToTheNextOnAConnection) {
  TestServer server;
  const std::string good = server.AddToken(Role::kDevice, "tablet");

  EXPECT_TRUE(StatusCall(server, good).ok());
  EXPECT_EQ(ReasonOf(StatusCall(server, "")), "TOKEN_MISSING");
}

TEST(AuthTest, ATokenReachesItsOwnTenantOnly) {
  TestServer server;
  const std::string here = server.AddToken(Role::kDevice, "tablet", "here");
  const std::string there = server.AddToken(Role::kDevice, "tablet", "there");
  v1::PushRequest request;
  request.set_batch_id(server.NewBatchId());
  *request.add_changes() = PatientChange("p1", "Anna");
  v1::PushResponse pushed;
  ASSERT_TRUE(server.Push(request, &pushed, here).ok());
  CallContext call(there);
  v1::RunResponse response;

  ASSERT_TRUE(server.Sync()->Run(&call.context, v1::RunRequest(), &response).ok());

  EXPECT_EQ(response.versions_size(), 0);
}

TEST(AuthTest, OpenStreamsEndWhenTheirTokenIsRevoked) {
  TestServer server;
  const std::string token = server.AddToken(Role::kDevice, "tablet");
  CallContext pull_call(token);
  v1::PullRequest request;
  request.set_follow(true);
  const auto pull = server.Sync()->Pull(&pull_call.context, request);
  v1::PullResponse page;
  ASSERT_TRUE(pull->Read(&page));
  CallContext push_call(token);
  const auto push = server.Sync()->Push(&push_call.context);
  v1::PushRequest batch;
  batch.set_batch_id(server.NewBatchId());
  push->Write(batch);
  v1::PushResponse answer;
  ASSERT_TRUE(push->Read(&answer));

  server.RevokeLastToken();
  server.clock().Advance(absl::Seconds(4));

  while (pull->Read(&page)) {
  }
  EXPECT_EQ(ReasonOf(pull->Finish()), "TOKEN_REVOKED");
  EXPECT_FALSE(push->Read(&answer));
  EXPECT_EQ(ReasonOf(push->Finish()), "TOKEN_REVOKED");
}

TEST(AuthTest, AnOpenStreamEndsWhenItsTokenExpires) {
  TestServer server;
  const std::string token = server.AddToken(Role::kDevice, "tablet", "clinic", absl::Seconds(10));
  CallContext call(token);
  v1::PullRequest request;
  request.set_follow(true);
  const auto pull = server.Sync()->Pull(&call.context, request);
  v1::PullResponse page;
  ASSERT_TRUE(pull->Read(&page));

  server.clock().Advance(absl::Seconds(10));

  while (pull->Read(&page)) {
  }
  EXPECT_EQ(ReasonOf(pull->Finish()), "TOKEN_EXPIRED");
}

TEST(AuthTest, ABatchOnAnOpenStreamIsRefusedOnceItsTokenHasExpired) {
  TestServer server;
  const std::string token = server.AddToken(Role::kDevice, "tablet", "clinic", absl::Seconds(1));
  CallContext call(token);
  const auto push = server.Sync()->Push(&call.context);
  v1::PushRequest batch;
  batch.set_batch_id(server.NewBatchId());
  push->Write(batch);
  v1::PushResponse answer;
  ASSERT_TRUE(push->Read(&answer));

  server.clock().Advance(absl::Seconds(1));
  batch.set_batch_id(server.NewBatchId());
  push->Write(batch);

  EXPECT_FALSE(push->Read(&answer));
  EXPECT_EQ(ReasonOf(push->Finish()), "TOKEN_EXPIRED");
}

}  // namespace
}  // namespace ptdoc::sync
