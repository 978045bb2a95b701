#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// Our errors <-> google.rpc.Status, which travels in the trailer
// grpc-status-details-bin: ErrorInfo with the reason and its metadata (domain
// ptdoc.sync.v1), BadRequest for a field, RetryInfo where waiting helps.

// A serialized google.rpc.Status; empty for OK and for a status without a
// reason of ours.
std::string ErrorDetails(const absl::Status& status);

// A status with the reason that `details` holds. Details that are malformed or
// not ours are ignored: code and message stand, without a reason.
absl::Status StatusFromDetails(absl::StatusCode code, absl::string_view message,
                               absl::string_view details);

}  // namespace ptdoc::sync
