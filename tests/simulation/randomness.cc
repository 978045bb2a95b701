#include "tests/simulation/randomness.h"

#include <sqlite3.h>

#include <cstdint>

#include "common/base/status.h"
#include "tests/simulation/memory.h"

namespace ptdoc::sync::sim {
namespace {

Rng* g_randomness = nullptr;

int Randomness(sqlite3_vfs*, int size, char* out) {
  if (g_randomness == nullptr) return 0;
  g_randomness->Fill({reinterpret_cast<uint8_t*>(out), static_cast<size_t>(size)});
  return size;
}

}  // namespace

void MakeSqliteFast() {
  // Where SQLite runs already, it stays as it is.
  sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 256, 400);
#ifndef PTDOC_SANITIZED
  sqlite3_config(SQLITE_CONFIG_MALLOC, &SqliteMemory());
#endif
}

void SeedSqlite(Rng& rng) {
  g_randomness = &rng;
  // The generator is one for the process, and asks the default VFS for its seed.
  static sqlite3_vfs* const vfs = [] {
    auto* const copy = new sqlite3_vfs(*sqlite3_vfs_find(nullptr));
    copy->pNext = nullptr;
    copy->zName = "seeded";
    copy->xRandomness = Randomness;
    PT_CHECK(sqlite3_vfs_register(copy, 1) == SQLITE_OK);
    return copy;
  }();
  static_cast<void>(vfs);
  sqlite3_randomness(0, nullptr);
}

}  // namespace ptdoc::sync::sim
