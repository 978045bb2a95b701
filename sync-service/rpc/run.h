#pragma once

#include <grpcpp/support/server_callback.h>

#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Answers a Run: its batch joins the writer's group commit like any other, the
// page after it is read by a reader thread. Nothing is pushed if the cursor
// cannot be pulled from. Messages come as bytes, as in StartPush.
grpc::ServerUnaryReactor* StartRun(ServiceContext& service, grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

}  // namespace ptdoc::sync
