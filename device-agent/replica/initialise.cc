// `init`: capture is installed, and the rows that are there are enqueued.
// `uninstall`: it is taken out again.
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

absl::Status BlockedByApp(const std::string& database, absl::string_view verb) {
  return ReasonError(
      absl::StatusCode::kUnavailable, "BLOCKED_BY_APP",
      absl::StrCat("The app holds its file: ", database, ". The app's rows were not changed. Run ",
                   verb, " again when the app has let go of it."));
}

}  // namespace

absl::StatusOr<int64_t> Replica::Initialise(const ReplicaOptions& options, const Clock& clock,
                                            Rng& rng) {
  ReplicaImpl replica(options, clock, rng);
  return replica.InitialiseFiles();
}

absl::StatusOr<int64_t> ReplicaImpl::InitialiseFiles() {
  accepts_new_keys_ = true;
  PT_RETURN_IF_ERROR(TakeLock());
  PT_RETURN_IF_ERROR(AsDatabaseError(Reconnect()));
  PT_RETURN_IF_ERROR(OpenLedger(/*create=*/true));
  PT_RETURN_IF_ERROR(ledger_->PutInt(kUninstalled, 0));
  PT_ASSIGN_OR_RETURN(const std::string file_id, ledger_->Get("file_id"));
  const bool first = file_id.empty() && !Recovering();
  if (first) {
    PT_RETURN_IF_ERROR(AsDatabaseError(InstallAtFirst()));
  }
  // From here on as at every start: objects of new tables are put in, and a
  // file that is not the ledger's begins a recovery, which enqueues by itself.
  PT_ASSIGN_OR_RETURN(const FileState state, Ready());
  if (state == FileState::kBlockedByApp) return BlockedByApp(options_.database, "init");
  if (state != FileState::kReady) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "DATABASE_UNUSABLE",
                       absl::StrCat("This file cannot be used: ", file_problem_,
                                    ". The app's rows were not changed. Put it right, and run "
                                    "device-agent init again."));
  }
  if (mode_ != Mode::kNormal) return 0;
  PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
  DrainReport drained;
  PT_RETURN_IF_ERROR(DrainIn(*snapshot_, &drained));
  int64_t enqueued = 0;
  for (Table* table : ParentsFirst()) {
    PT_ASSIGN_OR_RETURN(const int64_t rows, EnqueuePresentRows(*snapshot_, *table));
    enqueued += rows;
  }
  if (first) PT_RETURN_IF_ERROR(ledger_->PutInt("compare", 0));
  PT_RETURN_IF_ERROR(tx.Commit());
  return enqueued;
}

absl::Status Replica::Uninstall(const ReplicaOptions& options, const Clock& clock, Rng& rng) {
  ReplicaImpl replica(options, clock, rng);
  return replica.UninstallFiles();
}

absl::Status ReplicaImpl::UninstallFiles() {
  const absl::Status prepared = CheckPrepared();
  if (ReasonOf(prepared) == "NOT_INITIALISED") return absl::OkStatus();
  PT_RETURN_IF_ERROR(prepared);
  PT_RETURN_IF_ERROR(TakeLock());
  const absl::Status opened = Reconnect();
  if (sqlite::IsBusy(opened)) return BlockedByApp(options_.database, "uninstall");
  PT_RETURN_IF_ERROR(AsDatabaseError(opened));
  const absl::Status has_ledger = OpenLedger(/*create=*/false);
  if (!has_ledger.ok() && !absl::IsNotFound(has_ledger)) return has_ledger;
  const absl::StatusOr<ControlRow> control = ReadControl(*app_);
  if (sqlite::IsBusy(control.status())) return BlockedByApp(options_.database, "uninstall");
  if (has_ledger.ok()) {
    // A file that is another one by now has nothing to tell: `init` compares it.
    PT_ASSIGN_OR_RETURN(const std::string file_id, ledger_->Get("file_id"));
    if (control.ok() && control->file_id == file_id) {
      DrainReport drained;
      do {
        PT_ASSIGN_OR_RETURN(drained, Drain());
      } while (drained.more);
      if (drained.file == FileState::kBlockedByApp) {
        return BlockedByApp(options_.database, "uninstall");
      }
    }
    // Said first: of what a crash leaves, nothing is put back unasked.
    PT_RETURN_IF_ERROR(ledger_->PutInt(kUninstalled, 1));
    PT_RETURN_IF_ERROR(At("uninstall_said"));
  }
  const absl::Status removed = ptdoc::sync::Uninstall(*app_);
  if (sqlite::IsBusy(removed)) return BlockedByApp(options_.database, "uninstall");
  return AsDatabaseError(removed);
}

std::vector<Table*> ReplicaImpl::ParentsFirst() const {
  std::vector<Table*> ordered;
  std::set<const Table*> seen;
  const std::function<void(Table*)> visit = [&](Table* table) {
    if (!seen.insert(table).second) return;
    for (const std::vector<Reference>* references : {&table->parents, &table->said_parents}) {
      for (const Reference& parent : *references) {
        for (const auto& [type, other] : tables_) {
          if (absl::EqualsIgnoreCase(other->plan.table, parent.parent_table)) visit(other.get());
        }
      }
    }
    // Those that the configuration alone declares, by other keys.
    for (const Translation& translation : table->plan.translations) {
      const auto other = tables_.find(translation.parent);
      if (other != tables_.end()) visit(other->second.get());
    }
    ordered.push_back(table);
  };
  for (const auto& [type, table] : tables_) visit(table.get());
  return ordered;
}

absl::Status ReplicaImpl::InstallAtFirst() {
  PT_RETURN_IF_ERROR(CheckNames(*app_));
  const absl::StatusOr<ControlRow> before = ReadControl(*app_);
  // Ours already, but the ledger is new: it was lost, or the file is a copy.
  if (before.ok()) return BeginRecovery();
  if (!absl::IsNotFound(before.status())) return before.status();
  PT_ASSIGN_OR_RETURN(plan_, PlanOfWhatIsThere());
  {
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
    PT_RETURN_IF_ERROR(Install(*app_, plan_, rng_).status());
    PT_RETURN_IF_ERROR(tx.Commit());
  }
  PT_RETURN_IF_ERROR(At("installed"));
  PT_ASSIGN_OR_RETURN(const ControlRow control, ReadControl(*app_));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(ledger_->Put("file_id", control.file_id));
  PT_RETURN_IF_ERROR(ledger_->PutInt("page_number", control.page_number));
  PT_RETURN_IF_ERROR(ledger_->PutInt("page_tag", control.page_tag));
  // The first row of the log is its anchor: nothing before it was ever sent.
  PT_ASSIGN_OR_RETURN(const std::vector<LogRow> first, ReadLog(*app_, plan_, 0, 1));
  if (first.empty()) return absl::InternalError("the log has no anchor");
  const LogMark anchor{first[0].seq, first[0].tag};
  PT_RETURN_IF_ERROR(PutMark("drained", anchor));
  PT_RETURN_IF_ERROR(PutMark("sent", anchor));
  return tx.Commit();
}

// Rows from before init lose every conflict, unless the app knows better.
absl::StatusOr<int64_t> ReplicaImpl::EnqueuePresentRows(sqlite::Database& db, Table& table) {
  int64_t enqueued = 0;
  std::vector<Value> after;
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                        ReadSlice(db, table, *ledger_, after, kSliceRows));
    for (const Row& row : rows) {
      after = table.LocalKeyOf(row);
      absl::StatusOr<std::string> id = table.IdOf(table.KeyOf(row.values));
      if (!id.ok()) continue;
      QueueItem item;
      item.key = {table.type(), *std::move(id)};
      PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item.key));
      PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(item.key));
      if (state.has_value() || open) continue;
      item.operation = Operation::kCreate;
      item.enqueued_at = clock_.Now();
      item.time = row.stamp;
      item.max_retries = options_.max_retries;
      item.reoffer = rejoining_.contains(table.type());
      item.initial = !item.reoffer;
      PT_RETURN_IF_ERROR(ledger_->InsertItem(item).status());
      ++enqueued;
    }
    if (rows.empty()) return enqueued;
  }
}

}  // namespace ptdoc::sync
