#include "sync-service/rpc/run.h"

#include <memory>
#include <utility>

#include "common/base/rng.h"
#include "common/base/status.h"
#include "common/rpc/status.h"
#include "common/wire/convert.h"
#include "sync-service/rpc/answers.h"
#include "sync-service/rpc/message.h"

namespace ptdoc::sync {
namespace {

// One Run on its way: Check on a reader thread, Push on the writer, Pull on a
// reader again. Each step hands over to the next, or finishes the call.
class RunCall : public std::enable_shared_from_this<RunCall> {
 public:
  RunCall(ServiceContext& service, grpc::CallbackServerContext* context,
          const grpc::ByteBuffer& request, grpc::ByteBuffer* response)
      : service_(service),
        call_(service, Method::kRun, *context),
        reactor_(context->DefaultReactor()),
        bytes_(request),
        response_(response) {}

  grpc::ServerUnaryReactor* Begin() {
    grpc::ServerUnaryReactor* const reactor = reactor_;
    const absl::Status submitted = SubmitCheck();
    if (!submitted.ok()) Finish(submitted);
    return reactor;
  }

 private:
  absl::Status SubmitCheck() {
    PT_RETURN_IF_ERROR(call_.Admit());
    request_bytes_ = bytes_.Length();
    PT_RETURN_IF_ERROR(ReadMessage("RunRequest", &bytes_, &request_));
    return service_.executor.SubmitRead([self = shared_from_this()] {
      const absl::Status submitted = self->CheckAndSubmitPush();
      if (!submitted.ok()) self->Finish(submitted);
    });
  }

  absl::Status CheckAndSubmitPush() {
    PT_ASSIGN_OR_RETURN(query_.who, call_.Authorize());
    query_.cursor = request_.cursor();
    query_.types.assign(request_.entity_types().begin(), request_.entity_types().end());
    query_.page_size = request_.page_size();
    PT_RETURN_IF_ERROR(service_.engine.CheckPull(query_));
    PushJob job;
    job.bytes = request_bytes_;
    PT_ASSIGN_OR_RETURN(job.batch.changes,
                        ChangesFromProto(request_.mutable_changes(), /*tables=*/nullptr));
    job.batch.batch_id = request_.batch_id();
    if (job.batch.batch_id.empty()) {
      SystemRng rng;
      job.batch.batch_id = NewUuid(rng);
    }
    job.batch.cursor = query_.cursor;
    job.authorize = [self = shared_from_this()] { return self->call_.Authorize(); };
    job.done = [self = shared_from_this()](absl::StatusOr<PushAnswer> answer) {
      self->Pushed(std::move(answer));
    };
    return service_.executor.SubmitPush(std::move(job));
  }

  void Pushed(absl::StatusOr<PushAnswer> answer) {
    if (!answer.ok()) return Finish(answer.status());
    push_ = *std::move(answer);
    const absl::Status submitted = service_.executor.SubmitRead(
        [self = shared_from_this()] { self->Finish(self->PullPage()); }, Executor::Load::kContinue);
    if (!submitted.ok()) Finish(submitted);
  }

  absl::Status PullPage() {
    PT_ASSIGN_OR_RETURN(RunAnswer answer, service_.engine.RunPage(std::move(push_), query_));
    v1::RunResponse response;
    RunAnswerToProto(std::move(answer), service_.clock.Now(),
                     service_.clock.Monotonic() - call_.begun(), &response);
    return WriteMessage(response, response_);
  }

  void Finish(const absl::Status& status) {
    call_.LogEnd(status);
    reactor_->Finish(ToGrpcStatus(status));
  }

  ServiceContext& service_;
  const Call call_;
  grpc::ServerUnaryReactor* const reactor_;
  grpc::ByteBuffer bytes_;  // shares the bytes with gRPC's
  size_t request_bytes_ = 0;
  v1::RunRequest request_;
  grpc::ByteBuffer* const response_;  // gRPC's, until Finish
  PullQuery query_;
  PushAnswer push_;
};

}  // namespace

grpc::ServerUnaryReactor* StartRun(ServiceContext& service, grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  return std::make_shared<RunCall>(service, context, request, response)->Begin();
}

}  // namespace ptdoc::sync
