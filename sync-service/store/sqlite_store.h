#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

struct SqliteStoreOptions {
  std::string path;
  // NOT_FOUND if there is no such file and this is false.
  bool create = true;
  // Empty = the default; tests and the simulation give their own. Then the
  // store takes no lock file and sets no file mode: the VFS is alone with it.
  std::string vfs;
  // How long BeginWrite waits for a writer, of this process or another one.
  absl::Duration busy_timeout = absl::Seconds(5);
  // Above this size the store is full (STORE_FULL). 0 = as large as the disk.
  int64_t bytes_max = 0;
};

// The embedded store: one SQLite file in WAL mode, synchronous=FULL, readable
// by its owner only. A second process may use the same file beside a running
// service. Readers and writers must be destroyed before the store.
// FAILED_PRECONDITION if the file is another program's, or of a newer version;
// UNAVAILABLE while it is being restored.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const SqliteStoreOptions& options,
                                                       const Clock& clock, Rng& rng);

// Puts a copy of the backup at `from` in the place of the store at `to` in one
// step, with a new epoch. After an error `to` is what it was.
// FAILED_PRECONDITION if a service or another program uses `to`, or `from` is
// not a store; DATA_LOSS if `from` is damaged.
absl::Status RestoreSqliteStore(const std::string& from, const std::string& to, Rng& rng);

// Gives the store a new epoch where it stands, as after a restore: for a file
// that was put back by other means (a snapshot of the disk). Nobody else may
// have it open.
absl::Status StartNewEpochOfSqliteStore(const SqliteStoreOptions& options, Rng& rng);

}  // namespace ptdoc::sync
