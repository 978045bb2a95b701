#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <thread>

#include "grpc/health/v1/health.pb.h"
#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;

// The reason of a server that cannot start.
std::string StartReason(ServerOptions options) {
  ScratchDir dir;
  SteppedClock clock;
  SystemRng rng;
  const auto store =
      OpenSqliteStore({.path = dir.File("store.db"), .create = true, .vfs = ""}, clock, rng);
  Engine engine(**store, clock, rng, EngineOptions());
  return ReasonOf(Server::Start(std::move(options), engine, **store, clock).status());
}

grpc::Status UnaryByName(TestServer& server, const std::string& path, const std::string& message,
                         std::string* answer) {
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  const grpc::Slice slice(message);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  CallContext call;
  const auto pending = stub.PrepareUnaryCall(&call.context, path, request, &queue);
  pending->StartCall();
  pending->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  std::vector<grpc::Slice> slices;
  if (status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      answer->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

TEST(ServerTest, TellsThePortAndTheAddressThatItBound) {
  TestServer server;

  EXPECT_GT(server.server().port(), 0);
  EXPECT_EQ(server.server().address(), "127.0.0.1:" + std::to_string(server.server().port()));
}

TEST(ServerTest, HealthIsServedWithoutAToken) {
  TestServer server;
  server.AddToken(Role::kDevice, "tablet");
  for (const char* name : {"", "ptdoc.sync.v1.SyncService", "ptdoc.sync.v1.AdminService"}) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(name);
    std::string answer;

    const grpc::Status status =
        UnaryByName(server, "/grpc.health.v1.Health/Check", request.SerializeAsString(), &answer);

    ASSERT_TRUE(status.ok()) << status.error_message();
    grpc::health::v1::HealthCheckResponse response;
    ASSERT_TRUE(response.ParseFromString(answer));
    EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING) << name;
  }
}

// A reflection request is field 4 (file_containing_symbol) or 7 (list_services)
// with a string: written by hand, since the interface's own messages are gRPC's.
std::string Reflect(TestServer& server, char field, const std::string& symbol) {
  const char tag = static_cast<char>((field << 3) | 2);
  const std::string request = std::string(1, tag) + static_cast<char>(symbol.size()) + symbol;
  std::string answer;
  const grpc::Status status = UnaryByName(
      server, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", request, &answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return answer;
}

TEST(ServerTest, ReflectionListsAndDescribesEveryServiceHealthIncluded) {
  TestServer server;
  server.AddToken(Role::kDevice, "tablet");

  const std::string list = Reflect(server, 7, "*");

  EXPECT_THAT(list, HasSubstr("ptdoc.sync.v1.SyncService"));
  EXPECT_THAT(list, HasSubstr("ptdoc.sync.v1.AdminService"));
  EXPECT_THAT(list, HasSubstr("grpc.health.v1.Health"));
  EXPECT_THAT(Reflect(server, 4, "ptdoc.sync.v1.SyncService"), HasSubstr("PushRequest"));
  EXPECT_THAT(Reflect(server, 4, "grpc.health.v1.Health"), HasSubstr("HealthCheckRequest"));
}

TEST(ServerTest, AnotherAddressThanLoopbackNeedsAProxyAndTokens) {
  ServerOptions everywhere;
  everywhere.listen = "0.0.0.0:0";
  ServerOptions proxied;
  proxied.listen = "127.0.0.1:0";
  proxied.behind_proxy = true;
  ServerOptions malformed;
  malformed.listen = "nowhere";

  EXPECT_EQ(StartReason(everywhere), "LISTEN_FORBIDDEN");
  EXPECT_EQ(StartReason(proxied), "LISTEN_FORBIDDEN");
  EXPECT_EQ(StartReason(malformed), "FIELD");
}

TEST(ServerTest, APortThatIsTakenIsTold) {
  TestServer server;
  ServerOptions options;
  options.listen = server.server().address();

  EXPECT_EQ(StartReason(options), "LISTEN_FAILED");
}

TEST(ServerTest, ASecondServiceOnOneStoreStandsBackAndVerbsGoOn) {
  TestServer server;
  const auto beside = OpenSqliteStore(server.StoreOptions(), server.clock(), server.rng());
  ASSERT_TRUE(beside.ok()) << beside.status();
  Engine engine(**beside, server.clock(), server.rng(), EngineOptions());
  ServerOptions options;
  options.listen = "127.0.0.1:0";

  const auto second = Server::Start(options, engine, **beside, server.clock());

  EXPECT_EQ(ReasonOf(second.status()), "STORE_IN_USE");
  EXPECT_NE(server.AddToken(Role::kDevice, "tablet"), "");
  const auto writer = (*beside)->BeginWrite();
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->TouchDevice("clinic", "d", server.clock().Now(), "", {}).ok());
  EXPECT_TRUE((*writer)->Commit().ok());
}

TEST(ServerTest, ARunOrAPullThatCannotBeParsedIsRefusedWithItsReason) {
  TestServer server;
  for (const char* path : {"/ptdoc.sync.v1.SyncService/Run", "/ptdoc.sync.v1.SyncService/Pull"}) {
    std::string answer;

    const grpc::Status status = UnaryByName(server, path, "\xff\xff\xff", &answer);

    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_EQ(ReasonOf(status), "FIELD");
  }
}

// As docs/PROTOCOL.md tells: the calls that carry no rows are parsed by gRPC.
// gRPC unpacks before anybody knows who calls, into any size.
TEST(ServerTest, CompressionOfGrpcIsRefused) {
  TestServer server;
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    v1::RunRequest request;
    *request.add_changes() = PatientChange("p1", std::string(10'000, 'n'));
    v1::RunResponse response;
    CallContext call;
    call.context.set_compression_algorithm(algorithm);

    const grpc::Status status = server.Sync()->Run(&call.context, request, &response);

    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  }
}

TEST(ServerTest, AQuestionThatCannotBeParsedIsAnsweredByGrpcItself) {
  TestServer server;
  for (const char* path :
       {"/ptdoc.sync.v1.SyncService/Status", "/ptdoc.sync.v1.AdminService/ListDevices"}) {
    std::string answer;

    const grpc::Status status = UnaryByName(server, path, "\xff\xff\xff", &answer);

    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << path;
    EXPECT_EQ(ReasonOf(status), "");
  }
}

TEST(ServerTest, DrainEndsStreamsWithDraining) {
  TestServer server;
  CallContext pull_call("", "phone");
  v1::PullRequest follow;
  follow.set_follow(true);
  const auto pull = server.Sync()->Pull(&pull_call.context, follow);
  v1::PullResponse page;
  ASSERT_TRUE(pull->Read(&page));
  CallContext push_call("", "tablet");
  const auto push = server.Sync()->Push(&push_call.context);
  v1::PushRequest batch;
  batch.set_batch_id(server.NewBatchId());
  push->Write(batch);
  v1::PushResponse answer;
  ASSERT_TRUE(push->Read(&answer));

  std::thread drainer([&] { server.server().Drain(absl::Seconds(60)); });

  EXPECT_FALSE(pull->Read(&page));
  const grpc::Status pull_status = pull->Finish();
  EXPECT_FALSE(push->Read(&answer));
  const grpc::Status push_status = push->Finish();
  drainer.join();
  EXPECT_EQ(pull_status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(pull_status), "DRAINING");
  EXPECT_EQ(ReasonOf(push_status), "DRAINING");
}

TEST(ServerTest, DrainAnswersTheBatchesThatWereTaken) {
  TestServer server;
  CallContext call("", "tablet");
  const auto push = server.Sync()->Push(&call.context);
  std::vector<std::string> sent;
  for (int i = 0; i < 6; ++i) {
    v1::PushRequest batch;
    sent.push_back(server.NewBatchId());
    batch.set_batch_id(sent.back());
    *batch.add_changes() = PatientChange("p" + std::to_string(i), "Anna");
    push->Write(batch);
  }
  // A call that no handler has begun is turned away by gRPC itself.
  v1::PushResponse answer;
  ASSERT_TRUE(push->Read(&answer));
  std::vector<std::string> answered = {answer.batch_id()};

  std::thread drainer([&] { server.server().Drain(absl::Seconds(60)); });
  while (push->Read(&answer)) answered.push_back(answer.batch_id());
  const grpc::Status status = push->Finish();
  drainer.join();

  // Whatever was taken was answered: no more is in the store than was answered.
  EXPECT_EQ(ReasonOf(status), "DRAINING");
  ASSERT_LE(answered.size(), sent.size());
  sent.resize(answered.size());
  EXPECT_EQ(answered, sent);
  EXPECT_EQ(server.store().BeginRead().value()->Newest("default")->sequence,
            static_cast<Revision>(answered.size()));
}

TEST(ServerTest, AfterDrainNothingListens) {
  TestServer server;

  server.server().Drain(absl::ZeroDuration());
  server.server().Drain(absl::ZeroDuration());

  CallContext call;
  v1::StatusResponse response;
  EXPECT_EQ(server.Sync()->Status(&call.context, v1::StatusRequest(), &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace ptdoc::sync
