#include "sync-service/cli/health.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "grpc/health/v1/health.pb.h"

namespace ptdoc::sync {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr std::chrono::seconds kDeadline(3);

grpc::Status Check(std::shared_ptr<grpc::Channel> channel, HealthCheckResponse* response) {
  grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckResponse> stub(std::move(channel));
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + kDeadline);
  grpc::CompletionQueue queue;
  const auto reader =
      stub.PrepareUnaryCall(&call, "/grpc.health.v1.Health/Check", HealthCheckRequest(), &queue);
  grpc::Status status;
  reader->StartCall();
  reader->Finish(response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);  // The deadline ends it.
  return status;
}

}  // namespace

absl::StatusOr<std::string> AddressOfListener(const std::string& listen) {
  const absl::StatusOr<HostPort> at = ParseHostPort(listen);
  if (!at.ok() || at->port == 0) {
    return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                       absl::StrCat("[server] listen is ", listen,
                                    ", which does not tell where the service listens. Nothing was "
                                    "asked or changed. Name the port of its ready line with "
                                    "--listen HOST:PORT."));
  }
  std::string host = at->host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return absl::StrCat(host, ":", at->port);
}

absl::Status AskHealth(const std::string& listen) {
  PT_ASSIGN_OR_RETURN(const std::string address, AddressOfListener(listen));
  ChannelOptions options;
  options.address = address;
  // An address of this very machine; nothing secret is sent.
  options.behind_proxy = true;
  PT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel, MakeChannel(options));
  HealthCheckResponse response;
  if (!Check(std::move(channel), &response).ok()) {
    return ReasonError(absl::StatusCode::kUnavailable, "SERVICE_UNREACHABLE",
                       absl::StrCat("No service answers at ", address,
                                    ". Devices keep their changes and send them when it does. "
                                    "Start it with `sync-service serve`, or name its address with "
                                    "--listen."));
  }
  if (response.status() == HealthCheckResponse::SERVING) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                     absl::StrCat("The service at ", address,
                                  " is stopping. Devices keep their changes and send them when it "
                                  "is back. Start it again with `sync-service serve`."));
}

}  // namespace ptdoc::sync
