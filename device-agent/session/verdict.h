#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// What the end of a stream or call means for the device (docs/PROTOCOL.md,
// errors). Nothing here is ever counted as an attempt of a queue item.
enum class Verdict : uint8_t {
  kEnded,        // OK: the other side is done
  kFateUnknown,  // link lost, timeout, or a status that is not ours: the same again after backoff
  kSoon,         // DRAINING: another instance is about to take over
  kWait,         // OVERLOADED, STORE_FULL: later, as long as the service says
  kToken,        // the token is not good (any more): wait for another one
  kStop,         // nothing that we repeat helps: stop and show it
  kRebaseline,   // our cursor is of another history
  kTooLarge,     // this batch must be cut
};

Verdict VerdictOf(const absl::Status& status);

// How long the service asks us to wait.
absl::Duration RetryAfter(const absl::Status& status);

// The lower bound of what both histories share; 0 = unknown.
Revision SharedRevision(const absl::Status& status);

}  // namespace ptdoc::sync
