#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulation/simulate.h"

namespace ptdoc::sync::sim {

// Every bug of common/base/planted.h.
const std::vector<std::string>& PlantedBugs();

// Whether the run of this seed fails while the bug is on (none, if empty), in a
// process of its own. `how`, if not null: the broken promise.
bool IsCaught(const std::string& bug, uint64_t seed, std::string* how = nullptr);

}  // namespace ptdoc::sync::sim
