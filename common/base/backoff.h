#pragma once

#include "absl/time/time.h"
#include "common/base/rng.h"

namespace ptdoc::sync {

// Exponential backoff with full jitter: attempt n (from 1) waits a random time
// in [0, min(cap, first * 2^(n-1))].
struct Backoff {
  absl::Duration first = absl::Seconds(1);
  absl::Duration cap = absl::Minutes(5);

  absl::Duration Delay(int attempt, Rng& rng) const;
};

}  // namespace ptdoc::sync
