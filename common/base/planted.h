#pragma once

// Hooks for the simulation, which compiles the code that it tests with
// PTDOC_SIMULATION defined. Everywhere else they are nothing at all.
//
// PT_PLANTED(name) is true while the simulation runs with that bug switched on:
// a bug that it must find, or it would not find a real one like it. Used as
//     if (PT_PLANTED("skip the archive")) return absl::OkStatus();

#ifdef PTDOC_SIMULATION

namespace ptdoc::sync {

// One thread. The name of the bug that is on; empty = none.
void PlantBug(const char* name);
bool IsPlanted(const char* name);

}  // namespace ptdoc::sync

#define PT_PLANTED(name) ::ptdoc::sync::IsPlanted(name)

#else

#define PT_PLANTED(name) false

#endif
