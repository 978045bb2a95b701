#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptdoc::sync {

// Where this machine reaches what listens on `listen`: loopback for a wildcard.
// INVALID_ARGUMENT (CONFIG) for port 0, which is another one at each start, and
// for what is no host:port.
absl::StatusOr<std::string> AddressOfListener(const std::string& listen);

// OK if the service that listens there says by grpc.health.v1 that it serves.
// UNAVAILABLE (SERVICE_UNREACHABLE) if nobody answers within 3 s, (DRAINING) if
// it is stopping; the errors of AddressOfListener.
absl::Status AskHealth(const std::string& listen);

}  // namespace ptdoc::sync
