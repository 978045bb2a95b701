// The cursor starts anew: the service was restored, or we were away too long.
#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

absl::Status ReplicaImpl::BeginRebaseline(Revision shared_revision) {
  // A recovery pulls everything anew as it is.
  if (Recovering()) return ledger_->ForgetEverythingSynced();
  // Of what an earlier one did not confirm the revisions may be of another history.
  PT_ASSIGN_OR_RETURN(const bool doubtful, ledger_->HasUnconfirmed());
  if (doubtful) shared_revision = 0;
  PT_REACHED("a re-baseline began");
  Log(LogLevel::kWarning, "replica.rebaseline_begun",
      {LogField::Count("shared_revision", shared_revision)});
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(ledger_->MarkAllUnconfirmed());
  int64_t after_id = 0;
  while (true) {
    // Edits on a base that the service may have lost are offered whole.
    PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> items,
                        ledger_->ListItems(/*include_done=*/false, after_id, kSliceRows));
    for (QueueItem item : items) {
      after_id = item.id;
      if (item.status == ItemStatus::kProcessing) continue;
      PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item.key));
      if (!state.has_value() || state->revision <= shared_revision) continue;
      item.reoffer = true;
      item.time = std::max(item.time, state->time);
      PT_RETURN_IF_ERROR(ledger_->UpdateItem(item));
    }
    if (items.size() < kSliceRows) break;
  }
  PT_RETURN_IF_ERROR(RememberShared(shared_revision));
  PT_RETURN_IF_ERROR(ledger_->Put("cursor", ""));
  PT_RETURN_IF_ERROR(ledger_->PutInt("cursor_of_left", 0));
  PT_RETURN_IF_ERROR(ledger_->Put("epoch", ""));
  PT_RETURN_IF_ERROR(ledger_->Put("mode", "rebaselining"));
  PT_RETURN_IF_ERROR(ledger_->PutInt("shared_revision", shared_revision));
  PT_RETURN_IF_ERROR(tx.Commit());
  mode_ = Mode::kRebaselining;
  shared_revision_ = shared_revision;
  return absl::OkStatus();
}

// What is shared was proven by the cursor or the witness. The store may be set back
// before the pull begins: the proof goes on being shown.
absl::Status ReplicaImpl::RememberShared(Revision shared_revision) {
  PT_ASSIGN_OR_RETURN(const Revision known, ledger_->GetInt("witness_revision", 0));
  if (shared_revision > 0 && known >= shared_revision) return absl::OkStatus();
  std::string witness;
  if (shared_revision > 0) {
    PT_ASSIGN_OR_RETURN(witness, ledger_->Get("cursor"));
  }
  PT_RETURN_IF_ERROR(ledger_->Put("witness", witness));
  return ledger_->PutInt("witness_revision", shared_revision);
}

// Original time and author: nothing that is merely old may win.
absl::Status ReplicaImpl::OfferUnconfirmed(const RowState& state) {
  PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(state.key));
  if (open) return absl::OkStatus();
  PT_REACHED("an unconfirmed row was offered again");
  QueueItem item;
  item.key = state.key;
  item.reoffer = true;
  item.time = state.time;
  item.enqueued_at = clock_.Now();
  item.max_retries = options_.max_retries;
  return ledger_->InsertItem(item).status();
}

// What the pull did not confirm: above the shared history the service may have
// lost it, else it was deleted while we were away.
absl::Status ReplicaImpl::EndRebaseline(bool* blocked) {
  Findings findings;
  for (int attempt = 0; attempt < kAttemptsMax;) {
    PT_ASSIGN_OR_RETURN(const FileState ready, ReadyToJudge(/*drain=*/attempt > 0));
    *blocked = ready != FileState::kReady || mode_ != Mode::kRebaselining;
    if (*blocked) return absl::OkStatus();
    Work work;
    work.kind = "page";
    PT_ASSIGN_OR_RETURN(const bool more, PlanUnconfirmed(findings, &work));
    PT_ASSIGN_OR_RETURN(const Attempt done, Execute(work, &findings));
    *blocked = done == Attempt::kBlocked;
    if (*blocked) return absl::OkStatus();
    if (done == Attempt::kAgain) {
      ++attempt;
      continue;
    }
    if (more) continue;
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
    PT_RETURN_IF_ERROR(ledger_->Put("mode", ""));
    PT_RETURN_IF_ERROR(ledger_->DropVoidSetAside());
    PT_RETURN_IF_ERROR(tx.Commit());
    mode_ = Mode::kNormal;
    PT_REACHED("a re-baseline ended");
    Log(LogLevel::kInfo, "replica.rebaseline_ended", {});
    return absl::OkStatus();
  }
  *blocked = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::PlanUnconfirmed(const Findings& findings, Work* work) {
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_ASSIGN_OR_RETURN(const std::vector<RowState> states, ledger_->ListUnconfirmed(kSliceRows));
  for (const RowState& state : states) {
    Table* table = TableOf(state.key.type);
    if (state.row.absent) {
      // Deleted here, and not even a tombstone there: both hold nothing.
      PT_RETURN_IF_ERROR(ledger_->DeleteState(state.key));
    } else if (table == nullptr) {
      RowState kept = state;
      kept.unconfirmed = false;
      PT_RETURN_IF_ERROR(ledger_->PutState(kept));
    } else if (state.revision > shared_revision_ &&
               !PT_PLANTED("what a restored service lacks is removed")) {
      PT_RETURN_IF_ERROR(OfferUnconfirmed(state));
    } else {
      PT_RETURN_IF_ERROR(PlanRemoval(findings, *table, state, work));
    }
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  return states.size() == kSliceRows;
}

absl::Status ReplicaImpl::PlanRemoval(const Findings& findings, Table& table, const RowState& state,
                                      Work* work) {
  Target target;
  target.act = Act::kRemove;
  target.table = &table;
  target.expected = state.row;
  Version gone;
  gone.key = state.key;
  gone.deleted = true;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(gone, &target, nullptr));
  if (!storable) return ledger_->DeleteState(state.key);
  if (findings.look_at.count(state.key) > 0) {
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, target.key));
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(table, *ledger_, state.row, row));
    if (!same && !row.absent) {
      RowState kept = state;
      kept.unconfirmed = false;
      PT_RETURN_IF_ERROR(ledger_->PutState(kept));
      return EnqueueFound(state.key, state, row);
    }
    target.expected = row.hashes;
  }
  const auto refused = findings.refused.find(state.key);
  if (refused != findings.refused.end()) {
    target.act = Act::kSetAside;
    target.code = refused->second.code;
    target.constraint = refused->second.constraint;
  }
  work->targets.push_back(std::move(target));
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
