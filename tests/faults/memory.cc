#include "tests/faults/memory.h"

#include <sqlite3.h>

#include "common/base/status.h"

namespace ptdoc::sync::faults {
namespace {

sqlite3_mem_methods g_real;
const MemoryFault* g_fault = nullptr;

bool Refuses() {
  return g_fault != nullptr && *g_fault && (*g_fault)();
}

void* Allocate(int size) {
  return Refuses() ? nullptr : g_real.xMalloc(size);
}

void* Reallocate(void* old, int size) {
  return Refuses() ? nullptr : g_real.xRealloc(old, size);
}

}  // namespace

void WatchMemory() {
  static const bool once = [] {
    PT_CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &g_real) == SQLITE_OK);
    sqlite3_mem_methods watched = g_real;
    watched.xMalloc = Allocate;
    watched.xRealloc = Reallocate;
    PT_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &watched) == SQLITE_OK);
    PT_CHECK(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK);
    return true;
  }();
  static_cast<void>(once);
}

MemoryScope::MemoryScope(const MemoryFault* fault) : before_(g_fault) {
  g_fault = fault;
}

MemoryScope::~MemoryScope() {
  g_fault = before_;
}

}  // namespace ptdoc::sync::faults
