#include <gtest/gtest.h>

#include "common/base/bytes.h"
#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

grpc::Status CallRun(TestServer& server, const v1::RunRequest& request, v1::RunResponse* response,
                     const std::string& device = "phone") {
  CallContext call("", device);
  return server.Sync()->Run(&call.context, request, response);
}

TEST(RunTest, PushesABatchAndPullsWhatOthersCommitted) {
  TestServer server;
  server.PushOne(PatientChange("theirs", "Ben"), "tablet");
  v1::RunRequest request;
  request.set_batch_id(server.NewBatchId());
  *request.add_changes() = PatientChange("mine", "Anna");
  v1::RunResponse response;

  const grpc::Status status = CallRun(server, request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.success());
  EXPECT_TRUE(response.has_completed_at());
  EXPECT_TRUE(response.has_duration_ms());
  EXPECT_EQ(response.push().total(), 1U);
  EXPECT_EQ(response.push().success(), 1U);
  EXPECT_TRUE(response.push().has_failed());
  EXPECT_TRUE(response.push().has_conflicts());
  EXPECT_EQ(response.pull().total(), 1U);
  EXPECT_EQ(response.pull().applied(), 1U);
  EXPECT_EQ(response.batch_id(), request.batch_id());
  ASSERT_EQ(response.versions_size(), 1);
  EXPECT_EQ(response.versions(0).entity_id(), "theirs");
  EXPECT_TRUE(response.has_has_more());
  EXPECT_FALSE(response.has_more());
}

TEST(RunTest, AConflictIsCountedAndNamedWithTheSeedsSpelling) {
  TestServer server;
  v1::Change signed_note = PatientChange("n1", "x");
  (*signed_note.mutable_fields())["SignatureHash"].set_text("abc");
  server.PushOne(signed_note, "tablet");
  v1::RunRequest request;
  *request.add_changes() = PatientChange("n1", "y");
  v1::RunResponse response;

  ASSERT_TRUE(CallRun(server, request, &response).ok());

  EXPECT_EQ(response.push().conflicts(), 1U);
  EXPECT_EQ(response.push().total(), 1U);
  ASSERT_EQ(response.conflicts_size(), 1);
  EXPECT_EQ(response.conflicts(0).resolution(), "RejectedImmutable");
  EXPECT_EQ(response.conflicts(0).entity_id(), "n1");
  EXPECT_EQ(response.conflicts(0).reason(), "Entity is signed and immutable");
}

TEST(RunTest, WithoutABatchIdTheServiceMakesOne) {
  TestServer server;
  v1::RunResponse response;

  ASSERT_TRUE(CallRun(server, {}, &response).ok());

  EXPECT_TRUE(IsUuid(response.batch_id()));
}

TEST(RunTest, ACursorThatCannotBePulledFromRefusesTheWholeCall) {
  TestServer server;
  v1::RunRequest request;
  request.set_cursor("garbage");
  *request.add_changes() = PatientChange("p1", "Anna");
  v1::RunResponse response;

  const grpc::Status status = CallRun(server, request, &response);

  EXPECT_EQ(ReasonOf(status), "CURSOR_MALFORMED");
  EXPECT_EQ(server.store().BeginRead().value()->Newest("default")->sequence, 0);
}

TEST(RunTest, TheCursorGoesOn) {
  TestServer server;
  v1::RunResponse first;
  ASSERT_TRUE(CallRun(server, {}, &first).ok());
  server.PushOne(PatientChange("p1", "Anna"), "tablet");
  v1::RunRequest request;
  request.set_cursor(first.cursor());
  v1::RunResponse second;

  ASSERT_TRUE(CallRun(server, request, &second).ok());

  ASSERT_EQ(second.versions_size(), 1);
  EXPECT_EQ(second.versions(0).entity_id(), "p1");
}

TEST(RunTest, AMessageAboveTheLimitIsRefusedWithItsReason) {
  TestServer server;
  v1::RunRequest request;
  *request.add_changes() = PatientChange("p1", "Anna");
  (*request.mutable_changes(0)->mutable_fields())["Scan"].set_blob(
      std::string(kMessageBytesMax + 1, 'x'));
  v1::RunResponse response;

  EXPECT_EQ(ReasonOf(CallRun(server, request, &response)), "MESSAGE_TOO_LARGE");
}

}  // namespace
}  // namespace ptdoc::sync
