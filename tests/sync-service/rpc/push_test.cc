#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/wire/compression.h"
#include "google/rpc/error_details.pb.h"
#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;

v1::PushRequest BatchOf(const std::string& batch_id, const std::string& id) {
  v1::PushRequest request;
  request.set_batch_id(batch_id);
  *request.add_changes() = PatientChange(id, "Anna");
  return request;
}

TEST(PushTest, ABatchIsAnsweredWithARevisionForEachChange) {
  TestServer server;
  v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  *request.add_changes() = PatientChange("p2", "Ben");
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.batch_id(), request.batch_id());
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(response.results(0).outcome(), v1::OUTCOME_ACCEPTED);
  EXPECT_EQ(response.results(0).revision(), 1);
  EXPECT_EQ(response.results(1).revision(), 2);
  EXPECT_NE(response.commit_cursor(), "");
  EXPECT_NE(response.epoch(), "");
  EXPECT_TRUE(response.has_server_time());
}

TEST(PushTest, PackedRowsAreAnsweredAfterTheChanges) {
  TestServer server;
  v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  v1::RowSet* const table = request.add_tables();
  table->set_entity_type("Patient");
  table->add_columns("Id");
  table->set_id_column("Id");
  v1::PackedRow* const row = table->add_rows();
  row->set_operation(v1::OPERATION_CREATE);
  row->add_values()->set_text("p2");
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(response.results(0).entity_id(), "p1");
  EXPECT_EQ(response.results(1).entity_id(), "p2");
}

// One row for each id, packed.
v1::PushRequest PackedBatch(TestServer& server, int rows, const std::string& city) {
  v1::PushRequest request;
  request.set_batch_id(server.NewBatchId());
  v1::RowSet* const table = request.add_tables();
  table->set_entity_type("Patient");
  table->add_columns("Id");
  table->add_columns("City");
  table->set_id_column("Id");
  for (int i = 0; i < rows; ++i) {
    v1::PackedRow* const row = table->add_rows();
    row->set_operation(v1::OPERATION_CREATE);
    row->add_values()->set_text("p" + std::to_string(i));
    row->add_values()->set_text(city);
  }
  return request;
}

TEST(PushTest, CompressedRowsAreTakenAfterTheOthers) {
  TestServer server;
  v1::PushRequest request = PackedBatch(server, 100, "Sacramento");
  CompressTables(request.mutable_tables(), request.mutable_compressed_tables());
  ASSERT_NE(request.compressed_tables(), "");
  *request.add_changes() = PatientChange("first", "Anna");
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 101);
  EXPECT_EQ(response.results(0).entity_id(), "first");
  EXPECT_EQ(response.results(100).entity_id(), "p99");
  EXPECT_EQ(response.results(100).outcome(), v1::OUTCOME_ACCEPTED);
}

TEST(PushTest, CompressedRowsHaveTheLimitOfOthers) {
  TestServer server;
  v1::PushRequest request = PackedBatch(server, 5, std::string(1 << 20, 'x'));
  CompressTables(request.mutable_tables(), request.mutable_compressed_tables());
  ASSERT_LT(request.ByteSizeLong(), 100u << 10);
  v1::PushResponse response;

  EXPECT_EQ(ReasonOf(server.Push(request, &response)), "MESSAGE_TOO_LARGE");

  request.set_compressed_tables("no zlib stream");
  const grpc::Status damaged = server.Push(request, &response);
  EXPECT_EQ(ReasonOf(damaged), "FIELD");
  EXPECT_THAT(damaged.error_message(), HasSubstr("compressed_tables"));
}

TEST(PushTest, MoreBatchesThanMayBeUnansweredAreAllAnsweredInOrder) {
  constexpr int kBatches = 40;
  TestServer server;
  CallContext call("", "tablet");
  const auto stream = server.Sync()->Push(&call.context);
  std::vector<std::string> ids;

  for (int i = 0; i < kBatches; ++i) {
    ids.push_back(server.NewBatchId());
    ASSERT_TRUE(stream->Write(BatchOf(ids.back(), "p" + std::to_string(i))));
  }
  stream->WritesDone();
  std::vector<std::string> answered;
  v1::PushResponse response;
  while (stream->Read(&response)) answered.push_back(response.batch_id());

  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered, ids);
}

TEST(PushTest, ABatchSentAgainHasTheSameAnswerAndTakesEffectOnce) {
  TestServer server;
  const v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  v1::PushResponse first;
  v1::PushResponse second;

  ASSERT_TRUE(server.Push(request, &first).ok());
  ASSERT_TRUE(server.Push(request, &second).ok());

  EXPECT_EQ(second.results(0).revision(), first.results(0).revision());
  EXPECT_EQ(second.results(0).check(), first.results(0).check());
  EXPECT_EQ(server.store().BeginRead().value()->Newest("default")->sequence, 1);
}

TEST(PushTest, OneBatchFromTwoConnectionsAtOnceTakesEffectOnce) {
  TestServer server;
  for (int round = 0; round < 20; ++round) {
    const v1::PushRequest request = BatchOf(server.NewBatchId(), "p" + std::to_string(round));
    v1::PushResponse answers[2];
    const auto push = [&](int who) {
      const auto stub = v1::SyncService::NewStub(server.NewChannel());
      CallContext call("", "tablet");
      const auto stream = stub->Push(&call.context);
      stream->Write(request);
      stream->WritesDone();
      stream->Read(&answers[who]);
      EXPECT_TRUE(stream->Finish().ok());
    };

    std::thread other([&] { push(1); });
    push(0);
    other.join();

    ASSERT_EQ(answers[0].results_size(), 1);
    ASSERT_EQ(answers[1].results_size(), 1);
    EXPECT_EQ(answers[0].results(0).revision(), round + 1);
    EXPECT_EQ(answers[1].results(0).revision(), round + 1);
  }
}

TEST(PushTest, OneBadChangeFailsAlone) {
  TestServer server;
  v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  v1::Change bad = PatientChange("p2", "Ben");
  (*bad.mutable_fields())["Phone"].Clear();
  *request.add_changes() = bad;
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.results(0).outcome(), v1::OUTCOME_ACCEPTED);
  EXPECT_EQ(response.results(1).outcome(), v1::OUTCOME_FAILED);
  EXPECT_EQ(response.results(1).error_code(), "INVALID_VALUE");
}

TEST(PushTest, ARefusedBatchEndsTheStreamAfterTheAnswersBeforeIt) {
  TestServer server;
  CallContext call("", "tablet");
  const auto stream = server.Sync()->Push(&call.context);
  const std::string good = server.NewBatchId();

  stream->Write(BatchOf(good, "p1"));
  stream->Write(BatchOf("not-a-uuid", "p2"));
  v1::PushResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.batch_id(), good);
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "FIELD");
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_EQ(details.details_size(), 2);
  ASSERT_TRUE(details.details(1).UnpackTo(&bad_request));
  EXPECT_EQ(bad_request.field_violations(0).field(), "batch_id");
}

TEST(PushTest, AMessageAboveTheLimitIsRefusedWithItsReason) {
  TestServer server;
  v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  (*request.mutable_changes(0)->mutable_fields())["Scan"].set_blob(
      std::string(kMessageBytesMax + 1, 'x'));
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
}

// Two messages on one stream of bytes, as a client with a broken encoder sends
// them; returns the stream's status and how many answers came before it.
grpc::Status PushBytes(TestServer& server, const std::vector<std::string>& messages, int* answers) {
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  CallContext call("", "tablet");
  void* tag = nullptr;
  bool ok = false;
  const auto stream = stub.PrepareCall(&call.context, "/ptdoc.sync.v1.SyncService/Push", &queue);
  stream->StartCall(nullptr);
  EXPECT_TRUE(queue.Next(&tag, &ok));
  for (const std::string& message : messages) {
    const grpc::Slice slice(message);
    stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    EXPECT_TRUE(queue.Next(&tag, &ok));
  }
  *answers = -1;
  for (ok = true; ok; ++*answers) {
    grpc::ByteBuffer answer;
    stream->Read(&answer, nullptr);
    EXPECT_TRUE(queue.Next(&tag, &ok));
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  EXPECT_TRUE(queue.Next(&tag, &ok));
  return status;
}

TEST(PushTest, AMessageThatCannotBeParsedIsRefusedAfterTheAnswersBeforeIt) {
  TestServer server;
  const std::string good = BatchOf(server.NewBatchId(), "p1").SerializeAsString();
  int answers = 0;

  const grpc::Status status = PushBytes(server, {good, "\xff\xff\xff"}, &answers);

  EXPECT_EQ(answers, 1);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_EQ(ReasonOf(status), "FIELD");
  EXPECT_THAT(status.error_message(), HasSubstr("PushRequest"));
}

TEST(PushTest, AMessageWithAStringThatIsNoUtf8IsRefused) {
  TestServer server;
  std::string bytes = BatchOf(server.NewBatchId(), "px").SerializeAsString();
  bytes[bytes.find("px") + 1] = '\xff';
  int answers = 0;

  const grpc::Status status = PushBytes(server, {bytes}, &answers);

  EXPECT_EQ(answers, 0);
  EXPECT_EQ(ReasonOf(status), "FIELD");
}

// Above the largest message that the server takes from the link at all.
TEST(PushTest, AMessageThatGrpcItselfRefusesHasNoReasonOfOurs) {
  TestServer server;
  int answers = 0;

  const grpc::Status status = PushBytes(server, {std::string((16 << 20) + 1, 'x')}, &answers);

  EXPECT_EQ(answers, 0);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(PushTest, ARowOfThreeMegabytesGoesThrough) {
  TestServer server;
  v1::PushRequest request = BatchOf(server.NewBatchId(), "p1");
  (*request.mutable_changes(0)->mutable_fields())["Scan"].set_blob(
      std::string((3 << 20) - 1000, 'x'));
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.results(0).outcome(), v1::OUTCOME_ACCEPTED);
}

TEST(PushTest, SettlingAnUnknownBatchVoidsIt) {
  TestServer server;
  v1::PushRequest settle;
  settle.set_batch_id(server.NewBatchId());
  settle.set_settle(true);
  v1::PushResponse settled;
  v1::PushResponse late;

  ASSERT_TRUE(server.Push(settle, &settled).ok());
  ASSERT_TRUE(server.Push(BatchOf(settle.batch_id(), "p1"), &late).ok());

  EXPECT_TRUE(settled.voided());
  EXPECT_TRUE(late.voided());
  EXPECT_EQ(late.results_size(), 0);
}

TEST(PushTest, AReportOfTheQueueShowsInStatus) {
  TestServer server;
  v1::PushRequest report;
  report.mutable_queue()->set_pending(12);
  report.mutable_queue()->set_failed(3);
  v1::PushResponse response;
  ASSERT_TRUE(server.Push(report, &response).ok());
  CallContext call("", "tablet");
  v1::StatusResponse status;

  ASSERT_TRUE(server.Sync()->Status(&call.context, v1::StatusRequest(), &status).ok());

  EXPECT_EQ(status.pending(), 12U);
  EXPECT_EQ(status.failed(), 3U);
  EXPECT_EQ(status.health(), v1::HEALTH_WARNING);
  ASSERT_EQ(status.devices_size(), 1);
  EXPECT_EQ(status.devices(0).device_id(), "tablet");
  EXPECT_EQ(status.server().limits().batch_changes_max(), kBatchChangesMax);
  EXPECT_EQ(status.server().version(), PTDOC_VERSION);
}

TEST(PushTest, TheAgentsVersionStandsWithItsDevice) {
  TestServer server;
  CallContext call("", "tablet");
  call.context.AddMetadata("ptdoc-agent", "0.1.0; packed");
  const auto stream = server.Sync()->Push(&call.context);
  stream->Write(BatchOf(server.NewBatchId(), "p1"));
  stream->WritesDone();
  v1::PushResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Finish().ok());

  const auto device = server.store().BeginRead().value()->FindDevice("default", "tablet").value();

  ASSERT_TRUE(device.has_value());
  EXPECT_EQ(device->agent, "0.1.0; packed");
}

TEST(PushTest, AClientThatGoesAwayDisturbsNobody) {
  TestServer server;
  {
    CallContext call("", "tablet");
    const auto stream = server.Sync()->Push(&call.context);
    for (int i = 0; i < 20; ++i) stream->Write(BatchOf(server.NewBatchId(), "p"));
    call.context.TryCancel();
    (void)stream->Finish();
  }

  const v1::ChangeResult result = server.PushOne(PatientChange("p1", "Anna"), "phone");

  EXPECT_EQ(result.outcome(), v1::OUTCOME_ACCEPTED);
}

TEST(PushTest, AnErrorNeverShowsContent) {
  TestServer server;
  v1::PushRequest request = BatchOf("bad-id", "p1");
  (*request.mutable_changes(0)->mutable_fields())["Diagnosis"].set_text("secret-content");
  v1::PushResponse response;

  const grpc::Status status = server.Push(request, &response);

  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.error_message() + status.error_details(),
              ::testing::Not(HasSubstr("secret-content")));
}

}  // namespace
}  // namespace ptdoc::sync
