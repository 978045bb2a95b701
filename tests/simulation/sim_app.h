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
  void Close() {
    db_.reset();
    long_.reset();
  }
  bool is_open() const { return db_.has_value(); }
  // Whether what it committed survives a power cut by itself.
  bool durable();
  // Without the tags: a device that syncs fewer types than others.
  static PlanRequest Entities(const World& world, bool with_tags);

  // One transaction of one to four statements; what it did to which rows. Empty
  // if it was rolled back or changed nothing.
  struct Edit {
    EntityKey key;
    std::optional<Fields> before;
    std::optional<Fields> after;
  };
  std::vector<Edit> Write();
  // Deletes a row in one transaction that drops our triggers of its table first,
  // as a migration does.
  std::vector<Edit> DeleteUnseen(const EntityKey& key);
  // What became of the rows since.
  std::vector<Edit> Difference(const Rows& before);
  // Holds the write lock until EndLong(), as an import does. False if it is
  // not to be had.
  bool BeginLong();
  std::vector<Edit> EndLong();
  bool in_long() const { return long_.has_value(); }
  // What applications do to their schema: a table rebuilt under its old name
  // (its triggers are gone), a column more, our triggers dropped.
  void Migrate();

  // A new version of the app, which has one more column. True if it is there now.
  bool AddColumn();
  bool has_allergy() const { return has_allergy_; }

  // A commit that changes no table.
  bool WriteSilently();
  // What it commits together may be sent in several batches: no transfers of two rows.
  void SplitCommits() { whole_commits_ = false; }

  Rows ReadAll();
  int64_t BankSum();
  // Transfers of which only one half is there.
  std::vector<std::string> HalfPairs();
  sqlite::Database& db() { return *db_; }
  // Integrity and foreign keys; empty if all is well.
  std::string Check();

 private:
  bool Rebuild(const std::string& table);
  // Like Exec, for what changes rows.
  bool Change(const std::string& sql);
  bool Run(const char* sql);  // without a word
  bool DropTriggers(const std::string& table);
  bool DeleteRow(const std::string& table, const Fields& row);
  bool Statement();
  bool Exec(const std::string& sql);
  bool WritePatient();
  bool WriteField();
  bool WriteNote();
  bool WriteForm();
  bool WriteTag();
  bool WriteFamily();
  bool WriteNumbered();
  bool Transfer();
  std::string Patient();
  std::string Text();

  World& world_;
  const std::string path_;
  const std::string vfs_;
  const std::string name_;
  bool full_ = false;
  std::optional<sqlite::Database> db_;
  bool has_allergy_ = false;  // the column that AddColumn adds
  bool blind_ = false;        // one that writes with triggers off now and then
  int silent_ = 0;
  int transfers_ = 0;
  bool whole_commits_ = true;
  std::optional<Rows> long_;  // what was there when it began
};

}  // namespace ptdoc::sync::sim
