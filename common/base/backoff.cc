#include "common/base/backoff.h"

#include <algorithm>

namespace ptdoc::sync {

absl::Duration Backoff::Delay(int attempt, Rng& rng) const {
  absl::Duration most = std::min(cap, first);
  for (int i = 1; i < attempt && most < cap; ++i) most = std::min(cap, most * 2);
  if (most <= absl::ZeroDuration()) return absl::ZeroDuration();
  const auto bound = static_cast<uint64_t>(absl::ToInt64Nanoseconds(most));
  return absl::Nanoseconds(static_cast<int64_t>(rng.Below(bound + 1)));
}

}  // namespace ptdoc::sync
