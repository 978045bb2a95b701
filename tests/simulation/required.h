#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ptdoc::sync::sim {

// What so many runs should have met and did not: kinds of fault, rows of the
// decision table, transitions of the queue, reasons of errors, branches of
// recovery (common/base/reached.h). Few runs need not meet what is rare; below
// 100 nothing is asked for.
std::vector<std::string> NeverHappened(const std::map<std::string, int64_t>& counters,
                                       uint64_t runs);

}  // namespace ptdoc::sync::sim
