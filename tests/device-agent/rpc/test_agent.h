#pragma once

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/rpc/agent_host.h"
#include "ptdoc/sync/v1/agent_service.grpc.pb.h"
#include "sync-service/rpc/server.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {

// The real service on a port of its own.
class RealService {
 public:
  RealService() {
    store_ =
        OpenSqliteStore({.path = dir_.File("store.db"), .create = true, .vfs = ""}, clock_, rng_)
            .value();
    engine_ = std::make_unique<Engine>(*store_, clock_, rng_, EngineOptions());
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = Server::Start(options, *engine_, *store_, clock_).value();
  }
  std::string address() const { return server_->address(); }

 private:
  ScratchDir dir_;
  SystemClock clock_;
  SystemRng rng_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
};

// The context of one call: a deadline that only a hanging test meets.
class AgentCall {
 public:
  explicit AgentCall(absl::Duration deadline = absl::Seconds(60)) {
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  }
  grpc::ClientContext context;
};

inline std::string ReasonOf(const grpc::Status& status) {
  return ReasonOf(FromGrpcStatus(status));
}

// A device: an app's file with one table, and an agent beside it that is
// called over its control socket.
class TestAgent {
 public:
  explicit TestAgent(const std::string& service_address, const std::string& device = "tablet") {
    options.replica.database = dir.File("app.db");
    options.replica.device_id = device;
    options.replica.user = "nurse";
    options.replica.plan.all_tables = true;
    options.channel.address = service_address;
    options.control_listen = "unix://" + dir.File("agent.sock");
    options.agent_version = "1.2.3";
    options.automatic = false;
    Sql("CREATE TABLE Patient(Id TEXT PRIMARY KEY NOT NULL, Name TEXT, Phone TEXT)", true);
    const absl::StatusOr<int64_t> rows = Replica::Initialise(options.replica, clock, rng);
    EXPECT_TRUE(rows.ok()) << rows.status();
  }
  ~TestAgent() { Stop(); }

  void Start() {
    absl::StatusOr<std::unique_ptr<AgentHost>> started = AgentHost::Start(options, clock, rng);
    ASSERT_TRUE(started.ok()) << started.status();
    host = *std::move(started);
    ChannelOptions channel;
    channel.address = host->control_address();
    stub = v1::AgentService::NewStub(MakeChannel(channel).value());
  }
  void Stop() {
    stub.reset();
    host.reset();
  }

  // What the app does.
  void Sql(const std::string& sql, bool create = false) {
    sqlite::OpenOptions open;
    open.mode = create ? sqlite::OpenOptions::Mode::kCreate : sqlite::OpenOptions::Mode::kReadWrite;
    open.wal = true;
    open.legacy_schema = true;
    absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(options.replica.database, open);
    ASSERT_TRUE(db.ok()) << db.status();
    const absl::Status done = db->Exec(sql);
    ASSERT_TRUE(done.ok()) << done;
  }
  std::string Query(const std::string& sql) {
    absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(options.replica.database, {});
    PT_CHECK(db.ok());
    const absl::StatusOr<Value> value = db->QueryValue(sql);
    PT_CHECK(value.ok());
    return value->type() == Value::Type::kText ? std::string(value->bytes()) : "";
  }

  grpc::Status Run(v1::AgentServiceRunResponse* response,
                   absl::Duration deadline = absl::Seconds(60)) {
    AgentCall call(deadline);
    return stub->Run(&call.context, {}, response);
  }
  // A run that must succeed.
  v1::AgentServiceRunResponse MustRun() {
    v1::AgentServiceRunResponse response;
    const grpc::Status status = Run(&response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  v1::AgentServiceStatusResponse Status() {
    AgentCall call;
    v1::AgentServiceStatusResponse response;
    const grpc::Status status = stub->Status(&call.context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  // Watches until the status is as wanted.
  bool WatchUntil(const std::function<bool(const v1::AgentServiceStatusResponse&)>& wanted) {
    AgentCall call;
    const auto stream = stub->WatchStatus(&call.context, {});
    v1::WatchStatusResponse response;
    bool found = false;
    while (!found && stream->Read(&response)) found = wanted(response.status());
    call.context.TryCancel();
    stream->Finish();
    return found;
  }

  ScratchDir dir;
  SystemClock clock;
  SystemRng rng;
  AgentOptions options;
  std::unique_ptr<AgentHost> host;
  std::unique_ptr<v1::AgentService::Stub> stub;
};

}  // namespace ptdoc::sync
