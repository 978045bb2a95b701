#pragma once

#include <grpcpp/support/server_callback.h>

#include "ptdoc/sync/v1/sync_service.pb.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Starts a Pull stream: pages of the feed from the request's cursor, or the
// entities that it names. With `follow` it stays, sends what is committed from
// then on, and at least every ServerOptions::heartbeat a message without
// versions. The reactor deletes itself. `request` is copied.
grpc::ServerWriteReactor<v1::PullResponse>* StartPull(ServiceContext& service,
                                                      grpc::CallbackServerContext* context,
                                                      const v1::PullRequest& request);

}  // namespace ptdoc::sync
