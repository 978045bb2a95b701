#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/simulation/simulate.h"

namespace ptdoc::sync::sim {

struct Many {
  uint64_t from = 1;
  uint64_t seeds = 100;
  uint64_t minutes = 0;  // 0 = until the seeds are done
  unsigned jobs = 1;     // processes side by side; 1 = in this one
  Telling telling;
};

struct Totals {
  uint64_t runs = 0;
  uint64_t failed = 0;
  int64_t steps = 0;
  int64_t accepted = 0;
  int64_t conflicts = 0;
  // What happened how often, the places of common/base/reached.h among it.
  std::map<std::string, int64_t> counters;
};

// Runs the seeds from `from` on; failures are told on stderr. A run that takes
// its process with it counts as failed, and so do those that were left to it.
Totals SimulateMany(const Many& many);

// As many as the machine has cores.
unsigned JobsOfThisMachine();

}  // namespace ptdoc::sync::sim
