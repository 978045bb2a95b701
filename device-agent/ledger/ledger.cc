#include "device-agent/ledger/ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/schema.h"

namespace ptdoc::sync {
namespace {

constexpr char kHashKeyName[] = "hash_key";
// Pages (16 MiB). SQLite moves the write-ahead log inside of the commit that makes it
// longer than that; mostly Checkpoint() comes before. A long push writes the same
// pages again and again: they are moved once for many batches.
constexpr char kMoveLogRarely[] =
    "PRAGMA wal_autocheckpoint=4000; PRAGMA journal_size_limit=67108864";

absl::StatusOr<std::string> LoadOrMakeHashKey(Ledger& ledger, Rng& rng) {
  PT_ASSIGN_OR_RETURN(std::string key, ledger.Get(kHashKeyName));
  if (key.size() == 16) return key;
  key = rng.Bytes(16);
  PT_RETURN_IF_ERROR(ledger.Put(kHashKeyName, key));
  return key;
}

}  // namespace

absl::string_view ItemStatusName(ItemStatus status) {
  switch (status) {
    case ItemStatus::kPending:
      return "Pending";
    case ItemStatus::kProcessing:
      return "Processing";
    case ItemStatus::kCompleted:
      return "Completed";
    case ItemStatus::kFailed:
      return "Failed";
    case ItemStatus::kCancelled:
      return "Cancelled";
  }
  return "Unknown";
}

absl::StatusOr<std::unique_ptr<Ledger>> Ledger::Open(const std::string& path, bool create,
                                                     const std::string& vfs, Rng& rng) {
  sqlite::OpenOptions options;
  options.mode =
      create ? sqlite::OpenOptions::Mode::kCreate : sqlite::OpenOptions::Mode::kReadWrite;
  options.wal = true;
  options.vfs = vfs;
  // Only people's SQLite clients compete for this file.
  options.busy_timeout = absl::Seconds(5);
  PT_ASSIGN_OR_RETURN(sqlite::Database db, sqlite::Database::Open(path, options));
  PT_RETURN_IF_ERROR(db.Exec(kMoveLogRarely));
  PT_RETURN_IF_ERROR(sqlite::Migrate(db, LedgerMigrations()));
  // What a dead process committed may not be on the disk yet: once it is relied
  // upon, a power cut must not take it back.
  if (!PT_PLANTED("the ledger is not synced when it is opened")) {
    PT_RETURN_IF_ERROR(db.SyncJournal());
  }
  std::unique_ptr<Ledger> ledger(new Ledger(std::move(db)));
  PT_ASSIGN_OR_RETURN(const std::string key, LoadOrMakeHashKey(*ledger, rng));
  ByteReader reader(key);
  ledger->hash_key_ = {reader.Fixed64(), reader.Fixed64()};
  return ledger;
}

absl::StatusOr<bool> Ledger::Look() {
  PT_ASSIGN_OR_RETURN(const int64_t version, db_.QueryInt("PRAGMA data_version"));
  if (std::exchange(data_version_, version) == version) return false;
  ForgetAll();
  PT_RETURN_IF_ERROR(Mend());
  return true;
}

absl::Status Ledger::Checkpoint() {
  return db_.QueryValue("PRAGMA wal_checkpoint(PASSIVE)").status();
}

void Ledger::ForgetAll() {
  columns_ids_.clear();
  type_ids_.clear();
  values_.clear();
  no_intent_ = false;
  has_open_.reset();
  has_stale_.reset();
  has_set_aside_.reset();
  has_gone_.reset();
  sent_.clear();
  batch_items_.clear();
  health_.reset();
}

absl::StatusOr<bool> Ledger::HasRows(std::optional<bool>* known, const char* sql) {
  ForgetRolledBack();
  if (known->has_value()) return **known;
  PT_ASSIGN_OR_RETURN(const int64_t any, db_.QueryInt(sql));
  *known = any != 0;
  return **known;
}

void Ledger::ForgetRolledBack() {
  if (std::exchange(rollbacks_, db_.rollbacks()) != rollbacks_) ForgetAll();
}

absl::StatusOr<const Value*> Ledger::Read(absl::string_view name) {
  ForgetRolledBack();
  const auto known = values_.find(name);
  if (known != values_.end()) return &known->second;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Value FROM SyncMeta WHERE Name = ?1"));
  stmt.Bind(1, name);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  return &(values_[std::string(name)] = found ? stmt.ColumnValue(0) : Value::Null());
}

absl::Status Ledger::Write(absl::string_view name, const Value& value) {
  ForgetRolledBack();
  // Whatever becomes of the statement, the old one is not told again.
  values_.erase(std::string(name));
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("INSERT INTO SyncMeta(Name, Value) VALUES(?1, ?2) "
                                  "ON CONFLICT(Name) DO UPDATE SET Value = excluded.Value"));
  PT_RETURN_IF_ERROR(stmt.Bind(1, name).Bind(2, value).Run());
  values_[std::string(name)] = value;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Ledger::Get(absl::string_view name) {
  PT_ASSIGN_OR_RETURN(const Value* const value, Read(name));
  const bool has_bytes = value->type() == Value::Type::kBlob || value->type() == Value::Type::kText;
  return has_bytes ? std::string(value->bytes()) : std::string();
}

absl::StatusOr<int64_t> Ledger::GetInt(absl::string_view name, int64_t fallback) {
  PT_ASSIGN_OR_RETURN(const Value* const value, Read(name));
  return value->type() == Value::Type::kInteger ? value->integer() : fallback;
}

absl::Status Ledger::Put(absl::string_view name, absl::string_view value) {
  return Write(name, Value::Blob(std::string(value)));
}

absl::Status Ledger::PutInt(absl::string_view name, int64_t value) {
  return Write(name, Value::Integer(value));
}

absl::Status Ledger::Drop(absl::string_view prefix) {
  values_.clear();
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("DELETE FROM SyncMeta WHERE substr(Name, 1, length(?1)) = ?1"));
  return stmt.Bind(1, prefix).Run();
}

uint64_t Ledger::HashOf(const Value& value) const {
  thread_local std::string buffer;
  buffer.clear();
  AppendCanonical(value, &buffer);
  return SipHash24(hash_key_, buffer);
}

absl::StatusOr<int64_t> Ledger::ColumnsId(const std::vector<std::string>& columns) {
  ForgetRolledBack();
  const std::string encoded = EncodeColumns(columns);
  const auto known = columns_ids_.find(encoded);
  if (known != columns_ids_.end()) return known->second;
  {
    PT_ASSIGN_OR_RETURN(auto insert,
                        db_.Prepare("INSERT OR IGNORE INTO SyncColumnSets(Columns) VALUES(?1)"));
    PT_RETURN_IF_ERROR(insert.BindBlob(1, encoded).Run());
  }
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Id FROM SyncColumnSets WHERE Columns = ?1"));
  stmt.BindBlob(1, encoded);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  PT_CHECK(found);
  return columns_ids_[encoded] = stmt.Int(0);
}

absl::StatusOr<std::vector<std::string>> Ledger::ColumnsOf(int64_t columns_id) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Columns FROM SyncColumnSets WHERE Id = ?1"));
  stmt.Bind(1, columns_id);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return absl::NotFoundError("the ledger does not know this column list");
  return DecodeColumns(stmt.Blob(0));
}

absl::StatusOr<int64_t> Ledger::TypeId(absl::string_view type) {
  ForgetRolledBack();
  const auto known = type_ids_.find(type);
  if (known != type_ids_.end()) return known->second;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Id FROM SyncTypes WHERE Name = ?1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, type).Step());
  if (found) return type_ids_[std::string(type)] = stmt.Int(0);
  stmt.Reset();
  PT_ASSIGN_OR_RETURN(auto insert, db_.Prepare("INSERT INTO SyncTypes(Name) VALUES(?1)"));
  PT_RETURN_IF_ERROR(insert.Bind(1, type).Run());
  return type_ids_[std::string(type)] = db_.last_insert_rowid();
}

absl::Status Ledger::ForgetEverythingSynced() {
  ForgetAll();
  // Completed and Cancelled items are history; they stay for people to read.
  return db_.Exec(
      "DELETE FROM SyncQueueItems WHERE Status = 0 OR Status = 1 OR Status = 3;"
      "DELETE FROM SyncBatches; DELETE FROM SyncStale; DELETE FROM SyncSetAside; DELETE FROM "
      "SyncRowStates; DELETE FROM SyncGoneNumbers;"
      "DELETE FROM SyncMeta WHERE Name IN ('cursor', 'witness', 'witness_revision', "
      "'cursor_of_left')");
}

absl::Status Ledger::ForgetType(absl::string_view type, absl::string_view why) {
  PT_ASSIGN_OR_RETURN(const int64_t type_id, TypeId(type));
  has_stale_.reset();
  has_set_aside_.reset();
  for (const char* const table : {"SyncStale", "SyncSetAside"}) {
    PT_ASSIGN_OR_RETURN(auto forget,
                        db_.Prepare(absl::StrCat("DELETE FROM ", table, " WHERE EntityType = ?1")));
    PT_RETURN_IF_ERROR(forget.Bind(1, type).Run());
  }
  PT_ASSIGN_OR_RETURN(
      auto states,
      db_.Prepare("DELETE FROM SyncRowStates WHERE TypeId = ?1 AND NOT EXISTS (SELECT 1 FROM "
                  "SyncQueueItems q WHERE q.EntityType = ?2 AND q.EntityId = "
                  "SyncRowStates.EntityId AND q.CompletedAt IS NULL AND +q.Status IN "
                  "(0, 1, 3))"));
  PT_RETURN_IF_ERROR(states.Bind(1, type_id).Bind(2, type).Run());
  PT_ASSIGN_OR_RETURN(auto wait,
                      db_.Prepare("UPDATE SyncQueueItems SET Status = 0, RetryCount = 0, "
                                  "NextAttemptAt = NULL, ErrorMessage = iif(Flags & 16, "
                                  "ErrorMessage, ?2) WHERE EntityType = ?1 AND Status IN (0, 3)"));
  return wait.Bind(1, type).Bind(2, why).Run();
}

}  // namespace ptdoc::sync
