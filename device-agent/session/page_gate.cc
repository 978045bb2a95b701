#include "device-agent/session/page_gate.h"

#include <algorithm>
#include <utility>

namespace ptdoc::sync {

void PageGate::Looked(absl::Duration now, int64_t rows) {
  if (std::exchange(rows_, rows) != rows) last_row_ = now;
  const bool at_rest = now - last_row_ >= kAtRest;
  const bool quiet = now - std::max(last_row_, last_page_) >= kQuiet;
  const bool had_its_turn = rows_ - rows_at_page_ >= kRowsBetween;
  open_ = at_rest || quiet || had_its_turn || now - last_page_ >= kWaitMax;
  look_at_ = now + kLookEvery;
}

void PageGate::Wrote(absl::Duration now, size_t versions) {
  if (versions < kLargePage) return;
  open_ = false;
  look_at_ = now;
  rows_at_page_ = rows_;
  last_page_ = now;
}

}  // namespace ptdoc::sync
