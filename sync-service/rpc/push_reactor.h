#pragma once

#include <grpcpp/support/server_callback.h>

#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Starts a Push stream: batches are read (at most kUnansweredBatchesMax without
// an answer, then reading pauses), go to the executor, and are answered in the
// order in which they came. The answer of a batch that was refused whole is the
// stream's status: what was answered before it was written, what came after it
// must be sent again. The reactor deletes itself.
//
// Messages come as bytes: gRPC tells a handler of messages nothing about one
// that it cannot parse, and that must not look like the end of the stream.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartPush(
    ServiceContext& service, grpc::CallbackServerContext* context);

}  // namespace ptdoc::sync
