// Rows against what the service holds: slices of a verify, and its repairs.
#include "device-agent/replica/verify.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/digest.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

constexpr char kVerifyName[] = "verify";

SipKey KeyOf(const VerifyProgress& progress) {
  return DigestKeyFrom(progress.digest_key).value_or(SipKey{});
}

void AddLeaf(const SipKey& key, const RowState& state, VerifyProgress* progress) {
  VerifyRange* const range = progress->RangeOf(state.revision);
  if (range == nullptr) return;
  range->own_digest += LeafDigest(key, state.check);
  ++range->own_rows;
}

bool IsLive(const RowState& state) {
  return !state.row.absent && state.revision > 0;
}

// The version that the state names is this very row: nothing that the ledger says
// of content is trusted.
bool Proves(const Table& table, const RowState& state, const Row& row) {
  if (row.unreadable || state.unconfirmed) return false;
  const std::string hash = ContentHash(state.key, false, table.FieldsOf(row.values));
  return VersionCheck(state.key, state.revision, hash) == state.check;
}

void Count(const VerifyFinding& finding, VerifyProgress* progress) {
  if (progress->findings.count(finding.key) > 0) return;
  VerifyCount& count = progress->counts[finding.key.type];
  if (finding.kind == Difference::kDifferent) ++count.different;
  if (finding.kind == Difference::kMissingHere) ++count.missing_here;
  if (finding.kind == Difference::kMissingThere) ++count.missing_there;
  if (progress->findings.size() < kFindingsMax) progress->findings[finding.key] = finding;
}

void CountWaiting(const EntityKey& key, bool here, VerifyProgress* progress) {
  if (progress->waiting.contains(key)) return;
  if (progress->waiting.size() < kWaitingKeysMax) progress->waiting[key] = here;
  VerifyCount& count = progress->counts[key.type];
  ++(here ? count.waiting_here : count.waiting_there);
}

}  // namespace

absl::StatusOr<VerifyProgress> ReplicaImpl::BeginVerify() {
  PT_ASSIGN_OR_RETURN(const std::string stored, ledger_->Get(kVerifyName));
  PT_ASSIGN_OR_RETURN(const std::string epoch, ledger_->Get("epoch"));
  std::vector<std::string> types;
  for (const Table* table : ParentsFirst()) types.push_back(table->type());
  if (!stored.empty()) {
    absl::StatusOr<VerifyProgress> before = DecodeVerify(stored);
    const TimeNs now = ToTimeNs(clock_.Now());
    if (before.ok() && before->epoch == epoch && before->types == types && before->begun <= now &&
        now - before->begun < absl::ToInt64Nanoseconds(kVerifyResumeMax)) {
      before->resumed = true;
      return before;
    }
  }
  VerifyProgress progress;
  progress.digest_key = rng_.Bytes(kDigestKeyBytes);
  progress.epoch = epoch;
  progress.begun = ToTimeNs(clock_.Now());
  for (const std::string& type : types) progress.counts[type];
  progress.types = std::move(types);
  return progress;
}

absl::Status ReplicaImpl::SaveVerify(const VerifyProgress* progress) {
  return ledger_->Put(kVerifyName, progress == nullptr ? std::string() : EncodeVerify(*progress));
}

// Both files as of one moment, what the log announces drained before.
absl::StatusOr<FileState> ReplicaImpl::InVerifySnapshot(
    VerifyProgress* next, const std::function<absl::Status(sqlite::Database&)>& work) {
  PT_ASSIGN_OR_RETURN(const FileState state, Ready());
  if (state != FileState::kReady) return state;
  if (mode_ != Mode::kNormal) return FileState::kRecovering;
  const absl::Status status = [&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const sqlite::Transaction snapshot,
                        sqlite::Transaction::Begin(*snapshot_, sqlite::Transaction::Kind::kRead));
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
    PT_RETURN_IF_ERROR(CheckSnapshot(*snapshot_));
    DrainReport drained;
    PT_RETURN_IF_ERROR(DrainIn(*snapshot_, &drained));
    next->drained = drained.items > 0;
    PT_RETURN_IF_ERROR(work(*snapshot_));
    return tx.Commit();
  }();
  if (status.ok()) return FileState::kReady;
  const std::optional<FileState> in_the_way = FileStateOf(status);
  if (!in_the_way.has_value()) return status;
  return *in_the_way;
}

absl::StatusOr<FileState> ReplicaImpl::VerifySlice(VerifyProgress* progress,
                                                   std::vector<EntityKey>* ask) {
  ask->clear();
  VerifyProgress next = *progress;
  PT_ASSIGN_OR_RETURN(const FileState state, InVerifySnapshot(&next, [&](sqlite::Database& db) {
                        if (next.type_at >= next.types.size()) return absl::OkStatus();
                        Table* const table = TableOf(next.types[next.type_at]);
                        if (table == nullptr) return VerifyNextType(&next);
                        switch (next.phase) {
                          case VerifyPhase::kRows:
                            return VerifyRowsOf(db, *table, &next, ask);
                          case VerifyPhase::kStates:
                            return VerifyStatesOf(db, *table, &next, ask);
                          case VerifyPhase::kAround:
                            return VerifyAround(*table, &next, ask);
                          default:
                            return absl::OkStatus();
                        }
                      }));
  if (state == FileState::kReady) *progress = std::move(next);
  if (state != FileState::kReady) ask->clear();
  return state;
}

absl::Status ReplicaImpl::VerifyNextType(VerifyProgress* next) {
  ++next->type_at;
  next->after.clear();
  next->after_id.clear();
  next->live_states = 0;
  if (next->phase == VerifyPhase::kStates) next->phase = VerifyPhase::kRows;
  return absl::OkStatus();
}

absl::Status ReplicaImpl::VerifyRowsOf(sqlite::Database& db, Table& table, VerifyProgress* next,
                                       std::vector<EntityKey>* ask) {
  const SipKey digest_key = KeyOf(*next);
  VerifyCount& count = next->counts[table.type()];
  PT_ASSIGN_OR_RETURN(const bool any_open, ledger_->HasAnyOpenItem());
  PT_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                      ReadSlice(db, table, *ledger_, next->after, kSliceRows));
  for (const Row& row : rows) {
    next->after = table.LocalKeyOf(row);
    absl::StatusOr<std::string> id = table.IdOf(table.KeyOf(row.values));
    if (!id.ok()) continue;  // A key that cannot be sent: the plan tells of it.
    const EntityKey key{table.type(), *std::move(id)};
    ++count.rows_here;
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
    const bool live = state.has_value() && IsLive(*state);
    if (live) AddLeaf(digest_key, *state, next);
    if (live) ++next->live_states;
    if (any_open) {
      PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(key));
      if (open) ++count.waiting_here;
      if (open) continue;
    }
    if (!live || !Proves(table, *state, row)) ask->push_back(key);
  }
  if (!rows.empty()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t live, ledger_->CountLive(table.type()));
  if (static_cast<uint64_t>(live) == next->live_states) return VerifyNextType(next);
  next->phase = VerifyPhase::kStates;
  next->after_id.clear();
  return absl::OkStatus();
}

// States whose row is gone: deleted by somebody whom no trigger announced, or
// waiting to be sent as deletions.
absl::Status ReplicaImpl::VerifyStatesOf(sqlite::Database& db, Table& table, VerifyProgress* next,
                                         std::vector<EntityKey>* ask) {
  const SipKey digest_key = KeyOf(*next);
  PT_ASSIGN_OR_RETURN(const std::vector<RowState> states,
                      ledger_->ListStates(table.type(), next->after_id, kSliceRows));
  for (const RowState& state : states) {
    next->after_id = state.key.id;
    if (!IsLive(state)) continue;
    const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(state.key.id);
    if (!key.ok()) continue;
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(db, table, *ledger_, *key));
    if (!row.absent) continue;
    AddLeaf(digest_key, state, next);
    PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(state.key));
    if (open) {
      ++next->counts[table.type()].waiting_there;
    } else {
      ask->push_back(state.key);
    }
  }
  return states.size() == kSliceRows ? absl::OkStatus() : VerifyNextType(next);
}

// What the device holds in ranges that differ.
absl::Status ReplicaImpl::VerifyAround(Table& table, VerifyProgress* next,
                                       std::vector<EntityKey>* ask) {
  PT_ASSIGN_OR_RETURN(const std::vector<RowState> states,
                      ledger_->ListStates(table.type(), next->after_id, kSliceRows));
  for (const RowState& state : states) {
    next->after_id = state.key.id;
    if (!IsLive(state)) continue;
    const VerifyRange* const range = next->RangeOf(state.revision);
    if (range != nullptr && !range->equal()) ask->push_back(state.key);
  }
  return states.size() == kSliceRows ? absl::OkStatus() : VerifyNextType(next);
}

absl::StatusOr<FileState> ReplicaImpl::VerifyJudge(const TheirRows& theirs,
                                                   VerifyProgress* progress) {
  VerifyProgress next = *progress;
  PT_ASSIGN_OR_RETURN(const FileState state, InVerifySnapshot(&next, [&](sqlite::Database& db) {
                        for (const TheirRow& row : theirs.rows) {
                          PT_RETURN_IF_ERROR(JudgeRow(db, theirs, row, &next));
                        }
                        for (const EntityKey& key : theirs.missing) {
                          TheirRow none;
                          none.key = key;
                          none.deleted = true;
                          PT_RETURN_IF_ERROR(JudgeRow(db, theirs, none, &next));
                        }
                        return absl::OkStatus();
                      }));
  if (state == FileState::kReady) *progress = std::move(next);
  return state;
}

// Why what the service holds is not to be expected here (yet).
absl::StatusOr<bool> ReplicaImpl::VerifyWaits(const TheirRows& theirs, const TheirRow& row,
                                              const std::optional<RowState>& state) {
  if (state.has_value() && state->unconfirmed) return true;
  const Revision here = state.has_value() ? state->revision : 0;
  // The feed is still to bring it; or the row moved while the service was asked.
  if (row.revision > here && row.revision > theirs.cursor) return true;
  if (here > row.revision && here > theirs.newest) return true;
  PT_ASSIGN_OR_RETURN(const std::optional<SetAside> aside, ledger_->FindSetAside(row.key));
  if (aside.has_value()) return true;
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(row.key));
  return note.has_value();
}

absl::Status ReplicaImpl::JudgeRow(sqlite::Database& db, const TheirRows& theirs,
                                   const TheirRow& row, VerifyProgress* next) {
  Table* const table = TableOf(row.key.type);
  if (table == nullptr) return absl::OkStatus();
  // The service's live rows of ranges that differ were judged before.
  if (next->phase == VerifyPhase::kAround && !row.deleted) {
    const VerifyRange* const range = next->RangeOf(row.revision);
    if (range != nullptr && !range->equal()) return absl::OkStatus();
  }
  PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(row.key));
  if (open) return absl::OkStatus();  // Counted where the rows are.
  const absl::StatusOr<std::vector<Value>> key = table->KeyFromId(row.key.id);
  if (!key.ok()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const Row ours, ReadRow(db, *table, *ledger_, *key));
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(row.key));
  if (row.deleted && ours.absent) return absl::OkStatus();
  VerifyFinding finding;
  finding.key = row.key;
  finding.there = row.revision;
  finding.here = state.has_value() ? state->revision : 0;
  bool same = false;
  if (!row.deleted && !ours.absent) {
    PT_ASSIGN_OR_RETURN(finding.columns, DifferingColumns(*table, *next, row, state, ours));
    same = finding.columns.empty() && finding.here == row.revision && state->check == row.check;
  }
  if (same) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const bool waits, VerifyWaits(theirs, row, state));
  if (waits) {
    CountWaiting(row.key, !ours.absent, next);
    return absl::OkStatus();
  }
  finding.kind = ours.absent   ? Difference::kMissingHere
                 : row.deleted ? Difference::kMissingThere
                               : Difference::kDifferent;
  Count(finding, next);
  return absl::OkStatus();
}

// Names of the columns whose content is not what the service holds. A column that
// the version does not have counts only where somebody has written it here since.
absl::StatusOr<std::vector<std::string>> ReplicaImpl::DifferingColumns(
    Table& table, const VerifyProgress& progress, const TheirRow& row,
    const std::optional<RowState>& state, const Row& ours) {
  const SipKey digest_key = KeyOf(progress);
  std::vector<bool> written(ours.values.size(), true);
  if (state.has_value() && !state->row.absent) {
    PT_ASSIGN_OR_RETURN(written, ChangedColumns(table, *ledger_, state->row, ours));
  }
  const uint64_t null_hash = ledger_->HashOf(Value::Null());
  std::vector<std::string> columns;
  for (size_t i = 0; i < ours.values.size(); ++i) {
    const std::string& name = table.plan.columns[i];
    const auto at = std::lower_bound(row.names->begin(), row.names->end(), name);
    if (at != row.names->end() && *at == name) {
      const uint64_t theirs = row.digests[static_cast<size_t>(at - row.names->begin())];
      if (ours.unreadable && !table.IsKey(i)) continue;
      if (FieldDigest(digest_key, ours.values[i]) != theirs) columns.push_back(name);
      continue;
    }
    const bool usual =
        ours.hashes.hashes[i] == null_hash || table.default_hash[i] == ours.hashes.hashes[i];
    if (!table.IsKey(i) && written[i] && !usual) columns.push_back(name);
  }
  if (ours.unreadable && columns.empty()) columns.push_back("(too long to be read)");
  return columns;
}

absl::StatusOr<FileState> ReplicaImpl::RepairRow(bool push, VerifyFinding* finding) {
  PT_ASSIGN_OR_RETURN(const FileState ready, ReadyToJudge(/*drain=*/true));
  if (ready != FileState::kReady) return ready;
  if (mode_ != Mode::kNormal) return FileState::kRecovering;
  Table* const table = TableOf(finding->key.type);
  if (table == nullptr) return FileState::kMissing;
  // Edited meanwhile: that edit goes its own way.
  PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(finding->key));
  if (open) return FileState::kReady;
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table->KeyFromId(finding->key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, *table, *ledger_, key));
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(finding->key));
  if (row.unreadable) return FileState::kReady;
  bool changed_here = !state.has_value();
  if (state.has_value()) {
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(*table, *ledger_, state->row, row));
    changed_here = !same;
  }
  // What the service never had is sent in any case: there is nothing to put in its place.
  const bool unknown_there = finding->there == 0 && !row.absent;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  if (unknown_there || (push && changed_here)) {
    PT_RETURN_IF_ERROR(EnqueueFound(finding->key, state, row));
  } else {
    PT_RETURN_IF_ERROR(PutServiceVersionBack(*table, *finding, state, row));
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  finding->repaired = true;
  return FileState::kReady;
}

// The device's row goes to the archive; the service's version is fetched and
// applied as any other put-back, if the row is then still what it is now.
absl::Status ReplicaImpl::PutServiceVersionBack(Table& table, const VerifyFinding& finding,
                                                const std::optional<RowState>& state,
                                                const Row& row) {
  const std::optional<Fields> lost =
      row.absent ? std::nullopt : std::optional(table.FieldsOf(row.values));
  if (row.absent || finding.kind != Difference::kDifferent || !finding.columns.empty()) {
    ArchiveEntry entry = LossOf(finding.key, "", Resolution::kNone, "", nullptr, lost);
    entry.resolution_type = "Repaired";
    entry.reason = "verify found this row different from the service's; the service's was put back";
    entry.archived_time = state.has_value() ? state->time : kSmallestTime;
    entry.archived_user = row.user.empty() ? options_.user : row.user;
    PT_RETURN_IF_ERROR(ledger_->PutArchive(entry).status());
  }
  const Revision revision = state.has_value() ? ToldRevision(*state) : finding.there;
  return ledger_->NoteStale(
      {finding.key, std::max<Revision>(revision, 0), true, false, row.hashes});
}

}  // namespace ptdoc::sync
