#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/change.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// All rows of the synced tables, by entity.
using Rows = std::map<EntityKey, Fields>;

// A clinic's application on one device: a person who writes into its SQLite
// file, with foreign keys, a unique column, REPLACE, cascades, signatures and
// locks. Knows nothing of any agent.
class SimApp {
 public:
  // `name` makes this device's unique codes its own.
  SimApp(World& world, std::string path, std::string vfs, std::string name)
      : world_(world), path_(std::move(path)), vfs_(std::move(vfs)), name_(std::move(name)) {}

  void Create();  // the file and its schema
  void Open();
  void Close() { db_.reset(); }
  static PlanRequest Entities();

  // One transaction of one to four statements; what it did to which rows. Empty
  // if it was rolled back or changed nothing.
  struct Edit {
    EntityKey key;
    std::optional<Fields> before;
    std::optional<Fields> after;
  };
  std::vector<Edit> Write();

  Rows ReadAll();
  int64_t BankSum();
  // Integrity and foreign keys; empty if all is well.
  std::string Check();

 private:
  bool Statement();
  bool Exec(const std::string& sql);
  bool WritePatient();
  bool WriteNote();
  bool WriteForm();
  bool WriteTag();
  bool WriteFamily();
  bool Transfer();
  std::string Patient();
  std::string Text();

  World& world_;
  const std::string path_;
  const std::string vfs_;
  const std::string name_;
  std::optional<sqlite::Database> db_;
  int transfers_ = 0;
};

}  // namespace ptdoc::sync::sim
