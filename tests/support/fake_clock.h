#pragma once

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace ptdoc::sync {

// A clock that stands until it is moved. Set moves the wall clock alone (as a
// user or NTP does); Advance moves both.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'771'303'500)) : now_(now) {}

  absl::Time Now() const override { return now_; }
  absl::Duration Monotonic() const override { return monotonic_; }

  void Set(absl::Time now) { now_ = now; }
  void Advance(absl::Duration by) {
    now_ += by;
    monotonic_ += by;
  }

 private:
  absl::Time now_;
  absl::Duration monotonic_ = absl::ZeroDuration();
};

}  // namespace ptdoc::sync
