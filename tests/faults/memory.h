#pragma once

#include <cstdint>
#include <functional>

namespace ptdoc::sync::faults {

// Asked at each allocation that SQLite makes; true: there is no memory.
using MemoryFault = std::function<bool()>;

// Puts an allocator before SQLite's own, for the whole process; SQLite's small
// private pools are off, so that every allocation is seen. Before SQLite is used
// at all; once. One thread.
void WatchMemory();

// Whose allocations they are, as long as this lives: `fault` is asked. Scopes
// nest; the innermost counts. Null: nobody's.
class MemoryScope {
 public:
  explicit MemoryScope(const MemoryFault* fault);
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  const MemoryFault* const before_;
};

}  // namespace ptdoc::sync::faults
