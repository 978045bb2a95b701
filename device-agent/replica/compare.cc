// Rows against states, by hash: finds what no trigger announced.
#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/gone_numbers.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

namespace {

constexpr absl::Duration kScanDelayMin = absl::Minutes(1);
constexpr absl::Duration kScanDebounce = absl::Seconds(1);
// After a slice, in multiples of what it took: 2 % of a core.
constexpr int kScanPause = 49;
// Value of "compare" in the ledger; 1: once.
constexpr int64_t kCompareTwice = 2;

}  // namespace

// One that is under way has rows behind it: a scan begins anew, and what was wanted
// before is done once more.
absl::Status ReplicaImpl::WantComparison() {
  const bool again = comparison_ != nullptr && comparison_->wanted;
  return ledger_->PutInt("compare", again ? kCompareTwice : 1);
}

absl::Status ReplicaImpl::CompareAll() {
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, CompareSlice());
    if (!more) return absl::OkStatus();
  }
}

absl::StatusOr<bool> ReplicaImpl::CompareSlice() {
  if (PT_PLANTED("rows are not compared")) {
    PT_RETURN_IF_ERROR(ledger_->PutInt("compare", 0));
    return false;
  }
  PT_ASSIGN_OR_RETURN(const int64_t wanted, ledger_->GetInt("compare", 0));
  if (comparison_ != nullptr && wanted != 0 && !comparison_->wanted) comparison_.reset();
  if (comparison_ == nullptr) {
    comparison_ = std::make_unique<Comparison>();
    comparison_->wanted = wanted != 0;
    for (const Table* table : ParentsFirst()) comparison_->types.push_back(table->type());
  }
  // What it found is gone with a transaction that fails: so is how far it came.
  Comparison before = *comparison_;
  absl::Cleanup step_back = [&] { *comparison_ = std::move(before); };
  PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
  PT_RETURN_IF_ERROR(LoadUnanswered());
  // What the log announces is no find.
  DrainReport drained;
  PT_RETURN_IF_ERROR(DrainIn(*snapshot_, &drained));
  if (comparison_->at == comparison_->types.size()) {
    PT_RETURN_IF_ERROR(PruneGoneNumbers(*snapshot_, *ledger_, tables_));
    PT_RETURN_IF_ERROR(NoteCompared());
    PT_RETURN_IF_ERROR(tx.Commit());
    if (comparison_->found > 0) {
      Log(LogLevel::kInfo, "replica.compared", {LogField::Count("found", comparison_->found)});
    }
    std::move(step_back).Cancel();
    comparison_.reset();
    return false;
  }
  Table& table = *TableOf(comparison_->types[comparison_->at]);
  PT_RETURN_IF_ERROR(comparison_->rows_done ? CompareStates(*snapshot_, table)
                                            : CompareRows(*snapshot_, table));
  PT_RETURN_IF_ERROR(At("compared"));
  PT_RETURN_IF_ERROR(tx.Commit());
  std::move(step_back).Cancel();
  return true;
}

absl::Status ReplicaImpl::NoteCompared() {
  if (!comparison_->wanted) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t wanted, ledger_->GetInt("compare", 0));
  return ledger_->PutInt("compare", wanted == kCompareTwice ? 1 : 0);
}

absl::Status ReplicaImpl::CompareRows(sqlite::Database& db, Table& table) {
  PT_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                      ReadSlice(db, table, *ledger_, comparison_->after, kSliceRows));
  for (const Row& row : rows) {
    comparison_->after = table.LocalKeyOf(row);
    absl::StatusOr<std::string> id = table.IdOf(table.KeyOf(row.values));
    if (!id.ok()) continue;
    PT_RETURN_IF_ERROR(CompareRow({table.type(), *std::move(id)}, table, row));
  }
  comparison_->rows_done = rows.empty();
  return absl::OkStatus();
}

absl::Status ReplicaImpl::CompareRow(const EntityKey& key, Table& table, const Row& row) {
  PT_ASSIGN_OR_RETURN(std::optional<RowState> state, ledger_->FindState(key));
  const bool as_known = state.has_value() && state->row.columns_id == row.hashes.columns_id &&
                        state->row == row.hashes;
  // Of a row that is being sent the state tells what it was before.
  const bool sends = unanswered_.contains(key) && !PT_PLANTED("what is being sent is not compared");
  if (as_known && !sends) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> waiting, ledger_->FindWaiting(key));
  if (waiting.has_value()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> sending, ledger_->FindProcessing(key));
  if (sending.has_value()) {
    PT_ASSIGN_OR_RETURN(const bool as_sent, SameRow(table, *ledger_, sending->sent, row));
    if (as_sent) return absl::OkStatus();
    if (!state.has_value()) state = RowState{key, 0, "", sending->time, {}, false};
    state->time = std::max(state->time, sending->time);
  } else if (as_known) {
    return absl::OkStatus();
  } else if (state.has_value()) {
    PT_ASSIGN_OR_RETURN(const bool goes, GoesAnyway(key, table, row));
    if (goes) return absl::OkStatus();
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(table, *ledger_, state->row, row));
    // Only the columns are others than then: what was dropped so far is fetched.
    if (same) return ledger_->NoteStale({key, ToldRevision(*state), true, true});
  }
  PT_REACHED("a comparison found an edit");
  return EnqueueCompared(key, state, row);
}

absl::StatusOr<bool> ReplicaImpl::IsGone(sqlite::Database& db, Table& table,
                                         const RowState& state) {
  const bool sends =
      unanswered_.contains(state.key) && !PT_PLANTED("what is being sent is not compared");
  if (state.row.absent && !sends) return false;
  const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(state.key.id);
  if (!key.ok()) return false;
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, *key));
  if (!row.absent) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> waiting, ledger_->FindWaiting(state.key));
  if (waiting.has_value()) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> sending, ledger_->FindProcessing(state.key));
  if (sending.has_value()) return !sending->sent.absent;
  if (state.row.absent) return false;
  PT_ASSIGN_OR_RETURN(const bool goes, GoesAnyway(state.key, table, row));
  return !goes;
}

absl::Status ReplicaImpl::CompareStates(sqlite::Database& db, Table& table) {
  PT_ASSIGN_OR_RETURN(const std::vector<RowState> states,
                      ledger_->ListStates(table.type(), comparison_->after_id, kSliceRows));
  for (const RowState& state : states) {
    comparison_->after_id = state.key.id;
    PT_ASSIGN_OR_RETURN(const bool gone, IsGone(db, table, state));
    if (gone) comparison_->gone.push_back(state.key);
  }
  if (states.size() == kSliceRows) return absl::OkStatus();
  PT_RETURN_IF_ERROR(EnqueueGone(db, table));
  PT_RETURN_IF_ERROR(CompareSending(db, table));
  comparison_->gone.clear();
  comparison_->after.clear();
  comparison_->after_id.clear();
  comparison_->rows_done = false;
  ++comparison_->at;
  return absl::OkStatus();
}

// Rows that are being sent for the first time have no state yet: the deletion of
// one is seen by its item alone.
absl::Status ReplicaImpl::CompareSending(sqlite::Database& db, Table& table) {
  if (PT_PLANTED("what is being sent is not compared")) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> batches, ledger_->OpenBatches());
  for (const std::string& batch : batches) {
    PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> items, ledger_->ListBatch(batch));
    for (const QueueItem& item : items) {
      if (item.key.type != table.type() || item.sent.absent) continue;
      PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item.key));
      const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(item.key.id);
      if (state.has_value() || !key.ok()) continue;
      PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, *key));
      if (!row.absent) continue;
      const RowState sent{item.key, 0, "", item.time, {}, false};
      PT_RETURN_IF_ERROR(EnqueueCompared(item.key, sent, row));
    }
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::EnqueueGone(sqlite::Database& db, Table& table) {
  PT_ASSIGN_OR_RETURN(const bool many, IsMassDeletion(table.type(), comparison_->gone.size()));
  Row absent;
  absent.hashes.absent = true;
  for (const EntityKey& key : comparison_->gone) {
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
    if (!state.has_value()) continue;
    // Slices are snapshots of their own: it may have come back.
    PT_ASSIGN_OR_RETURN(const bool gone, IsGone(db, table, *state));
    if (!gone) continue;
    PT_RETURN_IF_ERROR(EnqueueCompared(key, state, absent));
    if (many) PT_RETURN_IF_ERROR(HoldDeletion(key));
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::EnqueueCompared(const EntityKey& key,
                                          const std::optional<RowState>& state, const Row& row) {
  ++comparison_->found;
  PT_RETURN_IF_ERROR(ledger_->PutInt(kUnproven, 1));
  return EnqueueFound(key, state, row);
}

// What differs from the states though nobody announced it can be damage, where no app
// was caught that writes so. Asked before any of it is sent.
absl::Status ReplicaImpl::ProveFound() {
  PT_ASSIGN_OR_RETURN(const int64_t unproven, ledger_->GetInt(kUnproven, 0));
  if (unproven == 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t caught, ledger_->GetInt("scan_found", 0));
  if (caught == 0) PT_RETURN_IF_ERROR(FindDamage(*snapshot_));
  return ledger_->PutInt(kUnproven, 0);
}

absl::StatusOr<int64_t> ReplicaImpl::CountLiveStates(absl::string_view type) {
  int64_t live = 0;
  std::string after;
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<RowState> states,
                        ledger_->ListStates(type, after, kSliceRows));
    for (const RowState& state : states) live += state.row.absent ? 0 : 1;
    if (states.size() < kSliceRows) return live;
    after = states.back().key.id;
  }
}

// A commit of somebody else that left no row in the log: a table that is not
// synced, or a program that runs with triggers off. Where such a program has been seen
// it may have written beside those that are in the log, too.
absl::Status ReplicaImpl::NoticeSilentCommit(int64_t log_rows) {
  // Of the connection that writes: our own commits do not count there.
  PT_ASSIGN_OR_RETURN(const int64_t version, app_->QueryInt("PRAGMA data_version"));
  const int64_t before = std::exchange(seen_data_version_, version);
  if (before == version) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t finds, ledger_->GetInt("scan_found", 0));
  if (log_rows > 0 && finds == 0) return absl::OkStatus();
  if (scan_at_.has_value()) {
    // Perhaps among rows that were compared before.
    scan_again_ |= comparison_ != nullptr;
    return absl::OkStatus();
  }
  // Nobody looked while the agent was away; where it happened before, it may have then.
  if (before == -1 && finds == 0) return absl::OkStatus();
  // A verb would end before a scan begins.
  if (before == -1 && !options_.stays) return WantComparison();
  scan_at_ = clock_.Monotonic() + (finds != 0 ? kScanDebounce : scan_delay_);
  return absl::OkStatus();
}

std::optional<absl::Duration> ReplicaImpl::ScanDueIn() const {
  if (!scan_at_.has_value()) return std::nullopt;
  const absl::Duration due = std::max(*scan_at_, scan_slice_at_);
  return std::max(due - clock_.Monotonic(), absl::ZeroDuration());
}

bool ReplicaImpl::HasFound() {
  const absl::StatusOr<int64_t> found = ledger_->GetInt("found", 0);
  return found.ok() && *found != 0;
}

void ReplicaImpl::HoldScan(absl::Duration by) {
  scan_slice_at_ = std::max(scan_slice_at_, clock_.Monotonic() + by);
}

// True if a slice was due.
absl::StatusOr<bool> ReplicaImpl::ScanSlice() {
  if (ScanDueIn() != absl::ZeroDuration()) return false;
  const absl::Duration began = clock_.Monotonic();
  PT_ASSIGN_OR_RETURN(const bool more, CompareSlice());
  const absl::Duration now = clock_.Monotonic();
  scan_slice_at_ = now + (now - began) * kScanPause;
  if (more) {
    scan_found_ = comparison_->found;
    return true;
  }
  scan_at_.reset();
  if (scan_found_ > 0) {
    scan_delay_ = kScanDelayMin;
    PT_RETURN_IF_ERROR(ledger_->PutInt("scan_found", 1));
  } else {
    scan_delay_ = std::min(2 * scan_delay_, options_.scan_delay_max);
  }
  scan_found_ = 0;
  if (!std::exchange(scan_again_, false)) return true;
  PT_ASSIGN_OR_RETURN(const int64_t finds, ledger_->GetInt("scan_found", 0));
  scan_at_ = now + (finds != 0 ? kScanDebounce : scan_delay_);
  return true;
}

}  // namespace ptdoc::sync
