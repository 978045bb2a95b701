#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/model/change.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// Numbers as in SQL (seed, "Queue Management").
enum class ItemStatus : uint8_t {
  kPending = 0,
  kProcessing = 1,
  kCompleted = 2,
  kFailed = 3,
  kCancelled = 4,
};
absl::string_view ItemStatusName(ItemStatus status);

// A keyed hash of each field of a row, by column: what the ledger remembers of
// content. Equal hashes of equal column lists mean equal rows.
struct RowHashes {
  bool absent = false;           // the row is not there (deleted)
  int64_t columns_id = 0;        // ColumnSets: which columns, in which order
  std::vector<uint64_t> hashes;  // one per column
  friend bool operator==(const RowHashes&, const RowHashes&) = default;
};

// One row of SyncQueueItems. No content.
struct QueueItem {
  int64_t id = 0;
  EntityKey key;
  Operation operation = Operation::kUpdate;
  ItemStatus status = ItemStatus::kPending;
  absl::Time enqueued_at;
  TimeNs time = kSmallestTime;  // LastModifiedUtc of the change
  int retry_count = 0;
  int max_retries = 3;
  std::string error_message;
  std::string batch_id;
  std::optional<absl::Time> next_attempt_at;
  std::optional<absl::Time> completed_at;
  bool recreated = false;  // deleted and created again under one key
  bool reoffer = false;
  bool whole = false;    // must be sent complete (BASE_UNKNOWN)
  bool initial = false;  // there before init
  bool held = false;     // a deletion that waits for a person
  int64_t drain = 0;     // the snapshot it was drained in
  // As sent, while Processing.
  RowHashes sent;
  Revision sent_base = 0;
};

// What the service is known to hold of a row. No content.
struct RowState {
  EntityKey key;
  Revision revision = 0;
  std::string check;
  TimeNs time = kSmallestTime;
  RowHashes row;  // of the row as sent or applied
  // Re-baseline: no version or answer has confirmed it yet, and its revision may
  // be of a history that is gone. Stays where an open item is to be answered.
  bool unconfirmed = false;
};

// For a note that asks for the version of this state or a newer one: 0 while
// its revision may be of a history that is gone, and never be reached again.
inline Revision ToldRevision(const RowState& state) {
  return state.unconfirmed ? 0 : state.revision;
}

struct ArchiveEntry {
  int64_t id = 0;
  std::string conflict_id;
  EntityKey key;
  std::string resolution_type;  // "ServerWins", "Cancelled", ...
  std::string rule;
  std::string reason;
  absl::Time detected_at;
  std::string archived_json;  // "null" for a deletion
  std::string chosen_json;
  std::string base_json;
  TimeNs archived_time = kSmallestTime;
  TimeNs chosen_time = kSmallestTime;
  std::string archived_user;
  std::string archived_device;
  std::string chosen_user;
  std::string chosen_device;
  bool is_resolved = false;
  std::optional<absl::Time> resolved_at;
  std::string resolved_by;
  std::string resolved_action;
};

struct StaleNote {
  EntityKey key;
  Revision revision = 0;  // newest that was seen
  bool put_back = false;  // fetch and apply even at an equal revision
  // Put back only for the columns that the app has gained: the row is as its
  // state says in those that the state knows. Less than put_back alone.
  bool backfill = false;
  // With backfill: how the row stood when its waiting edit was judged against what
  // the service holds. Else: how the row stood that is to be put back; absent = whatever it is. One
  // that is something else by then holds an edit that nobody announced.
  std::optional<RowHashes> expected = std::nullopt;
};

inline constexpr Revision kVoidRevision = -1;
inline constexpr Revision kGreatestRevision = std::numeric_limits<Revision>::max();

inline constexpr size_t kSetAsideBytesMax = 16 << 20;
// A version that the schema refuses, the newest of its entity. Holds content.
struct SetAside {
  Version version;
  std::string code;        // SQLite's code name
  std::string constraint;  // its name, or the child that it would delete
  int attempts = 0;
};

// What is about to be applied: written before the app's file is touched,
// emptied of content when finished. At most one stands unfinished.
struct Intent {
  int64_t page_number = 0;
  int64_t page_tag = 0;
  std::string kind;     // "page", "answer", "fetch", "cancel", "mark"
  std::string payload;  // encoded by the replica
};

// The agent's own file (app.db.sync): queue, states, archives, cursor,
// intents. Plain storage; the rules are the replica's. Belongs to one thread;
// people may read and write SyncQueueItems beside it with any SQLite client.
class Ledger {
 public:
  static absl::StatusOr<std::unique_ptr<Ledger>> Open(const std::string& path, bool create,
                                                      const std::string& vfs, Rng& rng);

  sqlite::Database& db() { return db_; }
  absl::StatusOr<sqlite::Transaction> Begin() {
    return sqlite::Transaction::Begin(db_, sqlite::Transaction::Kind::kWrite);
  }

  // Whether another connection has written to the file since the last look, which
  // is what this object remembers of it; what people wrote into the queue is put
  // into order then. Not inside a transaction.
  absl::StatusOr<bool> Look();

  // Moves the write-ahead log into the file, as far as nobody reads what it would
  // overwrite: when there is time for it, so that no commit has to.
  absl::Status Checkpoint();

  // Named values (device id, file id, cursor, marks, modes). Empty if absent.
  absl::StatusOr<std::string> Get(absl::string_view name);
  absl::StatusOr<int64_t> GetInt(absl::string_view name, int64_t fallback);
  absl::Status Put(absl::string_view name, absl::string_view value);
  absl::Status PutInt(absl::string_view name, int64_t value);
  // All names that begin so.
  absl::Status Drop(absl::string_view prefix);

  // Hashing of rows with this ledger's key.
  uint64_t HashOf(const Value& value) const;
  // The number of a column list (sorted), made on first use.
  absl::StatusOr<int64_t> ColumnsId(const std::vector<std::string>& columns);
  absl::StatusOr<std::vector<std::string>> ColumnsOf(int64_t columns_id);

  // Queue.
  absl::StatusOr<std::optional<QueueItem>> FindItem(int64_t id);
  // The one Pending or Failed item of an entity.
  absl::StatusOr<std::optional<QueueItem>> FindWaiting(const EntityKey& key);
  absl::StatusOr<std::optional<QueueItem>> FindProcessing(const EntityKey& key);
  absl::StatusOr<bool> HasOpenItem(const EntityKey& key);  // Pending, Processing, Failed
  absl::StatusOr<bool> HasAnyOpenItem();
  absl::StatusOr<int64_t> InsertItem(const QueueItem& item);
  absl::Status UpdateItem(const QueueItem& item);
  absl::Status DeleteItem(int64_t id);
  // Pending ones, and Failed ones that are due (RetryCount < MaxRetries and
  // NextAttemptAt <= now, or `ignore_next_attempt`), by Id, after `after_id`.
  absl::StatusOr<std::vector<QueueItem>> ListSendable(absl::Time now, bool ignore_next_attempt,
                                                      int64_t after_id, size_t limit);
  // Makes items Processing, with `sent` and `sent_base`: one batch, named by the
  // batch_id of each. What else was changed of them is the caller's to write.
  absl::Status PutBatch(std::vector<QueueItem> items);
  // Those of its items that are Processing, by Id.
  absl::StatusOr<std::vector<QueueItem>> ListBatch(const std::string& batch_id);
  absl::Status CompleteItems(std::vector<int64_t> ids, absl::Time at);
  // None of its items is Processing any more.
  absl::Status CloseBatch(const std::string& batch_id);
  // By the order of their sending.
  absl::StatusOr<std::vector<std::string>> OpenBatches();
  absl::StatusOr<std::vector<QueueItem>> ListItems(bool include_done, int64_t after_id,
                                                   size_t limit);
  absl::StatusOr<QueueHealth> Health();
  // For what accompanies each batch: of a long queue as it was some batches ago, for
  // counting a million items would cost more than sending a thousand.
  absl::StatusOr<QueueHealth> RecentHealth();
  absl::StatusOr<uint32_t> CountHeld();
  // Pending ones that wait for a person, by Id.
  absl::StatusOr<std::vector<QueueItem>> ListHeld(int64_t after_id, size_t limit);
  absl::StatusOr<std::optional<absl::Time>> NextDue();
  absl::StatusOr<int64_t> PruneCompleted(absl::Time before, size_t keep_max);

  // States.
  absl::StatusOr<std::optional<RowState>> FindState(const EntityKey& key);
  absl::Status PutState(const RowState& state);
  // False, changing nothing, if there is one of this key.
  absl::StatusOr<bool> InsertState(const RowState& state);
  absl::Status DeleteState(const EntityKey& key);
  absl::StatusOr<std::vector<RowState>> ListStates(absl::string_view type,
                                                   absl::string_view after_id, size_t limit);
  // Those that the service has (revision > 0) and that are not deleted.
  absl::StatusOr<int64_t> CountLive(absl::string_view type);
  // All with revision > 0. The revisions of stale notes become 0, and those of
  // set-aside versions kVoidRevision: they may be of a history that is gone, and
  // whatever is told anew counts for more.
  absl::Status MarkAllUnconfirmed();
  absl::StatusOr<bool> HasUnconfirmed();
  // Those without an open item, and without a version that was told since but is
  // set aside: the service holds that one.
  absl::StatusOr<std::vector<RowState>> ListUnconfirmed(size_t limit);
  // Set-aside versions that were not told anew, but for those of open items. What
  // the service holds of these entities is asked for: their rows stand as sent.
  absl::Status DropVoidSetAside();

  // Archives.
  absl::StatusOr<int64_t> PutArchive(const ArchiveEntry& entry);  // once per ConflictId
  absl::StatusOr<std::optional<ArchiveEntry>> FindArchive(absl::string_view conflict_or_id);
  absl::StatusOr<std::vector<ArchiveEntry>> ListArchives(bool include_resolved, int64_t after_id,
                                                         size_t limit);
  absl::Status ResolveArchive(absl::string_view conflict_or_id, absl::Time at, absl::string_view by,
                              absl::string_view action);
  absl::StatusOr<int64_t> PruneArchives(absl::Time before);  // resolved ones only

  // Stale notes and set-aside versions.
  // The greater revision stays, and what asks for more.
  absl::Status NoteStale(const StaleNote& note);
  absl::StatusOr<std::optional<StaleNote>> FindStale(const EntityKey& key);
  absl::Status ClearStale(const EntityKey& key);
  // Without an open item; of those to be backfilled also with one that waits, as
  // long as nobody has looked (`expected`).
  absl::StatusOr<std::vector<StaleNote>> ListFetchable(size_t limit);
  absl::StatusOr<uint32_t> CountStale();  // without those to be backfilled
  absl::StatusOr<uint32_t> CountBackfill();
  absl::Status PutSetAside(const SetAside& entry);  // the greater revision stays
  // A version above `up_to` stays: what was applied is older than it.
  absl::Status ClearSetAside(const EntityKey& key, Revision up_to = kGreatestRevision);
  absl::StatusOr<std::optional<SetAside>> FindSetAside(const EntityKey& key);
  // Those that were tried least often; fewer than `limit` where their contents pass
  // kSetAsideBytesMax.
  absl::StatusOr<std::vector<SetAside>> ListSetAside(size_t limit);
  // Whether a deletion waits for anything but an edit that it would take along.
  absl::StatusOr<bool> HasRefusedDeletion();
  absl::StatusOr<uint32_t> CountSetAside();

  // Local integers that rows had which are gone: the last row of each.
  struct GoneNumber {
    EntityKey key;
    int64_t local_id = 0;
  };
  absl::Status NoteGoneNumber(const GoneNumber& gone);
  // Whose an integer was; the integer that a row had (the greatest); and the greatest of
  // a type.
  absl::StatusOr<std::optional<std::string>> OwnerOfGone(absl::string_view type, int64_t local_id);
  absl::StatusOr<std::optional<int64_t>> GoneNumberOf(const EntityKey& key);
  absl::StatusOr<std::optional<int64_t>> GreatestGone(absl::string_view type);
  absl::StatusOr<std::vector<GoneNumber>> ListGone();
  absl::Status ForgetGone(const GoneNumber& gone);

  // Intents.
  absl::StatusOr<std::optional<Intent>> OpenIntent();
  absl::Status PutIntent(const Intent& intent);
  // Removes the intent; its page mark is remembered as the last one finished.
  absl::Status FinishIntent(const Intent& intent);
  absl::Status DropIntent(const Intent& intent);

  // Recovery: empties items, stale notes, set-aside versions, states, cursor.
  absl::Status ForgetEverythingSynced();
  // Of a type that has left: stale notes, set-aside versions, and the states of
  // rows without an open item. What waits says `why`, and is not tried by itself.
  absl::Status ForgetType(absl::string_view type, absl::string_view why);

 private:
  explicit Ledger(sqlite::Database db) : db_(std::move(db)) {}

  // The number of a type name, made on first use.
  absl::StatusOr<int64_t> TypeId(absl::string_view type);
  // The value of a name; null if it has none.
  absl::StatusOr<const Value*> Read(absl::string_view name);
  absl::Status Write(absl::string_view name, const Value& value);
  // Nothing that was rolled back is remembered.
  void ForgetRolledBack();
  void ForgetAll();

  // Ids from `first` to `last`.
  struct IdRun {
    int64_t first;
    int64_t last;
  };
  // What an item was sent with.
  struct Sent {
    RowHashes row;
    Revision base;
  };
  using SentItems = absl::flat_hash_map<int64_t, Sent>;
  static std::vector<IdRun> RunsOf(std::vector<int64_t> ids);
  absl::StatusOr<const SentItems*> SentOf(const std::string& batch_id);
  // Of an item that is written by itself its batch must be read again.
  void ForgetBatchesOf(int64_t first_id, int64_t last_id);
  absl::StatusOr<std::vector<IdRun>> RunsOfBatch(const std::string& batch_id);
  absl::Status FillSent(QueueItem* item);
  absl::Status ReadItems(sqlite::Statement& stmt, std::vector<QueueItem>* items);
  absl::Status ReadRun(const IdRun& run, absl::string_view batch_id, std::vector<QueueItem>* items);
  absl::StatusOr<std::vector<QueueItem>> Items(sqlite::Statement stmt);
  absl::StatusOr<std::optional<QueueItem>> OneItem(sqlite::Statement stmt);
  absl::StatusOr<uint32_t> CountProcessing();
  absl::Status Mend();
  // Whether a table has any row, as remembered in `known`.
  absl::StatusOr<bool> HasRows(std::optional<bool>* known, const char* sql);

  sqlite::Database db_;
  SipKey hash_key_{};
  // What the file holds, as far as it was read or written since the last rollback
  // and since somebody else wrote to it.
  std::map<std::string, int64_t> columns_ids_;
  std::map<std::string, int64_t, std::less<>> type_ids_;
  std::map<std::string, Value, std::less<>> values_;
  bool no_intent_ = false;
  std::optional<bool> has_open_;
  std::optional<bool> has_stale_;
  std::optional<bool> has_set_aside_;
  std::optional<bool> has_gone_;
  std::map<std::string, SentItems> sent_;  // of open batches
  // The items of open batches as PutBatch wrote them, each for one ListBatch.
  std::map<std::string, std::vector<QueueItem>> batch_items_;
  std::optional<QueueHealth> health_;
  uint32_t health_uses_ = 0;   // that it is still good for
  int64_t rollbacks_ = 0;      // of the connection, when they were last forgotten
  int64_t data_version_ = -1;  // at the last look
};

}  // namespace ptdoc::sync
