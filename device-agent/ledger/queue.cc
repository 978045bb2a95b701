// The queue's part of the ledger: plain storage of SyncQueueItems.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

constexpr char kColumns[] =
    "Id, EntityType, EntityId, Operation, EnqueuedAt, Status, RetryCount, MaxRetries, "
    "ErrorMessage, BatchId, NextAttemptAt, CompletedAt, LastModifiedNs, Flags, DrainNo, "
    "SentHashes, SentBase";

// Bits of SyncQueueItems.Flags.
constexpr int64_t kRecreated = 1;
constexpr int64_t kReoffer = 2;
constexpr int64_t kWhole = 4;
constexpr int64_t kInitial = 8;
constexpr int64_t kHeld = 16;

int64_t FlagsOf(const QueueItem& item) {
  return (item.recreated ? kRecreated : 0) | (item.reoffer ? kReoffer : 0) |
         (item.whole ? kWhole : 0) | (item.initial ? kInitial : 0) | (item.held ? kHeld : 0);
}

void SetFlags(int64_t flags, QueueItem* item) {
  item->recreated = (flags & kRecreated) != 0;
  item->reoffer = (flags & kReoffer) != 0;
  item->whole = (flags & kWhole) != 0;
  item->initial = (flags & kInitial) != 0;
  item->held = (flags & kHeld) != 0;
}

// People may write these columns: what cannot be read counts as absent.
std::optional<absl::Time> TimeColumn(const sqlite::Statement& stmt, int index) {
  if (stmt.IsNull(index)) return std::nullopt;
  const absl::StatusOr<absl::Time> time = ParseTime(stmt.Text(index));
  if (!time.ok()) return std::nullopt;
  return *time;
}

void BindTime(sqlite::Statement& stmt, int index, const std::optional<absl::Time>& time) {
  if (time.has_value()) {
    stmt.Bind(index, FormatUtc(*time));
  } else {
    stmt.BindNull(index);
  }
}

absl::StatusOr<QueueItem> ReadItem(const sqlite::Statement& stmt) {
  QueueItem item;
  item.id = stmt.Int(0);
  item.key = {std::string(stmt.Text(1)), std::string(stmt.Text(2))};
  item.operation = static_cast<Operation>(stmt.Int(3));
  item.enqueued_at = TimeColumn(stmt, 4).value_or(absl::UnixEpoch());
  item.status = static_cast<ItemStatus>(stmt.Int(5));
  item.retry_count = static_cast<int>(stmt.Int(6));
  item.max_retries = static_cast<int>(stmt.Int(7));
  item.error_message = std::string(stmt.Text(8));
  item.batch_id = std::string(stmt.Text(9));
  item.next_attempt_at = TimeColumn(stmt, 10);
  item.completed_at = TimeColumn(stmt, 11);
  item.time = stmt.Int(12);
  SetFlags(stmt.Int(13), &item);
  item.drain = stmt.Int(14);
  if (!stmt.IsNull(15)) {
    PT_ASSIGN_OR_RETURN(item.sent, DecodeRowHashes(stmt.Blob(15)));
  }
  item.sent_base = stmt.Int(16);
  return item;
}

void BindItem(const QueueItem& item, sqlite::Statement& stmt) {
  stmt.Bind(2, item.key.type).Bind(3, item.key.id);
  stmt.Bind(4, static_cast<int64_t>(item.operation)).Bind(5, FormatUtc(item.enqueued_at));
  stmt.Bind(6, static_cast<int64_t>(item.status)).Bind(7, item.retry_count);
  stmt.Bind(8, item.max_retries);
  BindTextOrNull(stmt, 9, item.error_message);
  BindTextOrNull(stmt, 10, item.batch_id);
  BindTime(stmt, 11, item.next_attempt_at);
  BindTime(stmt, 12, item.completed_at);
  stmt.Bind(13, item.time).Bind(14, FlagsOf(item)).Bind(15, item.drain);
  if (item.status == ItemStatus::kProcessing) {
    stmt.BindBlob(16, EncodeRowHashes(item.sent)).Bind(17, item.sent_base);
  } else {
    stmt.BindNull(16).BindNull(17);
  }
}

// What is over stays for a day. A query for what is open says so in the words of
// the partial indexes, or it does not use them and reads the whole past.
constexpr char kOpen[] = "(Status = 0 OR Status = 1 OR Status = 3)";

std::string Select(absl::string_view tail) {
  return absl::StrCat("SELECT ", kColumns, " FROM SyncQueueItems ", tail);
}

absl::StatusOr<std::optional<QueueItem>> One(absl::StatusOr<sqlite::Statement> stmt) {
  PT_ASSIGN_OR_RETURN(const bool found, stmt->Step());
  if (!found) return std::nullopt;
  PT_ASSIGN_OR_RETURN(QueueItem item, ReadItem(*stmt));
  return item;
}

}  // namespace

absl::StatusOr<std::vector<QueueItem>> Ledger::Items(sqlite::Statement stmt) {
  std::vector<QueueItem> items;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return items;
    PT_ASSIGN_OR_RETURN(QueueItem item, ReadItem(stmt));
    items.push_back(std::move(item));
  }
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindItem(int64_t id) {
  static const std::string& sql = *new std::string(Select("WHERE Id = ?1"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, id);
  return One(std::move(stmt));
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindWaiting(const EntityKey& key) {
  static const std::string& sql =
      *new std::string(Select(absl::StrCat("WHERE EntityType = ?1 AND EntityId = ?2 AND ", kOpen,
                                           " AND +Status IN (0, 3) ORDER BY Id LIMIT 1")));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, key.type).Bind(2, key.id);
  return One(std::move(stmt));
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindProcessing(const EntityKey& key) {
  static const std::string& sql =
      *new std::string(Select(absl::StrCat("WHERE EntityType = ?1 AND EntityId = ?2 AND ", kOpen,
                                           " AND +Status = 1 ORDER BY Id LIMIT 1")));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, key.type).Bind(2, key.id);
  return One(std::move(stmt));
}

absl::StatusOr<bool> Ledger::HasOpenItem(const EntityKey& key) {
  static const std::string& sql = *new std::string(
      absl::StrCat("SELECT 1 FROM SyncQueueItems WHERE EntityType = ?1 AND EntityId = ?2 AND ",
                   kOpen, " LIMIT 1"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  return stmt.Bind(1, key.type).Bind(2, key.id).Step();
}

absl::StatusOr<int64_t> Ledger::InsertItem(const QueueItem& item) {
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("INSERT INTO SyncQueueItems(Id, EntityType, EntityId, Operation, EnqueuedAt, "
                  "Status, RetryCount, MaxRetries, ErrorMessage, BatchId, NextAttemptAt, "
                  "CompletedAt, LastModifiedNs, Flags, DrainNo, SentHashes, SentBase) "
                  "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "
                  "?17)"));
  if (item.id > 0) {
    stmt.Bind(1, item.id);
  } else {
    stmt.BindNull(1);
  }
  BindItem(item, stmt);
  PT_RETURN_IF_ERROR(stmt.Run());
  return db_.last_insert_rowid();
}

absl::Status Ledger::UpdateItem(const QueueItem& item) {
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("UPDATE SyncQueueItems SET EntityType = ?2, EntityId = ?3, Operation = ?4, "
                  "EnqueuedAt = ?5, Status = ?6, RetryCount = ?7, MaxRetries = ?8, "
                  "ErrorMessage = ?9, BatchId = ?10, NextAttemptAt = ?11, CompletedAt = ?12, "
                  "LastModifiedNs = ?13, Flags = ?14, DrainNo = ?15, SentHashes = ?16, "
                  "SentBase = ?17 WHERE Id = ?1"));
  stmt.Bind(1, item.id);
  BindItem(item, stmt);
  return stmt.Run();
}

absl::Status Ledger::DeleteItem(int64_t id) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("DELETE FROM SyncQueueItems WHERE Id = ?1"));
  return stmt.Bind(1, id).Run();
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListSendable(absl::Time now,
                                                            bool ignore_next_attempt,
                                                            int64_t after_id, size_t limit) {
  // Pending and due Failed ones are read apart, each in the order of its part
  // of the index, and merged: one OR would sort a million rows.
  static const std::string& sql = *new std::string(absl::StrCat(
      "SELECT * FROM (",
      Select(absl::StrCat("WHERE Status = 0 AND ", kOpen, " AND Id > ?1 ORDER BY Id LIMIT ?2")),
      ") UNION ALL SELECT * FROM (",
      Select(absl::StrCat("WHERE Status = 3 AND ", kOpen,
                          " AND Id > ?1 AND RetryCount < MaxRetries AND (?3 OR NextAttemptAt IS "
                          "NULL OR NextAttemptAt <= ?4) ORDER BY Id LIMIT ?2")),
      ") ORDER BY 1 LIMIT ?2"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit)).Bind(3, ignore_next_attempt);
  stmt.Bind(4, FormatUtc(now));
  return Items(std::move(stmt));
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListBatch(absl::string_view batch_id) {
  static const std::string& sql =
      *new std::string(Select("WHERE Status = 1 AND BatchId = ?1 ORDER BY Id"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, batch_id);
  return Items(std::move(stmt));
}

absl::StatusOr<std::vector<std::string>> Ledger::OpenBatches() {
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT BatchId, min(Id) FROM SyncQueueItems WHERE Status = 1 "
                                  "GROUP BY BatchId ORDER BY 2"));
  std::vector<std::string> batches;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return batches;
    batches.emplace_back(stmt.Text(0));
  }
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListItems(bool include_done, int64_t after_id,
                                                         size_t limit) {
  static const std::string& all = *new std::string(Select("WHERE Id > ?1 ORDER BY Id LIMIT ?2"));
  static const std::string& open =
      *new std::string(Select(absl::StrCat("WHERE Id > ?1 AND ", kOpen, " ORDER BY Id LIMIT ?2")));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(include_done ? all : open));
  stmt.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit));
  return Items(std::move(stmt));
}

absl::StatusOr<QueueHealth> Ledger::Health() {
  QueueHealth health;
  {
    PT_ASSIGN_OR_RETURN(auto stmt,
                        db_.Prepare(absl::StrCat("SELECT Status, count(*) FROM SyncQueueItems "
                                                 "WHERE ",
                                                 kOpen, " GROUP BY Status")));
    while (true) {
      PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
      if (!found) break;
      const auto count = static_cast<uint32_t>(stmt.Int(1));
      if (stmt.Int(0) == 0) health.pending = count;
      if (stmt.Int(0) == 1) health.processing = count;
      if (stmt.Int(0) == 3) health.failed = count;
    }
  }
  PT_ASSIGN_OR_RETURN(auto oldest,
                      db_.Prepare("SELECT min(EnqueuedAt) FROM SyncQueueItems WHERE Status = 0"));
  PT_ASSIGN_OR_RETURN(const bool row, oldest.Step());
  if (row) health.oldest_pending_at = TimeColumn(oldest, 0);
  PT_ASSIGN_OR_RETURN(
      const int64_t open,
      db_.QueryInt("SELECT count(*) FROM SyncConflictArchives WHERE IsResolved = 0"));
  health.open_conflicts = static_cast<uint32_t>(open);
  PT_ASSIGN_OR_RETURN(const int64_t aside, db_.QueryInt("SELECT count(*) FROM SyncSetAside"));
  health.set_aside = static_cast<uint32_t>(aside);
  PT_ASSIGN_OR_RETURN(const int64_t last_sync, GetInt("last_sync_ns", 0));
  if (last_sync != 0) health.last_sync_at = FromTimeNs(last_sync);
  PT_ASSIGN_OR_RETURN(const int64_t caught_up, GetInt("caught_up", 0));
  PT_ASSIGN_OR_RETURN(const int64_t first_upload,
                      db_.QueryInt(absl::StrCat("SELECT EXISTS(SELECT 1 FROM SyncQueueItems "
                                                "WHERE ",
                                                kOpen, " AND (Flags & 8) != 0)")));
  health.initial = caught_up == 0 || first_upload != 0;
  return health;
}

absl::StatusOr<uint32_t> Ledger::CountHeld() {
  PT_ASSIGN_OR_RETURN(const int64_t held,
                      db_.QueryInt(absl::StrCat("SELECT count(*) FROM SyncQueueItems WHERE ", kOpen,
                                                " AND (Flags & 16) != 0 AND Status = 0")));
  return static_cast<uint32_t>(held);
}

absl::StatusOr<std::optional<absl::Time>> Ledger::NextDue() {
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT min(coalesce(NextAttemptAt, EnqueuedAt)) FROM "
                                  "SyncQueueItems WHERE Status = 3 AND RetryCount < MaxRetries"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return std::nullopt;
  return TimeColumn(stmt, 0);
}

absl::StatusOr<int64_t> Ledger::PruneCompleted(absl::Time before, size_t keep_max) {
  PT_ASSIGN_OR_RETURN(auto old, db_.Prepare("DELETE FROM SyncQueueItems WHERE Status IN (2, 4) AND "
                                            "CompletedAt < ?1"));
  PT_RETURN_IF_ERROR(old.Bind(1, FormatUtc(before)).Run());
  int64_t removed = db_.changes();
  PT_ASSIGN_OR_RETURN(
      auto many, db_.Prepare("DELETE FROM SyncQueueItems WHERE Status = 2 AND Id <= (SELECT Id "
                             "FROM SyncQueueItems WHERE Status = 2 ORDER BY Id DESC LIMIT 1 "
                             "OFFSET ?1)"));
  PT_RETURN_IF_ERROR(many.Bind(1, static_cast<int64_t>(keep_max)).Run());
  return removed + db_.changes();
}

}  // namespace ptdoc::sync
