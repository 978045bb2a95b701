#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/model/change.h"

namespace ptdoc::sync::sim {

struct Report {
  uint64_t seed = 0;
  std::string failure;  // empty = every promise held
  uint64_t trace_hash = 0;
  int64_t steps = 0;                        // World::Step
  int64_t accepted = 0;                     // versions that the service took
  int64_t conflicts = 0;                    // and conflicts that it decided
  std::map<std::string, int64_t> counters;  // what happened how often
};

// What is printed of a run.
struct Telling {
  bool trace = false;
  EntityKey watch;  // with the trace: an entity whose every step is told
};

// One random run: 3 to 5 devices and a service in one thread under a virtual
// clock, first with everything going wrong, then with everything healed. The
// same seed gives the same run.
Report Simulate(uint64_t seed, const Telling& telling = {});

// Like Simulate, telling on stderr how a failure is played again.
Report SimulateAndTell(uint64_t seed, const Telling& telling = {});

}  // namespace ptdoc::sync::sim
