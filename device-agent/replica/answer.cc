// The service's answer to a batch.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/backoff.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/model/row_json.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

struct ReplicaImpl::Answering {
  const IncomingAnswer& answer;
  AnswerReport report = {};
  std::vector<std::pair<QueueItem, const ChangeResult*>> losers = {};
  std::vector<int64_t> completed = {};
};

namespace {

constexpr Backoff kItemBackoff{absl::Seconds(1), absl::Minutes(5)};

// The service holds what was sent.
bool HoldsWhatWasSent(const ChangeResult& result) {
  switch (result.outcome) {
    case Outcome::kAccepted:
      return true;
    case Outcome::kUnchanged:
      return !result.current.has_value();
    case Outcome::kConflict:
      return result.resolution == Resolution::kLocalWins ||
             result.resolution == Resolution::kSignedWins ||
             result.resolution == Resolution::kLockedWins;
    default:
      return false;
  }
}

bool IsFailure(const ChangeResult& result) {
  return result.outcome != Outcome::kAccepted && result.outcome != Outcome::kUnchanged &&
         result.outcome != Outcome::kConflict;
}

bool HoldsNothingMore(const Fields& loser, const Version* winner) {
  return std::all_of(loser.begin(), loser.end(), [winner](const Field& field) {
    if (field.value.is_null()) return true;
    if (winner == nullptr || winner->deleted) return false;
    const Value* kept = winner->fields.Find(field.name);
    return kept != nullptr && *kept == field.value;
  });
}

void Complete(QueueItem* item, absl::Time now) {
  item->status = ItemStatus::kCompleted;
  item->completed_at = now;
  item->error_message.clear();
  item->next_attempt_at.reset();
}

}  // namespace

const Change* ReplicaImpl::SentChange(const std::string& batch_id, const EntityKey& key) const {
  const OutgoingBatch* batch = InMemory(batch_id);
  if (batch == nullptr) return nullptr;
  for (const Change& change : batch->changes) {
    if (change.key == key) return &change;
  }
  return nullptr;
}

ArchiveEntry ReplicaImpl::LossOf(const EntityKey& key, const std::string& conflict_id,
                                 Resolution resolution, absl::string_view rule,
                                 const Version* winner, const std::optional<Fields>& lost) const {
  ArchiveEntry entry;
  entry.conflict_id = conflict_id.empty() ? NewUuid(rng_) : conflict_id;
  entry.key = key;
  entry.resolution_type = std::string(ResolutionName(resolution));
  entry.rule = std::string(rule);
  entry.reason = std::string(ResolutionReason(resolution));
  entry.detected_at = clock_.Now();
  entry.archived_json = lost.has_value() ? FieldsToJson(*lost) : "null";
  entry.archived_device = device_id_;
  entry.chosen_json = "null";
  if (winner != nullptr) {
    if (!winner->deleted) entry.chosen_json = FieldsToJson(winner->fields);
    entry.chosen_time = winner->last_modified;
    entry.chosen_user = winner->modified_by;
  }
  entry.is_resolved =
      resolution != Resolution::kManual && (!lost.has_value() || HoldsNothingMore(*lost, winner));
  return entry;
}

absl::StatusOr<AnswerReport> ReplicaImpl::Finish(
    absl::Span<const std::shared_ptr<const IncomingAnswer>> answers) {
  PT_ASSIGN_OR_RETURN(FileState file, Ready());
  std::vector<Answering> all;
  all.reserve(answers.size());
  {
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
    for (const std::shared_ptr<const IncomingAnswer>& answer : answers) {
      Answering& answering = all.emplace_back(Answering{*answer});
      const auto partial = partial_answers_.find(answer->batch_id);
      if (partial != partial_answers_.end()) answering.report = partial->second;
      if (answering.report.finished == 0) PT_RETURN_IF_ERROR(SettleResults(answering));
    }
    PT_RETURN_IF_ERROR(At("answered"));
    PT_RETURN_IF_ERROR(tx.Commit());
  }
  if (file == FileState::kReady) file = News();
  AnswerReport sum;
  for (size_t i = 0; i < all.size(); ++i) {
    PT_ASSIGN_OR_RETURN(const bool done, FinishOne(all[i], &file));
    AnswerReport& report = all[i].report;
    const std::string& batch_id = all[i].answer.batch_id;
    if (sum.file == FileState::kReady && (!done || file == FileState::kRecovering)) sum.file = file;
    // Behind one that is not finished; it is given again with that. In a recovery
    // all of them are asked for anew.
    if (i > sum.finished || (!done && file != FileState::kRecovering)) {
      partial_answers_[batch_id] = report;
      continue;
    }
    ++sum.finished;
    if (!done) {
      partial_answers_[batch_id] = report;
      continue;
    }
    partial_answers_.erase(batch_id);
    sum.success += report.success;
    sum.failed += report.failed;
    sum.conflicts_count += report.conflicts_count;
    std::move(report.conflicts.begin(), report.conflicts.end(), std::back_inserter(sum.conflicts));
    sum.send_again_at_once |= report.send_again_at_once;
  }
  return sum;
}

// True if nothing of the answer is left to be done.
absl::StatusOr<bool> ReplicaImpl::FinishOne(Answering& answering, FileState* file) {
  const std::string& batch_id = answering.answer.batch_id;
  if (answering.report.finished > 0) return true;
  if (!answering.losers.empty()) {
    if (*file == FileState::kReady) {
      PT_ASSIGN_OR_RETURN(*file, ReplaceLosers(answering));
    }
    if (*file != FileState::kReady) return false;
    PT_RETURN_IF_ERROR(ledger_->CloseBatch(batch_id));
  }
  // Whoever waited behind it may go; what is still open is found anew.
  unanswered_loaded_ &= RemoveAnswered(batch_id);
  in_memory_.erase(batch_id);
  answering.report.finished = 1;
  return true;
}

// False if this process does not know what the batch held.
bool ReplicaImpl::RemoveAnswered(const std::string& batch_id) {
  const OutgoingBatch* batch = InMemory(batch_id);
  if (batch == nullptr) return false;
  for (const Change& change : batch->changes) unanswered_.erase(change.key);
  return true;
}

// Everything that needs no write to the app's file.
absl::Status ReplicaImpl::SettleResults(Answering& answering) {
  const IncomingAnswer& answer = answering.answer;
  PT_ASSIGN_OR_RETURN(std::vector<QueueItem> items, ledger_->ListBatch(answer.batch_id));
  using Name = std::pair<absl::string_view, absl::string_view>;  // an EntityKey's, not copied
  absl::flat_hash_map<Name, const ChangeResult*> results;
  results.reserve(answer.results.size());
  for (const ChangeResult& result : answer.results) {
    results[Name(result.key.type, result.key.id)] = &result;
  }
  if (!answer.voided && !Recovering()) {
    Revision newest = 0;
    for (const ChangeResult& result : answer.results) {
      newest = std::max(newest, result.revision);
      if (result.current.has_value()) newest = std::max(newest, result.current->revision);
    }
    PT_RETURN_IF_ERROR(RememberWitness(answer.witness, newest));
    if (PT_PLANTED("pull from commit_cursor") && !answer.witness.empty()) {
      PT_RETURN_IF_ERROR(ledger_->Put("cursor", answer.witness));
    }
  }
  for (QueueItem& item : items) {
    const auto found = results.find(Name(item.key.type, item.key.id));
    if (PT_PLANTED("a void batch counts as taken") && answer.voided) {
      QueueItem taken = item;
      Complete(&taken, clock_.Now());
      PT_RETURN_IF_ERROR(ledger_->UpdateItem(taken));
      continue;
    }
    if (answer.voided && !Recovering()) PT_RETURN_IF_ERROR(AskWhatVoidLeaves(item.key));
    // During a recovery answers move nothing: everything is asked anew.
    if (answer.voided || Recovering() || found == results.end()) {
      PT_RETURN_IF_ERROR(BackToWaiting(std::move(item)));
    } else {
      PT_RETURN_IF_ERROR(SettleResult(answering, std::move(item), *found->second));
    }
  }
  PT_RETURN_IF_ERROR(ledger_->CompleteItems(std::move(answering.completed), clock_.Now()));
  // What lost is still under way until its row is replaced.
  return answering.losers.empty() ? ledger_->CloseBatch(answer.batch_id) : absl::OkStatus();
}

// Void to whom we are now. Another device may have sent it, whose files these are a
// copy of; the cursor may be past what it brought, left out as its own (docs/adr/0010).
absl::Status ReplicaImpl::AskWhatVoidLeaves(const EntityKey& key) {
  if (PT_PLANTED("what a void batch brought is not asked for")) return absl::OkStatus();
  if (TableOf(key.type) == nullptr && !IsWanted(key.type)) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(key));
  if (note.has_value() && note->put_back) return absl::OkStatus();  // It is fetched in any case.
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
  if (state.has_value()) {
    return ledger_->NoteStale({key, ToldRevision(*state), true, false, state->row});
  }
  RowHashes nothing;
  nothing.absent = true;
  return ledger_->NoteStale({key, 0, true, false, nothing});
}

// What an answer or a fetch tells is ahead of the cursor: were the service set
// back behind it before the feed brings it, the cursor would still fit. The
// witness of the newest revision that was told covers all before it.
absl::Status ReplicaImpl::RememberWitness(const std::string& witness, Revision newest) {
  PT_ASSIGN_OR_RETURN(const Revision known, ledger_->GetInt("witness_revision", 0));
  if (witness.empty() || newest < known) return absl::OkStatus();
  PT_RETURN_IF_ERROR(ledger_->Put("witness", witness));
  return ledger_->PutInt("witness_revision", newest);
}

absl::Status ReplicaImpl::SettleResult(Answering& answering, QueueItem item,
                                       const ChangeResult& result) {
  AnswerReport& report = answering.report;
  if (IsFailure(result)) return FailResult(answering, std::move(item), result);
  const bool again = partial_answers_.count(answering.answer.batch_id) > 0;
  if (!again && result.outcome == Outcome::kConflict) {
    ++report.conflicts_count;
    report.conflicts.push_back(
        {item.key, result.resolution, std::string(ResolutionReason(result.resolution))});
  } else if (!again) {
    ++report.success;
  }
  if (PT_PLANTED("the base moves on ServerWins") && result.revision > 0) {
    PT_RETURN_IF_ERROR(MoveState(item, result));
    Complete(&item, clock_.Now());
    return ledger_->UpdateItem(item);
  }
  if (!HoldsWhatWasSent(result)) {
    answering.losers.emplace_back(std::move(item), &result);
    return absl::OkStatus();
  }
  PT_RETURN_IF_ERROR(MoveState(item, result));
  answering.completed.push_back(item.id);
  return absl::OkStatus();
}

// The app has gained a column since the base was known, or since the row was
// sent: what the service holds in it was neither sent nor is it here.
absl::StatusOr<bool> ReplicaImpl::HasGainedColumns(const QueueItem& item) {
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> base, ledger_->FindState(item.key));
  if (!base.has_value() || base->revision == 0) return false;
  if (base->row.absent || item.sent.absent) return false;
  const Table* table = TableOf(item.key.type);
  return base->row.columns_id != item.sent.columns_id ||
         (table != nullptr && table->columns_id != item.sent.columns_id);
}

absl::Status ReplicaImpl::MoveState(const QueueItem& item, const ChangeResult& result) {
  const RowState state{item.key, result.revision, result.check, item.time, item.sent, false};
  PT_ASSIGN_OR_RETURN(const bool is_new, ledger_->InsertState(state));
  bool gained = false;
  if (!is_new) {
    PT_ASSIGN_OR_RETURN(gained, HasGainedColumns(item));
    PT_RETURN_IF_ERROR(ledger_->PutState(state));
  }
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(item.key));
  if (note.has_value()) {
    // Nothing is to be put back in the place of what the service has just taken.
    PT_RETURN_IF_ERROR(ledger_->ClearStale(item.key));
    if (note->revision > result.revision) {
      PT_RETURN_IF_ERROR(ledger_->NoteStale({item.key, note->revision, false}));
    }
  }
  // An edit that was sent meanwhile brings nothing of what is to be filled in.
  if (gained || (note.has_value() && note->backfill)) {
    PT_RETURN_IF_ERROR(ledger_->NoteStale({item.key, result.revision, true, true}));
  }
  return ledger_->ClearSetAside(item.key, result.revision);
}

absl::Status ReplicaImpl::FailResult(Answering& answering, QueueItem item,
                                     const ChangeResult& result) {
  AnswerReport& report = answering.report;
  const bool base_unknown = result.error_code == ErrorCode::kBaseUnknown && !item.whole;
  if (base_unknown || result.error_code == ErrorCode::kBatchRefused) {
    item.whole |= base_unknown;
    report.send_again_at_once = true;
    return BackToWaiting(std::move(item));
  }
  ++report.failed;
  if (result.error_code == ErrorCode::kKeyCollision) {
    const Change* sent = SentChange(answering.answer.batch_id, item.key);
    report.conflicts.push_back({item.key, Resolution::kKeyCollision,
                                std::string(ResolutionReason(Resolution::kKeyCollision))});
    if (sent != nullptr) {
      ArchiveEntry entry =
          LossOf(item.key, result.conflict_id, Resolution::kKeyCollision, result.rule,
                 result.current.has_value() ? &*result.current : nullptr, sent->fields);
      entry.archived_time = item.time;
      entry.archived_user = sent->modified_by;
      PT_RETURN_IF_ERROR(ledger_->PutArchive(entry).status());
    }
  }
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> newer, ledger_->FindWaiting(item.key));
  if (newer.has_value()) return BackToWaiting(std::move(item));
  const bool for_good =
      (!result.retryable && !PT_PLANTED("what is refused for good is tried again")) ||
      result.error_code == ErrorCode::kKeyCollision;
  item.status = ItemStatus::kFailed;
  item.retry_count = for_good ? item.max_retries : item.retry_count + 1;
  item.error_message = absl::StrCat(
      result.error_code == ErrorCode::kNone ? "INTERNAL" : ErrorCodeName(result.error_code), ": ",
      result.error_message);
  item.next_attempt_at.reset();
  if (item.retry_count < item.max_retries) {
    item.next_attempt_at = clock_.Now() + kItemBackoff.Delay(item.retry_count, rng_);
  }
  item.batch_id.clear();
  return ledger_->UpdateItem(item);
}

// To Pending, one with the newer edit that waits, if there is one: only one may
// stand, under the smaller Id.
absl::Status ReplicaImpl::BackToWaiting(QueueItem item) {
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> newer, ledger_->FindWaiting(item.key));
  item.status = ItemStatus::kPending;
  item.batch_id.clear();
  item.next_attempt_at.reset();
  if (newer.has_value()) {
    item.operation = newer->operation;
    item.time = std::max(item.time, newer->time);
    item.enqueued_at = newer->enqueued_at;
    item.drain = newer->drain;
    item.held = newer->held;
    item.error_message = newer->error_message;
    item.recreated |= newer->recreated;
    item.reoffer |= newer->reoffer;
    item.whole |= newer->whole;
    item.retry_count = 0;
    PT_RETURN_IF_ERROR(ledger_->DeleteItem(newer->id));
  }
  return ledger_->UpdateItem(item);
}

// Row and base change together, or, where a newer edit exists, neither.
absl::StatusOr<FileState> ReplicaImpl::ReplaceLosers(Answering& answering) {
  Findings findings;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    PT_ASSIGN_OR_RETURN(const FileState state, ReadyToWrite(/*drain=*/true));
    if (state != FileState::kReady) return state;
    if (Recovering()) return FileState::kRecovering;
    Work work;
    work.kind = "answer";
    const absl::Status planned = [&]() -> absl::Status {
      PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
      for (const auto& [item, result] : answering.losers) {
        PT_RETURN_IF_ERROR(PlanReplacement(answering, findings, item, *result, &work));
      }
      return tx.Commit();
    }();
    if (!planned.ok()) {
      const std::optional<FileState> in_the_way = FileStateOf(planned);
      if (!in_the_way.has_value()) return planned;
      return *in_the_way;
    }
    PT_ASSIGN_OR_RETURN(const Attempt done, Execute(work, &findings));
    if (done == Attempt::kDone) return FileState::kReady;
    if (done == Attempt::kBlocked) return FileState::kBlockedByApp;
  }
  return FileState::kBlockedByApp;
}

// Base and row stay; the newer edit is sent on the old base, and meets the
// winner as a conflict.
absl::Status ReplicaImpl::KeepBoth(QueueItem item, const ChangeResult& result, const Change* sent,
                                   Work* work) {
  // What was sent is no longer in the table; a whole row of it may be at hand.
  const bool whole = sent != nullptr && (sent->complete || item.sent.absent);
  if (result.outcome == Outcome::kConflict && whole) {
    const std::optional<Fields> lost =
        item.sent.absent ? std::nullopt : std::optional(sent->fields);
    PT_ASSIGN_OR_RETURN(ArchiveEntry entry, ArchiveOf(item, result, lost, sent->modified_by));
    work->archives.push_back(std::move(entry));
  }
  Complete(&item, clock_.Now());
  return ledger_->UpdateItem(item);
}

// Every value that the row as it was sent had changed stands in what it was merged
// to. The others are the base's, and whoever changed them is welcome.
absl::StatusOr<bool> ReplicaImpl::LostNothing(const QueueItem& item, const Fields& sent,
                                              const Version& merged) {
  const Table* table = TableOf(item.key.type);
  if (table == nullptr) return HoldsNothingMore(sent, &merged);
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> base, ledger_->FindState(item.key));
  const bool comparable = base.has_value() && !base->row.absent &&
                          base->row.columns_id == item.sent.columns_id &&
                          table->columns_id == item.sent.columns_id;
  for (size_t i = 0; i < table->plan.columns.size(); ++i) {
    const Value* value = sent.Find(table->plan.columns[i]);
    if (value == nullptr || value->is_null()) continue;
    if (comparable && base->row.hashes[i] == item.sent.hashes[i]) continue;
    const Value* kept = merged.fields.Find(table->plan.columns[i]);
    if (kept == nullptr || *kept != *value) return false;
  }
  return true;
}

absl::StatusOr<ArchiveEntry> ReplicaImpl::ArchiveOf(const QueueItem& loser,
                                                    const ChangeResult& result,
                                                    const std::optional<Fields>& lost,
                                                    const std::string& user) {
  ArchiveEntry entry = LossOf(loser.key, result.conflict_id, result.resolution, result.rule,
                              result.current.has_value() ? &*result.current : nullptr, lost);
  entry.archived_time = loser.time;
  entry.archived_user = user;
  const bool merged = result.resolution == Resolution::kMerged && result.current.has_value();
  if (merged && lost.has_value() && !result.current->deleted) {
    PT_ASSIGN_OR_RETURN(entry.is_resolved, LostNothing(loser, *lost, *result.current));
  }
  return entry;
}

absl::Status ReplicaImpl::PlanReplacement(Answering& answering, const Findings& findings,
                                          const QueueItem& loser, const ChangeResult& result,
                                          Work* work) {
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> item, ledger_->FindItem(loser.id));
  if (!item.has_value() || item->status != ItemStatus::kProcessing) return absl::OkStatus();
  const Change* sent = SentChange(answering.answer.batch_id, loser.key);
  Table* table = TableOf(loser.key.type);
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> newer, ledger_->FindWaiting(loser.key));
  if (newer.has_value()) return KeepBoth(*item, result, sent, work);
  if (!result.current.has_value() || table == nullptr) {
    // The winner is fetched; the row is known to be none that the service holds. One
    // of a type that has left stays as it is.
    if (table != nullptr || IsWanted(loser.key.type)) {
      PT_RETURN_IF_ERROR(ledger_->NoteStale({loser.key, result.revision, true, false, loser.sent}));
    }
    return KeepBoth(*item, result, sent, work);
  }
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table->KeyFromId(loser.key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, *table, *ledger_, key));
  PT_ASSIGN_OR_RETURN(const bool as_sent, SameRow(*table, *ledger_, loser.sent, row));
  if (!as_sent) {
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(loser.key));
    RowState known = state.value_or(RowState{loser.key, 0, "", kSmallestTime, {}, false});
    known.time = std::max(known.time, loser.time);
    PT_RETURN_IF_ERROR(EnqueueFound(loser.key, known, row));
    return KeepBoth(*item, result, sent, work);
  }
  PT_ASSIGN_OR_RETURN(Target target, TargetOfWinner(loser, *result.current, findings, *table, row));
  // What was merged may be the very row that was sent: then another one lost.
  const bool stands = result.resolution == Resolution::kMerged && target.act == Act::kAdopt;
  if (result.outcome == Outcome::kConflict && !stands &&
      !PT_PLANTED("a device does not keep what it lost")) {
    const std::optional<Fields> lost =
        row.absent ? std::nullopt : std::optional(table->FieldsOf(row.values));
    PT_ASSIGN_OR_RETURN(target.archive, ArchiveOf(loser, result, lost,
                                                  sent != nullptr ? sent->modified_by : row.user));
  }
  work->targets.push_back(std::move(target));
  return absl::OkStatus();
}

absl::StatusOr<Target> ReplicaImpl::TargetOfWinner(const QueueItem& loser, const Version& winner,
                                                   const Findings& findings, Table& table,
                                                   const Row& row) {
  Target target;
  target.table = &table;
  target.expected = loser.sent;
  target.closes_item = loser.id;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(winner, &target, &row));
  const auto refused = findings.refused.find(loser.key);
  if (refused != findings.refused.end()) {
    target.code = refused->second.code;
    target.constraint = refused->second.constraint;
  } else if (storable && target.after == row.hashes) {
    target.act = Act::kAdopt;
  } else if (storable && table.plan.apply_mode == ApplyMode::kCaptureOnly) {
    target.code = "CAPTURE_ONLY";
  }
  if (!target.code.empty()) {
    target.act = Act::kSetAside;
    target.version.fields = winner.fields;
    target.stays_as_sent = loser.sent;
  }
  return target;
}

}  // namespace ptdoc::sync
