#pragma once

#include "ptdoc/sync/v1/sync_service.grpc.pb.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// What devices and thin clients call. Handlers return at once; the work is done
// on the executor's threads.
class SyncServiceImpl final
    : public v1::SyncService::WithRawCallbackMethod_Push<v1::SyncService::WithRawCallbackMethod_Run<
          v1::SyncService::WithRawCallbackMethod_Pull<v1::SyncService::WithCallbackMethod_Status<
              v1::SyncService::WithCallbackMethod_DigestRanges<
                  v1::SyncService::WithCallbackMethod_DigestRows<v1::SyncService::Service>>>>>> {
 public:
  // `service` must outlive this.
  explicit SyncServiceImpl(ServiceContext& service) : service_(service) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Push(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Pull(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request,
                                grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* DigestRanges(grpc::CallbackServerContext* context,
                                         const v1::DigestRangesRequest* request,
                                         v1::DigestRangesResponse* response) override;
  grpc::ServerUnaryReactor* DigestRows(grpc::CallbackServerContext* context,
                                       const v1::DigestRowsRequest* request,
                                       v1::DigestRowsResponse* response) override;

 private:
  ServiceContext& service_;
};

}  // namespace ptdoc::sync
