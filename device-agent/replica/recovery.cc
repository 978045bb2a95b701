// The app's file, or the ledger, is not what it was: everything is asked anew.
#include <utility>

#include "common/base/log.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

absl::Status ReplicaImpl::BeginRecovery() {
  PT_REACHED("a recovery began");
  Log(LogLevel::kWarning, "replica.recovery_begun", {});
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(ledger_->Put("mode", "recovering"));
  PT_RETURN_IF_ERROR(ledger_->PutInt("recovery_ready", 0));
  PT_RETURN_IF_ERROR(ledger_->PutInt("compare", 0));
  PT_RETURN_IF_ERROR(tx.Commit());
  mode_ = Mode::kRecovering;
  recovery_ready_ = false;
  recovery_news_ = true;
  comparison_.reset();
  return absl::OkStatus();
}

// Once no batch is open: a new file id, and nothing is known any more.
absl::Status ReplicaImpl::StepRecovery() {
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> open, ledger_->OpenBatches());
  if (!open.empty()) return MendObjects();
  Work work;
  work.kind = "recover";
  work.file_id = NewUuid(rng_);
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
  PT_RETURN_IF_ERROR(Install(*app_, plan_, rng_).status());
  PT_ASSIGN_OR_RETURN(ControlRow control, ReadControl(*app_));
  Intent intent;
  intent.page_number = control.page_number + 1;
  intent.page_tag = static_cast<int64_t>(rng_.Next() >> 1);
  intent.kind = work.kind;
  intent.payload = EncodeWork(work);
  PT_RETURN_IF_ERROR(ledger_->PutIntent(intent));
  control.applying = false;
  control.page_number = intent.page_number;
  control.page_tag = intent.page_tag;
  control.file_id = work.file_id;
  control.clock_offset_ns = clock_offset_;
  PT_RETURN_IF_ERROR(WriteControl(*app_, control));
  const absl::Status committed = tx.Commit();
  if (!committed.ok()) {
    if (sqlite::IsBusy(committed)) PT_RETURN_IF_ERROR(DropIntent(intent));
    return committed;
  }
  PT_RETURN_IF_ERROR(At("recover_committed"));
  PT_RETURN_IF_ERROR(SettleInLedger(work, &intent));
  recovery_ready_ = true;
  unanswered_loaded_ = false;
  return absl::OkStatus();
}

// An app that has dropped our tables and left our triggers cannot write: it must
// not wait for a service that may be away. The file stays one that is not ours.
absl::Status ReplicaImpl::MendObjects() {
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> missing, CheckObjects(*app_, plan_));
  if (missing.empty()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
  PT_RETURN_IF_ERROR(Install(*app_, plan_, rng_).status());
  return tx.Commit();
}

// Everything was pulled. What no version confirmed is offered; nothing that is
// absent is sent as a deletion.
absl::Status ReplicaImpl::EndRecovery() {
  PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
  absl::flat_hash_map<EntityKey, TimeNs> times;
  PT_RETURN_IF_ERROR(ReadLogTimes(*snapshot_, &times));
  for (Table* table : ParentsFirst()) {
    PT_RETURN_IF_ERROR(OfferRows(*snapshot_, *table, times));
    PT_RETURN_IF_ERROR(NoteGoneRows(*snapshot_, *table));
  }
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*snapshot_));
  PT_RETURN_IF_ERROR(PutMark("drained", last));
  PT_RETURN_IF_ERROR(ledger_->Put("mode", ""));
  PT_RETURN_IF_ERROR(ledger_->PutInt("recovery_ready", 0));
  PT_RETURN_IF_ERROR(ledger_->PutInt("drained_schema", schema_version_));
  PT_RETURN_IF_ERROR(At("recovered"));
  PT_RETURN_IF_ERROR(tx.Commit());
  mode_ = Mode::kNormal;
  recovery_ready_ = false;
  PT_REACHED("a recovery ended");
  Log(LogLevel::kInfo, "replica.recovery_ended", {});
  return absl::OkStatus();
}

// The time of each entity's last edit, of the whole log.
absl::Status ReplicaImpl::ReadLogTimes(sqlite::Database& db,
                                       absl::flat_hash_map<EntityKey, TimeNs>* times) {
  int64_t seq = 0;
  LogKeys keys(db, plan_, seq);
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows, ReadLog(db, plan_, seq, kLogChunkRows));
    for (const LogRow& row : rows) {
      seq = row.seq;
      const TablePlan* plan = plan_.ByNumber(row.table);
      Table* table = plan == nullptr || row.key.empty() ? nullptr : TableOf(plan->type);
      if (table == nullptr || !row.time.has_value()) continue;
      PT_ASSIGN_OR_RETURN(LogKeys::Name name, keys.NameOf(row));
      if (name.verdict != LogKeys::Verdict::kKnown) continue;
      (*times)[{table->type(), std::move(name.id)}] = *row.time;
    }
    if (rows.size() < kLogChunkRows) return absl::OkStatus();
  }
}

absl::Status ReplicaImpl::OfferRows(sqlite::Database& db, Table& table,
                                    const absl::flat_hash_map<EntityKey, TimeNs>& times) {
  std::vector<Value> after;
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                        ReadSlice(db, table, *ledger_, after, kSliceRows));
    for (const Row& row : rows) {
      after = table.LocalKeyOf(row);
      absl::StatusOr<std::string> id = table.IdOf(table.KeyOf(row.values));
      if (!id.ok()) continue;
      const EntityKey key{table.type(), *std::move(id)};
      const auto time = times.find(key);
      PT_RETURN_IF_ERROR(
          OfferRow(key, table, row, time == times.end() ? kSmallestTime : time->second));
    }
    if (rows.empty()) return absl::OkStatus();
  }
}

absl::Status ReplicaImpl::OfferRow(const EntityKey& key, Table& table, const Row& row,
                                   TimeNs time) {
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindWaiting(key));
  if (item.has_value()) {
    item->time = std::max(item->time, time);
    return ledger_->UpdateItem(*item);
  }
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
  if (state.has_value()) {
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(table, *ledger_, state->row, row));
    PT_ASSIGN_OR_RETURN(const bool goes, GoesAnyway(key, table, row));
    if (same || goes) return absl::OkStatus();
  }
  // With a state: edited since it was adopted, an edit like any other.
  QueueItem offer;
  offer.key = key;
  offer.reoffer = !state.has_value();
  offer.time = state.has_value() ? std::max(time, state->time + 1) : time;
  offer.enqueued_at = clock_.Now();
  offer.max_retries = options_.max_retries;
  return ledger_->InsertItem(offer).status();
}

// Adopted and deleted since, before the recovery ended: it reappears.
absl::Status ReplicaImpl::NoteGoneRows(sqlite::Database& db, Table& table) {
  std::string after;
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<RowState> states,
                        ledger_->ListStates(table.type(), after, kSliceRows));
    for (const RowState& state : states) {
      after = state.key.id;
      if (state.row.absent) continue;
      const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(state.key.id);
      if (!key.ok()) continue;
      PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, *key));
      if (row.absent) {
        PT_RETURN_IF_ERROR(
            ledger_->NoteStale({state.key, ToldRevision(state), true, false, row.hashes}));
      }
    }
    if (states.size() < kSliceRows) return absl::OkStatus();
  }
}

}  // namespace ptdoc::sync
