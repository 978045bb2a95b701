#pragma once

#include <grpcpp/support/server_callback.h>

#include "ptdoc/sync/v1/sync_service.pb.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Answers a Run: its batch joins the writer's group commit like any other, the
// page after it is read by a reader thread. Nothing is pushed if the cursor
// cannot be pulled from.
grpc::ServerUnaryReactor* StartRun(ServiceContext& service, grpc::CallbackServerContext* context,
                                   const v1::RunRequest* request, v1::RunResponse* response);

}  // namespace ptdoc::sync
