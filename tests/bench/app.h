#pragma once

#include <cstdint>
#include <string>

namespace ptdoc::bench {

// An app that is busy in its own file while an agent works on it.
struct AppOptions {
  std::string db;
  int64_t writes_max = 0;
  // Milliseconds that it waits for a lock; 0 = none at all.
  int timeout_ms = 0;
  // Reads first and writes then, in one transaction that begins without a lock.
  bool reads_first = false;
  uint64_t seed = 1;
};

// Commits row after row, with a rest between them, and prints a JSON object:
// how many, how long they took, and how many SQLite refused with SQLITE_BUSY.
// Ends after `writes_max`, or when its input ends.
int RunApp(const AppOptions& options);

}  // namespace ptdoc::bench
