#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "ptdoc/sync/v1/admin_service.grpc.pb.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"
#include "sync-service/auth/tokens.h"
#include "sync-service/rpc/server.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {

// A clock that stands until it is moved, by any thread.
class SteppedClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixMillis(now_ms_); }
  absl::Duration Monotonic() const override { return absl::Milliseconds(monotonic_ms_.load()); }
  void Advance(absl::Duration by) {
    now_ms_ += absl::ToInt64Milliseconds(by);
    monotonic_ms_ += absl::ToInt64Milliseconds(by);
  }

 private:
  std::atomic<int64_t> now_ms_ = 1'771'303'500'000;
  std::atomic<int64_t> monotonic_ms_ = 0;
};

// One call's context: a deadline that only a hanging test meets, and metadata.
class CallContext {
 public:
  explicit CallContext(const std::string& token = "", const std::string& device = "") {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    if (!device.empty()) context.AddMetadata("ptdoc-device", device);
  }
  grpc::ClientContext context;
};

inline std::string ReasonOf(const grpc::Status& status) {
  return ReasonOf(FromGrpcStatus(status));
}

inline v1::Change PatientChange(const std::string& id, const std::string& name,
                                int64_t base_revision = 0) {
  v1::Change change;
  change.set_entity_type("Patient");
  change.set_entity_id(id);
  change.set_operation(base_revision == 0 ? v1::OPERATION_CREATE : v1::OPERATION_UPDATE);
  change.set_base_revision(base_revision);
  change.set_complete(true);
  (*change.mutable_fields())["Id"].set_text(id);
  (*change.mutable_fields())["Name"].set_text(name);
  return change;
}

// The real server with the real engine over a real store, on a port of its own.
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}) : options_(std::move(options)) {
    options_.listen = "127.0.0.1:0";
    options_.change_poll_interval = absl::Milliseconds(5);
    store_ = OpenSqliteStore(StoreOptions(), clock_, rng_).value();
    engine_ = std::make_unique<Engine>(*store_, clock_, rng_, EngineOptions());
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options_, *engine_, *store_, clock_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = NewChannel();
  }

  SqliteStoreOptions StoreOptions() const {
    return {.path = dir_.File("store.db"), .create = true, .vfs = ""};
  }

  std::shared_ptr<grpc::Channel> NewChannel() const {
    ChannelOptions options;
    options.address = server_->address();
    return MakeChannel(options).value();
  }
  std::shared_ptr<grpc::Channel> channel() const { return channel_; }
  std::unique_ptr<v1::SyncService::Stub> Sync() const { return v1::SyncService::NewStub(channel_); }
  std::unique_ptr<v1::AdminService::Stub> Admin() const {
    return v1::AdminService::NewStub(channel_);
  }

  std::string AddToken(Role role, const std::string& device, const std::string& tenant = "clinic",
                       absl::Duration life = absl::Hours(1)) {
    const NewToken token =
        MakeToken(rng_, {tenant, device, "", role, clock_.Now() + life}, clock_.Now());
    const auto writer = store_->BeginWrite().value();
    EXPECT_TRUE(writer->PutToken(token.row).ok());
    EXPECT_TRUE(writer->Commit().ok());
    last_token_id_ = token.row.id;
    return token.text;
  }
  void RevokeLastToken() {
    const auto writer = store_->BeginWrite().value();
    EXPECT_TRUE(writer->RevokeToken(last_token_id_, clock_.Now()).ok());
    EXPECT_TRUE(writer->Commit().ok());
  }

  std::string NewBatchId() { return NewUuid(rng_); }

  // One batch on a stream of its own.
  grpc::Status Push(const v1::PushRequest& request, v1::PushResponse* response,
                    const std::string& token = "", const std::string& device = "tablet") {
    CallContext call(token, token.empty() ? device : "");
    const auto stream = Sync()->Push(&call.context);
    stream->Write(request);
    stream->WritesDone();
    stream->Read(response);
    return stream->Finish();
  }

  // Commits one change by `device`, and returns its result.
  v1::ChangeResult PushOne(const v1::Change& change, const std::string& device = "tablet") {
    v1::PushRequest request;
    request.set_batch_id(NewBatchId());
    *request.add_changes() = change;
    v1::PushResponse response;
    const grpc::Status status = Push(request, &response, "", device);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.results_size() == 1 ? response.results(0) : v1::ChangeResult();
  }

  Server& server() { return *server_; }
  Store& store() { return *store_; }
  SteppedClock& clock() { return clock_; }
  Rng& rng() { return rng_; }

 private:
  ScratchDir dir_;
  SteppedClock clock_;
  SystemRng rng_;
  ServerOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::string last_token_id_;
};

}  // namespace ptdoc::sync
