#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace ptdoc::sync {

// Our reason travels as ErrorInfo in the call's details.
grpc::Status ToGrpcStatus(const absl::Status& status);

// Without ErrorInfo of ours the result has no reason: such an error tells
// nothing about what became of the call.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace ptdoc::sync
