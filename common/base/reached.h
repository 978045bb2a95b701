#pragma once

// Marks a branch that only trouble leads to, so that the simulation can tell
// whether it was ever taken:
//     PT_REACHED("the cut log is drained again");
// With PTDOC_SIMULATION defined every such place is counted, one that was never
// reached with 0; everywhere else it is nothing at all. Names are unique.

#ifdef PTDOC_SIMULATION

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace ptdoc::sync {

// How often each place was reached since the process started. One thread.
std::map<std::string, int64_t>& ReachedPlaces();

namespace reached_internal {

template <size_t kSize>
struct Name {
  // NOLINTNEXTLINE(google-explicit-constructor): a literal becomes a name.
  consteval Name(const char (&literal)[kSize]) {
    for (size_t i = 0; i < kSize; ++i) text[i] = literal[i];
  }
  char text[kSize];
};

// Stands in the map from the start of the program on, wherever it is used.
template <Name kName>
struct Place {
  static inline int64_t& times = ReachedPlaces()[kName.text];
  static void Hit() { ++times; }
};

}  // namespace reached_internal
}  // namespace ptdoc::sync

#define PT_REACHED(name) ::ptdoc::sync::reached_internal::Place<name>::Hit()

#else

#define PT_REACHED(name) static_cast<void>(0)

#endif
