#include "device-agent/rpc/control_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "tests/device-agent/rpc/test_agent.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kNoService[] = "unix:///nonexistent/ptdoc-service.sock";

std::string WhyText(TestAgent& agent, const std::string& id) {
  AgentCall call;
  v1::WhyRequest request;
  request.set_entity_type("Patient");
  request.set_entity_id(id);
  v1::WhyResponse response;
  const grpc::Status status = agent.stub->Why(&call.context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_LE(response.steps_size(), 12);
  std::vector<std::string> lines;
  for (const v1::WhyStep& step : response.steps()) lines.push_back(step.what());
  return absl::StrJoin(lines, "\n");
}

v1::ListQueueResponse Queue(TestAgent& agent, bool include_done = false) {
  AgentCall call;
  v1::ListQueueRequest request;
  request.set_include_done(include_done);
  v1::ListQueueResponse response;
  const grpc::Status status = agent.stub->ListQueue(&call.context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

TEST(ControlServiceTest, StatusShowsTheDeviceAndItsQueue) {
  TestAgent agent(kNoService);
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  agent.Start();

  const v1::AgentServiceStatusResponse status = agent.Status();

  EXPECT_EQ(status.pending(), 1u);
  EXPECT_TRUE(status.has_processing());
  EXPECT_TRUE(status.has_oldest_pending_at());
  EXPECT_FALSE(status.has_last_sync_at());
  EXPECT_EQ(status.health(), v1::HEALTH_OK);
  EXPECT_EQ(status.device_id(), "tablet");
  EXPECT_EQ(status.database(), agent.options.replica.database);
  EXPECT_EQ(status.service_address(), kNoService);
  EXPECT_EQ(status.agent_version(), "1.2.3");
  EXPECT_FALSE(status.paused());
}

TEST(ControlServiceTest, WhyOfARowThatWaitsForAnotherSaysSo) {
  TestAgent agent(kNoService);
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1'), ('p2', 'Bea', '2')");
  agent.Start();
  ASSERT_EQ(agent.Status().pending(), 2u);
  {
    auto ledger = sqlite::Database::Open(agent.options.replica.database + ".sync", {}).value();
    ASSERT_TRUE(ledger
                    .Exec("UPDATE SyncQueueItems SET ErrorMessage = 'WAITS_FOR_PARENT: the row "
                          "refers to Ward 1.' WHERE EntityId = 'p1'")
                    .ok());
  }

  const std::string waits = WhyText(agent, "p1");
  const std::string goes = WhyText(agent, "p2");

  EXPECT_THAT(waits, HasSubstr("is Pending: WAITS_FOR_PARENT: the row refers to Ward 1.\n"));
  EXPECT_THAT(waits, HasSubstr("Next: it goes by itself when that is over."));
  EXPECT_THAT(goes, HasSubstr("Next: it is sent as soon as the service can be reached."));
}

TEST(ControlServiceTest, StatusSaysWhyTheServiceIsNotReached) {
  TestAgent agent(kNoService);
  agent.options.automatic = true;
  agent.Start();

  EXPECT_TRUE(agent.WatchUntil([](const v1::AgentServiceStatusResponse& status) {
    return status.link() == v1::LINK_STATE_OFFLINE &&
           status.link_reason() == "SERVICE_UNREACHABLE" && status.has_next_attempt_at();
  }));
}

TEST(ControlServiceTest, AWatcherSeesWhatChanges) {
  TestAgent agent(kNoService);
  agent.options.automatic = true;
  agent.Start();
  bool seen_empty = false;

  const bool seen_item = agent.WatchUntil([&](const v1::AgentServiceStatusResponse& status) {
    if (status.pending() == 0 && !seen_empty) {
      seen_empty = true;
      agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
    }
    return status.pending() == 1;
  });

  EXPECT_TRUE(seen_empty);
  EXPECT_TRUE(seen_item);
}

TEST(ControlServiceTest, AWatcherSeesThatAllIsAgainAsTheLastOneSawIt) {
  TestAgent agent(kNoService);
  agent.Start();
  const auto pause = [&](bool paused) {
    AgentCall call;
    if (paused) {
      v1::PauseResponse response;
      ASSERT_TRUE(agent.stub->Pause(&call.context, {}, &response).ok());
    } else {
      v1::ResumeResponse response;
      ASSERT_TRUE(agent.stub->Resume(&call.context, {}, &response).ok());
    }
  };
  // The last that it is told is that the agent goes on.
  const auto watch = [&] {
    bool resumed = false;
    pause(true);
    return agent.WatchUntil([&](const v1::AgentServiceStatusResponse& status) {
      if (status.paused() && !std::exchange(resumed, true)) pause(false);
      return !status.paused();
    });
  };

  EXPECT_TRUE(watch());
  EXPECT_TRUE(watch());
}

TEST(ControlServiceTest, WhatWasCommittedBeforeTheCallIsInEveryAnswerOfADaemon) {
  TestAgent agent(kNoService);
  agent.options.automatic = true;
  agent.Start();

  for (int i = 1; i <= 40; ++i) {
    agent.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Ada', '1')"));
    if (i % 2 == 0) {
      ASSERT_EQ(Queue(agent).items_size(), i);
    } else {
      const v1::AgentServiceStatusResponse status = agent.Status();
      ASSERT_EQ(status.pending() + status.processing(), static_cast<uint32_t>(i));
    }
  }
}

TEST(ControlServiceTest, TheFirstAnswerOfADaemonKnowsWhatWasWrittenWhileNoneRan) {
  TestAgent agent(kNoService);
  agent.options.automatic = true;
  for (int i = 0; i < 5; ++i) {
    agent.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Ada', '1')"));
    agent.Start();
    EXPECT_EQ(Queue(agent).items_size(), i + 1);
    agent.Stop();
  }
}

TEST(ControlServiceTest, TheQueueIsListedWithoutContent) {
  TestAgent agent(kNoService);
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Secret Name', '1')");
  agent.Start();

  const v1::ListQueueResponse queue = Queue(agent);

  ASSERT_EQ(queue.items_size(), 1);
  EXPECT_EQ(queue.items(0).entity_type(), "Patient");
  EXPECT_EQ(queue.items(0).entity_id(), "p1");
  EXPECT_EQ(queue.items(0).operation(), "Create");
  EXPECT_EQ(queue.items(0).status(), "Pending");
  EXPECT_THAT(queue.DebugString(), Not(HasSubstr("Secret")));
}

TEST(ControlServiceTest, OnlyAFailedItemCanBeRetried) {
  TestAgent agent(kNoService);
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  agent.Start();
  const int64_t pending = Queue(agent).items(0).id();
  const auto retry = [&](const v1::RetryQueueItemsRequest& request) {
    AgentCall call;
    v1::RetryQueueItemsResponse response;
    return ReasonOf(agent.stub->RetryQueueItems(&call.context, request, &response));
  };
  v1::RetryQueueItemsRequest unknown;
  unknown.add_ids(pending + 100);
  v1::RetryQueueItemsRequest wrong_state;
  wrong_state.add_ids(pending);
  v1::RetryQueueItemsRequest all;
  all.set_all(true);

  EXPECT_EQ(retry({}), "FIELD");
  EXPECT_EQ(retry(unknown), "ITEM_UNKNOWN");
  EXPECT_EQ(retry(wrong_state), "ITEM_STATE");
  EXPECT_EQ(retry(all), "");
}

TEST(ControlServiceTest, ACancelledItemIsNotSent) {
  RealService service;
  TestAgent agent(service.address());
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  agent.Start();
  v1::CancelQueueItemRequest request;
  request.set_id(Queue(agent).items(0).id());

  AgentCall call;
  v1::CancelQueueItemResponse response;
  const grpc::Status cancelled = agent.stub->CancelQueueItem(&call.context, request, &response);
  AgentCall again;
  const grpc::Status twice = agent.stub->CancelQueueItem(&again.context, request, &response);

  EXPECT_TRUE(cancelled.ok()) << cancelled.error_message();
  EXPECT_EQ(ReasonOf(twice), "ITEM_STATE");
  EXPECT_EQ(agent.MustRun().push().total(), 0u);
  EXPECT_EQ(agent.Query("SELECT Name FROM Patient"), "");
}

// Two devices that edited the row p1, where the second one lost.
struct Conflict {
  Conflict() : first(service.address(), "tablet-1"), second(service.address(), "tablet-2") {
    first.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
    first.Start();
    first.MustRun();
    second.Start();
    second.MustRun();
    second.Sql("UPDATE Patient SET Name = 'Lost Name' WHERE Id = 'p1'");
    // The stamps of the triggers are milliseconds: the winner's is a later one.
    const absl::Time edited = first.clock.Now();
    while (first.clock.Now() < edited + absl::Milliseconds(3)) {
    }
    first.Sql("UPDATE Patient SET Name = 'Ada L' WHERE Id = 'p1'");
    first.MustRun();
    run = second.MustRun();
  }

  v1::ListDeviceConflictsResponse List(bool include_resolved = false) {
    AgentCall call;
    v1::ListDeviceConflictsRequest request;
    request.set_include_resolved(include_resolved);
    v1::ListDeviceConflictsResponse response;
    const grpc::Status status = second.stub->ListDeviceConflicts(&call.context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  grpc::Status Resolve(const std::string& id, v1::DeviceResolveAction action,
                       v1::Conflict* conflict) {
    AgentCall call;
    v1::ResolveDeviceConflictRequest request;
    request.set_conflict_id(id);
    request.set_action(action);
    v1::ResolveDeviceConflictResponse response;
    const grpc::Status status =
        second.stub->ResolveDeviceConflict(&call.context, request, &response);
    *conflict = response.conflict();
    return status;
  }

  RealService service;
  TestAgent first;
  TestAgent second;
  v1::AgentServiceRunResponse run;
};

TEST(ControlServiceTest, AConflictIsListedWithoutAndShownWithItsContents) {
  Conflict devices;

  const v1::ListDeviceConflictsResponse list = devices.List();
  ASSERT_EQ(list.conflicts_size(), 1);
  AgentCall call;
  v1::GetDeviceConflictRequest request;
  request.set_conflict_id(list.conflicts(0).conflict_id());
  v1::GetDeviceConflictResponse shown;
  const grpc::Status status =
      devices.second.stub->GetDeviceConflict(&call.context, request, &shown);

  ASSERT_EQ(devices.run.conflicts_size(), 1);
  EXPECT_EQ(devices.run.conflicts(0).resolution(), "ServerWins");
  EXPECT_EQ(devices.run.push().conflicts(), 1u);
  EXPECT_EQ(list.conflicts(0).resolution_type(), "ServerWins");
  EXPECT_THAT(list.DebugString(), Not(HasSubstr("Lost Name")));
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(shown.conflict().archived_data_json(), HasSubstr("Lost Name"));
  EXPECT_THAT(shown.conflict().chosen_data_json(), HasSubstr("Ada L"));
  EXPECT_GT(shown.conflict().current_revision(), 0);
}

TEST(ControlServiceTest, KeepingTheWinnerResolvesAConflictForGood) {
  Conflict devices;
  ASSERT_EQ(devices.List().conflicts_size(), 1);
  const std::string id = devices.List().conflicts(0).conflict_id();

  v1::Conflict conflict;
  const grpc::Status kept = devices.Resolve(id, v1::DEVICE_RESOLVE_ACTION_KEEP, &conflict);
  v1::Conflict ignored;
  const grpc::Status again = devices.Resolve(id, v1::DEVICE_RESOLVE_ACTION_KEEP, &ignored);
  const grpc::Status other = devices.Resolve(id, v1::DEVICE_RESOLVE_ACTION_RESTORE, &ignored);

  ASSERT_TRUE(kept.ok()) << kept.error_message();
  EXPECT_TRUE(conflict.is_resolved());
  EXPECT_EQ(conflict.resolved_action(), "Kept");
  EXPECT_EQ(conflict.resolved_by_user_id(), "nurse");
  EXPECT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(ReasonOf(other), "CONFLICT_RESOLVED");
  EXPECT_EQ(devices.List().conflicts_size(), 0);
  EXPECT_EQ(devices.second.Status().open_conflicts(), 0u);
}

TEST(ControlServiceTest, ARestoredRowIsANewEdit) {
  Conflict devices;
  ASSERT_EQ(devices.List().conflicts_size(), 1);

  v1::Conflict conflict;
  const grpc::Status restored = devices.Resolve(devices.List().conflicts(0).conflict_id(),
                                                v1::DEVICE_RESOLVE_ACTION_RESTORE, &conflict);
  const v1::AgentServiceRunResponse run = devices.second.MustRun();
  devices.first.MustRun();

  ASSERT_TRUE(restored.ok()) << restored.error_message();
  EXPECT_EQ(conflict.resolved_action(), "Restored");
  EXPECT_EQ(run.push().success(), 1u);
  EXPECT_EQ(devices.first.Query("SELECT Name FROM Patient WHERE Id = 'p1'"), "Lost Name");
}

TEST(ControlServiceTest, AnotherContentIsANewEditWithItsReason) {
  Conflict devices;
  ASSERT_EQ(devices.List().conflicts_size(), 1);
  v1::ResolveDeviceConflictRequest request;
  request.set_conflict_id(devices.List().conflicts(0).conflict_id());
  request.set_action(v1::DEVICE_RESOLVE_ACTION_EDIT);
  request.set_reason("BOTH");
  v1::ResolveDeviceConflictResponse response;
  const auto resolve = [&](const std::string& content) {
    AgentCall call;
    request.set_content_json(content);
    return devices.second.stub->ResolveDeviceConflict(&call.context, request, &response);
  };

  const grpc::Status other_key = resolve(R"({"Id":"p2","Name":"Both"})");
  const grpc::Status no_row = resolve("[1]");
  const grpc::Status edited = resolve(R"({"Id":"p1","Name":"Both"})");
  devices.second.MustRun();
  devices.first.MustRun();

  EXPECT_EQ(ReasonOf(other_key), "FIELD");
  EXPECT_EQ(ReasonOf(no_row), "FIELD");
  ASSERT_TRUE(edited.ok()) << edited.error_message();
  EXPECT_EQ(response.conflict().resolved_action(), "Edited: BOTH");
  EXPECT_EQ(devices.first.Query("SELECT Name FROM Patient WHERE Id = 'p1'"), "Both");
  EXPECT_EQ(devices.first.Query("SELECT Phone FROM Patient WHERE Id = 'p1'"), "1");
  EXPECT_EQ(devices.first.Query("SELECT Name FROM Patient WHERE Id = 'p2'"), "");
}

TEST(ControlServiceTest, AConflictThatIsNotThereIsUnknown) {
  Conflict devices;
  v1::Conflict ignored;
  AgentCall call;
  v1::GetDeviceConflictRequest request;
  request.set_conflict_id("nothing");
  v1::GetDeviceConflictResponse shown;

  EXPECT_EQ(ReasonOf(devices.second.stub->GetDeviceConflict(&call.context, request, &shown)),
            "CONFLICT_UNKNOWN");
  EXPECT_EQ(ReasonOf(devices.Resolve("nothing", v1::DEVICE_RESOLVE_ACTION_KEEP, &ignored)),
            "CONFLICT_UNKNOWN");
  EXPECT_EQ(ReasonOf(devices.Resolve("nothing", v1::DEVICE_RESOLVE_ACTION_UNSPECIFIED, &ignored)),
            "FIELD");
}

TEST(ControlServiceTest, WhyTellsTheLifeOfARow) {
  Conflict devices;

  const std::string life = WhyText(devices.second, "p1");

  EXPECT_THAT(life, HasSubstr("Update captured"));
  EXPECT_THAT(life, HasSubstr("Completed"));
  EXPECT_THAT(life, HasSubstr("ServerWins"));
  EXPECT_THAT(life, HasSubstr("revision 2"));
  EXPECT_THAT(life, HasSubstr("Next: "));
  EXPECT_THAT(life, Not(HasSubstr("Lost Name")));
}

TEST(ControlServiceTest, WhyTellsWhatARowWaitsFor) {
  TestAgent agent(kNoService);
  agent.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  agent.Start();

  EXPECT_THAT(WhyText(agent, "p1"), HasSubstr("is Pending"));
  EXPECT_THAT(WhyText(agent, "p1"), HasSubstr("Next: it is sent as soon as"));
  EXPECT_THAT(WhyText(agent, "p2"), HasSubstr("No edit of this row was captured here"));
}

TEST(ControlServiceTest, WhyOfATypeThatIsNotSyncedIsAnError) {
  TestAgent agent(kNoService);
  agent.Start();
  AgentCall call;
  v1::WhyRequest request;
  request.set_entity_type("Patients");
  request.set_entity_id("p1");
  v1::WhyResponse response;

  EXPECT_EQ(ReasonOf(agent.stub->Why(&call.context, request, &response)), "TYPE_UNKNOWN");
}

TEST(ControlServiceTest, PushAndPullDoTheirHalfAlone) {
  RealService service;
  TestAgent first(service.address(), "tablet-1");
  TestAgent second(service.address(), "tablet-2");
  first.Start();
  second.Start();
  second.MustRun();  // A device that never read the feed reads it before it sends.
  first.Sql("INSERT INTO Patient VALUES('p1', 'Ada', '1')");
  second.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  first.MustRun();

  AgentCall push_call;
  v1::AgentServicePushResponse pushed;
  const grpc::Status push = second.stub->Push(&push_call.context, {}, &pushed);
  const std::string after_push = second.Query("SELECT Name FROM Patient WHERE Id = 'p1'");
  AgentCall pull_call;
  v1::AgentServicePullResponse pulled;
  const grpc::Status pull = second.stub->Pull(&pull_call.context, {}, &pulled);

  ASSERT_TRUE(push.ok()) << push.error_message();
  EXPECT_EQ(pushed.push().success(), 1u);
  EXPECT_EQ(after_push, "");
  ASSERT_TRUE(pull.ok()) << pull.error_message();
  EXPECT_TRUE(pulled.success());
  EXPECT_EQ(second.Query("SELECT Name FROM Patient WHERE Id = 'p1'"), "Ada");
}

}  // namespace
}  // namespace ptdoc::sync
