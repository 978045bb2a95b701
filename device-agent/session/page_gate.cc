#include "device-agent/session/page_gate.h"

#include <algorithm>

namespace ptdoc::sync {

void PageGate::Looked(absl::Duration now, int64_t rows) {
  if (rows_.has_value() && *rows_ != rows) last_row_ = now;
  rows_ = rows;
  app_rests_ = now - last_row_ >= kAtRest;
  const bool quiet = now - std::max(last_row_, last_page_) >= kQuiet;
  const bool had_its_turn = rows - rows_at_page_ >= kRowsBetween;
  open_ = app_rests_ || quiet || had_its_turn || now - last_page_ >= kWaitMax;
  look_at_ = now + kLookEvery;
}

void PageGate::Wrote(absl::Duration now, size_t versions) {
  if (versions < kLargePage) return;
  open_ = false;
  look_at_ = now;
  rows_at_page_ = rows_.value_or(0);
  last_page_ = now;
}

}  // namespace ptdoc::sync
