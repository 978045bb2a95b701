#pragma once

#include <memory>
#include <string>
#include <utility>

#include "common/base/rng.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/common/sqlite/test_db.h"
#include "tests/contract/store_contract_fixture.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync {

// Stores on one file in a directory of the test.
class SqliteHarness final : public StoreHarness {
 public:
  std::unique_ptr<Store> Open() override { return Open(Options()); }
  std::unique_ptr<Store> Open(const SqliteStoreOptions& options) {
    return Get(OpenSqliteStore(options, clock, rng));
  }
  SqliteStoreOptions Options() const {
    SqliteStoreOptions options;
    options.path = path();
    return options;
  }
  std::string path() const { return dir.File("store.db"); }
  // A connection that knows nothing of the store.
  sqlite::Database Raw() const { return sqlite::MustOpen(path(), {}); }

  sqlite::TestDir dir;
  FakeClock clock;
  SystemRng rng;
};

// One batch of one version of a patient.
inline absl::Status TryCommit(Store& store, const std::string& id, const std::string& name,
                              const char* tenant = kClinic, absl::Time at = At(0)) {
  std::vector<NewVersion> versions = {Named(Patient(id), name)};
  absl::StatusOr<std::unique_ptr<StoreWriter>> writer = store.BeginWrite();
  if (!writer.ok()) return writer.status();
  const absl::Status appended = (*writer)->Append(tenant, versions, 1, at).status();
  if (!appended.ok()) return appended;
  return (*writer)->Commit();
}

}  // namespace ptdoc::sync
