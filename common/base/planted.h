#pragma once

// Hooks for the simulation, which compiles the code that it tests with
// PTDOC_SIMULATION defined. Everywhere else they are nothing at all.
//
// PT_PLANTED(name) is true while the simulation runs with that bug switched on:
// a bug that it must find, or it would not find a real one like it. Used as
//     if (PT_PLANTED("skip the archive")) return absl::OkStatus();
//
// PT_PASSED(name) counts that a run came by. A place that no run of many passes
// is not tested, whatever one believes; then the simulation fails.

#ifdef PTDOC_SIMULATION

namespace ptdoc::sync {

// One thread. The name of the bug that is on; empty = none.
void PlantBug(const char* name);
bool IsPlanted(const char* name);
// `to` must live until the next call; null: nobody counts.
class PassCounter {
 public:
  virtual ~PassCounter() = default;
  virtual void Passed(const char* place) = 0;
};
void CountPasses(PassCounter* to);
void Passed(const char* place);

}  // namespace ptdoc::sync

#define PT_PLANTED(name) ::ptdoc::sync::IsPlanted(name)
#define PT_PASSED(place) ::ptdoc::sync::Passed(place)

#else

#define PT_PLANTED(name) false
#define PT_PASSED(place) static_cast<void>(0)

#endif
