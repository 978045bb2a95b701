#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/faults/device.h"
#include "tests/faults/injection.h"
#include "tests/faults/service.h"

namespace ptdoc::sync::faults {

// How one cycle ended.
struct Ending {
  std::string failure;  // empty: every promise was kept
  bool happened = false;
  std::map<std::string, int64_t> calls;  // of the side that was to fail, by name
  std::map<std::string, int64_t> shown;  // errors that somebody could see
  int64_t silent = 0;                    // something was short for long, and nobody was told
  FaultyService::Held service;
  FaultyDevice::Holds device;
};

// Everything that two devices and a service do, once: both are set up, the apps
// write, push, pull, disagree, sign, cancel, restore, resolve; versions are set
// aside and taken; a run, a restart. The same calls in the same order each time,
// up to the one that `injection` lets fail; then everybody tries again until all
// is in step. `expected`: the ending of a cycle in which nothing failed.
Ending RunCycle(const Injection& injection, const Ending* expected, bool trace = false);

}  // namespace ptdoc::sync::faults
