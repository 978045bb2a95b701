// Pages, fetched versions and set-aside ones: planned, written, finished.
#include <algorithm>
#include <set>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "device-agent/replica/planning.h"

namespace ptdoc::sync {

absl::StatusOr<FileState> ReplicaImpl::ReadyToJudge(bool drain) {
  PT_ASSIGN_OR_RETURN(const FileState state, Ready());
  if (state != FileState::kReady) return state;
  if (Recovering()) return recovery_ready_ ? FileState::kReady : FileState::kRecovering;
  PT_ASSIGN_OR_RETURN(const int64_t compare, ledger_->GetInt("compare", 0));
  const absl::Status status = compare != 0 ? CompareAll() : drain ? DrainNow() : absl::OkStatus();
  if (status.ok()) return FileState::kReady;
  const std::optional<FileState> in_the_way = FileStateOf(status);
  if (!in_the_way.has_value()) return status;
  return *in_the_way;
}

absl::StatusOr<FileState> ReplicaImpl::ReadyToWrite(bool drain) {
  PT_ASSIGN_OR_RETURN(const FileState state, ReadyToJudge(drain));
  if (state != FileState::kReady || !blocked_) return state;
  const absl::Status lock = sqlite::Transaction::Begin(*app_).status();
  blocked_ = sqlite::IsBusy(lock);
  if (lock.ok()) return state;
  const std::optional<FileState> in_the_way = FileStateOf(lock);
  if (!in_the_way.has_value()) return lock;
  return *in_the_way;
}

// Of one entity only the newest version counts.
absl::Status ReplicaImpl::PlanVersions(Planning& planning, const std::vector<Version>& versions) {
  absl::flat_hash_map<EntityKey, const Version*> newest;
  for (const Version& version : versions) {
    const Version*& best = newest[version.key];
    if (best == nullptr || best->revision <= version.revision) best = &version;
  }
  planning.work.targets.reserve(newest.size());
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  for (const Version& version : versions) {
    if (newest.at(version.key) != &version) {
      ++planning.report.skipped;
      continue;
    }
    PT_RETURN_IF_ERROR(Classify(planning, version));
  }
  PT_RETURN_IF_ERROR(ArchiveOwnLosses(planning, versions));
  return tx.Commit();
}

absl::StatusOr<PageReport> ReplicaImpl::ApplyVersions(const std::vector<Version>& versions,
                                                      Source source, const Work& prototype) {
  Findings findings;
  PageReport report;
  bool items_made = false;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    // A sign of life writes nothing.
    PT_ASSIGN_OR_RETURN(report.file, versions.empty() ? ReadyToJudge(/*drain=*/attempt > 0)
                                                      : ReadyToWrite(/*drain=*/attempt > 0));
    if (report.file == FileState::kReady) report.file = News();
    if (report.file != FileState::kReady) return report;
    Planning planning{prototype, {}, findings, source};
    const absl::Status planned = PlanVersions(planning, versions);
    if (!planned.ok()) {
      const std::optional<FileState> in_the_way = FileStateOf(planned);
      if (!in_the_way.has_value()) return planned;
      report.file = *in_the_way;
      return report;
    }
    items_made |= planning.report.items_made;
    const absl::StatusOr<Attempt> done = Execute(planning.work, &findings);
    if (!done.ok() && NoteFileState(done.status()).has_value()) {
      // Read-only, or broken since: the next call finds out what was done of it.
      report.file = last_state_;
      return report;
    }
    PT_RETURN_IF_ERROR(done.status());
    report = planning.report;
    // Those are put back by the drain of a take.
    report.items_made = items_made || findings.touched_others;
    if (*done == Attempt::kDone) return report;
    if (*done == Attempt::kBlocked) break;
  }
  report = PageReport();
  report.items_made = items_made;
  report.file = FileState::kBlockedByApp;
  return report;
}

absl::StatusOr<std::string> ReplicaImpl::Cursor() {
  if (Recovering() && !recovery_ready_) return std::string();
  return ledger_->Get("cursor");
}

// The token decides what this device is called, unless the configuration does:
// notices of lost conflicts come under that name.
absl::Status ReplicaImpl::LearnName(const std::string& device) {
  if (device.empty() || !options_.device_id.empty() || device == device_id_) {
    return absl::OkStatus();
  }
  PT_RETURN_IF_ERROR(ledger_->Put("device_id", device));
  device_id_ = device;
  return absl::OkStatus();
}

absl::StatusOr<PageReport> ReplicaImpl::Apply(const IncomingPage& page) {
  PT_RETURN_IF_ERROR(LearnName(page.device));
  PT_RETURN_IF_ERROR(LearnRefusedTypes(page.refused_types));
  Work work;
  work.kind = "page";
  PT_ASSIGN_OR_RETURN(const std::string cursor, ledger_->Get("cursor"));
  // A sign of life needs no write.
  work.moves_cursor = !page.cursor.empty() && page.cursor != cursor;
  work.cursor = page.cursor;
  PT_ASSIGN_OR_RETURN(const std::string epoch, ledger_->Get("epoch"));
  if (page.epoch != epoch) work.epoch = page.epoch;
  PageReport report;
  PT_ASSIGN_OR_RETURN(report, ApplyVersions(page.versions, Source::kPage, work));
  if (report.file != FileState::kReady) return report;
  set_aside_may_pass_ |= report.applied > 0;
  if (!page.caught_up) {
    if (report.applied > 0) PT_RETURN_IF_ERROR(RetrySetAside(/*caught_up=*/false, &report));
    return report;
  }
  PT_ASSIGN_OR_RETURN(const bool ended, EndCatchUp());
  if (ended) PT_RETURN_IF_ERROR(RetrySetAside(/*caught_up=*/true, &report));
  // The same page again changes nothing, and ends what is left.
  if (!ended) report.file = FileState::kBlockedByApp;
  return report;
}

absl::StatusOr<bool> ReplicaImpl::EndCatchUp() {
  absl::Status status;
  bool blocked = false;
  if (Recovering()) status = EndRecovery();
  if (mode_ == Mode::kRebaselining) status = EndRebaseline(&blocked);
  if (!status.ok() && FileStateOf(status) == FileState::kBlockedByApp) return false;
  PT_RETURN_IF_ERROR(status);
  if (blocked) return false;
  PT_ASSIGN_OR_RETURN(const int64_t known, ledger_->GetInt("caught_up", 0));
  if (known == 0) PT_RETURN_IF_ERROR(ledger_->PutInt("caught_up", 1));
  if (!rejoining_.empty()) PT_RETURN_IF_ERROR(EndRejoining());
  return true;
}

// Versions that the schema refused may pass now that others stand. Between pages
// one round, on as long as it helps; at the end of a catch-up each gets its turn,
// for no page may come for a long time.
absl::Status ReplicaImpl::RetrySetAside(bool caught_up, PageReport* report, Deletions deletions) {
  if (mode_ != Mode::kNormal || !set_aside_may_pass_) return absl::OkStatus();
  {
    // Those of a history that is gone, which an item held up so far, are fetched.
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
    PT_RETURN_IF_ERROR(ledger_->DropVoidSetAside());
    PT_RETURN_IF_ERROR(tx.Commit());
  }
  size_t without_success = 0;
  while (true) {
    size_t tried = 0;
    PT_ASSIGN_OR_RETURN(const uint32_t passed, RetrySomeSetAside(report, &tried, deletions));
    if (report->file != FileState::kReady) return absl::OkStatus();
    without_success = passed > 0 ? 0 : without_success + tried;
    PT_ASSIGN_OR_RETURN(const uint32_t set_aside, ledger_->CountSetAside());
    const bool all_tried = without_success >= set_aside;
    if (tried == 0 || all_tried || (passed == 0 && !caught_up)) break;
  }
  if (caught_up) set_aside_may_pass_ = false;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> ReplicaImpl::RetrySomeSetAside(PageReport* report, size_t* tried,
                                                        Deletions deletions) {
  PT_ASSIGN_OR_RETURN(const std::vector<SetAside> waiting,
                      ledger_->ListSetAside(kSetAsideRetriesMax));
  std::vector<Version> versions;
  for (const SetAside& entry : waiting) {
    const Table* table = TableOf(entry.version.key.type);
    if (table == nullptr || table->plan.apply_mode == ApplyMode::kCaptureOnly) continue;
    if (entry.version.deleted && deletions == Deletions::kLeave) continue;
    versions.push_back(entry.version);
  }
  *tried = versions.size();
  if (versions.empty()) return 0;
  Work work;
  work.kind = "page";
  PT_ASSIGN_OR_RETURN(const PageReport retried, ApplyVersions(versions, Source::kSetAside, work));
  report->items_made |= retried.items_made;
  // Blocked: nothing happened; the next page tries again.
  if (retried.file != FileState::kReady) {
    *tried = 0;
    return 0;
  }
  report->applied += retried.applied;
  return retried.applied;
}

absl::StatusOr<std::vector<EntityKey>> ReplicaImpl::ToFetch(size_t limit) {
  if (mode_ != Mode::kNormal) return std::vector<EntityKey>();
  return KeysToFetch(limit);
}

absl::StatusOr<std::vector<EntityKey>> ReplicaImpl::KeysToFetch(size_t limit) {
  std::vector<EntityKey> keys;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_ASSIGN_OR_RETURN(const std::vector<StaleNote> notes, ledger_->ListFetchable(limit));
  for (const StaleNote& note : notes) {
    if (TableOf(note.key.type) == nullptr) continue;
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(note.key));
    if (!note.put_back && state.has_value() && !state->unconfirmed &&
        state->revision >= note.revision) {
      PT_RETURN_IF_ERROR(ledger_->ClearStale(note.key));
      continue;
    }
    keys.push_back(note.key);
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  return keys;
}

absl::StatusOr<PageReport> ReplicaImpl::ApplyFetched(const IncomingFetch& fetch) {
  PT_ASSIGN_OR_RETURN(const std::string epoch, ledger_->Get("epoch"));
  // Of another history: the pull finds out what has become of it.
  const bool other = !epoch.empty() && !fetch.epoch.empty() && epoch != fetch.epoch;
  if (other && !PT_PLANTED("accept the answer of an old epoch")) return PageReport();
  if (mode_ != Mode::kNormal) return PageReport();
  std::vector<Version> versions = fetch.versions;
  for (const EntityKey& key : fetch.missing) {
    // Nothing at all, not even a tombstone: it was deleted long ago.
    Version gone;
    gone.key = key;
    gone.deleted = true;
    versions.push_back(std::move(gone));
  }
  Revision newest = 0;
  for (const Version& version : versions) newest = std::max(newest, version.revision);
  if (!other) PT_RETURN_IF_ERROR(RememberWitness(fetch.witness, newest));
  Work work;
  work.kind = "fetch";
  return ApplyVersions(versions, Source::kFetch, work);
}

}  // namespace ptdoc::sync
