#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync {

inline constexpr char kTenant[] = "clinic";

// A folder of its own, removed at the end.
class TempDir {
 public:
  TempDir() {
    std::string name = (Parent() / "ptdoc-engine-XXXXXX").string();
    PT_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  // In memory where there is such a place: the store syncs every commit, and
  // these tests are not about disks.
  static std::filesystem::path Parent() {
    const std::filesystem::path memory = "/dev/shm";
    std::error_code ignored;
    if (std::filesystem::is_directory(memory, ignored)) return memory;
    return std::filesystem::temp_directory_path();
  }

  std::string path_;
};

// The real engine over a real SQLite store, with a clock that stands.
class TestService {
 public:
  explicit TestService(uint64_t seed = 1) : rng_(seed) { Reopen(); }

  // As after a restart of the process. `restored_from`: the store's file is put
  // back from a backup first, as the `restore` verb does it.
  void Reopen(const std::string& restored_from = "") {
    Close();
    if (!restored_from.empty()) {
      const absl::Status restored = RestoreSqliteStore(restored_from, path(), rng_);
      PT_CHECK(restored.ok());
    }
    absl::StatusOr<std::unique_ptr<Store>> opened =
        OpenSqliteStore({.path = path(), .create = true, .vfs = ""}, clock_, rng_);
    if (!opened.ok()) std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
    PT_CHECK(opened.ok());
    store_ = *std::move(opened);
    engine_ = std::make_unique<Engine>(*store_, clock_, rng_, options);
  }

  // The process is gone, its file may be touched.
  void Close() {
    engine_.reset();
    store_.reset();
  }

  std::string path() const { return dir_.File("store.db"); }
  std::string BackupPath() const { return dir_.File("backup.db"); }
  Engine& engine() { return *engine_; }
  Store& store() { return *store_; }
  FakeClock& clock() { return clock_; }
  Rng& rng() { return rng_; }
  TimeNs Now() const { return ToTimeNs(clock_.Now()); }
  // A time that lies so many seconds before the service's now.
  TimeNs Ago(int64_t seconds) const { return Now() - seconds * 1'000'000'000; }
  std::string NextBatchId() { return NewUuid(rng_); }

  std::unique_ptr<StoreReader> Read() {
    absl::StatusOr<std::unique_ptr<StoreReader>> reader = store_->BeginRead();
    PT_CHECK(reader.ok());
    return *std::move(reader);
  }

  absl::StatusOr<PushAnswer> Push(PushBatch batch) {
    return std::move(engine_->Push({&batch, 1}).front());
  }

  std::optional<StoredVersion> Head(const EntityKey& key, const std::string& tenant = kTenant) {
    absl::StatusOr<std::optional<StoredVersion>> head = Read()->Head(tenant, key);
    PT_CHECK(head.ok());
    return *std::move(head);
  }

  // Every archive row, with its contents.
  std::vector<ArchiveRow> Archives(const std::string& tenant = kTenant) {
    const std::unique_ptr<StoreReader> reader = Read();
    StoreReader::ConflictFilter filter;
    filter.include_resolved = true;
    filter.limit = 1'000'000;
    absl::StatusOr<std::vector<ArchiveRow>> listed = reader->ListConflicts(tenant, filter);
    EXPECT_TRUE(listed.ok()) << listed.status();
    PT_CHECK(listed.ok());
    std::vector<ArchiveRow> rows;
    for (const ArchiveRow& row : *listed) {
      absl::StatusOr<std::optional<ArchiveRow>> whole =
          reader->FindConflict(tenant, row.conflict_id);
      PT_CHECK(whole.ok() && whole->has_value());
      rows.push_back(**std::move(whole));
    }
    return rows;
  }

  std::vector<AuditRow> AuditRows(const std::string& tenant = kTenant) {
    absl::StatusOr<std::vector<AuditRow>> rows = Read()->ReadAudit(tenant, 0, 1'000'000);
    PT_CHECK(rows.ok());
    return *std::move(rows);
  }

  // Take effect with the next Reopen.
  EngineOptions options;

 private:
  TempDir dir_;
  FakeClock clock_;
  SeededRng rng_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
};

inline Principal DeviceOf(const std::string& device, const std::string& tenant = kTenant) {
  return {.tenant = tenant, .device = device, .user = "", .role = Role::kDevice, .agent = "test"};
}

inline Principal Admin() {
  return {.tenant = kTenant,
          .device = "office",
          .user = "reviewer-1",
          .role = Role::kAdmin,
          .agent = "test"};
}

inline EntityKey Patient(const std::string& id) {
  return {"Patient", id};
}

inline const EntityKey kP1 = Patient("p1");
inline const EntityKey kNote = {"ClinicalNote", "n1"};
inline const EntityKey kForm = {"IntakeForm", "f1"};

using FieldList = std::vector<std::pair<std::string, std::string>>;

// Text fields.
inline Fields Texts(const FieldList& list) {
  Fields fields;
  for (const auto& [name, value] : list) fields.Set(name, Value::Text(value));
  return fields;
}

// A whole row that the device made itself.
inline Change Create(const EntityKey& key, Fields fields) {
  Change change;
  change.key = key;
  change.operation = Operation::kCreate;
  change.fields = std::move(fields);
  change.complete = true;
  return change;
}

// Some fields, on top of the version that `base` answered with.
inline Change Delta(const EntityKey& key, const ChangeResult& base, Fields fields) {
  Change change;
  change.key = key;
  change.operation = Operation::kUpdate;
  change.base_revision = base.revision;
  change.base_check = base.check;
  change.fields = std::move(fields);
  return change;
}

inline Change Delete(const EntityKey& key, const ChangeResult& base) {
  Change change = Delta(key, base, {});
  change.operation = Operation::kDelete;
  return change;
}

inline Change Reoffer(const EntityKey& key, Fields fields) {
  Change change = Create(key, std::move(fields));
  change.reoffer = true;
  return change;
}

inline Change At(Change change, TimeNs time) {
  change.last_modified = time;
  return change;
}

inline PushBatch BatchOf(TestService& service, const std::string& device,
                         std::vector<Change> changes) {
  PushBatch batch;
  batch.who = DeviceOf(device);
  batch.batch_id = service.NextBatchId();
  batch.changes = std::move(changes);
  return batch;
}

// Pushes a batch that must be answered.
inline PushAnswer MustPush(TestService& service, const PushBatch& batch) {
  absl::StatusOr<PushAnswer> answer = service.Push(batch);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *std::move(answer) : PushAnswer();
}

// Pushes one change in a batch of its own.
inline ChangeResult PushOne(TestService& service, const std::string& device, Change change) {
  PushAnswer answer = MustPush(service, BatchOf(service, device, {std::move(change)}));
  EXPECT_EQ(answer.results.size(), 1u);
  return answer.results.empty() ? ChangeResult() : answer.results.front();
}

inline PullQuery PullFrom(const std::string& device, const std::string& cursor) {
  PullQuery query;
  query.who = DeviceOf(device);
  query.cursor = cursor;
  return query;
}

inline PullPage MustPull(TestService& service, const PullQuery& query,
                         const PullPosition* resume = nullptr) {
  absl::StatusOr<PullPage> page = service.engine().Pull(query, resume);
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *std::move(page) : PullPage();
}

}  // namespace ptdoc::sync
