// From the capture log into the queue.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/gone_numbers.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

constexpr char kDrainedSchema[] = "drained_schema";
constexpr char kDrainGoesOn[] = "drain_goes_on";  // 1: the last one took part of the log

}  // namespace

// What the log says of one entity, in the order of its rows. Hints: what is
// sent is read from the row itself.
struct ReplicaImpl::Hint {
  EntityKey key;
  bool stamped = false;  // the table has columns that a trigger stamps
  bool inserted = false;
  bool only_inserted = false;  // nothing but one insert (and its stamp)
  bool one_statement = false;  // nothing but what one insert can have logged
  bool deleted_last = false;
  std::optional<TimeNs> time;  // of the last edit; absent: only touched
};

// What a stretch of the log says.
struct ReplicaImpl::Hints {
  std::vector<Hint> of_rows;
  bool bad_key = false;        // rows that cannot be named
  bool lost_row = false;       // a row went that nobody can name any more
  bool renamed = false;        // rows that others refer to by local integers have another key
  bool parent_came = false;    // one that others may have waited for
  std::optional<LogRow> last;  // of the stretch before
};

namespace {

bool HasStamps(const TablePlan& plan) {
  return !plan.config.last_modified_column.empty() || !plan.config.modified_by_column.empty() ||
         !plan.config.sync_state_column.empty();
}

}  // namespace

absl::Status ReplicaImpl::CheckSnapshot(sqlite::Database& db) {
  const absl::Status changed = absl::AbortedError("the app's file changed meanwhile");
  PT_ASSIGN_OR_RETURN(const int64_t version, db.QueryInt("PRAGMA schema_version"));
  if (version != schema_version_) return changed;
  const absl::StatusOr<ControlRow> control = ReadControl(db);
  if (absl::IsNotFound(control.status())) return changed;
  PT_RETURN_IF_ERROR(control.status());
  PT_ASSIGN_OR_RETURN(const int64_t page_tag, ledger_->GetInt("page_tag", 0));
  return control->page_tag == page_tag ? absl::OkStatus() : changed;
}

absl::StatusOr<DrainReport> ReplicaImpl::Drain() {
  DrainReport report;
  PT_ASSIGN_OR_RETURN(report.file, Ready());
  report.problems = problems_;
  if (report.file != FileState::kReady) return report;
  report.file = News();
  report.recovery_begun = report.file == FileState::kRecovering;
  if (report.recovery_begun || Recovering()) return report;
  PT_ASSIGN_OR_RETURN(report.file, ReadyToJudge(/*drain=*/false));
  if (report.file != FileState::kReady) return report;
  const absl::Status status = DrainSome(&report);
  if (status.ok()) return report;
  const std::optional<FileState> in_the_way = FileStateOf(status);
  if (!in_the_way.has_value()) return status;
  report = DrainReport();
  report.file = *in_the_way;
  return report;
}

absl::Status ReplicaImpl::DrainNow() {
  DrainReport report;
  do {
    PT_RETURN_IF_ERROR(DrainSome(&report));
  } while (report.more);
  return absl::OkStatus();
}

// Up to drain_rows_max rows where more wait: an import of a million would hold up
// everything else, and hold both files' write-ahead logs at their full length.
absl::Status ReplicaImpl::DrainSome(DrainReport* report) {
  PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
  PT_ASSIGN_OR_RETURN(const bool is_long, IsLogLong());
  report->more = is_long;
  PT_RETURN_IF_ERROR(is_long ? DrainIn(*snapshot_, report, options_.drain_rows_max)
                             : DrainIn(*snapshot_, report));
  PT_RETURN_IF_ERROR(At("drained"));
  return tx.Commit();
}

// True if the log may be drained in parts: not right after a change of the schema, whose
// deletions are counted together, nor where rows are known by local integers, which
// only all of the log explains.
absl::StatusOr<bool> ReplicaImpl::IsLogLong() {
  if (Recovering()) return false;
  for (const TablePlan& plan : plan_.tables) {
    if (plan.logs_local_key || !plan.translations.empty()) return false;
  }
  PT_ASSIGN_OR_RETURN(const int64_t schema, ledger_->GetInt(kDrainedSchema, -1));
  if (schema != schema_version_) return false;
  PT_ASSIGN_OR_RETURN(const LogMark drained, GetMark("drained"));
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*snapshot_));
  return last.seq - drained.seq > options_.drain_rows_max;
}

absl::Status ReplicaImpl::DrainIn(sqlite::Database& db, DrainReport* report, int64_t rows_max) {
  if (Recovering()) return absl::OkStatus();
  PT_RETURN_IF_ERROR(LoadUnanswered());
  PT_ASSIGN_OR_RETURN(LogMark mark, GetMark("drained"));
  PT_ASSIGN_OR_RETURN(int64_t drain, ledger_->GetInt("drain", 0));
  const LogMark before = mark;
  std::vector<EntityKey> deleted;
  const GoneNumbers gone(*ledger_);
  LogKeys keys(db, plan_, mark.seq);
  keys.set_gone(&gone);
  Hints hints;
  // The parts of one long log count as one: what the app committed together waits together.
  const bool goes_on = rows_max != std::numeric_limits<int64_t>::max();
  PT_ASSIGN_OR_RETURN(const int64_t went_on, ledger_->GetInt(kDrainGoesOn, 0));
  if (went_on == 0 || PT_PLANTED("the parts of a log count as many")) ++drain;
  const size_t chunk = static_cast<size_t>(std::min<int64_t>(kLogChunkRows, rows_max));
  for (int64_t taken = 0; taken < rows_max; taken += static_cast<int64_t>(chunk)) {
    PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows, ReadLog(db, plan_, mark.seq, chunk));
    if (rows.empty()) break;
    hints.of_rows.clear();
    PT_RETURN_IF_ERROR(CollectHints(db, rows, keys, &hints));
    for (const Hint& hint : hints.of_rows) {
      if (!hint.time.has_value()) {
        PT_ASSIGN_OR_RETURN(const bool noted, DrainTouched(db, hint.key));
        report->touched |= noted;
        continue;
      }
      PT_RETURN_IF_ERROR(DrainEdit(hint, drain));
      ++report->items;
      if (hint.deleted_last) deleted.push_back(hint.key);
    }
    report->log_rows += static_cast<int64_t>(rows.size());
    mark = {rows.back().seq, rows.back().tag};
    if (rows.size() < chunk) break;
  }
  PT_RETURN_IF_ERROR(NoticeSilentCommit(report->log_rows));
  if (mark == before) return RememberFirstSchema();
  if (hints.bad_key) {
    report->problems.push_back(
        "Rows with NULL in their key, with a key above 1 KiB, or with one that refers to a row "
        "which is not there, are not synced (INVALID_KEY).");
  }
  if (hints.lost_row || hints.renamed) PT_RETURN_IF_ERROR(WantComparison());
  if (hints.parent_came) PT_RETURN_IF_ERROR(RetryDangling());
  PT_RETURN_IF_ERROR(HoldMassDeletions(db, deleted));
  if (report->items > 0) PT_RETURN_IF_ERROR(ledger_->PutInt("drain", drain));
  if (goes_on != (went_on != 0)) PT_RETURN_IF_ERROR(ledger_->PutInt(kDrainGoesOn, goes_on ? 1 : 0));
  return PutMark("drained", mark);
}

// The update of a stamp belongs to its insert: one statement, one time. It can
// be logged before the insert, because SQLite fires the newest trigger first.
void ReplicaImpl::NoteLogRow(const LogRow& row, Hint* hint) {
  const bool first = !hint->time.has_value();
  const bool goes_on = hint->one_statement && hint->stamped && hint->time == row.time;
  const bool second_insert = row.op == 'I' && hint->inserted;
  hint->one_statement = (first || goes_on) && row.op != 'D' && !second_insert;
  hint->inserted |= row.op == 'I';
  hint->only_inserted = hint->one_statement && hint->inserted;
  hint->deleted_last = row.op == 'D';
  hint->time = row.time;
}

// Two log rows of one statement: a row that others refer to got another key, and
// with it what they say, though nobody wrote to them.
bool ReplicaImpl::IsNewKey(const LogRow& before, const LogRow& row) {
  return before.table == row.table && before.op == 'D' && row.op == 'I' &&
         before.seq + 1 == row.seq && before.time == row.time && row.time.has_value();
}

absl::Status ReplicaImpl::RetryDangling() {
  return ledger_->db().Exec(
      absl::StrCat("UPDATE SyncQueueItems SET Status = 0, RetryCount = 0, ErrorMessage = NULL "
                   "WHERE Status = 3 AND ErrorMessage GLOB '",
                   kDangling, "*'"));
}

absl::Status ReplicaImpl::CollectHints(sqlite::Database& db, const std::vector<LogRow>& rows,
                                       LogKeys& keys, Hints* hints) {
  absl::flat_hash_map<EntityKey, size_t> known;
  for (const LogRow& row : rows) {
    const TablePlan* plan = plan_.ByNumber(row.table);
    Table* table = plan == nullptr || row.key.empty() ? nullptr : TableOf(plan->type);
    if (table == nullptr) continue;
    if (table->is_translated_to) {
      hints->parent_came |= row.op != 'D';
      hints->renamed |= hints->last.has_value() && IsNewKey(*hints->last, row);
      hints->last = row;
    }
    PT_ASSIGN_OR_RETURN(LogKeys::Name name, keys.NameOf(row));
    hints->bad_key |= name.verdict == LogKeys::Verdict::kInvalid;
    hints->lost_row |= name.verdict == LogKeys::Verdict::kGone;
    if (name.verdict != LogKeys::Verdict::kKnown) continue;
    if (row.op == 'D') {
      PT_RETURN_IF_ERROR(NoteGoneNumber(db, *table, *ledger_, name.id, row.local_key));
    }
    EntityKey key{table->type(), std::move(name.id)};
    const auto [at, is_new] = known.try_emplace(key, hints->of_rows.size());
    if (is_new) {
      hints->of_rows.push_back({});
      hints->of_rows.back().key = std::move(key);
      hints->of_rows.back().stamped = HasStamps(table->plan);
    }
    Hint& hint = hints->of_rows[at->second];
    if (!row.time.has_value()) continue;
    NoteLogRow(row, &hint);
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::DrainEdit(const Hint& hint, int64_t drain) {
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> waiting, ledger_->FindWaiting(hint.key));
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(hint.key));
  const bool known = state.has_value() && state->revision > 0;
  QueueItem item = waiting.value_or(QueueItem());
  if (hint.deleted_last) {
    item.operation = Operation::kDelete;
  } else if (!known && !waiting.has_value() && hint.only_inserted) {
    item.operation = Operation::kCreate;
  } else {
    item.operation = Operation::kUpdate;
  }
  item.key = hint.key;
  item.status = ItemStatus::kPending;
  item.enqueued_at = clock_.Now();
  item.time = *hint.time;
  item.retry_count = 0;
  item.max_retries = options_.max_retries;
  item.error_message.clear();
  item.next_attempt_at.reset();
  item.batch_id.clear();
  item.held = false;
  item.initial = false;
  item.drain = drain;
  item.recreated |= hint.inserted && known && !state->row.absent;
  const auto unanswered = unanswered_.find(hint.key);
  if (unanswered != unanswered_.end()) unanswered->second = drain;
  return waiting.has_value() ? ledger_->UpdateItem(item) : ledger_->InsertItem(item).status();
}

// A row that was written while versions were applied, without being one of
// them (or before a crash hid that it was). If it is not what its state says,
// the service's version is put back (true: it is to be fetched). The base stays known: an edit that
// the app makes before then is sent on it, and tells what it changed.
absl::StatusOr<bool> ReplicaImpl::DrainTouched(sqlite::Database& db, const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(key));
  if (open) return false;
  Table& table = *TableOf(key.type);
  PT_ASSIGN_OR_RETURN(const std::vector<Value> values, table.KeyFromId(key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, values));
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
  if (!state.has_value()) {
    if (!row.absent) PT_RETURN_IF_ERROR(EnqueueFound(key, state, row));
    return false;
  }
  PT_ASSIGN_OR_RETURN(const bool same, SameRow(table, *ledger_, state->row, row));
  if (same) return false;
  PT_REACHED("a touched row is fetched");
  PT_RETURN_IF_ERROR(ledger_->NoteStale({key, ToldRevision(*state), true, false, row.hashes}));
  return true;
}

// The first deletions that the app makes may come with a change of the schema, too.
absl::Status ReplicaImpl::RememberFirstSchema() {
  PT_ASSIGN_OR_RETURN(const int64_t schema, ledger_->GetInt(kDrainedSchema, -1));
  return schema < 0 ? ledger_->PutInt(kDrainedSchema, schema_version_) : absl::OkStatus();
}

// Deletions that come together with a change of the schema are a migration's
// more often than a person's: many of one type wait for consent.
absl::Status ReplicaImpl::HoldMassDeletions(sqlite::Database& db,
                                            const std::vector<EntityKey>& deleted) {
  PT_ASSIGN_OR_RETURN(const int64_t schema, ledger_->GetInt(kDrainedSchema, -1));
  if (schema == schema_version_) return absl::OkStatus();
  PT_RETURN_IF_ERROR(ledger_->PutInt(kDrainedSchema, schema_version_));
  if (schema < 0) return absl::OkStatus();
  std::map<std::string, std::vector<EntityKey>> by_type;
  for (const EntityKey& key : deleted) {
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
    if (!state.has_value() || state->revision == 0) continue;
    Table& table = *TableOf(key.type);
    PT_ASSIGN_OR_RETURN(const std::vector<Value> values, table.KeyFromId(key.id));
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, values));
    if (row.absent) by_type[key.type].push_back(key);
  }
  for (const auto& [type, keys] : by_type) {
    PT_ASSIGN_OR_RETURN(const bool many, IsMassDeletion(type, keys.size()));
    if (!many) continue;
    for (const EntityKey& key : keys) PT_RETURN_IF_ERROR(HoldDeletion(key));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::IsMassDeletion(const std::string& type, size_t count) {
  if (count <= kBrakeRows) return false;
  PT_ASSIGN_OR_RETURN(const int64_t live, CountLiveStates(type));
  return static_cast<int64_t>(count) * 100 > live * kBrakePercent;
}

absl::Status ReplicaImpl::HoldDeletion(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindWaiting(key));
  if (!item.has_value()) return absl::OkStatus();
  item->held = true;
  item->operation = Operation::kDelete;
  item->error_message =
      "HELD_DELETE: many rows of this type went at once. Nothing was deleted on the service. "
      "Confirm with: device-agent queue confirm";
  return ledger_->UpdateItem(*item);
}

absl::Status ReplicaImpl::EnqueueFound(const EntityKey& key, const std::optional<RowState>& state,
                                       const Row& row) {
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> waiting, ledger_->FindWaiting(key));
  if (waiting.has_value()) return absl::OkStatus();
  QueueItem item;
  item.key = key;
  item.operation = row.absent                                 ? Operation::kDelete
                   : state.has_value() && state->revision > 0 ? Operation::kUpdate
                                                              : Operation::kCreate;
  item.enqueued_at = clock_.Now();
  item.max_retries = options_.max_retries;
  // Never "now": when it was made nobody knows, only that it came after its base.
  item.time = state.has_value() ? state->time + 1 : kSmallestTime;
  if (row.stamp > kSmallestTime) item.time = std::max(item.time, row.stamp);
  // What it was when its type left nobody knows: it may be merely old.
  item.reoffer = !state.has_value() && rejoining_.contains(key.type) &&
                 !PT_PLANTED("rows of a type that comes back are taken for new");
  PT_RETURN_IF_ERROR(ledger_->PutInt("found", 1));
  return ledger_->InsertItem(item).status();
}

}  // namespace ptdoc::sync
