#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/model/reason.h"
#include "common/rpc/status.h"
#include "device-agent/cli/agent_context.h"
#include "google/protobuf/timestamp.pb.h"

namespace ptdoc::sync {

// An agent that is there gives its reasons; what has none comes from the
// connection to it.
inline absl::Status AnswerError(const absl::Status& status) {
  const bool silent = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  if (!silent || !ReasonOf(status).empty()) return status;
  return ReasonError(absl::StatusCode::kInternal, "AGENT_SILENT",
                     "The agent ended, or does not answer. What waits stays in the queue. See its "
                     "log, and start it again: device-agent serve.");
}

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
  if (context.call_deadline < absl::InfiniteDuration()) {
    call.set_deadline(std::chrono::system_clock::now() +
                      absl::ToChronoMilliseconds(context.call_deadline));
  }
  Response response;
  const grpc::Status status = (context.agent.get()->*method)(&call, request, &response);
  if (!status.ok()) return AnswerError(FromGrpcStatus(status));
  return response;
}

// Absent if the field is.
inline std::optional<absl::Time> TimeOf(bool has, const google::protobuf::Timestamp& time) {
  if (!has) return std::nullopt;
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace ptdoc::sync
