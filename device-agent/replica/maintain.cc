// Facts for status, and the work that can wait.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

// While more is to be done at once.
constexpr absl::Duration kTidyEvery = absl::Seconds(30);
constexpr size_t kHeldAtOnce = 1000;
// A scan that finds the file busy, or away.
constexpr absl::Duration kScanWhenFree = absl::Seconds(1);
constexpr absl::Duration kScanWhenBack = absl::Seconds(30);

}  // namespace

absl::StatusOr<ReplicaFacts> ReplicaImpl::Facts() {
  ReplicaFacts facts;
  PT_ASSIGN_OR_RETURN(facts.queue, ledger_->Health());
  PT_ASSIGN_OR_RETURN(facts.held, ledger_->CountHeld());
  PT_ASSIGN_OR_RETURN(facts.stale, ledger_->CountStale());
  PT_ASSIGN_OR_RETURN(facts.backfill, ledger_->CountBackfill());
  facts.initial = facts.queue.initial;
  facts.recovering = Recovering();
  facts.rebaselining = mode_ == Mode::kRebaselining;
  facts.file = last_state_;
  facts.file_problem = file_problem_;
  facts.warnings = problems_;
  for (const TablePlan& plan : plan_.tables) {
    // The plan's advice is init's to show; what does not work belongs here.
    if (plan.apply_mode != ApplyMode::kCaptureOnly) continue;
    facts.warnings.push_back(absl::StrCat(plan.type, " is captured only: ", plan.reason));
  }
  WarnOfNumbers(&facts.warnings);
  PT_ASSIGN_OR_RETURN(facts.next_due, ledger_->NextDue());
  return facts;
}

// A range that is nearly used up: the app would be given numbers that are not its own.
void ReplicaImpl::WarnOfNumbers(std::vector<std::string>* warnings) {
  constexpr int64_t kPartLeft = 10;  // a tenth
  for (const TablePlan& plan : plan_.tables) {
    if (!plan.config.id_range.has_value() || !snapshot_.has_value()) continue;
    const IdRange& range = *plan.config.id_range;
    const absl::StatusOr<int64_t> used = snapshot_->QueryInt(absl::StrCat(
        "SELECT seq FROM main.sqlite_sequence WHERE name = ", sqlite::QuoteText(plan.table)));
    if (!used.ok()) return;  // The app's file is away: said elsewhere.
    const int64_t left = range.high - *used;
    if (left > (range.high - range.low) / kPartLeft) continue;
    warnings->push_back(absl::StrCat(plan.type, " has ", std::max<int64_t>(left, 0),
                                     " numbers left of its id_range ", range.low, "-", range.high,
                                     ": give this device a new one in agent.toml, above every "
                                     "other device's."));
  }
}

absl::Status ReplicaImpl::RecordSync(absl::Time at) {
  return ledger_->PutInt("last_sync_ns", ToTimeNs(at));
}

// Written into the control row with the next write that is made anyway.
void ReplicaImpl::ObserveServerTime(absl::Time server_time) {
  if (server_time <= absl::UnixEpoch()) return;
  clock_offset_ = absl::ToInt64Nanoseconds(server_time - clock_.Now());
}

// What the app has committed since may let pass what its schema refused: a trigger of its
// own may look at any table, a search index may have been mended.
absl::Status ReplicaImpl::RetryAfterCommits() {
  const absl::Duration now = clock_.Monotonic();
  if (now < retry_at_) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t version, app_->QueryInt("PRAGMA data_version"));
  if (version == std::exchange(retried_data_version_, version)) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const uint32_t waiting, ledger_->CountSetAside());
  if (waiting == 0) return absl::OkStatus();
  PageReport retried;
  // What a page let pass is tried at the end of its catch-up, deletions with it.
  const bool may_pass = std::exchange(set_aside_may_pass_, true);
  PT_RETURN_IF_ERROR(RetrySetAside(/*caught_up=*/true, &retried, Deletions::kLeave));
  // Deletions that the schema refused are tried with the next page. Those that would take
  // an edit along wait for what becomes of the edit, not for the app.
  PT_ASSIGN_OR_RETURN(const bool refused, ledger_->HasRefusedDeletion());
  set_aside_may_pass_ = may_pass || refused;
  retry_delay_ = retried.applied > 0 ? kRetryDelayMin : std::min(2 * retry_delay_, kRetryDelayMax);
  retry_at_ = clock_.Monotonic() + retry_delay_;
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::Maintain() {
  PT_ASSIGN_OR_RETURN(const FileState state, Ready());
  if (state != FileState::kReady || mode_ != Mode::kNormal) {
    HoldScan(state == FileState::kBlockedByApp ? kScanWhenFree : kScanWhenBack);
    return false;
  }
  bool scanned = false;
  const absl::StatusOr<bool> more = [&]() -> absl::StatusOr<bool> {
    PT_ASSIGN_OR_RETURN(const int64_t compare, ledger_->GetInt("compare", 0));
    if (compare != 0) return CompareSlice();
    PT_ASSIGN_OR_RETURN(scanned, ScanSlice());
    if (std::exchange(retry_set_aside_, false)) {
      // Under the new schema. In the middle of a catch-up deletions wait for its end.
      const bool in_catch_up = std::exchange(set_aside_may_pass_, true);
      PageReport retried;
      PT_RETURN_IF_ERROR(RetrySetAside(/*caught_up=*/true, &retried,
                                       in_catch_up ? Deletions::kLeave : Deletions::kTry));
      set_aside_may_pass_ |= in_catch_up;
    }
    PT_RETURN_IF_ERROR(RetryAfterCommits());
    PT_RETURN_IF_ERROR(LookAtHeld());
    PT_ASSIGN_OR_RETURN(const bool trimming, TrimAppLog());
    return trimming || ScanDueIn() == absl::ZeroDuration();
  }();
  if (!more.ok()) {
    if (!FileStateOf(more.status()).has_value()) return more;
    HoldScan(kScanWhenFree);
    return false;
  }
  // A scan may go on for many minutes.
  if ((*more || scanned) && clock_.Monotonic() < tidy_at_) return more;
  tidy_at_ = clock_.Monotonic() + kTidyEvery;
  const absl::Time now = clock_.Now();
  PT_RETURN_IF_ERROR(
      ledger_->PruneCompleted(now - options_.completed_retention, options_.completed_max).status());
  PT_RETURN_IF_ERROR(ledger_->PruneArchives(now - options_.archive_retention).status());
  PT_RETURN_IF_ERROR(ledger_->Checkpoint());
  return more;
}

// Deletions that a comparison has found, and that are held, wait for a person; the rows may
// be back meanwhile: the file was damaged, and was put back.
absl::Status ReplicaImpl::LookAtHeld() {
  if (clock_.Monotonic() < held_look_at_) return absl::OkStatus();
  held_look_at_ = clock_.Monotonic() + kTidyEvery;
  PT_ASSIGN_OR_RETURN(const uint32_t any, ledger_->CountHeld());
  if (any == 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
  PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> held,
                      ledger_->ListHeld(held_seen_, kHeldAtOnce));
  held_seen_ = held.size() < kHeldAtOnce ? 0 : held.back().id;
  for (const QueueItem& item : held) {
    Table* table = TableOf(item.key.type);
    if (table == nullptr || item.operation != Operation::kDelete) continue;
    const absl::StatusOr<std::vector<Value>> key = table->KeyFromId(item.key.id);
    if (!key.ok()) continue;
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*snapshot_, *table, *ledger_, *key));
    if (row.absent) continue;
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item.key));
    PT_RETURN_IF_ERROR(ledger_->DeleteItem(item.id));
    bool same = false;
    if (state.has_value()) {
      PT_ASSIGN_OR_RETURN(same, SameRow(*table, *ledger_, state->row, row));
    }
    if (same) continue;
    PT_RETURN_IF_ERROR(ledger_->PutInt(kUnproven, 1));
    PT_RETURN_IF_ERROR(EnqueueFound(item.key, state, row));
  }
  return tx.Commit();
}

// Only below the last sent row, so that a file that is set back is noticed, and
// Seq never starts again. A little at a time, and mostly while the app writes nothing: it
// may be one that SQLite refuses whenever somebody else writes. True if more is to be done.
absl::StatusOr<bool> ReplicaImpl::TrimAppLog() {
  PT_ASSIGN_OR_RETURN(const LogMark sent, GetMark("sent"));
  PT_ASSIGN_OR_RETURN(const int64_t first, app_->QueryInt("SELECT min(Seq) FROM SyncLog"));
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*app_));
  const bool writes = std::exchange(log_end_seen_, last.seq).value_or(last.seq) != last.seq;
  const int64_t rows = sent.seq - first;
  if (rows < options_.trim_rows_min) return false;
  if (writes && rows < kTrimAtOnce * options_.trim_rows_min) return false;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
  PT_ASSIGN_OR_RETURN(const ControlRow control, ReadControl(*app_));
  PT_ASSIGN_OR_RETURN(const bool unchanged, IsFileUnchanged(control));
  if (!unchanged) return false;
  PT_RETURN_IF_ERROR(TrimLog(*app_, first + options_.trim_rows_min / kTrimPart));
  PT_RETURN_IF_ERROR(tx.Commit());
  return true;
}

}  // namespace ptdoc::sync
