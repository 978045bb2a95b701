#pragma once

#include <grpcpp/client_context.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/status.h"
#include "device-agent/cli/agent_context.h"
#include "google/protobuf/timestamp.pb.h"

namespace ptdoc::sync {

// One unary call of the AgentService, connecting first if need be.
template <typename Request, typename Response>
absl::StatusOr<Response> Call(AgentContext& context,
                              grpc::Status (v1::AgentService::Stub::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                              const Request& request) {
  if (context.agent == nullptr) {
    const absl::Status connected = context.Connect();
    if (!connected.ok()) return connected;
  }
  grpc::ClientContext call;
  Response response;
  const grpc::Status status = (context.agent.get()->*method)(&call, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

// Absent if the field is.
inline std::optional<absl::Time> TimeOf(bool has, const google::protobuf::Timestamp& time) {
  if (!has) return std::nullopt;
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace ptdoc::sync
