// The one transaction in which versions get into the app's file.
#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/cascade.h"
#include "device-agent/replica/gone_numbers.h"
#include "device-agent/replica/writing.h"

namespace ptdoc::sync {
namespace {

// Low bytes of SQLite's result codes (sqlite.org/rescode.html).
constexpr int kError = 1;
constexpr int kTooBig = 18;
constexpr int kConstraint = 19;
constexpr int kMismatch = 20;
// A search index that is not what its table is: the file is sound.
constexpr int kCorruptVtab = 267;

constexpr size_t kTargetsAtOnceMax = 16;  // with keys that are not deferred
constexpr int64_t kLastSeq = std::numeric_limits<int64_t>::max();

absl::string_view CodeName(int code) {
  switch (code) {
    case kCorruptVtab:
      return "SQLITE_CORRUPT_VTAB";
    case 275:
      return "SQLITE_CONSTRAINT_CHECK";
    case 787:
      return "SQLITE_CONSTRAINT_FOREIGNKEY";
    case 1299:
      return "SQLITE_CONSTRAINT_NOTNULL";
    case 1555:
      return "SQLITE_CONSTRAINT_PRIMARYKEY";
    case 1811:
      return "SQLITE_CONSTRAINT_TRIGGER";
    case 2067:
      return "SQLITE_CONSTRAINT_UNIQUE";
    case 2579:
      return "SQLITE_CONSTRAINT_ROWID";
    case 3091:
      return "SQLITE_CONSTRAINT_DATATYPE";
    case kMismatch:
      return "SQLITE_MISMATCH";
    case kTooBig:
      return "SQLITE_TOOBIG";
    default:
      return (code & 0xff) == kConstraint ? "SQLITE_CONSTRAINT" : "SQLITE_ERROR";
  }
}

enum class Parking : uint8_t { kLong, kNull, kShort };

Value ParkedValue(Parking kind, Affinity affinity, Rng& rng) {
  if (kind == Parking::kNull) return Value::Null();
  const bool text = affinity == Affinity::kText || affinity == Affinity::kBlob;
  if (!text) return Value::Integer(-static_cast<int64_t>(rng.Next() >> 2));
  if (kind == Parking::kLong) return Value::Text(NewUuid(rng));
  // One character of those that have no meaning (U+E000 to U+EFFF).
  const uint64_t low = rng.Below(0x1000);
  return Value::Text(std::string{'\xEE', static_cast<char>(0x80 | (low >> 6)),
                                 static_cast<char>(0x80 | (low & 0x3f))});
}

bool GoesIntoTheApp(const Target& target) {
  return target.act == Act::kWrite || target.act == Act::kRemove;
}

}  // namespace

bool IsRefusal(const absl::Status& status) {
  const int extended = sqlite::ExtendedCode(status);
  const int code = extended & 0xff;
  return code == kError || code == kTooBig || code == kConstraint || code == kMismatch ||
         extended == kCorruptVtab || MissingParent(status).has_value();
}

Refused RefusalOf(const absl::Status& status) {
  const std::optional<EntityKey> parent = MissingParent(status);
  if (parent.has_value()) {
    return {"MISSING_PARENT", absl::StrCat(parent->type, "/", parent->id)};
  }
  return {std::string(CodeName(sqlite::ExtendedCode(status))), sqlite::ConstraintName(status)};
}

absl::Status ReplicaImpl::SetTriggers(bool on) {
  if (on == triggers_on_) return absl::OkStatus();
  PT_RETURN_IF_ERROR(app_->EnableTriggers(on));
  triggers_on_ = on;
  return absl::OkStatus();
}

// Once more, now that nobody else can write: what Ready() saw may be old.
absl::StatusOr<bool> ReplicaImpl::IsFileUnchanged(const ControlRow& control) {
  if (IdentityNow() != file_ || IsWalGone()) return false;
  PT_ASSIGN_OR_RETURN(const int64_t version, app_->QueryInt("PRAGMA schema_version"));
  if (version != schema_version_) return false;
  return IsOurs(control);
}

// False if there is more than is worth looking at: then it is drained first.
absl::StatusOr<bool> ReplicaImpl::ReadUndrained(Writing& writing) {
  PT_ASSIGN_OR_RETURN(const LogMark drained, GetMark("drained"));
  PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows,
                      ReadLog(*app_, plan_, drained.seq, kLogChunkRows));
  if (rows.size() == kLogChunkRows) return false;
  const GoneNumbers gone(*ledger_);
  LogKeys keys(*app_, plan_, drained.seq);
  keys.set_gone(&gone);
  for (const LogRow& row : rows) {
    const TablePlan* plan = plan_.ByNumber(row.table);
    Table* table = plan == nullptr ? nullptr : TableOf(plan->type);
    if (table == nullptr || row.key.empty()) continue;
    writing.undrained_links |= table->translates_key;
    PT_ASSIGN_OR_RETURN(LogKeys::Name name, keys.NameOf(row));
    if (name.verdict != LogKeys::Verdict::kKnown) continue;
    writing.undrained.insert({table->type(), std::move(name.id)});
  }
  return true;
}

absl::StatusOr<Attempt> ReplicaImpl::CheckBeforeWriting(Writing& writing) {
  PT_ASSIGN_OR_RETURN(writing.control, ReadControl(*app_));
  PT_ASSIGN_OR_RETURN(const bool unchanged, IsFileUnchanged(writing.control));
  if (!unchanged) return Attempt::kAgain;
  // During a recovery the log is not drained: rows are compared as they stand.
  if (!Recovering()) {
    PT_ASSIGN_OR_RETURN(const bool read, ReadUndrained(writing));
    if (!read) return Attempt::kAgain;
  }
  Attempt verdict = Attempt::kDone;
  for (Target& target : writing.work.targets) {
    if (!GoesIntoTheApp(target)) continue;
    const EntityKey& key = target.version.key;
    writing.targets[key] = &target;
    // What is not drained names rows by an integer that may get another meaning.
    const bool goes = target.act == Act::kRemove || target.version.deleted;
    if (goes && writing.undrained_links && target.table->is_translated_to) {
      verdict = Attempt::kAgain;
    }
    if (writing.undrained.contains(key) && !PT_PLANTED("overwrite what is not drained")) {
      verdict = Attempt::kAgain;
    }
    PT_ASSIGN_OR_RETURN(Row row, ReadRow(*app_, *target.table, *ledger_, target.key));
    PT_ASSIGN_OR_RETURN(const bool same, SameRow(*target.table, *ledger_, target.expected, row));
    if (!same && !PT_PLANTED("overwrite what is not drained")) {
      writing.findings->look_at.insert(key);
      verdict = Attempt::kAgain;
    }
    target.is_there = !row.absent;
    target.before = std::move(row);
  }
  return verdict;
}

// Few rows are written parents first: what does not pass yet passes in the next
// round, and only where something is refused keys have to be deferred. It would make
// SQLite compile every statement of this connection anew.
bool ReplicaImpl::NeedsDeferredKeys(const Work& work, const Findings& findings) const {
  if (references_.empty()) return false;
  if (findings.defers_keys || work.targets.size() > kTargetsAtOnceMax) return true;
  return std::any_of(work.targets.begin(), work.targets.end(), [](const Target& target) {
    return GoesIntoTheApp(target) && !target.table->plan.config.after_apply.empty();
  });
}

absl::StatusOr<Attempt> ReplicaImpl::WriteToApp(Work& work, const Intent& intent,
                                                Findings* findings) {
  const absl::Cleanup triggers_on = [this] { SetTriggers(true).IgnoreError(); };
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
  const bool defers_keys = NeedsDeferredKeys(work, *findings);
  if (defers_keys) PT_RETURN_IF_ERROR(app_->Exec("PRAGMA defer_foreign_keys=ON"));
  const std::map<EntityKey, Refused> refused_before = findings->refused;
  Writing writing{work,  findings, {}, 0,  0, {}, false, {}, {},   {},
                  false, {},       {}, {}, 0, {}, {},    {}, false};
  PT_ASSIGN_OR_RETURN(const Attempt checked, CheckBeforeWriting(writing));
  if (checked != Attempt::kDone) return checked;
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*app_));
  writing.first_seq = writing.log_seq = last.seq;
  writing.control.applying = true;
  PT_RETURN_IF_ERROR(WriteControl(*app_, writing.control));
  PT_ASSIGN_OR_RETURN(const Attempt wrote, WriteAll(writing));
  if (wrote != Attempt::kDone) return wrote;
  // All or nothing: what is refused is marked in a new intent.
  if (writing.refused_any && !defers_keys && !references_.empty()) {
    // Perhaps only because a key was looked at too early.
    findings->refused = refused_before;
    findings->defers_keys = true;
  }
  if (writing.refused_any) return Attempt::kAgain;
  PT_RETURN_IF_ERROR(FinishWriting(writing, intent));
  PT_RETURN_IF_ERROR(At("before_commit"));
  PT_RETURN_IF_ERROR(tx.Commit());
  findings->touched_others |= writing.touched_others;
  return Attempt::kDone;
}

// A row whose key refers to rows that count themselves is found through them: it goes
// before they do, whatever the order in which the app deleted them.
void ReplicaImpl::PutLinksFirst(std::vector<Todo>* todo) {
  std::vector<Todo> links;
  std::erase_if(*todo, [&](const Todo& entry) {
    const Target& target = *entry.target;
    const bool deletes = target.act == Act::kRemove || target.version.deleted;
    if (deletes && target.table->translates_key) links.push_back(entry);
    return deletes && target.table->translates_key;
  });
  if (links.size() > 1) {
    // A link may be found through another one.
    const std::vector<Table*> tables = ParentsFirst();
    const auto depth = [&](const Todo& entry) {
      return std::find(tables.begin(), tables.end(), entry.target->table) - tables.begin();
    };
    std::sort(links.begin(), links.end(),
              [&](const Todo& a, const Todo& b) { return depth(a) > depth(b); });
  }
  todo->insert(todo->begin(), links.begin(), links.end());
}

absl::StatusOr<Attempt> ReplicaImpl::WriteAll(Writing& writing) {
  std::vector<Todo> todo;
  for (Target& target : writing.work.targets) {
    if (GoesIntoTheApp(target)) todo.push_back({&target, absl::OkStatus()});
  }
  PutLinksFirst(&todo);
  PT_ASSIGN_OR_RETURN(const Attempt plain, WritePlainly(writing, &todo));
  if (plain != Attempt::kDone) return plain;
  bool parked = false;
  while (!todo.empty()) {
    const size_t before = todo.size();
    PT_RETURN_IF_ERROR(WriteRound(writing, &todo));
    if (todo.size() < before) continue;
    if (parked) break;
    // What is left stands in its own way, as a swap of UNIQUE values does.
    PT_REACHED("unique values were parked");
    parked = true;
    PT_RETURN_IF_ERROR(ReserveLocalIds(writing, todo));
    for (const Todo& stuck : todo) PT_RETURN_IF_ERROR(ParkUniqueValues(*stuck.target));
  }
  for (const Todo& stuck : todo) {
    writing.Refuse(stuck.target->version.key, RefusalOf(stuck.why));
  }
  if (writing.refused_any) return Attempt::kDone;
  PT_RETURN_IF_ERROR(RunAfterApply(writing));
  PT_RETURN_IF_ERROR(PutTouchedBack(writing));
  PT_RETURN_IF_ERROR(CheckForeignKeys(writing));
  PT_RETURN_IF_ERROR(RebuildSearchIndexes(writing));
  return Attempt::kDone;
}

// Mostly a statement writes its row and that row's line of the log, and no more. Then one
// look at the log does for all of them. Where anything else happens each is judged by
// itself: a few are undone and written again at once; more begin the transaction anew,
// since a savepoint around all of them would keep every page that they change.
absl::StatusOr<Attempt> ReplicaImpl::WritePlainly(Writing& writing, std::vector<Todo>* todo) {
  const bool plain_tables = std::all_of(todo->begin(), todo->end(), [](const Todo& entry) {
    const Table& table = *entry.target->table;
    return table.plan.apply_mode == ApplyMode::kTriggersOn && !table.plan.logs_local_key &&
           !table.writes_more;
  });
  if (!plain_tables || todo->size() < 2 || writing.findings->one_by_one) return Attempt::kDone;
  PT_RETURN_IF_ERROR(SetTriggers(true));
  std::optional<sqlite::Savepoint> savepoint;
  if (todo->size() <= kTargetsAtOnceMax) {
    PT_ASSIGN_OR_RETURN(sqlite::Savepoint begun, sqlite::Savepoint::Begin(*app_));
    savepoint.emplace(std::move(begun));
  }
  PT_ASSIGN_OR_RETURN(const bool plain, WriteEachPlainly(writing, *todo));
  if (plain) {
    const bool ended = writing.refused_any;  // and the savepoint with it
    if (savepoint.has_value() && !ended) PT_RETURN_IF_ERROR(savepoint->Release());
    todo->clear();
    return Attempt::kDone;
  }
  if (savepoint.has_value()) return Attempt::kDone;
  writing.findings->one_by_one = true;
  return Attempt::kAgain;
}

// False at the first that is not plain; what was written is to be undone then.
absl::StatusOr<bool> ReplicaImpl::WriteEachPlainly(Writing& writing,
                                                   const std::vector<Todo>& todo) {
  constexpr int64_t kRowAndItsLogRow = 2;
  for (const Todo& entry : todo) {
    const int64_t before = app_->total_changes();
    const absl::StatusOr<bool> taken = WriteValues(writing, *entry.target);
    if (!taken.ok() && !IsRefusal(taken.status())) return taken.status();
    if (!taken.ok() && !app_->in_transaction()) {
      // RAISE(ROLLBACK) of the app has ended everything.
      writing.Refuse(entry.target->version.key, RefusalOf(taken.status()));
      return true;
    }
    if (!taken.ok() || !*taken) return false;
    entry.target->table->writes_more |= app_->total_changes() - before != kRowAndItsLogRow;
    if (entry.target->table->writes_more) return false;
  }
  PT_ASSIGN_OR_RETURN(const int64_t last, app_->QueryInt("SELECT max(Seq) FROM SyncLog"));
  if (last - writing.log_seq != static_cast<int64_t>(todo.size())) return false;
  writing.log_seq = last;
  for (const Todo& entry : todo) writing.written.push_back(entry.target);
  return true;
}

absl::Status ReplicaImpl::WriteRound(Writing& writing, std::vector<Todo>* todo) {
  std::vector<Todo> left;
  for (const Todo& entry : *todo) {
    const absl::Status status = WriteOne(writing, *entry.target);
    if (status.ok()) continue;
    if (!IsRefusal(status)) return status;
    if (!app_->in_transaction()) {
      // RAISE(ROLLBACK) of the app has ended everything.
      writing.Refuse(entry.target->version.key, RefusalOf(status));
      todo->clear();
      return absl::OkStatus();
    }
    left.push_back({entry.target, status});
  }
  *todo = std::move(left);
  return absl::OkStatus();
}

absl::Status ReplicaImpl::WriteOne(Writing& writing, Target& target) {
  PT_RETURN_IF_ERROR(SetTriggers(target.table->plan.apply_mode == ApplyMode::kTriggersOn));
  const int64_t log_seq = writing.log_seq;
  if (target.is_there && target.table->plan.logs_local_key &&
      target.before.local_id.type() == Value::Type::kInteger) {
    // With triggers off nobody logs it, but what goes with it is.
    writing.owners[{target.table->plan.number, target.before.local_id.integer()}] =
        target.version.key.id;
  }
  PT_ASSIGN_OR_RETURN(sqlite::Savepoint savepoint, sqlite::Savepoint::Begin(*app_));
  PT_ASSIGN_OR_RETURN(const bool taken, WriteValues(writing, target));
  if (!taken) {
    writing.Refuse(target.version.key, {"SQLITE_CONSTRAINT_TRIGGER", ""});
    return absl::OkStatus();
  }
  // With triggers off the statement's own row is not in the log.
  PT_ASSIGN_OR_RETURN(
      const Touched touched,
      JudgeTouched(writing, savepoint, log_seq, triggers_on_ ? &target.version.key : nullptr));
  if (touched.again) return WriteOne(writing, target);
  if (touched.edit.has_value()) {
    writing.Refuse(target.version.key,
                   {"TOUCHES_EDIT", absl::StrCat(touched.edit->type, "/", touched.edit->id)});
    return absl::OkStatus();
  }
  PT_RETURN_IF_ERROR(savepoint.Release());
  writing.written.push_back(&target);
  return absl::OkStatus();
}

// Where the row stands now, if it does: what this transaction wrote before may have
// taken it along, and have given the number that was part of its key to another row.
absl::StatusOr<std::optional<std::vector<Value>>> ReplicaImpl::LocalKeyNow(const Target& target) {
  if (!target.is_there) return std::nullopt;
  if (!target.table->translates_key || PT_PLANTED("a link's row is found by its old numbers")) {
    return target.table->LocalKeyOf(target.before);
  }
  PT_ASSIGN_OR_RETURN(Row row, ReadRow(*app_, *target.table, *ledger_, target.key));
  if (row.absent) return std::nullopt;
  return std::move(row.local_key);
}

// False if a trigger of the app ignored the statement (RAISE(IGNORE)).
absl::StatusOr<bool> ReplicaImpl::WriteValues(Writing& writing, Target& target) {
  const Table& table = *target.table;
  const int64_t before = app_->total_changes();
  PT_ASSIGN_OR_RETURN(const std::optional<std::vector<Value>> key, LocalKeyNow(target));
  const bool deletes = target.act == Act::kRemove || target.version.deleted;
  if (!deletes) {
    const std::vector<bool>* written = key.has_value() ? &target.written : nullptr;
    PT_ASSIGN_OR_RETURN(target.local_values,
                        LocalValues(*app_, table, target.values, written, &writing.reserved_ids));
  }
  if (!deletes && !key.has_value()) PT_RETURN_IF_ERROR(ReserveFreeId(writing, target));
  const auto reserved = writing.reserved_ids.find(target.version.key);
  const int64_t* local_id = reserved == writing.reserved_ids.end() ? nullptr : &reserved->second;
  const auto insert = [&] {
    return InsertRow(*app_, table, target.local_values, local_id, &target.version);
  };
  PT_ASSIGN_OR_RETURN(
      const std::vector<Cascaded> cascades,
      FindCascades(target, key, deletes ? nullptr : &target.local_values, target.written));
  if (deletes && key.has_value()) {
    // Before the next row is inserted. One too many, if this is rolled back, does no harm.
    PT_RETURN_IF_ERROR(
        NoteGoneNumber(*app_, table, *ledger_, target.version.key.id, target.before.local_id));
    PT_RETURN_IF_ERROR(DeleteRow(*app_, table, *key));
  } else if (key.has_value()) {
    PT_RETURN_IF_ERROR(
        UpdateRow(*app_, table, *key, target.local_values, target.written, &target.version));
  } else if (!deletes) {
    PT_RETURN_IF_ERROR(insert());
  }
  if (app_->total_changes() != before) {
    PT_RETURN_IF_ERROR(LogCascades(cascades));
    return true;
  }
  PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, target.key));
  if (row.absent && !deletes && key.has_value()) {
    // A cascade of this page took the row that was to be updated.
    PT_ASSIGN_OR_RETURN(target.local_values,
                        LocalValues(*app_, table, target.values, nullptr, &writing.reserved_ids));
    PT_RETURN_IF_ERROR(insert());
    return app_->total_changes() != before;
  }
  return row.absent ? deletes : row.hashes == target.after;
}

// A number that links still name by the row that had it is not given to another one.
absl::Status ReplicaImpl::ReserveFreeId(Writing& writing, const Target& target) {
  const Table& table = *target.table;
  if (table.links.empty() || table.plan.local_key.empty()) return absl::OkStatus();
  if (writing.reserved_ids.contains(target.version.key)) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> gone, ledger_->GreatestGone(table.type()));
  if (!gone.has_value()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(writing.reserved_ids[target.version.key],
                      NextLocalId(*app_, table, *ledger_, writing.reserved_ids));
  return absl::OkStatus();
}

// Rows that refer to each other, or to themselves: each gets the integer that
// it will have, so that the others can name it before it is there.
absl::Status ReplicaImpl::ReserveLocalIds(Writing& writing, const std::vector<Todo>& todo) {
  for (const Todo& stuck : todo) {
    const Target& target = *stuck.target;
    if (target.is_there || target.version.deleted || target.act != Act::kWrite) continue;
    if (!target.table->is_translated_to || target.table->plan.local_key.empty()) continue;
    PT_ASSIGN_OR_RETURN(writing.reserved_ids[target.version.key],
                        NextLocalId(*app_, *target.table, *ledger_, writing.reserved_ids));
  }
  return absl::OkStatus();
}

// Values that nobody else has, for a moment, with the triggers that are on: a
// search index must see every step.
absl::Status ReplicaImpl::ParkUniqueValues(const Target& target) {
  const Table& table = *target.table;
  if (target.version.deleted || !target.is_there || table.unique_columns.empty()) {
    return absl::OkStatus();
  }
  // A CHECK may refuse one kind and take the next.
  for (const Parking kind : {Parking::kLong, Parking::kNull, Parking::kShort}) {
    std::vector<Value> parked = target.values;
    std::vector<bool> written(parked.size(), false);
    for (const std::string& column : table.unique_columns) {
      const size_t at = static_cast<size_t>(table.Find(column));
      if (!target.written[at]) continue;
      written[at] = true;
      // A column of integers that mean other rows has no id yet, nor a text.
      const bool translated = TranslationOf(table.plan, column) != nullptr;
      parked[at] =
          ParkedValue(kind, translated ? Affinity::kInteger : table.plan.affinities[at], rng_);
    }
    PT_ASSIGN_OR_RETURN(const bool done, ParkValues(target, parked, written));
    if (done) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::ParkValues(const Target& target, const std::vector<Value>& parked,
                                             const std::vector<bool>& written) {
  const Table& table = *target.table;
  PT_RETURN_IF_ERROR(SetTriggers(table.plan.apply_mode == ApplyMode::kTriggersOn));
  PT_ASSIGN_OR_RETURN(sqlite::Savepoint savepoint, sqlite::Savepoint::Begin(*app_));
  PT_ASSIGN_OR_RETURN(const std::optional<std::vector<Value>> key, LocalKeyNow(target));
  if (!key.has_value()) return true;
  PT_ASSIGN_OR_RETURN(const std::vector<Cascaded> cascades,
                      FindCascades(target, key, &parked, written));
  const absl::Status status = UpdateRow(*app_, table, *key, parked, written, &target.version);
  if (!status.ok() && !IsRefusal(status)) return status;
  if (!status.ok()) return false;
  PT_RETURN_IF_ERROR(LogCascades(cascades));
  PT_RETURN_IF_ERROR(savepoint.Release());
  return true;
}

absl::Status ReplicaImpl::FinishWriting(Writing& writing, const Intent& intent) {
  ControlRow control = writing.control;
  control.applying = false;
  control.clock_offset_ns = clock_offset_;
  control.page_number = intent.page_number;
  control.page_tag = intent.page_tag;
  for (const Target* target : writing.written) {
    control.newest_time = std::max(control.newest_time, target->version.last_modified);
  }
  PT_RETURN_IF_ERROR(WriteControl(*app_, control));
  return DropOwnLogRows(writing);
}

// What this transaction meant to write needs no draining. Left in the log it
// would do harm after a crash: a row that the app has edited since, unseen by
// the triggers, would be taken for one that they touched, and put back.
absl::Status ReplicaImpl::DropOwnLogRows(const Writing& writing) {
  if (PT_PLANTED("reuse a log number")) return DropLog(*app_, writing.first_seq - 1, kLastSeq);
  if (!writing.touched_others) return DropLog(*app_, writing.first_seq, kLastSeq);
  PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows,
                      ReadLog(*app_, plan_, writing.first_seq, kLastSeq));
  LogKeys keys(*app_, plan_, writing.first_seq);
  keys.set_owners(&writing.owners);
  const GoneNumbers gone(*ledger_);
  keys.set_gone(&gone);
  std::vector<int64_t> own;
  for (const LogRow& row : rows) {
    const TablePlan* plan = plan_.ByNumber(row.table);
    Table* table = plan == nullptr || row.key.empty() ? nullptr : TableOf(plan->type);
    if (table == nullptr) continue;
    PT_ASSIGN_OR_RETURN(const LogKeys::Name name, keys.NameOf(row));
    if (name.verdict != LogKeys::Verdict::kKnown) continue;
    if (writing.targets.contains(EntityKey{table->type(), name.id})) {
      own.push_back(row.seq);
    } else {
      PT_RETURN_IF_ERROR(keys.Pin(row, name));
    }
  }
  for (const int64_t seq : own) PT_RETURN_IF_ERROR(DropLog(*app_, seq - 1, seq));
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
