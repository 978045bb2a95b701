#pragma once

#include "common/base/rng.h"

namespace ptdoc::sync::sim {

// Makes random() and randomblob() of all connections repeatable from here on.
// The randomness is drawn from `rng`, which must live until the next call.
void SeedSqlite(Rng& rng);

}  // namespace ptdoc::sync::sim
