#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "tests/faults/memory.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::faults {

// Whose calls fail: the agent of the first device (its connections to the app's
// file and to its own), or the service.
enum class Side : uint8_t { kAgent, kService };

// What happens to a call.
enum class What : uint8_t { kError, kFull, kNoMemory, kDeath };

struct Injection {
  Side side = Side::kAgent;
  What what = What::kError;
  // The name of a call of the VFS ("read", "shm map"), "change" for all of them
  // that change something, "memory" for an allocation.
  std::string call;
  int64_t at = 0;         // the call of that number; 0 = none
  bool for_good = false;  // and all after it, until somebody frees what is short
  int64_t again_at = 0;   // of kDeath: the next life ends in its call of that number
};

std::string Describe(const Injection& injection);

// Counts the calls of both sides and lets one of them, or all from it on, fail.
class Injector {
 public:
  Injector(sim::World& world, Injection injection)
      : world_(world), injection_(std::move(injection)), next_at_(injection_.at) {}

  // To be asked by a Process of that side, and by SQLite's allocator.
  std::function<sim::Process::Fault(const char*)> Disk(Side side);
  const MemoryFault* Memory(Side side) { return &memory_[side == Side::kAgent ? 0 : 1]; }
  // A process of that side begins a new life.
  void Reborn(Side side);

  bool happened() const { return happened_; }
  // What was short is there again: nothing fails any more.
  bool freed() const { return freed_; }
  // Called when it is, some time after it began to be short.
  void OnFreed(std::function<void()> look) { on_freed_ = std::move(look); }
  // How many calls of each name there were, of the side that is to fail.
  const std::map<std::string, int64_t>& calls() const { return calls_; }

 private:
  bool Fails(Side side, const std::string& call);
  bool Concerns(const std::string& call) const;
  void Begin();

  sim::World& world_;
  const Injection injection_;
  MemoryFault memory_[2] = {[this] { return Fails(Side::kAgent, "memory"); },
                            [this] { return Fails(Side::kService, "memory"); }};
  std::map<std::string, int64_t> calls_;
  int64_t seen_ = 0;  // calls that concern it, of this life
  int64_t next_at_;   // the one that fails; 0 = none
  bool reborn_ = false;
  bool short_ = false;  // from here on all fail
  bool happened_ = false;
  bool freed_ = false;
  std::function<void()> on_freed_;
};

// Whether this error names what was done to the side that shows it.
bool NamesIt(const Injection& injection, const absl::Status& status);

}  // namespace ptdoc::sync::faults
