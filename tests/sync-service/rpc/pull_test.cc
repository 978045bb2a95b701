#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/wire/compression.h"
#include "common/wire/convert.h"
#include "tests/sync-service/rpc/test_server.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;

// All messages of a pull that ends by itself.
std::vector<v1::PullResponse> PullAll(TestServer& server, const v1::PullRequest& request) {
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, request);
  std::vector<v1::PullResponse> messages;
  v1::PullResponse message;
  while (stream->Read(&message)) messages.push_back(message);
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return messages;
}

std::vector<std::string> IdsOf(const std::vector<v1::PullResponse>& messages) {
  std::vector<std::string> ids;
  for (v1::PullResponse message : messages) {
    const auto versions = VersionsFromProto(&message);
    EXPECT_TRUE(versions.ok()) << versions.status();
    for (const Version& version : *versions) ids.push_back(version.key.id);
  }
  return ids;
}

grpc::Status StatusOf(TestServer& server, const v1::PullRequest& request) {
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, request);
  v1::PullResponse message;
  while (stream->Read(&message)) {
  }
  return stream->Finish();
}

v1::PullRequest Following() {
  v1::PullRequest request;
  request.set_follow(true);
  return request;
}

TEST(PullTest, AnEmptyServiceAnswersCaughtUp) {
  TestServer server;

  const std::vector<v1::PullResponse> messages = PullAll(server, {});

  ASSERT_EQ(messages.size(), 1U);
  EXPECT_TRUE(messages[0].caught_up());
  EXPECT_TRUE(messages[0].batch_end());
  EXPECT_TRUE(messages[0].has_remaining());
  EXPECT_EQ(messages[0].remaining(), 0U);
  EXPECT_NE(messages[0].cursor(), "");
  EXPECT_NE(messages[0].epoch(), "");
}

TEST(PullTest, BothFormsHoldTheSameVersions) {
  TestServer server;
  for (const char* id : {"p1", "p2", "p3"}) server.PushOne(PatientChange(id, "Anna"));
  v1::PullRequest packed;
  packed.set_packed(true);

  const std::vector<v1::PullResponse> maps = PullAll(server, {});
  const std::vector<v1::PullResponse> tables = PullAll(server, packed);

  EXPECT_THAT(IdsOf(maps), ElementsAre("p1", "p2", "p3"));
  EXPECT_THAT(IdsOf(tables), ElementsAre("p1", "p2", "p3"));
  EXPECT_EQ(tables[0].versions_size(), 0);
  EXPECT_EQ(tables[0].tables_size(), 1);
}

TEST(PullTest, RowsAreCompressedForWhoAsksAndOnlyThen) {
  TestServer server;
  for (int i = 0; i < 50; ++i) server.PushOne(PatientChange("p" + std::to_string(i), "Anna"));
  v1::PullRequest packed;
  packed.set_packed(true);
  v1::PullRequest compressed = packed;
  compressed.set_compressed(true);

  const std::vector<v1::PullResponse> plain = PullAll(server, packed);
  std::vector<v1::PullResponse> small = PullAll(server, compressed);

  EXPECT_TRUE(plain[0].takes_compressed_tables());
  EXPECT_EQ(plain[0].compressed_tables(), "");
  EXPECT_EQ(small[0].tables_size(), 0);
  EXPECT_LT(small[0].ByteSizeLong(), plain[0].ByteSizeLong() * 2 / 3);
  ASSERT_TRUE(ExpandTables(small[0].compressed_tables(), 1 << 20, small[0].mutable_tables()).ok());
  EXPECT_EQ(IdsOf(small), IdsOf(plain));
}

TEST(PullTest, FetchedRowsAreCompressedForWhoAsks) {
  TestServer server;
  v1::PullRequest request;
  request.set_packed(true);
  request.set_compressed(true);
  for (int i = 0; i < 20; ++i) {
    const std::string id = "p" + std::to_string(i);
    server.PushOne(PatientChange(id, std::string(40, 'n')));
    request.add_entities()->set_entity_type("Patient");
    request.mutable_entities(i)->set_entity_id(id);
  }

  std::vector<v1::PullResponse> messages = PullAll(server, request);

  EXPECT_EQ(messages[0].tables_size(), 0);
  for (v1::PullResponse& message : messages) {
    ASSERT_TRUE(ExpandTables(message.compressed_tables(), 1 << 20, message.mutable_tables()).ok());
  }
  EXPECT_EQ(IdsOf(messages).size(), 20u);
}

TEST(PullTest, PagesGoOnWhereTheCursorStands) {
  TestServer server;
  for (int i = 0; i < 10; ++i) server.PushOne(PatientChange("p" + std::to_string(i), "Anna"));
  v1::PullRequest request;
  request.set_page_size(3);

  const std::vector<v1::PullResponse> messages = PullAll(server, request);
  request.set_cursor(messages[1].cursor());
  const std::vector<v1::PullResponse> rest = PullAll(server, request);

  EXPECT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].remaining(), 7U);
  EXPECT_EQ(IdsOf(messages).size(), 10U);
  EXPECT_THAT(IdsOf(rest), ElementsAre("p6", "p7", "p8", "p9"));
}

TEST(PullTest, LargeRowsAreSpreadOverMessagesThatAnyClientCanRead) {
  TestServer server;
  for (int i = 0; i < 6; ++i) {
    v1::Change change = PatientChange("p" + std::to_string(i), "Anna");
    (*change.mutable_fields())["Scan"].set_blob(std::string(900'000, 'x'));
    server.PushOne(change);
  }

  const std::vector<v1::PullResponse> messages = PullAll(server, {});

  EXPECT_EQ(IdsOf(messages).size(), 6U);
  for (const v1::PullResponse& message : messages) {
    EXPECT_LT(message.ByteSizeLong(), kMessageBytesMax / 2);
  }
}

TEST(PullTest, FetchGivesWhatIsThereAndNamesWhatIsNot) {
  TestServer server;
  for (int i = 0; i < 40; ++i) server.PushOne(PatientChange("p" + std::to_string(i), "Anna"));
  v1::PullRequest request;
  request.set_follow(true);  // A fetch ends all the same.
  for (int i = 20; i < 60; ++i) {
    v1::EntityRef* const entity = request.add_entities();
    entity->set_entity_type("Patient");
    entity->set_entity_id("p" + std::to_string(i));
  }

  const std::vector<v1::PullResponse> messages = PullAll(server, request);

  EXPECT_EQ(IdsOf(messages).size(), 20U);
  int missing = 0;
  for (const v1::PullResponse& message : messages) {
    missing += message.missing_size();
    EXPECT_EQ(message.cursor(), "");
  }
  EXPECT_EQ(missing, 20);
  EXPECT_TRUE(messages.back().caught_up());
}

TEST(PullTest, AFetchOfTooManyIsRefused) {
  TestServer server;
  v1::PullRequest request;
  for (size_t i = 0; i <= kFetchKeysMax; ++i) request.add_entities()->set_entity_type("Patient");

  EXPECT_EQ(ReasonOf(StatusOf(server, request)), "MESSAGE_TOO_LARGE");
}

TEST(PullTest, AMalformedCursorIsToldApart) {
  TestServer server;
  v1::PullRequest request;
  request.set_cursor("garbage");

  const grpc::Status status = StatusOf(server, request);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "CURSOR_MALFORMED");
}

TEST(PullTest, AFollowerSeesWhatAnotherDeviceCommits) {
  TestServer server;
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, Following());
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_TRUE(message.caught_up());

  for (int i = 0; i < 20; ++i) {
    server.PushOne(PatientChange("p" + std::to_string(i), "Anna"), "tablet");
    ASSERT_TRUE(stream->Read(&message));

    ASSERT_EQ(message.versions_size(), 1);
    EXPECT_EQ(message.versions(0).entity_id(), "p" + std::to_string(i));
    EXPECT_TRUE(message.caught_up());
  }
}

TEST(PullTest, AFollowerIsNotShownWhatItsOwnBatchesAppend) {
  TestServer server;
  CallContext call("", "phone");
  v1::PullRequest following = Following();
  following.set_stream_id("s1");
  const auto stream = server.Sync()->Pull(&call.context, following);
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const auto push = [&](const char* id, const char* device, const char* pull_stream) {
    v1::PushRequest request;
    request.set_batch_id(server.NewBatchId());
    *request.add_changes() = PatientChange(id, "Anna");
    request.set_pull_stream(pull_stream);
    v1::PushResponse response;
    EXPECT_TRUE(server.Push(request, &response, "", device).ok());
  };

  push("own", "phone", "s1");
  push("of an earlier stream", "phone", "s0");
  push("own again", "phone", "s1");
  push("of another device", "tablet", "s1");

  std::vector<v1::PullResponse> messages;
  while (IdsOf(messages).size() < 2 && stream->Read(&message)) messages.push_back(message);
  EXPECT_THAT(IdsOf(messages), ElementsAre("of an earlier stream", "of another device"));
  EXPECT_TRUE(messages.back().caught_up());
}

TEST(PullTest, RowsHaveCellsForWhoAsksAndOnlyThen) {
  TestServer server;
  server.PushOne(PatientChange("p1", "Anna"));
  v1::PullRequest packed;
  packed.set_packed(true);
  v1::PullRequest cells = packed;
  cells.set_cells(true);

  const std::vector<v1::PullResponse> values = PullAll(server, packed);
  const std::vector<v1::PullResponse> small = PullAll(server, cells);

  EXPECT_TRUE(values[0].takes_cells());
  EXPECT_EQ(values[0].tables(0).rows(0).cells(), "");
  EXPECT_EQ(small[0].tables(0).rows(0).values_size(), 0);
  EXPECT_THAT(IdsOf(small), ElementsAre("p1"));
}

TEST(PullTest, AFollowerSeesWhatAnotherProcessCommits) {
  TestServer server;
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, Following());
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const auto other_store = OpenSqliteStore(server.StoreOptions(), server.clock(), server.rng());
  ASSERT_TRUE(other_store.ok());
  Engine other(**other_store, server.clock(), server.rng(), EngineOptions());
  PushBatch batch;
  batch.who.tenant = "default";
  batch.who.device = "restorer";
  batch.batch_id = server.NewBatchId();
  batch.changes.resize(1);
  batch.changes[0].key = {"Patient", "p1"};
  batch.changes[0].operation = Operation::kCreate;

  ASSERT_TRUE(other.Push({&batch, 1}).front().ok());
  server.clock().Advance(absl::Milliseconds(250));

  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.versions_size(), 1);
  EXPECT_EQ(message.versions(0).entity_id(), "p1");
}

// What `sync-service unlock` and `conflicts resolve` do beside a running service.
TEST(PullTest, AFollowerSeesWhatAnotherProcessUnlocksAndRestores) {
  TestServer server;
  v1::Change form = PatientChange("f1", "x");
  (*form.mutable_fields())["IsLocked"].set_integer(1);
  server.PushOne(form, "tablet");
  v1::Change attempt = PatientChange("f1", "attempt");
  const v1::ChangeResult refused = server.PushOne(attempt, "desk");
  ASSERT_EQ(refused.resolution(), v1::RESOLUTION_REJECTED_LOCKED);
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, Following());
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const auto other_store = OpenSqliteStore(server.StoreOptions(), server.clock(), server.rng());
  ASSERT_TRUE(other_store.ok());
  Engine other(**other_store, server.clock(), server.rng(), EngineOptions());
  Principal console;
  console.tenant = "default";
  console.device = "console";
  console.role = Role::kAdmin;

  const absl::StatusOr<Revision> unlocked = other.Unlock(console, {"Patient", "f1"}, "CORRECTION");
  server.clock().Advance(absl::Milliseconds(250));
  ASSERT_TRUE(stream->Read(&message));
  const int64_t seen_after_unlock = message.versions(0).revision();
  ResolveRequest restore;
  restore.conflict_id = refused.conflict_id();
  restore.action = ResolveAction::kRestore;
  restore.expected_revision = unlocked.value_or(0);
  restore.reason_code = "CORRECTION";
  const absl::StatusOr<Revision> restored = other.ResolveConflict(console, restore);
  server.clock().Advance(absl::Milliseconds(250));
  ASSERT_TRUE(stream->Read(&message));

  ASSERT_TRUE(unlocked.ok() && restored.ok()) << unlocked.status() << restored.status();
  EXPECT_EQ(seen_after_unlock, *unlocked);
  EXPECT_EQ(message.versions(0).revision(), *restored);
  EXPECT_EQ(message.versions(0).fields().at("Name").text(), "attempt");
}

TEST(PullTest, AFollowerHearsAnEmptyMessageWhileNothingHappens) {
  TestServer server;
  server.PushOne(PatientChange("p1", "Anna"));
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, Following());
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));

  for (int i = 0; i < 3; ++i) {
    server.clock().Advance(absl::Seconds(20));
    ASSERT_TRUE(stream->Read(&message));

    EXPECT_EQ(message.versions_size() + message.tables_size(), 0);
    EXPECT_TRUE(message.has_server_time());
  }
}

TEST(PullTest, TheCursorMovesOverTypesThatAreNotWanted) {
  TestServer server;
  v1::PullRequest request = Following();
  request.add_entity_types("ClinicalNote");
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, request);
  v1::PullResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const std::string before = message.cursor();

  server.PushOne(PatientChange("p1", "Anna"));
  v1::Change note = PatientChange("n1", "x");
  note.set_entity_type("ClinicalNote");
  server.PushOne(note);
  ASSERT_TRUE(stream->Read(&message));

  ASSERT_EQ(message.versions_size(), 1);
  EXPECT_EQ(message.versions(0).entity_id(), "n1");
  EXPECT_NE(message.cursor(), before);
}

TEST(PullTest, EntitiesThatAreMissingAreToldInMessagesWithinTheLimit) {
  TestServer server;
  v1::PullRequest request;
  for (int i = 0; i < 3500; ++i) {
    v1::EntityRef* const entity = request.add_entities();
    entity->set_entity_type("Patient");
    entity->set_entity_id(std::string(1000, 'x') + std::to_string(i));
  }
  CallContext call("", "phone");
  const auto stream = server.Sync()->Pull(&call.context, request);
  v1::PullResponse message;
  int missing = 0;
  size_t largest = 0;
  bool caught_up = false;

  while (stream->Read(&message)) {
    missing += message.missing_size();
    largest = std::max(largest, message.ByteSizeLong());
    caught_up = message.caught_up();
  }

  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(missing, 3500);
  EXPECT_TRUE(caught_up);
  EXPECT_LT(largest, size_t{2} << 20);
}

TEST(PullTest, AReportOfTheQueueStandsWithItsDevice) {
  TestServer server;
  v1::PullRequest request;
  request.mutable_queue()->set_pending(5);

  PullAll(server, request);
  server.PushOne(PatientChange("p1", "Anna"));  // Behind the report in the writer's queue.

  const auto device = server.store().BeginRead().value()->FindDevice("default", "phone").value();
  ASSERT_TRUE(device.has_value() && device->queue.has_value());
  EXPECT_EQ(device->queue->pending, 5U);
}

TEST(PullTest, FollowersThatGoAwayLeaveNothingBehind) {
  TestServer server;
  for (int i = 0; i < 10; ++i) {
    CallContext call("", "phone");
    const auto stream = server.Sync()->Pull(&call.context, Following());
    v1::PullResponse message;
    ASSERT_TRUE(stream->Read(&message));
    call.context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }

  EXPECT_EQ(server.PushOne(PatientChange("p1", "Anna")).outcome(), v1::OUTCOME_ACCEPTED);
  server.server().Drain(absl::Seconds(60));  // Returns when no stream is left.
}

}  // namespace
}  // namespace ptdoc::sync
