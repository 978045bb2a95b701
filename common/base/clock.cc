#include "common/base/clock.h"

#include <algorithm>
#include <ctime>

#include "absl/time/clock.h"

namespace ptdoc::sync {

absl::Time SystemClock::Now() const {
  return absl::Now();
}

absl::Duration SystemClock::Monotonic() const {
  // Unlike CLOCK_MONOTONIC this one goes on while the machine sleeps: a device
  // that wakes has waited, and does not sit out the rest of a backoff.
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return absl::DurationFromTimespec(now);
}

TimeNs ToTimeNs(absl::Time time) {
  return std::max(kSmallestTime, absl::ToUnixNanos(time));
}

absl::Time FromTimeNs(TimeNs time) {
  return absl::FromUnixNanos(time);
}

}  // namespace ptdoc::sync
