#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Starts a Pull stream: pages of the feed from the request's cursor, or the
// entities that it names. With `follow` it stays, sends what is committed from
// then on, and at least every ServerOptions::heartbeat a message without
// versions. The reactor deletes itself. `request` (a PullRequest) is copied.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(ServiceContext& service,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer& request);

}  // namespace ptdoc::sync
