#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// While it lives, a long read of a file in a rollback-journal mode gives way: once another
// connection has wanted to write for `patience` (of real time), the statement that runs ends
// with SQLITE_INTERRUPT. In WAL mode readers are in nobody's way: it does nothing there.
// SQLite asks it between steps of its machine; a check of one whole B-tree is one step.
class Patience {
 public:
  Patience(Database& db, absl::Duration patience);
  ~Patience();
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  bool gave_way() const { return gave_way_; }

 private:
  static int Look(void* self);
  Database& db_;
  const absl::Duration patience_;
  void* file_ = nullptr;  // SQLite's own handle of the main database
  absl::Time wanted_since_ = absl::InfiniteFuture();
  bool gave_way_ = false;
};

}  // namespace ptdoc::sqlite
