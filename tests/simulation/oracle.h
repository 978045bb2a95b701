#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/sim_device.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Whether this content of the row is one that the service has held, or that
// stands in its archive.
bool IsKept(const std::map<EntityKey, std::vector<Version>>& history,
            const std::multimap<EntityKey, std::string>& archived, const EntityKey& key,
            const std::optional<Fields>& content);

// What must hold when everything has come to rest (docs/CONFLICTS.md). The
// first broken promise fails the world.
void CheckPromises(World& world, SimService& service,
                   const std::vector<std::unique_ptr<SimDevice>>& devices);

}  // namespace ptdoc::sync::sim
