#pragma once

#include <filesystem>
#include <string>

#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {

inline constexpr char kTables[] =
    "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Body TEXT);"
    "CREATE TABLE Visit(Id TEXT PRIMARY KEY, PatientId TEXT REFERENCES Patient(Id), Note TEXT)";

// Two devices with 200 patients and as many visits.
class MishapTest : public SchemaTest {
 protected:
  void BeginClinic(const std::string& pragmas = "PRAGMA journal_mode=WAL;") {
    a_.Begin(pragmas + kTables);
    b_.Begin(pragmas + kTables);
    a_.Sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "INSERT INTO Patient SELECT printf('p%03d', i), 'Name ' || i, hex(zeroblob(100)) FROM n;"
        "INSERT INTO Visit SELECT 'v' || Id, Id, 'note' FROM Patient");
    SyncBoth();
  }
  std::string File(TestDevice& device) { return device.options().database; }
  // What the service holds, to see that nothing false was pushed.
  Lines ServiceHolds() {
    TestDevice fresh(dir_, "fresh", clock_, rng_);
    fresh.Begin(kTables);
    EXPECT_TRUE(fresh.Sync(service_).ok());
    Lines lines = ContentOf(fresh);
    fresh.Close();
    fresh.CloseApp();
    for (const char* suffix :
         {"", "-wal", "-shm", ".sync", ".sync-wal", ".sync-shm", ".sync.lock"}) {
      std::filesystem::remove(dir_ + "/fresh.db" + suffix);
    }
    return lines;
  }
  static Lines Archived(TestDevice& device) {
    return device.LedgerQuery(
        "SELECT ArchivedDataJson FROM SyncConflictArchives ORDER BY EntityId");
  }
  void Shut(TestDevice& device) {
    device.Close();
    device.CloseApp();
  }
};

}  // namespace ptdoc::sync
