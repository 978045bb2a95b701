// What people ask for: retry, cancel, confirm, restore.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "device-agent/replica/writing.h"

namespace ptdoc::sync {
namespace {

absl::Status NotOpen(int64_t id) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ITEM_NOT_OPEN",
                     absl::StrCat("Item ", id,
                                  " is neither Pending nor Failed. Nothing was changed. Wait for "
                                  "the service's answer, or look at the list again."));
}

// Whether the service takes what was sent decides what is put back.
absl::Status IsBeingSent(int64_t id) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ITEM_NOT_OPEN",
                     absl::StrCat("An earlier edit of the row of item ", id,
                                  " is being sent. Nothing was changed. Wait for the service's "
                                  "answer, and cancel then."));
}

absl::Status TooLongToArchive(int64_t id) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ROW_TOO_LARGE",
                     absl::StrCat("The row of item ", id,
                                  " is too long to be kept in the archive. Nothing was changed. "
                                  "Make it shorter in the app first."));
}

absl::Status StillReferredTo(int64_t id) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "REFERRED_TO",
                     absl::StrCat("Rows of this device refer to the row of item ", id,
                                  " by its number, under which the service has another one. "
                                  "Nothing was changed. Give the row a number of its own in the "
                                  "app, with those that refer to it, or delete these first."));
}

absl::Status SchemaRefuses(absl::string_view what, const Refused& why) {
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "SCHEMA_REFUSES",
      absl::StrCat(what, " is refused by the app's schema (", why.code,
                   why.constraint.empty() ? "" : " ", why.constraint,
                   "). Nothing was changed. Change what stands in its way in the app, then try "
                   "again."));
}

}  // namespace

absl::StatusOr<int64_t> ReplicaImpl::RetryItems(const std::vector<int64_t>& ids, bool all) {
  std::vector<QueueItem> items;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  for (const int64_t id : ids) {
    PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindItem(id));
    if (item.has_value()) items.push_back(*std::move(item));
  }
  int64_t after_id = 0;
  while (all) {
    PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> open,
                        ledger_->ListItems(/*include_done=*/false, after_id, kSliceRows));
    for (const QueueItem& item : open) {
      after_id = item.id;
      items.push_back(item);
    }
    if (open.size() < kSliceRows) break;
  }
  int64_t retried = 0;
  for (QueueItem& item : items) {
    if (item.status != ItemStatus::kFailed) continue;
    item.status = ItemStatus::kPending;
    item.retry_count = 0;
    item.error_message.clear();
    item.next_attempt_at.reset();
    PT_RETURN_IF_ERROR(ledger_->UpdateItem(item));
    ++retried;
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  return retried;
}

absl::StatusOr<int64_t> ReplicaImpl::ConfirmDeletions() {
  int64_t confirmed = 0;
  int64_t after_id = 0;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> open,
                        ledger_->ListItems(/*include_done=*/false, after_id, kSliceRows));
    for (QueueItem item : open) {
      after_id = item.id;
      if (!item.held) continue;
      item.held = false;
      item.error_message.clear();
      PT_RETURN_IF_ERROR(ledger_->UpdateItem(item));
      ++confirmed;
    }
    if (open.size() < kSliceRows) break;
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  return confirmed;
}

absl::StatusOr<FileState> ReplicaImpl::CancelItem(int64_t id) {
  PT_ASSIGN_OR_RETURN(const FileState ready, ReadyToJudge(/*drain=*/true));
  if (ready != FileState::kReady) return ready;
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindItem(id));
  if (!item.has_value()) return absl::NotFoundError(absl::StrCat("there is no item ", id));
  if (item->status != ItemStatus::kPending && item->status != ItemStatus::kFailed) {
    return NotOpen(id);
  }
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> sending, ledger_->FindProcessing(item->key));
  if (sending.has_value()) return IsBeingSent(id);
  Table* table = TableOf(item->key.type);
  if (table == nullptr) return FileState::kMissing;
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table->KeyFromId(item->key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, *table, *ledger_, key));
  if (row.unreadable) return TooLongToArchive(id);
  const std::optional<Fields> lost =
      row.absent ? std::nullopt : std::optional(table->FieldsOf(row.values));
  ArchiveEntry entry = LossOf(item->key, "", Resolution::kNone, "", nullptr, lost);
  entry.resolution_type = "Cancelled";
  entry.reason = "Cancelled on this device";
  entry.archived_time = item->time;
  entry.archived_user = row.user.empty() ? options_.user : row.user;
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item->key));
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(item->key));
  const bool service_has_it = (state.has_value() && state->revision > 0) || note.has_value();
  if (!service_has_it && !row.absent) return RemoveUnsent(*item, *table, entry);
  // What the service has under this number is another thing: rows that refer to
  // this one would come to belong to that one.
  if (table->plan.integer_key && !row.absent && (!state.has_value() || state->revision == 0)) {
    PT_ASSIGN_OR_RETURN(const bool referred, IsReferredTo(*table, row));
    if (referred) return StillReferredTo(id);
  }
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  item->status = ItemStatus::kCancelled;
  item->completed_at = clock_.Now();
  PT_RETURN_IF_ERROR(ledger_->UpdateItem(*item));
  PT_RETURN_IF_ERROR(ledger_->PutArchive(entry).status());
  if (service_has_it && !PT_PLANTED("what was cancelled is not put back")) {
    const Revision revision = state.has_value() ? ToldRevision(*state) : note->revision;
    PT_RETURN_IF_ERROR(ledger_->NoteStale({item->key, revision, true, false, row.hashes}));
  }
  PT_RETURN_IF_ERROR(tx.Commit());
  return FileState::kReady;
}

absl::StatusOr<bool> ReplicaImpl::IsReferredTo(const Table& table, const Row& row) {
  std::vector<Reference> children = table.children;
  children.insert(children.end(), table.said_children.begin(), table.said_children.end());
  const std::vector<Value> key = table.LocalKeyOf(row);
  for (const Reference& reference : children) {
    // Column against column, so that SQLite compares as its foreign keys do: '7' is 7.
    std::string sql =
        absl::StrCat("SELECT 1 FROM main.", sqlite::QuoteName(table.plan.table), " AS p, main.",
                     sqlite::QuoteName(reference.child_table), " AS c WHERE ");
    for (size_t i = 0; i < key.size(); ++i) {
      absl::StrAppend(&sql, "p.", sqlite::QuoteName(table.plan.key[i]), " = ?", i + 1, " AND ");
    }
    for (size_t i = 0; i < reference.parent_columns.size(); ++i) {
      absl::StrAppend(&sql, i == 0 ? "p." : " AND p.",
                      sqlite::QuoteName(reference.parent_columns[i]), " = c.",
                      sqlite::QuoteName(reference.child_columns[i]));
    }
    PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, app_->Prepare(sql + " LIMIT 1"));
    for (size_t i = 0; i < key.size(); ++i) stmt.Bind(static_cast<int>(i) + 1, key[i]);
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (found) return true;
  }
  return false;
}

// The service never had it: it goes from the app's table.
absl::StatusOr<FileState> ReplicaImpl::RemoveUnsent(const QueueItem& item, Table& table,
                                                    const ArchiveEntry& entry) {
  PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table.KeyFromId(item.key.id));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, key));
  Work work;
  work.kind = "cancel";
  Target& target = work.targets.emplace_back();
  target.act = Act::kRemove;
  target.table = &table;
  target.expected = row.hashes;
  target.closes_item = item.id;
  target.closes_as = ItemStatus::kCancelled;
  target.archive = entry;
  Version gone;
  gone.key = item.key;
  gone.deleted = true;
  PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(gone, &target, &row));
  if (!storable) return absl::InternalError("the key of an item cannot be read");
  Findings findings;
  PT_ASSIGN_OR_RETURN(const Attempt done, Execute(work, &findings));
  if (!findings.refused.empty()) {
    return SchemaRefuses("Removing the row", findings.refused.begin()->second);
  }
  // Anything in the way: the caller comes again, and sees the newer edit.
  return done == Attempt::kDone ? FileState::kReady : FileState::kBlockedByApp;
}

absl::StatusOr<FileState> ReplicaImpl::RestoreArchived(const std::string& conflict_id) {
  PT_ASSIGN_OR_RETURN(const FileState ready, ReadyToJudge(/*drain=*/true));
  if (ready != FileState::kReady) return ready;
  PT_ASSIGN_OR_RETURN(const std::optional<ArchiveEntry> entry, ledger_->FindArchive(conflict_id));
  if (!entry.has_value()) return absl::NotFoundError("there is no such archived row");
  Table* table = TableOf(entry->key.type);
  if (table == nullptr) return FileState::kMissing;
  Version version;
  version.key = entry->key;
  version.deleted = entry->archived_json == "null";
  if (!version.deleted) {
    PT_ASSIGN_OR_RETURN(version.fields, FieldsFromJson(entry->archived_json));
  }
  const absl::Status written = WriteRestored(*table, version);
  if (IsRefusal(written)) return SchemaRefuses("The archived row", RefusalOf(written));
  if (!written.ok()) {
    const std::optional<FileState> in_the_way = FileStateOf(written);
    if (!in_the_way.has_value()) return written;
    return *in_the_way;
  }
  PT_RETURN_IF_ERROR(ledger_->ResolveArchive(conflict_id, clock_.Now(), options_.user, "Restored"));
  return FileState::kReady;
}

absl::Status ReplicaImpl::WriteAsApp(const Target& target, const Row& row) {
  const Table& table = *target.table;
  if (target.version.deleted) {
    return row.absent ? absl::OkStatus() : DeleteRow(*app_, table, table.LocalKeyOf(row));
  }
  PT_ASSIGN_OR_RETURN(const std::vector<Value> values,
                      LocalValues(*app_, table, target.values, nullptr, nullptr));
  if (row.absent) return InsertRow(*app_, table, values, nullptr, nullptr);
  return UpdateRow(*app_, table, table.LocalKeyOf(row), values, target.written, nullptr);
}

// A write like the app's own: the triggers capture it, and it becomes an item.
absl::Status ReplicaImpl::WriteRestored(Table& table, const Version& version) {
  const bool captured = table.plan.apply_mode == ApplyMode::kTriggersOn;
  Target target;
  target.table = &table;
  {
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
    PT_ASSIGN_OR_RETURN(const ControlRow control, ReadControl(*app_));
    PT_ASSIGN_OR_RETURN(const bool unchanged, IsFileUnchanged(control));
    if (!unchanged) return absl::AbortedError("the app's file changed meanwhile");
    PT_ASSIGN_OR_RETURN(const std::vector<Value> key, table.KeyFromId(version.key.id));
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, key));
    PT_ASSIGN_OR_RETURN(const bool storable, FillTarget(version, &target, &row));
    if (!storable) return absl::InvalidArgumentError("the archived row fits no column of today");
    PT_RETURN_IF_ERROR(SetTriggers(captured));
    // What foreign keys delete with it is captured by nobody else.
    if (!captured) PT_RETURN_IF_ERROR(WantComparison());
    const absl::Status status = WriteAsApp(target, row);
    PT_RETURN_IF_ERROR(SetTriggers(true));
    PT_RETURN_IF_ERROR(status);
    PT_RETURN_IF_ERROR(tx.Commit());
  }
  if (captured) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(version.key));
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, target.key));
  return EnqueueFound(version.key, state, row);
}

}  // namespace ptdoc::sync
