// What becomes of one version: written, adopted, noted, set aside or skipped.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "common/model/row_json.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/replica/planning.h"
#include "device-agent/replica/writing.h"

namespace ptdoc::sync {
namespace {

Version WithoutContent(const Version& version) {
  Version head;
  head.key = version.key;
  head.revision = version.revision;
  head.check = version.check;
  head.deleted = version.deleted;
  head.last_modified = version.last_modified;
  head.modified_by = version.modified_by;
  return head;
}

RowHashes Absent() {
  RowHashes row;
  row.absent = true;
  return row;
}

// The row of the decision table (docs/CONFLICTS.md) by which a version that the
// service had accepted loses: the notice does not carry it.
absl::string_view RuleOfLoss(Resolution resolution) {
  if (resolution == Resolution::kLocalWins) return "8";
  if (resolution == Resolution::kMerged) return "9";
  if (resolution == Resolution::kManual) return "review";
  const bool closed =
      resolution == Resolution::kSignedWins || resolution == Resolution::kLockedWins;
  return closed ? "7" : "";
}

// A reviewer, the version's author, decided about this entry.
void MarkReviewed(absl::string_view action, absl::Time now, const Version& version,
                  ArchiveEntry* entry) {
  entry->is_resolved = true;
  entry->resolved_at = now;
  entry->resolved_by = version.modified_by;
  entry->resolved_action = std::string(action);
}

// The row that a reviewer's version resolves may stand in the ledger, or come
// there with this very page. What somebody resolved here stays as he did.
absl::Status ResolveReviewed(Ledger& ledger, Work& work, absl::Time now, const Version& version) {
  const std::string& id = version.conflict->resolved_conflict_id;
  if (id.empty()) return absl::OkStatus();
  const std::string json = version.deleted ? "null" : FieldsToJson(version.fields);
  const auto action = [&json](const ArchiveEntry& entry) {
    return entry.archived_json == json ? "Restored" : "Edited";
  };
  for (ArchiveEntry& entry : work.archives) {
    if (entry.conflict_id == id) MarkReviewed(action(entry), now, version, &entry);
  }
  PT_ASSIGN_OR_RETURN(const std::optional<ArchiveEntry> kept, ledger.FindArchive(id));
  if (!kept.has_value() || kept->is_resolved || kept->conflict_id != id) return absl::OkStatus();
  return ledger.ResolveArchive(id, now, version.modified_by, action(*kept));
}

// The key says what stands in its columns; where it ignores case, the version says
// how that is written. False if the two contradict each other.
bool FillKey(const Table& table, Target* target) {
  for (size_t i = 0; i < target->key.size(); ++i) {
    const size_t at = table.key_at[i];
    if (table.IsFixed(at) || !target->written[at]) {
      target->values[at] = target->key[i];
    } else if (FoldedKeyValue(table.plan, i, target->values[at]) != target->key[i]) {
      target->code = "INVALID_KEY";
      return false;
    }
    target->written[at] = true;
  }
  return true;
}

}  // namespace

absl::Status ReplicaImpl::Classify(Planning& planning, const Version& version) {
  Table* table = TableOf(version.key.type);
  if (table == nullptr) {
    ++planning.report.skipped;
    PT_ASSIGN_OR_RETURN(const std::string types, ledger_->Get("types"));
    for (const absl::string_view type : absl::StrSplit(types, '\n')) {
      // A table that is away for now: fetched when it is back.
      if (type == version.key.type && version.revision > 0) {
        planning.work.notes.push_back({version.key, version.revision, false});
      }
    }
    return absl::OkStatus();
  }
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(version.key));
  PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(version.key));
  if (open) {
    PT_ASSIGN_OR_RETURN(const bool adopted, AdoptOffered(planning, version, *table));
    if (adopted) return absl::OkStatus();
    ++planning.report.skipped;
    PT_ASSIGN_OR_RETURN(const bool judged, JudgeGained(planning, version, *table, state));
    if (judged) return absl::OkStatus();
    if (planning.source == Source::kPage && !PT_PLANTED("skip the stale note")) {
      planning.work.notes.push_back({version.key, version.revision, false});
    }
    return absl::OkStatus();
  }
  if (Recovering() && !state.has_value()) return ClassifyRecovered(planning, version, *table);
  return ClassifyKnown(planning, version, *table, state);
}

// Whether what stands there is known to be none of the service's, and to be put
// back: nothing is lost with it.
absl::StatusOr<bool> ReplicaImpl::GoesAnyway(const EntityKey& key, Table& table, const Row& row) {
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(key));
  if (!note.has_value() || !note->put_back || note->backfill) return false;
  if (!note->expected.has_value()) return true;
  return SameRow(table, *ledger_, *note->expected, row);
}

absl::Status ReplicaImpl::ClassifyKnown(Planning& planning, const Version& version, Table& table,
                                        const std::optional<RowState>& state) {
  const bool rebaselining = mode_ == Mode::kRebaselining;
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(version.key));
  // What was set aside at the state's own revision is a put-back that the schema
  // refused.
  const bool put_back = (note.has_value() && note->put_back && !note->backfill) ||
                        (planning.source == Source::kSetAside && state.has_value() &&
                         state->revision == version.revision);
  const bool backfill = note.has_value() && note->backfill;
  if (rebaselining && state.has_value() && state->unconfirmed) {
    return ClassifyRebaselined(planning, version, table, state, put_back);
  }
  // Of a history that may be gone: nothing is older than that.
  const bool comparable = state.has_value() && !state->unconfirmed;
  const Revision revision = comparable ? state->revision : 0;
  const bool missing = version.revision == 0;  // the service holds nothing at all
  const bool blind = PT_PLANTED("a set-aside version is tried whatever its revision") &&
                     planning.source == Source::kSetAside;
  if (!missing && comparable && !blind &&
      (version.revision < revision || (version.revision == revision && !put_back && !backfill))) {
    ++planning.report.skipped;
    if (planning.source == Source::kFetch) return ledger_->ClearStale(version.key);
    if (planning.source == Source::kSetAside) {
      return ledger_->ClearSetAside(version.key, version.revision);
    }
    return absl::OkStatus();
  }
  if (missing && !state.has_value() && !put_back) return ledger_->ClearStale(version.key);
  // Asked for by a note that a version has settled since: an answer of before.
  if (missing && planning.source == Source::kFetch && !note.has_value()) {
    PT_REACHED("a fetch was answered late");
    return absl::OkStatus();
  }
  const bool look = put_back || backfill || planning.findings.look_at.count(version.key) > 0;
  if (look) return ClassifyByRow(planning, version, table, state, put_back);
  return PlanTarget(planning, version, table, state.has_value() ? state->row : Absent(), nullptr);
}

// The row is known, or supposed, to be something else than its state says.
absl::Status ReplicaImpl::ClassifyByRow(Planning& planning, const Version& version, Table& table,
                                        const std::optional<RowState>& state, bool put_back) {
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table.KeyFromId(version.key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, key));
  bool as_known = row.absent && !state.has_value();
  if (state.has_value()) {
    PT_ASSIGN_OR_RETURN(as_known, SameRow(table, *ledger_, state->row, row));
  }
  bool goes = false;
  if (put_back && planning.source != Source::kSetAside) {
    PT_ASSIGN_OR_RETURN(goes, GoesAnyway(version.key, table, row));
  }
  if (as_known || goes) {
    PT_RETURN_IF_ERROR(PlanTarget(planning, version, table, row.hashes, &row));
    Target& target = planning.work.targets.back();
    // What goes, and cannot yet, is what is known of this row from now on: what
    // somebody writes there meanwhile, unseen by any trigger, is an edit.
    if (!as_known && target.act == Act::kSetAside) target.stays_as_sent = row.hashes;
    return absl::OkStatus();
  }
  Target target;
  target.table = &table;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, &row));
  if (storable && target.after == row.hashes) {
    return PlanTarget(planning, version, table, row.hashes, &row);
  }
  // Nobody announced what stands there: it is an edit.
  PT_REACHED("an edit that nobody announced stood in the way");
  planning.report.items_made = true;
  ++planning.report.skipped;
  PT_RETURN_IF_ERROR(EnqueueFound(version.key, state, row));
  planning.work.notes.push_back({version.key, version.revision, false});
  return absl::OkStatus();
}

// Equal: adopted; absent: applied; different: re-offered.
absl::Status ReplicaImpl::ClassifyRecovered(Planning& planning, const Version& version,
                                            Table& table) {
  const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(version.key.id);
  if (!key.ok()) return PlanTarget(planning, version, table, Absent(), nullptr);
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, *key));
  Target target;
  target.table = &table;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, &row));
  bool equal = storable && target.after == row.hashes;
  if (equal) {
    PT_ASSIGN_OR_RETURN(equal, HoldsNoMore(target, row));
  }
  if (row.absent || equal) return PlanTarget(planning, version, table, row.hashes, &row);
  QueueItem item;
  item.key = version.key;
  item.reoffer = true;
  item.enqueued_at = clock_.Now();
  item.max_retries = options_.max_retries;
  PT_RETURN_IF_ERROR(ledger_->InsertItem(item).status());
  ++planning.report.skipped;
  planning.report.items_made = true;
  planning.work.notes.push_back({version.key, version.revision, false});
  return absl::OkStatus();
}

absl::Status ReplicaImpl::ClassifyRebaselined(Planning& planning, const Version& version,
                                              Table& table, const std::optional<RowState>& state,
                                              bool put_back) {
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table.KeyFromId(version.key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, key));
  Target target;
  target.table = &table;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, &row));
  const bool equal = storable && target.after == row.hashes;
  PT_ASSIGN_OR_RETURN(const bool as_known, SameRow(table, *ledger_, state->row, row));
  // Heads only grow: a deletion above the version that is held now was lost. One
  // below it may be merely old, and is not offered.
  const bool may_be_lost = row.absent ? state->revision > version.revision : true;
  if (PT_PLANTED("apply before the re-offer")) {
    return PlanTarget(planning, version, table, row.hashes, &row);
  }
  if (!equal && as_known && may_be_lost && state->revision > shared_revision_) {
    // The service may have lost it: it is offered again, and stays till then.
    ++planning.report.skipped;
    planning.report.items_made = true;
    return OfferUnconfirmed(*state);
  }
  return ClassifyByRow(planning, version, table, state, put_back);
}

// The answer to MustAskFirst. Where the service holds something else in a gained
// column the edit was made without knowing it: it is offered as a version of its
// own, and the loser is archived. One that is of gained columns alone is a
// migration's more often than a person's, and loses.
absl::StatusOr<bool> ReplicaImpl::JudgeGained(Planning& planning, const Version& version,
                                              Table& table, const std::optional<RowState>& state) {
  if (planning.source != Source::kFetch || !state.has_value()) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(version.key));
  if (!note.has_value() || !note->backfill) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> sending, ledger_->FindProcessing(version.key));
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindWaiting(version.key));
  const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(version.key.id);
  if (sending.has_value() || !item.has_value() || !key.ok()) return false;
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, *key));
  if (row.absent || state->row.absent) return false;
  planning.report.items_made = true;
  if (version.revision > ToldRevision(*state)) {
    PT_RETURN_IF_ERROR(ledger_->NoteStale({version.key, version.revision, true, true}));
    return true;
  }
  PT_ASSIGN_OR_RETURN(const std::vector<bool> gained, GainedColumns(table, *ledger_, state->row));
  PT_ASSIGN_OR_RETURN(const std::vector<bool> changed,
                      ChangedColumns(table, *ledger_, state->row, row));
  bool clash = false;
  bool gained_only = true;
  for (size_t i = 0; i < changed.size(); ++i) {
    if (!changed[i]) continue;
    gained_only &= gained[i];
    const Value* held = version.fields.Find(table.plan.columns[i]);
    clash |= gained[i] && held != nullptr && *held != row.values[i];
  }
  if (clash) {
    item->reoffer = true;
    if (gained_only) item->time = kSmallestTime;
    PT_RETURN_IF_ERROR(ledger_->UpdateItem(*item));
  }
  PT_RETURN_IF_ERROR(ledger_->ClearStale(version.key));
  PT_RETURN_IF_ERROR(
      ledger_->NoteStale({version.key, ToldRevision(*state), true, true, row.hashes}));
  return true;
}

// An item that only asks (there before init, or a re-offer) has its answer
// where the row already is what the service holds.
absl::StatusOr<bool> ReplicaImpl::AdoptOffered(Planning& planning, const Version& version,
                                               Table& table) {
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> item, ledger_->FindWaiting(version.key));
  if (!item.has_value() || !(item->initial || item->reoffer) || version.revision == 0) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> sending, ledger_->FindProcessing(version.key));
  if (sending.has_value() || version.deleted) return false;
  // An edit since then may still be taken back by a power cut; and a later time
  // must reach the service, for it decides against what comes in between.
  if (item->drain != 0 || (!item->reoffer && item->time > version.last_modified)) return false;
  const absl::StatusOr<std::vector<Value>> key = table.KeyFromId(version.key.id);
  if (!key.ok()) return false;
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, *key));
  Target target;
  target.table = &table;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, &row));
  if (!storable || row.absent || target.after != row.hashes) return false;
  PT_ASSIGN_OR_RETURN(const bool holds_no_more, HoldsNoMore(target, row));
  if (!holds_no_more) return false;
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*app_));
  PT_ASSIGN_OR_RETURN(const LogMark drained, GetMark("drained"));
  if (!(last == drained)) return false;
  target.act = Act::kAdopt;
  target.closes_item = item->id;
  ++planning.report.skipped;
  planning.work.targets.push_back(std::move(target));
  return true;
}

absl::Status ReplicaImpl::PlanTarget(Planning& planning, const Version& version, Table& table,
                                     const RowHashes& expected, const Row* row) {
  Target target;
  target.table = &table;
  target.expected = expected;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, row));
  const auto refused = planning.findings.refused.find(version.key);
  if (!storable) {
    target.act = Act::kSetAside;
  } else if (refused != planning.findings.refused.end()) {
    target.act = Act::kSetAside;
    target.code = refused->second.code;
    target.constraint = refused->second.constraint;
  } else if (version.revision == 0) {
    target.act = Act::kRemove;
  } else if (target.after == (row != nullptr ? row->hashes : expected)) {
    target.act = Act::kAdopt;
  } else if (table.plan.apply_mode == ApplyMode::kCaptureOnly) {
    target.act = Act::kSetAside;
    target.code = "CAPTURE_ONLY";
  }
  const bool applied = target.act != Act::kSetAside;
  if (!applied) target.version.fields = version.fields;
  // What swaps its values with others passes only together with all of them.
  const bool swaps = target.code == "SQLITE_CONSTRAINT_UNIQUE";
  if (!applied && swaps && planning.source != Source::kSetAside) set_aside_may_pass_ = true;
  ++(applied ? planning.report.applied : planning.report.skipped);
  planning.work.targets.push_back(std::move(target));
  return absl::OkStatus();
}

// The whole row as it will stand, and its hashes: known before it is written,
// so that the intent can say it.
absl::StatusOr<bool> ReplicaImpl::FillTarget(const Version& version, Target* target,
                                             const Row* row) {
  const Table& table = *target->table;
  target->version = WithoutContent(version);
  absl::StatusOr<std::vector<Value>> key = table.KeyFromId(version.key.id);
  if (!key.ok()) {
    target->code = "INVALID_KEY";
    return false;
  }
  target->key = *std::move(key);
  target->after = Absent();
  if (version.deleted) return true;
  const size_t columns = table.plan.columns.size();
  target->values.assign(columns, Value::Null());
  target->written.assign(columns, false);
  bool complete = true;
  for (size_t i = 0; i < columns; ++i) {
    const Value* value = version.fields.Find(table.plan.columns[i]);
    if (value == nullptr) {
      complete &= table.IsKey(i);
      continue;
    }
    if (!table.Keeps(i, *value)) {
      target->code = AffinityKeeps(table.plan.affinities[i], *value) ? "ENCODING" : "AFFINITY";
      target->constraint = absl::StrCat(table.plan.table, ".", table.plan.columns[i]);
      return false;
    }
    target->values[i] = *value;
    target->written[i] = true;
  }
  if (!FillKey(table, target)) return false;
  if (!complete) {
    PT_ASSIGN_OR_RETURN(const bool filled, FillMissing(target, row));
    if (!filled) return false;
  }
  target->after = HashesOf(table, *ledger_, target->values);
  return true;
}

// False if the row holds something in a column that the version does not know,
// which the service has never heard of then.
absl::StatusOr<bool> ReplicaImpl::HoldsNoMore(const Target& target, const Row& row) {
  for (size_t i = 0; i < target.written.size() && !row.absent; ++i) {
    if (target.written[i]) continue;
    const absl::StatusOr<Value> usual = DefaultOf(*app_, *target.table, i);
    if (!usual.ok() && !IsRefusal(usual.status())) return usual.status();
    if (!usual.ok() || row.values[i] != *usual) return false;
  }
  return true;
}

// Columns that the version does not know stay as they are, or get what an
// INSERT would give them. False if only the app can compute that.
absl::StatusOr<bool> ReplicaImpl::FillMissing(Target* target, const Row* row) {
  const Table& table = *target->table;
  Row read;
  if (row == nullptr) {
    PT_ASSIGN_OR_RETURN(read, ReadRow(*app_, table, *ledger_, target->key));
    row = &read;
  }
  for (size_t i = 0; i < target->values.size(); ++i) {
    if (target->written[i]) continue;
    if (!row->absent) {
      target->values[i] = row->values[i];
      continue;
    }
    absl::StatusOr<Value> usual = DefaultOf(*app_, table, i);
    if (IsRefusal(usual.status())) {
      target->code = RefusalOf(usual.status()).code;
      target->constraint = absl::StrCat(table.plan.table, ".", table.plan.columns[i]);
      return false;
    }
    PT_RETURN_IF_ERROR(usual.status());
    target->values[i] = *std::move(usual);
  }
  return true;
}

// Versions of this device that the service had accepted and that lost since:
// the row as it stands is archived before it is replaced.
absl::Status ReplicaImpl::ArchiveOwnLosses(Planning& planning,
                                           const std::vector<Version>& versions) {
  for (const Version& version : versions) {
    if (!version.conflict.has_value()) continue;
    PT_RETURN_IF_ERROR(ResolveReviewed(*ledger_, planning.work, clock_.Now(), version));
    const std::string& loser = version.conflict->lost_device;
    if (loser.empty() || loser != device_id_) continue;
    Table* table = TableOf(version.key.type);
    if (table == nullptr) continue;
    ++planning.report.conflicts;
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(version.key));
    if (!state.has_value() || state->revision != version.conflict->lost_revision) continue;
    const absl::StatusOr<std::vector<Value>> key = table->KeyFromId(version.key.id);
    if (!key.ok()) continue;
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, *table, *ledger_, *key));
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(*table, *ledger_, state->row, row));
    // With a newer edit in its place the content is only in the service's archive.
    if (!same) continue;
    const std::optional<Fields> lost =
        row.absent ? std::nullopt : std::optional(table->FieldsOf(row.values));
    ArchiveEntry entry =
        LossOf(version.key, version.conflict->conflict_id, version.conflict->resolution,
               RuleOfLoss(version.conflict->resolution), &version, lost);
    entry.archived_time = state->time;
    entry.archived_user = row.user.empty() ? options_.user : row.user;
    // A person decided it already: nobody is asked again.
    if (version.conflict->resolution == Resolution::kManual) {
      entry.reason = "A reviewer replaced this version";
      MarkReviewed("Replaced", clock_.Now(), version, &entry);
    }
    planning.work.archives.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
