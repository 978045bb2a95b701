#include "tests/simulation/world.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"

namespace ptdoc::sync::sim {

void World::Trace(const std::string& line) {
  const int64_t us = absl::ToInt64Microseconds(now());
  trace_hash_ = SipHash24({trace_hash_, static_cast<uint64_t>(us)}, line);
  if (print_) std::printf("%12.6f %s\n", static_cast<double>(us) / 1e6, line.c_str());
}

void World::Remark(const std::string& line) const {
  const int64_t us = absl::ToInt64Microseconds(now());
  if (print_) std::printf("%12.6f   %s\n", static_cast<double>(us) / 1e6, line.c_str());
}

void World::Fail(const std::string& what) {
  Trace("FAILED " + what);
  if (failure_.empty()) failure_ = what;
}

std::string TextOf(const absl::Status& status) {
  return status.ok() ? "OK"
                     : absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message(),
                                    " ", ReasonOf(status));
}

}  // namespace ptdoc::sync::sim
