#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace ptdoc::sync {

// Where time comes from. Thread-safe. `Now` may jump either way; `Monotonic`
// never goes back and is what every delay, deadline and backoff is measured in.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start.
  virtual absl::Duration Monotonic() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
};

// Times of changes are whole nanoseconds since 1970-01-01 UTC: what lies below
// the millisecond is the counter of a hybrid logical clock. 0 is the smallest
// time: it loses every conflict.
using TimeNs = int64_t;
inline constexpr TimeNs kSmallestTime = 0;

// Saturates at the ends of the range (years 1970 to 2262).
TimeNs ToTimeNs(absl::Time time);
absl::Time FromTimeNs(TimeNs time);

}  // namespace ptdoc::sync
