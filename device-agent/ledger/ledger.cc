#include "device-agent/ledger/ledger.h"

#include <utility>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/schema.h"

namespace ptdoc::sync {
namespace {

constexpr char kHashKeyName[] = "hash_key";

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
  PT_RETURN_IF_ERROR(sqlite::Migrate(db, LedgerMigrations()));
  std::unique_ptr<Ledger> ledger(new Ledger(std::move(db)));
  PT_ASSIGN_OR_RETURN(const std::string key, LoadOrMakeHashKey(*ledger, rng));
  ByteReader reader(key);
  ledger->hash_key_ = {reader.Fixed64(), reader.Fixed64()};
  return ledger;
}

absl::StatusOr<std::string> Ledger::Get(absl::string_view name) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Value FROM SyncMeta WHERE Name = ?1"));
  stmt.Bind(1, name);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  return found ? std::string(stmt.Blob(0)) : std::string();
}

absl::StatusOr<int64_t> Ledger::GetInt(absl::string_view name, int64_t fallback) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Value FROM SyncMeta WHERE Name = ?1"));
  stmt.Bind(1, name);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  return found ? stmt.Int(0) : fallback;
}

absl::Status Ledger::Put(absl::string_view name, absl::string_view value) {
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("INSERT INTO SyncMeta(Name, Value) VALUES(?1, ?2) "
                                  "ON CONFLICT(Name) DO UPDATE SET Value = excluded.Value"));
  return stmt.Bind(1, name).BindBlob(2, value).Run();
}

absl::Status Ledger::PutInt(absl::string_view name, int64_t value) {
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("INSERT INTO SyncMeta(Name, Value) VALUES(?1, ?2) "
                                  "ON CONFLICT(Name) DO UPDATE SET Value = excluded.Value"));
  return stmt.Bind(1, name).Bind(2, value).Run();
}

uint64_t Ledger::HashOf(const Value& value) const {
  thread_local std::string buffer;
  buffer.clear();
  AppendCanonical(value, &buffer);
  return SipHash24(hash_key_, buffer);
}

absl::StatusOr<int64_t> Ledger::ColumnsId(const std::vector<std::string>& columns) {
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
  // Not remembered inside a transaction: a rollback would take the row away.
  if (!db_.in_transaction()) columns_ids_[encoded] = stmt.Int(0);
  return stmt.Int(0);
}

absl::StatusOr<std::vector<std::string>> Ledger::ColumnsOf(int64_t columns_id) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Columns FROM SyncColumnSets WHERE Id = ?1"));
  stmt.Bind(1, columns_id);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return absl::NotFoundError("the ledger does not know this column list");
  return DecodeColumns(stmt.Blob(0));
}

absl::StatusOr<int64_t> Ledger::TypeId(absl::string_view type) {
  const auto known = type_ids_.find(type);
  if (known != type_ids_.end()) return known->second;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Id FROM SyncTypes WHERE Name = ?1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, type).Step());
  if (!found) {
    stmt.Reset();
    type_is_new_ = db_.in_transaction();
    PT_ASSIGN_OR_RETURN(auto insert, db_.Prepare("INSERT INTO SyncTypes(Name) VALUES(?1)"));
    PT_RETURN_IF_ERROR(insert.Bind(1, type).Run());
    return db_.last_insert_rowid();
  }
  // One that the open transaction has made is not remembered: a rollback would
  // take it away.
  if (!type_is_new_) type_ids_[std::string(type)] = stmt.Int(0);
  return stmt.Int(0);
}

absl::Status Ledger::ForgetEverythingSynced() {
  // Completed and Cancelled items are history; they stay for people to read.
  return db_.Exec(
      "DELETE FROM SyncQueueItems WHERE Status = 0 OR Status = 1 OR Status = 3;"
      "DELETE FROM SyncStale; DELETE FROM SyncSetAside; DELETE FROM SyncRowStates;"
      "DELETE FROM SyncMeta WHERE Name IN ('cursor', 'witness', 'witness_revision')");
}

}  // namespace ptdoc::sync
