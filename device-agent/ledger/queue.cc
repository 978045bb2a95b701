// The queue's part of the ledger: plain storage of SyncQueueItems.
#include <algorithm>
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

bool IsOpen(ItemStatus status) {
  return status != ItemStatus::kCompleted && status != ItemStatus::kCancelled;
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

// What was sent is filled in by Items().
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
  // The index of open items goes by it.
  if (IsOpen(item.status)) {
    stmt.BindNull(12);
  } else {
    stmt.Bind(12, FormatUtc(item.completed_at.value_or(item.enqueued_at)));
  }
  stmt.Bind(13, item.time).Bind(14, FlagsOf(item)).Bind(15, item.drain);
  if (item.status == ItemStatus::kProcessing) {
    stmt.BindBlob(16, EncodeRowHashes(item.sent)).Bind(17, item.sent_base);
  } else {
    stmt.BindNull(16).BindNull(17);
  }
}

// What is over stays for a day. A query for what is open says so in the words of
// the partial indexes, or it does not use them and reads the whole past. The
// statuses count beside: people write them by hand.
constexpr char kOfEntity[] =
    "WHERE EntityType = ?1 AND EntityId = ?2 AND CompletedAt IS NULL AND +Status ";

// So many items may be counted for each batch that is sent.
constexpr uint32_t kCountedForEachBatch = 5'000;

std::string Select(absl::string_view tail) {
  return absl::StrCat("SELECT ", kColumns, " FROM SyncQueueItems ", tail);
}

}  // namespace

absl::Status Ledger::ReadItems(sqlite::Statement& stmt, std::vector<QueueItem>* items) {
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return absl::OkStatus();
    PT_ASSIGN_OR_RETURN(QueueItem item, ReadItem(stmt));
    if (item.status == ItemStatus::kProcessing && stmt.IsNull(15)) {
      PT_RETURN_IF_ERROR(FillSent(&item));
    }
    items->push_back(std::move(item));
  }
}

absl::StatusOr<std::vector<QueueItem>> Ledger::Items(sqlite::Statement stmt) {
  std::vector<QueueItem> items;
  PT_RETURN_IF_ERROR(ReadItems(stmt, &items));
  return items;
}

absl::StatusOr<std::optional<QueueItem>> Ledger::OneItem(sqlite::Statement stmt) {
  PT_ASSIGN_OR_RETURN(std::vector<QueueItem> items, Items(std::move(stmt)));
  if (items.empty()) return std::nullopt;
  return std::move(items.front());
}

absl::Status Ledger::ReadRun(const IdRun& run, absl::string_view batch_id,
                             std::vector<QueueItem>* items) {
  static const std::string& sql = *new std::string(
      Select("WHERE Id BETWEEN ?1 AND ?2 AND +Status = 1 AND BatchId = ?3 ORDER BY Id"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, run.first).Bind(2, run.last).Bind(3, batch_id);
  return ReadItems(stmt, items);
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindItem(int64_t id) {
  static const std::string& sql = *new std::string(Select("WHERE Id = ?1"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, id);
  return OneItem(std::move(stmt));
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindWaiting(const EntityKey& key) {
  static const std::string& sql =
      *new std::string(Select(absl::StrCat(kOfEntity, "IN (0, 3) ORDER BY Id LIMIT 1")));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, key.type).Bind(2, key.id);
  return OneItem(std::move(stmt));
}

absl::StatusOr<std::optional<QueueItem>> Ledger::FindProcessing(const EntityKey& key) {
  static const std::string& sql =
      *new std::string(Select(absl::StrCat(kOfEntity, "= 1 ORDER BY Id LIMIT 1")));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, key.type).Bind(2, key.id);
  return OneItem(std::move(stmt));
}

absl::StatusOr<bool> Ledger::HasOpenItem(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool any, HasAnyOpenItem());
  if (!any) return false;
  static const std::string& sql = *new std::string(
      absl::StrCat("SELECT 1 FROM SyncQueueItems ", kOfEntity, "IN (0, 1, 3) LIMIT 1"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  return stmt.Bind(1, key.type).Bind(2, key.id).Step();
}

absl::StatusOr<bool> Ledger::HasAnyOpenItem() {
  return HasRows(&has_open_,
                 "SELECT EXISTS(SELECT 1 FROM SyncQueueItems WHERE CompletedAt IS NULL AND "
                 "+Status IN (0, 1, 3))");
}

absl::StatusOr<int64_t> Ledger::InsertItem(const QueueItem& item) {
  has_open_.reset();
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
  has_open_.reset();
  ForgetBatchesOf(item.id, item.id);
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
  ForgetBatchesOf(id, id);
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("DELETE FROM SyncQueueItems WHERE Id = ?1"));
  return stmt.Bind(1, id).Run();
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListSendable(absl::Time now,
                                                            bool ignore_next_attempt,
                                                            int64_t after_id, size_t limit) {
  // Read apart, each in the order of its part of the index, and merged: one OR would
  // sort a million rows.
  static const std::string& pending_sql =
      *new std::string(Select("WHERE Status = 0 AND Id > ?1 ORDER BY Id LIMIT ?2"));
  static const std::string& failed_sql = *new std::string(
      Select("WHERE Status = 3 AND Id > ?1 AND RetryCount < MaxRetries AND (?3 OR NextAttemptAt IS "
             "NULL OR NextAttemptAt <= ?4) ORDER BY Id LIMIT ?2"));
  std::vector<QueueItem> items;
  PT_ASSIGN_OR_RETURN(auto pending, db_.Prepare(pending_sql));
  pending.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit));
  PT_RETURN_IF_ERROR(ReadItems(pending, &items));
  const size_t pending_count = items.size();
  PT_ASSIGN_OR_RETURN(auto failed, db_.Prepare(failed_sql));
  failed.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit)).Bind(3, ignore_next_attempt);
  failed.Bind(4, FormatUtc(now));
  PT_RETURN_IF_ERROR(ReadItems(failed, &items));
  // Mostly none has failed.
  if (items.size() == pending_count) return items;
  std::sort(items.begin(), items.end(),
            [](const QueueItem& a, const QueueItem& b) { return a.id < b.id; });
  if (items.size() > limit) items.resize(limit);
  return items;
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListItems(bool include_done, int64_t after_id,
                                                         size_t limit) {
  static const std::string& all = *new std::string(Select("WHERE Id > ?1 ORDER BY Id LIMIT ?2"));
  static const std::string& open =
      *new std::string(Select("WHERE Id > ?1 AND Status IN (0, 1, 3) ORDER BY Id LIMIT ?2"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(include_done ? all : open));
  stmt.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit));
  return Items(std::move(stmt));
}

absl::StatusOr<QueueHealth> Ledger::Health() {
  QueueHealth health;
  {
    PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Status, count(*) FROM SyncQueueItems WHERE "
                                               "Status = 0 OR Status = 3 GROUP BY Status"));
    while (true) {
      PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
      if (!found) break;
      (stmt.Int(0) == 0 ? health.pending : health.failed) = static_cast<uint32_t>(stmt.Int(1));
    }
  }
  PT_ASSIGN_OR_RETURN(health.processing, CountProcessing());
  PT_ASSIGN_OR_RETURN(auto oldest,
                      db_.Prepare("SELECT min(EnqueuedAt) FROM SyncQueueItems WHERE Status = 0"));
  PT_ASSIGN_OR_RETURN(const bool row, oldest.Step());
  if (row) health.oldest_pending_at = TimeColumn(oldest, 0);
  PT_ASSIGN_OR_RETURN(
      const int64_t open,
      db_.QueryInt("SELECT count(*) FROM SyncConflictArchives WHERE IsResolved = 0"));
  health.open_conflicts = static_cast<uint32_t>(open);
  PT_ASSIGN_OR_RETURN(health.set_aside, CountSetAside());
  PT_ASSIGN_OR_RETURN(const int64_t last_sync, GetInt("last_sync_ns", 0));
  if (last_sync != 0) health.last_sync_at = FromTimeNs(last_sync);
  PT_ASSIGN_OR_RETURN(const int64_t caught_up, GetInt("caught_up", 0));
  PT_ASSIGN_OR_RETURN(const int64_t first_upload,
                      db_.QueryInt("SELECT EXISTS(SELECT 1 FROM SyncQueueItems WHERE (Flags & 8) "
                                   "!= 0 AND CompletedAt IS NULL AND +Status IN (0, 1, 3))"));
  health.initial = caught_up == 0 || first_upload != 0;
  return health;
}

absl::StatusOr<QueueHealth> Ledger::RecentHealth() {
  ForgetRolledBack();
  if (health_.has_value() && health_uses_ > 0) {
    --health_uses_;
    return *health_;
  }
  PT_ASSIGN_OR_RETURN(health_, Health());
  health_uses_ = (health_->pending + health_->failed) / kCountedForEachBatch;
  return *health_;
}

absl::StatusOr<uint32_t> Ledger::CountHeld() {
  PT_ASSIGN_OR_RETURN(const int64_t held,
                      db_.QueryInt("SELECT count(*) FROM SyncQueueItems WHERE (Flags & 16) != 0 "
                                   "AND CompletedAt IS NULL AND +Status = 0"));
  return static_cast<uint32_t>(held);
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListHeld(int64_t after_id, size_t limit) {
  static const std::string& sql = *new std::string(
      Select("WHERE (Flags & 16) != 0 AND CompletedAt IS NULL AND +Status = 0 AND +Id > ?1 ORDER "
             "BY Id LIMIT ?2"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, after_id).Bind(2, static_cast<int64_t>(limit));
  return Items(std::move(stmt));
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
