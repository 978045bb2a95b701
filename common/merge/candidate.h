#pragma once

#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/model/change.h"
#include "common/model/value.h"

namespace ptdoc::sync {

// One side of a decision: a whole version, as the table compares it.
struct Candidate {
  Revision revision = 0;  // 0 for the incoming one
  bool deleted = false;
  Fields fields;
  TimeNs time = kSmallestTime;  // the effective one
  // The claimed time was beyond the skew, so that `time` says nothing of when it
  // was written.
  bool clamped = false;
  std::string device;
  std::string content_hash;
  // One for each of `fields`: when it was last changed, and on which device (an
  // empty text after a clamped time: it loses every tie). Empty: all at `time`,
  // all by `device`.
  std::vector<TimeNs> field_times = {};
  std::vector<std::string> field_writers = {};
};

}  // namespace ptdoc::sync
