// Choosing items, reading their rows and marking them, in one snapshot.
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

struct ReplicaImpl::Taking {
  sqlite::Database& db;
  const TakeLimits& limits;
  TakeReport& report;
  absl::flat_hash_set<EntityKey> earlier = {};  // in the batches before
  // The batch that is being filled.
  OutgoingBatch batch = {};
  size_t bytes = 0;
  bool full = false;
  absl::flat_hash_map<EntityKey, int64_t> taken = {};  // with the item's Id
  std::vector<QueueItem> items = {};                   // of batch.changes, in their order
  std::set<EntityKey> visiting = {};   // children of integer keys, while their parents are taken
  std::set<EntityKey> undecided = {};  // those that wait for a parent
  bool met_itself = false;             // rows that refer to each other were among them
  bool is_sound = false;               // the file was asked for damage
};

namespace {

constexpr size_t kChooseChunkMin = 50;
constexpr size_t kChooseChunkMax = 1000;
constexpr char kWaitsForParent[] = "WAITS_FOR_PARENT";

std::string RowTooLarge(const EntityKey& key, size_t bytes, size_t limit) {
  return absl::StrCat("ROW_TOO_LARGE: a row of ", key.type, " has ", bytes,
                      bytes >= sqlite::kValueBytesMax ? " bytes or more" : " bytes", ", at most ",
                      limit,
                      " can be sent. It stays on this device. Make it smaller, or raise "
                      "max_row_bytes on the service.");
}

std::string DanglingReference(const Table& table, const Row& row) {
  const std::string& column = table.plan.columns[static_cast<size_t>(row.dangling)];
  const Translation* translation = TranslationOf(table.plan, column);
  return absl::StrCat(kDangling, ": the column ", column, " of this ", table.type(),
                      " refers to a row of ", translation->parent,
                      " that is not there, by a number that means nothing on another device. The "
                      "row stays on this device. Correct it in the app; it is sent by itself when "
                      "a row of ",
                      translation->parent, " comes that it can refer to.");
}

// SQLite gives what refers the affinity of the column that it refers to: '7' means 7.
absl::StatusOr<Value> AsItRefers(sqlite::Database& db, Affinity affinity, const Value& value) {
  if (AffinityKeeps(affinity, value)) return value;
  const bool whole = value.type() == Value::Type::kReal;  // NUMERIC would leave 7.0 as it is.
  const absl::string_view type = affinity == Affinity::kText   ? "TEXT"
                                 : affinity == Affinity::kReal ? "REAL"
                                 : whole                       ? "INTEGER"
                                                               : "NUMERIC";
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(absl::StrCat("SELECT CAST(?1 AS ", type, ")")));
  PT_RETURN_IF_ERROR(stmt.Bind(1, value).Step().status());
  return stmt.ColumnValue(0);
}

bool IsEnough(const TakeReport& report) {
  return static_cast<size_t>(report.completed) >= kCompletedAtOnceMax;
}

// For the queue: what stands in the way of an item that stays Pending by itself.
absl::Status SayWhatItWaitsFor(Ledger& ledger, const EntityKey& child, const EntityKey& parent) {
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger.FindWaiting(child));
  if (!item.has_value() || item->status != ItemStatus::kPending || item->held) {
    return absl::OkStatus();
  }
  const std::string why = absl::StrCat(
      kWaitsForParent, ": the row refers to ", parent.type, " ", parent.id,
      ", which waits for a person. It goes by itself when that row has gone; `device-agent why ",
      parent.type, " ", parent.id, "` says what stands in its way.");
  if (item->error_message == why) return absl::OkStatus();
  item->error_message = why;
  return ledger.UpdateItem(*item);
}

}  // namespace

absl::StatusOr<TakeReport> ReplicaImpl::Take(const TakeLimits& limits) {
  TakeReport report;
  PT_ASSIGN_OR_RETURN(report.file, Ready());
  if (report.file == FileState::kReady) report.file = News();
  if (report.file != FileState::kReady || mode_ != Mode::kNormal) return report;
  PT_ASSIGN_OR_RETURN(report.file, ReadyToJudge(/*drain=*/false));
  if (report.file != FileState::kReady) return report;
  PT_ASSIGN_OR_RETURN(const int64_t found, ledger_->GetInt("found", 0));
  const absl::StatusOr<TakeReport> taken = [&]() -> absl::StatusOr<TakeReport> {
    PT_ASSIGN_OR_RETURN(report.more, IsLogLong());
    if (report.more) {
      PT_ASSIGN_OR_RETURN(const DrainReport drained, Drain());
      report.file = drained.file;
      report.wants_fetch = drained.touched;
      return report;
    }
    PT_RETURN_IF_ERROR(ProveFound());
    if (found == 0) return TakeFrom(*snapshot_, limits, nullptr);
    // Edits that no log row announces are read in a transaction of our own that
    // sets a page mark: else a file that is set back would show no trace of it.
    Work work;
    work.kind = "mark";
    PT_ASSIGN_OR_RETURN(const Intent mark, OpenNewIntent(work));
    absl::StatusOr<TakeReport> marked = TakeFrom(*app_, limits, &mark);
    if (sqlite::IsBusy(marked.status()) || absl::IsAborted(marked.status())) {
      PT_RETURN_IF_ERROR(DropIntent(mark));
    }
    return marked;
  }();
  if (taken.ok()) return taken;
  const std::optional<FileState> in_the_way = FileStateOf(taken.status());
  if (!in_the_way.has_value()) return taken;
  report.file = *in_the_way;
  return report;
}

absl::StatusOr<TakeReport> ReplicaImpl::TakeFrom(sqlite::Database& db, const TakeLimits& limits,
                                                 const Intent* mark) {
  using Kind = sqlite::Transaction::Kind;
  TakeReport report;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction snapshot,
                      sqlite::Transaction::Begin(db, mark == nullptr ? Kind::kRead : Kind::kWrite));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  PT_RETURN_IF_ERROR(CheckSnapshot(db));
  DrainReport drained;
  PT_RETURN_IF_ERROR(At("snapshot"));
  PT_RETURN_IF_ERROR(DrainIn(PT_PLANTED("drain behind the snapshot") ? *app_ : db, &drained));
  report.wants_fetch = drained.touched;
  Taking taking{db, limits, report};
  PT_RETURN_IF_ERROR(TakeBatches(taking));
  const bool any = !report.batches.empty();
  if (any || report.completed > 0) {
    PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(db));
    PT_RETURN_IF_ERROR(PutMark("sent", last));
  }
  PT_RETURN_IF_ERROR(At("taken"));
  if (mark != nullptr) {
    PT_ASSIGN_OR_RETURN(ControlRow control, ReadControl(db));
    control.page_number = mark->page_number;
    control.page_tag = mark->page_tag;
    control.clock_offset_ns = clock_offset_;
    PT_RETURN_IF_ERROR(WriteControl(db, control));
    PT_RETURN_IF_ERROR(snapshot.Commit());
    if (!taking.full) PT_RETURN_IF_ERROR(ledger_->PutInt("found", 0));
    PT_RETURN_IF_ERROR(ledger_->FinishIntent(*mark));
  } else if (any || report.completed > 0) {
    PT_RETURN_IF_ERROR(SyncAppJournal(db));
  }
  PT_RETURN_IF_ERROR(At("synced"));
  PT_RETURN_IF_ERROR(tx.Commit());
  PT_RETURN_IF_ERROR(At("marked"));
  report.more = taking.full;
  for (const std::shared_ptr<const OutgoingBatch>& batch : report.batches) {
    unanswered_.reserve(unanswered_.size() + batch->changes.size());
    for (const Change& change : batch->changes) unanswered_[change.key] = 0;
    in_memory_[batch->batch_id] = batch;
  }
  // The batch is taken, whatever fails now: who is not told would never send it.
  const absl::StatusOr<std::optional<absl::Time>> next_due = ledger_->NextDue();
  if (next_due.ok()) report.next_due = *next_due;
  return report;
}

// What is sent, or counts as sent, must survive a power cut in the app's file, too,
// whatever `synchronous` the app has chosen. Once for all that was committed so far.
absl::Status ReplicaImpl::SyncAppJournal(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const int64_t version, db.QueryInt("PRAGMA data_version"));
  const bool synced = PT_PLANTED("the app's journal is synced once a life")
                          ? synced_data_version_ >= 0
                          : version == synced_data_version_;
  if (synced || PT_PLANTED("the app's journal is not synced")) {
    return absl::OkStatus();
  }
  PT_RETURN_IF_ERROR(db.SyncJournal());
  synced_data_version_ = version;
  return absl::OkStatus();
}

// As many as are asked for and can be filled: to the service each of them is as if it
// had been taken alone, after the one before.
absl::Status ReplicaImpl::TakeBatches(Taking& taking) {
  while (taking.report.batches.size() < taking.limits.batches) {
    taking.batch.batch_id = NewUuid(rng_);
    PT_RETURN_IF_ERROR(ChooseItems(taking));
    if (taking.batch.changes.empty()) return absl::OkStatus();
    PT_RETURN_IF_ERROR(ledger_->PutBatch(std::exchange(taking.items, {})));
    taking.report.batches.push_back(
        std::make_shared<const OutgoingBatch>(std::exchange(taking.batch, {})));
    const bool room = taking.report.batches.size() < taking.limits.batches;
    if (!taking.full || !room || IsEnough(taking.report)) break;
    taking.earlier.reserve(taking.earlier.size() + taking.taken.size());
    for (const auto& [key, id] : taking.taken) taking.earlier.insert(key);
    taking.taken.clear();
    taking.undecided.clear();
    taking.bytes = 0;
    taking.full = false;
  }
  return absl::OkStatus();
}

// Once a process: from then on Take, Finish and the drains keep it.
absl::Status ReplicaImpl::LoadUnanswered() {
  if (unanswered_loaded_) return absl::OkStatus();
  unanswered_.clear();
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> batches, ledger_->OpenBatches());
  for (const std::string& batch : batches) {
    PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> items, ledger_->ListBatch(batch));
    for (const QueueItem& item : items) {
      PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> newer, ledger_->FindWaiting(item.key));
      unanswered_[item.key] = newer.has_value() ? newer->drain : 0;
    }
  }
  unanswered_loaded_ = true;
  return absl::OkStatus();
}

absl::Status ReplicaImpl::ChooseItems(Taking& taking) {
  // What the app committed together is not split by waiting for one of it.
  std::set<int64_t> blocked_drains;
  for (const auto& [key, drain] : unanswered_) {
    if (drain > 0) blocked_drains.insert(drain);
  }
  int64_t after_id = 0;
  while (!taking.full) {
    // As many as there is room for, and a few that show whether there are more.
    const size_t room = taking.limits.changes - taking.batch.changes.size();
    const size_t chunk = std::clamp(room, kChooseChunkMin, kChooseChunkMax);
    PT_ASSIGN_OR_RETURN(
        std::vector<QueueItem> items,
        ledger_->ListSendable(clock_.Now(), taking.limits.ignore_next_attempt, after_id, chunk));
    const size_t more = std::min(items.size(), room);
    taking.taken.reserve(taking.taken.size() + more);
    taking.items.reserve(taking.items.size() + more);
    taking.batch.changes.reserve(taking.batch.changes.size() + more);
    for (QueueItem& item : items) {
      after_id = item.id;
      const bool waits = blocked_drains.count(item.drain) > 0 || unanswered_.contains(item.key) ||
                         taking.earlier.contains(item.key);
      if (item.held || (waits && !PT_PLANTED("two open batches for one entity"))) continue;
      PT_RETURN_IF_ERROR(TakeItem(taking, std::move(item)));
      if (taking.full) break;
    }
    if (items.size() < chunk) break;
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::TakeItem(Taking& taking, QueueItem item) {
  // Two waiting items of one entity are somebody's SQL: the first stands for both.
  const auto taken = taking.taken.find(item.key);
  if (taken != taking.taken.end()) {
    return taken->second == item.id ? absl::OkStatus() : ledger_->DeleteItem(item.id);
  }
  Table* table = TableOf(item.key.type);
  if (table == nullptr) return absl::OkStatus();  // Away for now; status says so.
  const TimeNs time_before = item.time;
  const Operation operation_before = item.operation;
  const bool reoffer_before = item.reoffer;
  const absl::StatusOr<std::vector<Value>> key = table->KeyFromId(item.key.id);
  if (!key.ok()) return FailItem(std::move(item), "INVALID_KEY: the key cannot be read");
  // An error of the disk is no fault of this row: all of it is tried again.
  absl::StatusOr<Row> row = ReadRow(taking.db, *table, *ledger_, *key);
  if (!row.ok()) return row.status();
  if (row->unreadable) {
    const std::string why = RowTooLarge(item.key, sqlite::kValueBytesMax, taking.limits.row_bytes);
    return FailItem(std::move(item), why);
  }
  if (row->absent && item.operation != Operation::kDelete && !taking.is_sound) {
    // Nobody said that it was deleted: a damaged file has lost it, perhaps.
    PT_RETURN_IF_ERROR(FindDamage(taking.db));
    taking.is_sound = true;
  }
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(item.key));
  // Never sent. (Of a re-offer the service may well hold something.)
  if (!state.has_value() && row->absent && !item.reoffer) {
    return CompleteItem(taking, std::move(item));
  }
  if (state.has_value() && state->revision > 0 && !item.reoffer) {
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(*table, *ledger_, state->row, *row));
    const bool asks = same && state->unconfirmed && !row->absent;
    if (same && !asks && !PT_PLANTED("send unchanged rows")) {
      // A comparison has left it to this item.
      const bool gained = !row->absent && state->row.columns_id != row->hashes.columns_id;
      if (gained) {
        PT_REACHED("columns were gained under an edit that was undone");
        PT_RETURN_IF_ERROR(ledger_->NoteStale({item.key, ToldRevision(*state), true, true}));
        taking.report.wants_fetch = true;
      }
      return CompleteItem(taking, std::move(item));
    }
    // Whether the service still holds the base, nobody has said yet.
    if (asks) {  // Undone.
      item.reoffer = true;
      item.time = state->time;
    } else if (state->unconfirmed && !row->absent && state->revision > shared_revision_ &&
               !PT_PLANTED("an edit in a re-baseline keeps its base")) {
      item.reoffer = true;
      item.time = std::max(item.time, state->time + 1);
    }
  }
  PT_ASSIGN_OR_RETURN(const bool asks_first, MustAskFirst(taking, item, *table, *row, state));
  if (asks_first) return absl::OkStatus();
  if (row->dangling >= 0) return FailItem(std::move(item), DanglingReference(*table, *row));
  if (!state.has_value() && !item.reoffer) {
    PT_ASSIGN_OR_RETURN(const std::string out_of_range, OutOfRange(*table, *row));
    if (!out_of_range.empty()) return FailItem(std::move(item), out_of_range);
  }
  PT_ASSIGN_OR_RETURN(const bool undecided, ParentIsUndecided(taking, item.key, *table, *row));
  if (undecided) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(Change change, MakeChange(item, *table, *row, state));
  const size_t size = change.fields.ByteSize();
  if (size > taking.limits.row_bytes) {
    const std::string why = RowTooLarge(item.key, size, taking.limits.row_bytes);
    return FailItem(std::move(item), why);
  }
  if (taking.full) return absl::OkStatus();  // Its parent was the last.
  taking.full = taking.batch.changes.size() >= taking.limits.changes ||
                (!taking.batch.changes.empty() && taking.bytes + size > taking.limits.bytes);
  if (taking.full) return absl::OkStatus();
  taking.bytes += size;
  const bool changed = item.time != time_before || item.operation != operation_before ||
                       item.reoffer != reoffer_before;
  if (changed) PT_RETURN_IF_ERROR(ledger_->UpdateItem(item));
  item.status = ItemStatus::kProcessing;
  item.batch_id = taking.batch.batch_id;
  item.sent = row->hashes;
  item.sent_base = change.base_revision;
  taking.taken[item.key] = item.id;
  taking.items.push_back(std::move(item));
  if (PT_PLANTED("a debug line tells the row")) {
    for (const Field& field : change.fields) {
      Log(LogLevel::kDebug, "taken", {LogField::Code("value", field.value.bytes())});
    }
  }
  taking.batch.changes.push_back(std::move(change));
  return absl::OkStatus();
}

// Of a column that the app has gained since the row was synced, the service may
// hold something that this device has never seen. What stands there (a renamed
// column's old value, what a migration filled in) must not pass for an edit of
// that: the row is fetched, and JudgeGained decides.
absl::StatusOr<bool> ReplicaImpl::MustAskFirst(Taking& taking, const QueueItem& item, Table& table,
                                               const Row& row,
                                               const std::optional<RowState>& state) {
  if (item.reoffer || row.absent || !state.has_value() || state->revision == 0) return false;
  if (state->row.absent || state->row.columns_id == table.columns_id) return false;
  PT_ASSIGN_OR_RETURN(const std::vector<bool> gained, GainedColumns(table, *ledger_, state->row));
  PT_ASSIGN_OR_RETURN(const std::vector<bool> changed,
                      ChangedColumns(table, *ledger_, state->row, row));
  bool any = false;
  for (size_t i = 0; i < gained.size(); ++i) any |= gained[i] && changed[i];
  if (!any) return false;
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(item.key));
  if (note.has_value()) {
    // A newer version than the base: the service will see the conflict by itself.
    if (!note->backfill || note->revision > ToldRevision(*state)) return false;
    if (note->expected == row.hashes) return false;  // Judged as it stands.
    PT_RETURN_IF_ERROR(ledger_->ClearStale(item.key));
  }
  PT_RETURN_IF_ERROR(ledger_->NoteStale({item.key, ToldRevision(*state), true, true}));
  taking.report.wants_fetch = true;
  return true;
}

absl::Status ReplicaImpl::CompleteItem(Taking& taking, QueueItem item) {
  item.status = ItemStatus::kCompleted;
  item.completed_at = clock_.Now();
  item.error_message.clear();
  PT_RETURN_IF_ERROR(ledger_->UpdateItem(item));
  ++taking.report.completed;
  taking.full = IsEnough(taking.report);
  return absl::OkStatus();
}

// For good: nothing but an edit or a person changes what the device refused.
absl::Status ReplicaImpl::FailItem(QueueItem item, absl::string_view message) {
  item.status = ItemStatus::kFailed;
  item.retry_count = item.max_retries;
  item.error_message = std::string(message);
  item.next_attempt_at.reset();
  return ledger_->UpdateItem(item);
}

// Takes the values out of `row`, as far as they are sent.
absl::StatusOr<Change> ReplicaImpl::MakeChange(QueueItem& item, Table& table, Row& row,
                                               const std::optional<RowState>& state) {
  Change change;
  change.key = item.key;
  change.integer_key = table.plan.integer_key;
  change.reoffer = item.reoffer;
  change.modified_by = row.user.empty() && !item.reoffer ? options_.user : row.user;
  // A deletion says what it deletes, also where the service may have lost that.
  const bool based = state.has_value() && state->revision > 0 && (!item.reoffer || row.absent);
  if (based) {
    change.base_revision = state->revision;
    change.base_check = state->check;
    // Also where the service may have lost what was deleted: somebody may offer it.
    const bool is_edit = !item.reoffer || !state->row.absent;
    if (is_edit) item.time = std::max(item.time, state->time + 1);
  }
  change.last_modified = item.time;
  if (row.absent) {
    change.operation = item.operation = Operation::kDelete;
    change.reoffer = false;
    return change;
  }
  const bool anew = item.recreated || (based && state->row.absent);
  change.operation = !based || anew ? Operation::kCreate : Operation::kUpdate;
  if (item.operation == Operation::kDelete) item.operation = change.operation;
  if (!based || anew) {
    change.complete = true;
    const bool known = item.reoffer && state.has_value() && !state->row.absent;
    if (!known) {
      change.fields = table.FieldsOf(std::move(row.values));
      return change;
    }
    PT_ASSIGN_OR_RETURN(change.fields, KnownFields(table, *ledger_, state->row, row));
    return change;
  }
  // Where a winner was set aside the row is not what its base holds, nor does
  // the state say in what they differ.
  PT_ASSIGN_OR_RETURN(const std::optional<SetAside> aside, ledger_->FindSetAside(item.key));
  if (item.whole || aside.has_value()) {
    change.complete = true;
    PT_ASSIGN_OR_RETURN(change.fields, KnownFields(table, *ledger_, state->row, row));
    return change;
  }
  PT_ASSIGN_OR_RETURN(const std::vector<bool> changed,
                      ChangedColumns(table, *ledger_, state->row, row));
  std::vector<Field> fields;
  for (size_t i = 0; i < changed.size(); ++i) {
    if (changed[i] || table.IsKey(i)) fields.push_back({table.plan.columns[i], row.values[i]});
  }
  change.fields = Fields(std::move(fields));
  return change;
}

absl::StatusOr<std::string> ReplicaImpl::OutOfRange(const Table& table, const Row& row) {
  const std::optional<IdRange>& range = table.plan.config.id_range;
  if (!range.has_value() || row.absent) return std::string();
  const Value& number = row.values[table.key_at[0]];
  if (number.type() != Value::Type::kInteger) return std::string();
  PT_ASSIGN_OR_RETURN(const int64_t before, ledger_->GetInt("numbers:" + table.type(), 0));
  const int64_t n = number.integer();
  if (n <= before || (n >= range->low && n <= range->high)) return std::string();
  // An app may have set the sequence back.
  recheck_objects_ = true;
  return absl::StrCat(
      "ID_OUT_OF_RANGE: this row of ", table.type(),
      " was made with a number outside of "
      "the id_range of this device, ",
      range->low, "-", range->high,
      ". It stays on this device. Give it a number inside in the app, or the device "
      "another id_range, then run device-agent queue retry.");
}

// What a row refers to by a number that is the same on every device.
absl::StatusOr<std::vector<EntityKey>> ReplicaImpl::IntegerParents(sqlite::Database& db,
                                                                   const Table& table,
                                                                   const Row& row) {
  std::vector<EntityKey> keys;
  const auto add = [&](const Reference& reference) -> absl::Status {
    const TablePlan* plan = plan_.ByTable(reference.parent_table);
    const Table* parent = plan == nullptr ? nullptr : TableOf(plan->type);
    if (parent == nullptr || !plan->integer_key) return absl::OkStatus();
    std::vector<Value> values;
    for (const std::string& column : plan->key) {
      const auto found =
          std::find_if(reference.parent_columns.begin(), reference.parent_columns.end(),
                       [&](const auto& name) { return absl::EqualsIgnoreCase(name, column); });
      if (found == reference.parent_columns.end()) break;
      const size_t which = static_cast<size_t>(found - reference.parent_columns.begin());
      const int at = table.FindAnyCase(reference.child_columns[which]);
      if (at < 0) break;
      PT_ASSIGN_OR_RETURN(Value value, AsItRefers(db, plan->key_affinities[values.size()],
                                                  row.values[static_cast<size_t>(at)]));
      values.push_back(std::move(value));
    }
    absl::StatusOr<std::string> id = parent->IdOf(values);
    if (id.ok()) keys.push_back({parent->type(), *std::move(id)});
    return absl::OkStatus();
  };
  for (const Reference& reference : table.parents) PT_RETURN_IF_ERROR(add(reference));
  for (const Reference& reference : table.said_parents) PT_RETURN_IF_ERROR(add(reference));
  return keys;
}

// Under an integer key two devices may have given one number to two things.
// Until the service has decided on the parent, its children wait: no visit
// moves to another patient.
// Only in one batch with it may they go: that is refused whole if it collides.
absl::StatusOr<bool> ReplicaImpl::ParentIsUndecided(Taking& taking, const EntityKey& child,
                                                    const Table& table, const Row& row) {
  if (row.absent) return false;
  PT_ASSIGN_OR_RETURN(const std::vector<EntityKey> parents, IntegerParents(taking.db, table, row));
  if (parents.empty()) return false;
  if (taking.undecided.contains(child)) return true;
  if (taking.visiting.empty()) taking.met_itself = false;
  const size_t taken_before = taking.batch.changes.size();
  taking.visiting.insert(child);
  const absl::StatusOr<bool> undecided = AnyIsUndecided(taking, child, parents);
  taking.visiting.erase(child);
  if (!undecided.ok() || !*undecided) return undecided;
  taking.undecided.insert(child);
  // What was taken because it would go together with this row does not go without it.
  while (taking.met_itself && !taking.full && taking.batch.changes.size() > taken_before) {
    taking.bytes -= taking.batch.changes.back().fields.ByteSize();
    taking.taken.erase(taking.batch.changes.back().key);
    taking.batch.changes.pop_back();
    taking.items.pop_back();
  }
  return true;
}

absl::StatusOr<bool> ReplicaImpl::AnyIsUndecided(Taking& taking, const EntityKey& child,
                                                 const std::vector<EntityKey>& parents) {
  for (const EntityKey& key : parents) {
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
    if ((state.has_value() && state->revision > 0) || taking.taken.contains(key)) continue;
    if (unanswered_.contains(key) || taking.earlier.contains(key)) return true;
    PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> item, ledger_->FindWaiting(key));
    if (!item.has_value()) continue;
    // Rows that refer to each other go together.
    if (taking.visiting.contains(key)) {
      taking.met_itself = true;
      continue;
    }
    if (item->status != ItemStatus::kPending || item->held) {
      PT_RETURN_IF_ERROR(SayWhatItWaitsFor(*ledger_, child, key));
      return true;
    }
    PT_RETURN_IF_ERROR(TakeItem(taking, *item));
    if (taking.taken.contains(key)) continue;
    // By itself, or because it waits for a parent of its own.
    PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> left, ledger_->FindWaiting(key));
    if (left.has_value() && absl::StartsWith(left->error_message, kWaitsForParent)) {
      PT_RETURN_IF_ERROR(SayWhatItWaitsFor(*ledger_, child, key));
    }
    return true;
  }
  return false;
}

absl::StatusOr<std::vector<std::string>> ReplicaImpl::OpenBatches() {
  return ledger_->OpenBatches();
}

const OutgoingBatch* ReplicaImpl::InMemory(const std::string& batch_id) const {
  const auto found = in_memory_.find(batch_id);
  return found == in_memory_.end() ? nullptr : found->second.get();
}

}  // namespace ptdoc::sync
