#include "device-agent/rpc/control_service.h"

#include <memory>
#include <utility>

#include "common/model/reason.h"
#include "common/rpc/status.h"
#include "device-agent/rpc/control_call.h"
#include "device-agent/rpc/control_errors.h"
#include "device-agent/rpc/people.h"
#include "device-agent/rpc/why.h"

namespace ptdoc::sync {
namespace {

// A call that is refused before it begins.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::WatchStatusResponse> {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

template <typename Response>
grpc::ServerUnaryReactor* ControlService::Answer(
    Response* out, std::function<absl::StatusOr<Response>(AgentCore&)> work) {
  const auto call = UnaryCall<Response>::Make(out, &under_way_);
  const auto ticket = std::make_shared<Ticket<Response>>(call);
  if (under_way_ > kCallsMax) {
    ticket->Answer(OverloadedError());
    return call.get();
  }
  // If it is not taken, the ticket's end is the answer.
  runner_.Post([ticket, work = std::move(work)](AgentCore& core) {
    if (ticket->answered()) return;
    // What was committed before the call is part of the answer.
    core.Look();
    absl::StatusOr<Response> answer = work(core);
    if (!answer.ok()) answer = LocalError(answer.status());
    ticket->Answer(std::move(answer));
  });
  return call.get();
}

template <typename Response>
grpc::ServerUnaryReactor* ControlService::StartRun(RunKind kind, Response* out,
                                                   Response (*to_proto)(const RunResult&)) {
  const auto call = UnaryCall<Response>::Make(out, &under_way_);
  const auto ticket = std::make_shared<Ticket<Response>>(call);
  if (under_way_ > kCallsMax) {
    ticket->Answer(OverloadedError());
    return call.get();
  }
  runner_.Post([ticket, kind, to_proto](AgentCore& core) {
    if (ticket->answered()) return;
    core.RequestRun(kind, [ticket, to_proto, &core](const RunResult& result) {
      if (result.success()) return ticket->Answer(to_proto(result));
      ticket->Answer(RunError(core, result.error));
    });
  });
  return call.get();
}

void ControlService::Publish(bool look_anyway) {
  if (!changed_.exchange(false) && !look_anyway) return;
  runner_.Post([this](AgentCore& core) {
    const absl::StatusOr<v1::AgentServiceStatusResponse> status = StatusOf(core, identity_);
    if (status.ok()) hub_.Publish(*status);
  });
}

void ControlService::EndWatches() {
  hub_.EndAll(StoppingError());
}

grpc::ServerUnaryReactor* ControlService::Push(grpc::CallbackServerContext*,
                                               const v1::AgentServicePushRequest*,
                                               v1::AgentServicePushResponse* response) {
  return StartRun(RunKind::kPush, response, PushToProto);
}

grpc::ServerUnaryReactor* ControlService::Pull(grpc::CallbackServerContext*,
                                               const v1::AgentServicePullRequest*,
                                               v1::AgentServicePullResponse* response) {
  return StartRun(RunKind::kPull, response, PullToProto);
}

grpc::ServerUnaryReactor* ControlService::Run(grpc::CallbackServerContext*,
                                              const v1::AgentServiceRunRequest*,
                                              v1::AgentServiceRunResponse* response) {
  return StartRun(RunKind::kRun, response, RunToProto);
}

grpc::ServerUnaryReactor* ControlService::Status(grpc::CallbackServerContext*,
                                                 const v1::AgentServiceStatusRequest*,
                                                 v1::AgentServiceStatusResponse* response) {
  return Answer<v1::AgentServiceStatusResponse>(
      response, [this](AgentCore& core) { return StatusOf(core, identity_); });
}

grpc::ServerWriteReactor<v1::WatchStatusResponse>* ControlService::WatchStatus(
    grpc::CallbackServerContext*, const v1::WatchStatusRequest*) {
  const std::shared_ptr<WatchHub::Stream> stream = hub_.Add();
  if (stream == nullptr) return new RefusedWatch(OverloadedError());
  const bool posted = runner_.Post([this, stream](AgentCore& core) {
    const absl::StatusOr<v1::AgentServiceStatusResponse> status = StatusOf(core, identity_);
    if (!status.ok()) return stream->End(LocalError(status.status()));
    stream->Send(*status);
  });
  if (!posted) stream->End(StoppingError());
  return stream.get();
}

grpc::ServerUnaryReactor* ControlService::ListQueue(grpc::CallbackServerContext*,
                                                    const v1::ListQueueRequest* request,
                                                    v1::ListQueueResponse* response) {
  return Answer<v1::ListQueueResponse>(response, [request = *request](AgentCore& core) {
    return ptdoc::sync::ListQueue(core, request);
  });
}

grpc::ServerUnaryReactor* ControlService::RetryQueueItems(grpc::CallbackServerContext*,
                                                          const v1::RetryQueueItemsRequest* request,
                                                          v1::RetryQueueItemsResponse* response) {
  return Answer<v1::RetryQueueItemsResponse>(
      response, [request = *request](AgentCore& core) { return RetryItems(core, request); });
}

grpc::ServerUnaryReactor* ControlService::CancelQueueItem(grpc::CallbackServerContext*,
                                                          const v1::CancelQueueItemRequest* request,
                                                          v1::CancelQueueItemResponse* response) {
  return Answer<v1::CancelQueueItemResponse>(
      response, [request = *request](AgentCore& core) { return CancelItem(core, request); });
}

grpc::ServerUnaryReactor* ControlService::ConfirmDeletions(grpc::CallbackServerContext*,
                                                           const v1::ConfirmDeletionsRequest*,
                                                           v1::ConfirmDeletionsResponse* response) {
  return Answer<v1::ConfirmDeletionsResponse>(
      response, [](AgentCore& core) { return ptdoc::sync::ConfirmDeletions(core); });
}

grpc::ServerUnaryReactor* ControlService::ListDeviceConflicts(
    grpc::CallbackServerContext*, const v1::ListDeviceConflictsRequest* request,
    v1::ListDeviceConflictsResponse* response) {
  return Answer<v1::ListDeviceConflictsResponse>(
      response, [request = *request](AgentCore& core) { return ListConflicts(core, request); });
}

grpc::ServerUnaryReactor* ControlService::GetDeviceConflict(
    grpc::CallbackServerContext*, const v1::GetDeviceConflictRequest* request,
    v1::GetDeviceConflictResponse* response) {
  return Answer<v1::GetDeviceConflictResponse>(
      response, [request = *request](AgentCore& core) { return GetConflict(core, request); });
}

grpc::ServerUnaryReactor* ControlService::ResolveDeviceConflict(
    grpc::CallbackServerContext*, const v1::ResolveDeviceConflictRequest* request,
    v1::ResolveDeviceConflictResponse* response) {
  return Answer<v1::ResolveDeviceConflictResponse>(
      response, [this, request = *request](AgentCore& core) {
        return ResolveConflict(core, identity_, clock_, request);
      });
}

grpc::ServerUnaryReactor* ControlService::Pause(grpc::CallbackServerContext*,
                                                const v1::PauseRequest* request,
                                                v1::PauseResponse* response) {
  return Answer<v1::PauseResponse>(response, [this, request = *request](AgentCore& core) {
    return ptdoc::sync::Pause(core, clock_, request);
  });
}

grpc::ServerUnaryReactor* ControlService::Resume(grpc::CallbackServerContext*,
                                                 const v1::ResumeRequest*,
                                                 v1::ResumeResponse* response) {
  return Answer<v1::ResumeResponse>(response,
                                    [](AgentCore& core) { return ptdoc::sync::Resume(core); });
}

grpc::ServerUnaryReactor* ControlService::Why(grpc::CallbackServerContext*,
                                              const v1::WhyRequest* request,
                                              v1::WhyResponse* response) {
  return Answer<v1::WhyResponse>(response, [request = *request](AgentCore& core) {
    return ptdoc::sync::Why(core.replica().ledger(), core.replica().plan(),
                            {request.entity_type(), request.entity_id()});
  });
}

grpc::ServerWriteReactor<v1::VerifyResponse>* ControlService::Verify(
    grpc::CallbackServerContext*, const v1::VerifyRequest* request) {
  const std::shared_ptr<VerifyStream> stream = VerifyStream::Make();
  VerifyStream* const reactor = stream.get();
  switch (request->repair()) {
    case v1::VERIFY_REPAIR_UNSPECIFIED:
      verifier_.Start(VerifyRepair::kNone, stream);
      break;
    case v1::VERIFY_REPAIR_FETCH:
      verifier_.Start(VerifyRepair::kFetch, stream);
      break;
    case v1::VERIFY_REPAIR_PUSH:
      verifier_.Start(VerifyRepair::kPush, stream);
      break;
    default:
      stream->End(FieldError("repair",
                             "repair is none of FETCH, PUSH. Nothing was changed. Name one, or "
                             "none to see a report."));
  }
  return reactor;
}

}  // namespace ptdoc::sync
