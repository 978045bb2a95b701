#include "tests/simulation/virtual_vfs.h"

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>

#include "common/base/status.h"

namespace ptdoc::sync::sim {
namespace {

// The default VFS, copied; SQLite gives us the copy's address back.
struct VirtualVfs {
  sqlite3_vfs base;  // must be first
  std::string name;
  const Clock* clock = nullptr;
};

Rng* g_randomness = nullptr;

int CurrentTimeInt64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  constexpr sqlite3_int64 kUnixEpochJulianMs = 210'866'760'000'000;
  const VirtualVfs* self = reinterpret_cast<VirtualVfs*>(vfs);
  *out = kUnixEpochJulianMs + absl::ToUnixMillis(self->clock->Now());
  return SQLITE_OK;
}

int CurrentTime(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 ms = 0;
  CurrentTimeInt64(vfs, &ms);
  *out = static_cast<double>(ms) / 86'400'000.0;
  return SQLITE_OK;
}

int Randomness(sqlite3_vfs*, int size, char* out) {
  if (g_randomness == nullptr) return 0;
  g_randomness->Fill({reinterpret_cast<uint8_t*>(out), static_cast<size_t>(size)});
  return size;
}

std::map<std::string, std::unique_ptr<VirtualVfs>>& Registered() {
  static auto* registered = new std::map<std::string, std::unique_ptr<VirtualVfs>>();
  return *registered;
}

}  // namespace

void RegisterVfs(const std::string& name, const Clock& clock) {
  std::unique_ptr<VirtualVfs>& vfs = Registered()[name];
  if (vfs == nullptr) {
    vfs = std::make_unique<VirtualVfs>();
    vfs->name = name;
    vfs->base = *sqlite3_vfs_find("unix");
    vfs->base.pNext = nullptr;
    vfs->base.zName = vfs->name.c_str();
    vfs->base.xCurrentTime = CurrentTime;
    vfs->base.xCurrentTimeInt64 = CurrentTimeInt64;
    vfs->base.xRandomness = Randomness;
    PT_CHECK(sqlite3_vfs_register(&vfs->base, 0) == SQLITE_OK);
  }
  vfs->clock = &clock;
}

void SeedSqlite(Rng& rng) {
  static SystemClock clock;
  RegisterVfs("virtual-default", clock);
  // The generator is one for the process, and asks the default VFS for its seed.
  PT_CHECK(sqlite3_vfs_register(&Registered()["virtual-default"]->base, 1) == SQLITE_OK);
  g_randomness = &rng;
  sqlite3_randomness(0, nullptr);
}

}  // namespace ptdoc::sync::sim
