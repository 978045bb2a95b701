#include "sync-service/rpc/sync_service.h"

#include "common/base/status.h"
#include "sync-service/rpc/answers.h"
#include "sync-service/rpc/digest.h"
#include "sync-service/rpc/pull_reactor.h"
#include "sync-service/rpc/push_reactor.h"
#include "sync-service/rpc/run.h"
#include "sync-service/rpc/unary.h"

namespace ptdoc::sync {
namespace {

absl::Status AnswerStatus(ServiceContext& service, const Principal& who, const v1::StatusRequest&,
                          v1::StatusResponse* response) {
  PT_ASSIGN_OR_RETURN(const StatusAnswer answer, service.engine.Status(who));
  StatusAnswerToProto(answer, service.options.row_bytes_max, response);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SyncServiceImpl::Push(
    grpc::CallbackServerContext* context) {
  return StartPush(service_, context);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SyncServiceImpl::Pull(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartPull(service_, context, *request);
}

grpc::ServerUnaryReactor* SyncServiceImpl::Run(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return StartRun(service_, context, *request, response);
}

grpc::ServerUnaryReactor* SyncServiceImpl::Status(grpc::CallbackServerContext* context,
                                                  const v1::StatusRequest* request,
                                                  v1::StatusResponse* response) {
  return RunUnary(service_, Method::kStatus, Lane::kRead, context, request, response, AnswerStatus);
}

grpc::ServerUnaryReactor* SyncServiceImpl::DigestRanges(grpc::CallbackServerContext* context,
                                                        const v1::DigestRangesRequest* request,
                                                        v1::DigestRangesResponse* response) {
  return RunUnary(service_, Method::kDigestRanges, Lane::kRead, context, request, response,
                  AnswerDigestRanges);
}

grpc::ServerUnaryReactor* SyncServiceImpl::DigestRows(grpc::CallbackServerContext* context,
                                                      const v1::DigestRowsRequest* request,
                                                      v1::DigestRowsResponse* response) {
  return RunUnary(service_, Method::kDigestRows, Lane::kRead, context, request, response,
                  AnswerDigestRows);
}

}  // namespace ptdoc::sync
