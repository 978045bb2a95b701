#pragma once

#include "ptdoc/sync/v1/sync_service.grpc.pb.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// What devices and thin clients call. Handlers return at once; the work is done
// on the executor's threads.
class SyncServiceImpl final : public v1::SyncService::CallbackService {
 public:
  // `service` must outlive this.
  explicit SyncServiceImpl(ServiceContext& service) : service_(service) {}

  grpc::ServerBidiReactor<v1::PushRequest, v1::PushResponse>* Push(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::PullResponse>* Pull(grpc::CallbackServerContext* context,
                                                   const v1::PullRequest* request) override;
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, const v1::RunRequest* request,
                                v1::RunResponse* response) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override;

 private:
  ServiceContext& service_;
};

}  // namespace ptdoc::sync
