#pragma once

#include "common/base/rng.h"

namespace ptdoc::sync::sim {

// Makes random() and randomblob() of all connections repeatable from here on.
// The randomness is drawn from `rng`, which must live until the next call.
void SeedSqlite(Rng& rng);

// Tells SQLite, if nobody has used it in this process yet, that there is one
// thread, and that nobody asks how much memory is in use.
void MakeSqliteFast();

}  // namespace ptdoc::sync::sim
