#include "common/rpc/status.h"

#include <string>

#include "common/wire/errors.h"
#include "common/wire/values.h"

namespace ptdoc::sync {

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Both enumerations have the numbers of google.rpc.Code.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), ToUtf8(status.message()),
                      ErrorDetails(status));
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return StatusFromDetails(static_cast<absl::StatusCode>(status.error_code()),
                           status.error_message(), status.error_details());
}

}  // namespace ptdoc::sync
