#pragma once

#include "absl/strings/string_view.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Whether one of the marks of content_mark.h stands in it.
bool HoldsContent(absl::string_view bytes);

// Fails the world if what was said, there, holds content (P9).
void Overhear(World& world, absl::string_view where, absl::string_view said);

}  // namespace ptdoc::sync::sim
