#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/rpc/status.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

enum class Lane { kRead, kWrite };

// Answers a unary call on an executor thread: size, draining, identity and role
// are checked, `handle` runs, the call is logged. `request` and `response`
// live until the reactor is finished.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* RunUnary(ServiceContext& service, Method method, Lane lane,
                                   grpc::CallbackServerContext* context, const Request* request,
                                   Response* response,
                                   absl::Status (*handle)(ServiceContext&, const Principal&,
                                                          const Request&, Response*)) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto call = std::make_shared<Call>(service, method, *context);
  const auto finish = [call, reactor](const absl::Status& status) {
    call->LogEnd(status);
    reactor->Finish(ToGrpcStatus(status));
  };
  const auto work = [&service, call, request, response, handle]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const Principal who, call->Authorize());
    return handle(service, who, *request, response);
  };
  const auto submit = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(call->Admit());
    PT_RETURN_IF_ERROR(CheckMessageSize(request->ByteSizeLong()));
    const auto job = [finish, work] { finish(work()); };
    return lane == Lane::kRead ? service.executor.SubmitRead(job)
                               : service.executor.SubmitWrite(job);
  };
  const absl::Status submitted = submit();
  if (!submitted.ok()) finish(submitted);
  return reactor;
}

}  // namespace ptdoc::sync
