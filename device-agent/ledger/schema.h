#pragma once

#include <string>
#include <vector>

namespace ptdoc::sync {

// The migrations of the agent's own file (docs/SCHEMA.md), oldest first.
const std::vector<std::string>& LedgerMigrations();

}  // namespace ptdoc::sync
