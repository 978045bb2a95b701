#pragma once

#include <string>

#include "common/base/clock.h"
#include "common/base/rng.h"

namespace ptdoc::sync::sim {

// SQLite's default VFS with another clock, so that julianday('now') in an app's
// or our triggers is virtual time. `clock` must live as long as it is
// registered; registering a name again replaces its clock.
void RegisterVfs(const std::string& name, const Clock& clock);

// Makes random() and randomblob() of all connections repeatable from here on.
// The randomness is drawn from `rng`, which must live until the next call.
void SeedSqlite(Rng& rng);

}  // namespace ptdoc::sync::sim
