#pragma once

#include <memory>
#include <vector>

#include "tests/simulation/sim_device.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// What must hold when everything has come to rest (docs/CONFLICTS.md). The
// first broken promise fails the world.
void CheckPromises(World& world, SimService& service,
                   const std::vector<std::unique_ptr<SimDevice>>& devices);

}  // namespace ptdoc::sync::sim
