#include "sync-service/rpc/server.h"

#include <grpc/compression.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "grpc/health/v1/health.pb.h"
#include "sync-service/rpc/admin_service.h"
#include "sync-service/rpc/call.h"
#include "sync-service/rpc/maintenance.h"
#include "sync-service/rpc/sync_service.h"

namespace ptdoc::sync {
namespace {

// Above kMessageBytesMax, so that our own answer, which says what to do, reaches
// whoever exceeds it.
constexpr int kReceiveBytesMax = 16 << 20;
constexpr int kConcurrentStreamsMax = 256;  // of one connection
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kClientPingMinMs = 10'000;
constexpr int kGrpcThreadsMax = 64;
// What is kept of a drain's deadline for cutting what is left.
constexpr absl::Duration kCutReserve = absl::Milliseconds(200);

absl::Status ListenForbidden(absl::string_view message) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "LISTEN_FORBIDDEN", message);
}

absl::Status CheckListen(const ServerOptions& options, const HostPort& host, bool tokens) {
  if (options.behind_proxy) {
    if (tokens) return absl::OkStatus();
    return ListenForbidden(
        "No token exists yet, so whoever reaches the port could read and write everything. "
        "Nothing was started. Make tokens first: sync-service setup.");
  }
  if (IsLoopbackHost(host.host)) return absl::OkStatus();
  return ListenForbidden(
      absl::StrCat(options.listen,
                   " is not a loopback address, and without TLS rows and tokens would cross "
                   "the network in plain text. Nothing was started. Listen on 127.0.0.1 behind "
                   "a proxy that does TLS, or give --behind-proxy."));
}

void Configure(const ServerOptions& options, grpc::ServerBuilder* builder, int* port) {
  builder->AddListeningPort(options.listen, grpc::InsecureServerCredentials(), port);
  builder->SetMaxReceiveMessageSize(kReceiveBytesMax);
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // gRPC unpacks before it knows who calls or looks at a limit: a few KiB could
  // take all memory. Rows are compressed inside of messages (common/wire).
  builder->AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                              1 << GRPC_COMPRESS_NONE);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kConcurrentStreamsMax);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kClientPingMinMs);
  grpc::ResourceQuota quota("ptdoc");
  quota.Resize(options.memory_bytes_max);
  quota.SetMaxThreads(kGrpcThreadsMax);
  builder->SetResourceQuota(quota);
}

class ServerImpl final : public Server {
 public:
  ServerImpl(ServerOptions options, Engine& engine, Store& store, const Clock& clock)
      : options_(std::move(options)),
        context_(engine, store, clock, options_),
        sync_service_(context_),
        admin_service_(context_) {}

  ~ServerImpl() override { Drain(absl::ZeroDuration()); }

  absl::Status Listen() {
    PT_ASSIGN_OR_RETURN(const HostPort host, ParseHostPort(options_.listen));
    PT_ASSIGN_OR_RETURN(const bool tokens, context_.authenticator.TokensRequired());
    PT_RETURN_IF_ERROR(CheckListen(options_, host, tokens));
    PT_RETURN_IF_ERROR(context_.store.ClaimForService());
    grpc::ServerBuilder builder;
    Configure(options_, &builder, &port_);
    builder.RegisterService(&sync_service_);
    builder.RegisterService(&admin_service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return ReasonError(absl::StatusCode::kFailedPrecondition, "LISTEN_FAILED",
                         absl::StrCat(options_.listen,
                                      " cannot be listened on. Nothing was started. Stop the "
                                      "program that has this port, or choose another with "
                                      "--listen."));
    }
    address_ = absl::StrCat(host.host, ":", port_);
    SetServing(true);
    maintenance_.emplace(context_);
    return absl::OkStatus();
  }

  int port() const override { return port_; }
  std::string address() const override { return address_; }

  bool tokens_required() const override {
    const absl::StatusOr<bool> required = context_.authenticator.TokensRequired();
    return !required.ok() || *required;
  }

  void Drain(absl::Duration deadline) override {
    MutexLock lock(drain_mutex_);
    if (server_ == nullptr) return;
    const auto cut_at = std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline);
    context_.draining = true;
    SetServing(false);
    context_.streams.Drain();
    context_.streams.WaitEmpty(std::max(absl::ZeroDuration(), deadline - kCutReserve));
    server_->Shutdown(std::chrono::time_point_cast<std::chrono::system_clock::duration>(cut_at));
    // All calls are over: nothing is submitted any more.
    maintenance_.reset();
    context_.executor.Stop();
    server_.reset();
    Log(LogLevel::kInfo, "server.drained");
  }

 private:
  void SetServing(bool serving) {
    grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
    health->SetServingStatus(serving);
    health->SetServingStatus(v1::SyncService::service_full_name(), serving);
    health->SetServingStatus(v1::AdminService::service_full_name(), serving);
  }

  const ServerOptions options_;
  mutable ServiceContext context_;
  SyncServiceImpl sync_service_;
  AdminServiceImpl admin_service_;
  int port_ = 0;
  std::string address_;
  Mutex drain_mutex_;
  std::unique_ptr<grpc::Server> server_;
  std::optional<Maintenance> maintenance_;
};

// gRPC's own messages are free text about peers: only their place is kept.
void LogOfGrpc(gpr_log_func_args* message) {
  Log(LogLevel::kDebug, "grpc.log",
      {LogField::Code("file", message->file), LogField::Count("line", message->line)});
}

// For every server of the process, before the first is built.
void InitPlugins() {
  static const bool done = [] {
    gpr_set_log_function(LogOfGrpc);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // gRPC answers health itself, without descriptors: this links them in, so
    // that reflection can describe the service that it lists.
    return grpc::health::v1::HealthCheckRequest::descriptor() != nullptr;
  }();
  PT_CHECK(done);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options, Engine& engine,
                                                      Store& store, const Clock& clock) {
  InitPlugins();
  auto server = std::make_unique<ServerImpl>(std::move(options), engine, store, clock);
  PT_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace ptdoc::sync
