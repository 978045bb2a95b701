// What the app's triggers and foreign keys did while versions were written.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/gone_numbers.h"
#include "device-agent/replica/writing.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;

// What the file held in these columns before; empty if it was not there, or
// one of them is none that is read.
std::vector<Value> PickBefore(const Target& target, const std::vector<std::string>& columns) {
  std::vector<Value> picked;
  for (const std::string& column : columns) {
    const Value* value = target.table->LocalValue(target.before, column);
    if (value == nullptr) return {};
    picked.push_back(*value);
  }
  return picked;
}

// The same of what was written. A local integer is not written, nor is what the version
// does not know: there stands what stood there.
std::vector<Value> PickAfter(const Target& target, const std::vector<std::string>& columns) {
  std::vector<Value> picked;
  for (const std::string& column : columns) {
    const int at = target.table->FindAnyCase(column);
    const bool written = at >= 0 && !target.local_values.empty() &&
                         (!target.is_there || target.written[static_cast<size_t>(at)]);
    const Value* value = written ? &target.local_values[static_cast<size_t>(at)]
                                 : target.table->LocalValue(target.before, column);
    if (value == nullptr) return {};
    picked.push_back(*value);
  }
  return picked;
}

bool HasNull(const std::vector<Value>& values) {
  for (const Value& value : values) {
    if (value.is_null()) return true;
  }
  return false;
}

absl::StatusOr<bool> AnyRow(sqlite::Database& db, const std::string& table,
                            const std::vector<std::string>& columns,
                            const std::vector<Value>& values) {
  std::string sql = absl::StrCat("SELECT 1 FROM main.", QuoteName(table), " WHERE ");
  for (size_t i = 0; i < columns.size(); ++i) {
    absl::StrAppend(&sql, i == 0 ? "" : " AND ", QuoteName(columns[i]), " = ?", i + 1);
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql + " LIMIT 1"));
  for (size_t i = 0; i < values.size(); ++i) stmt.Bind(static_cast<int>(i) + 1, values[i]);
  return stmt.Step();
}

}  // namespace

// Reads what the log gained since the last look. Returns the row with an
// unsent edit that was touched, if there is one.
absl::StatusOr<std::optional<EntityKey>> ReplicaImpl::NoteTouched(Writing& writing,
                                                                  const EntityKey* own) {
  PT_ASSIGN_OR_RETURN(const int64_t last, app_->QueryInt("SELECT max(Seq) FROM SyncLog"));
  const int64_t gained = last - writing.log_seq;
  // One row is the statement's own.
  if (gained <= 0 || (gained == 1 && own != nullptr)) {
    writing.log_seq = last;
    return std::nullopt;
  }
  PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows,
                      ReadLog(*app_, plan_, writing.log_seq, static_cast<size_t>(gained)));
  LogKeys keys(*app_, plan_, writing.log_seq);
  keys.set_owners(&writing.owners);
  const GoneNumbers gone(*ledger_);
  keys.set_gone(&gone);
  bool own_seen = false;
  for (const LogRow& row : rows) {
    const TablePlan* plan = plan_.ByNumber(row.table);
    Table* table = plan == nullptr ? nullptr : TableOf(plan->type);
    if (table == nullptr || row.key.empty()) continue;
    PT_ASSIGN_OR_RETURN(LogKeys::Name name, keys.NameOf(row));
    if (name.verdict != LogKeys::Verdict::kKnown) continue;
    if (row.op == 'D') {
      PT_RETURN_IF_ERROR(NoteGoneNumber(*app_, *table, *ledger_, name.id, row.local_key));
    }
    EntityKey key{table->type(), std::move(name.id)};
    if (!triggers_on_) writing.cascaded.insert(table);
    if (own != nullptr && key == *own && !own_seen) {
      own_seen = true;
      continue;
    }
    if (writing.targets.contains(key)) {
      writing.touched_targets.insert(std::move(key));
      continue;
    }
    PT_ASSIGN_OR_RETURN(const bool open, ledger_->HasOpenItem(key));
    if (open || writing.undrained.contains(key)) return key;
    writing.touched_others = true;
    if (writing.known_others.contains(key)) continue;
    if (row.op == 'I') writing.inserted_others.insert(key);
    writing.new_others.push_back(std::move(key));
  }
  writing.log_seq = last;
  return std::nullopt;
}

// Above what the new history shares with the old one, and not told anew so far.
bool ReplicaImpl::MayBeLost(const std::optional<RowState>& state) const {
  return mode_ == Mode::kRebaselining && state.has_value() && state->unconfirmed &&
         state->revision > shared_revision_;
}

// An edit that no trigger saw must not go with a cascade, nor a row that nobody
// else may have: it becomes an item. Returns the row that holds one.
absl::StatusOr<std::optional<EntityKey>> ReplicaImpl::LookAtOthers(Writing& writing) {
  for (const EntityKey& key : std::exchange(writing.new_others, {})) {
    if (!writing.known_others.insert(key).second) continue;
    Table& table = *TableOf(key.type);
    PT_ASSIGN_OR_RETURN(const std::vector<Value> values, table.KeyFromId(key.id));
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, table, *ledger_, values));
    PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
    bool known = row.absent;
    if (state.has_value()) {
      PT_ASSIGN_OR_RETURN(known, SameRow(table, *ledger_, state->row, row));
      PT_ASSIGN_OR_RETURN(const bool goes, GoesAnyway(key, table, row));
      known |= goes;
    }
    if (known && MayBeLost(state) && !row.absent) {
      PT_REACHED("a row that the service may have lost was in the way of a cascade");
      PT_RETURN_IF_ERROR(OfferUnconfirmed(*state));
      return key;
    }
    if (known) continue;
    if (Recovering()) {
      // The log is not drained yet, and what has no state is not known to anybody.
      PT_REACHED("an edit was in the way of a cascade in a recovery");
      PT_RETURN_IF_ERROR(OfferRow(key, table, row, kSmallestTime));
      return key;
    }
    PT_REACHED("an edit that no trigger saw was in the way of a cascade");
    PT_RETURN_IF_ERROR(EnqueueFound(key, state, row));
    return key;
  }
  return std::nullopt;
}

absl::StatusOr<ReplicaImpl::Touched> ReplicaImpl::JudgeTouched(Writing& writing,
                                                               sqlite::Savepoint& savepoint,
                                                               int64_t log_seq,
                                                               const EntityKey* own) {
  Touched touched;
  PT_ASSIGN_OR_RETURN(touched.edit, NoteTouched(writing, own));
  if (PT_PLANTED("no savepoint around cascades")) touched.edit.reset();
  if (touched.edit.has_value()) {
    // It would change a row that holds an edit nobody has sent.
    PT_REACHED("a cascade onto an edit was rolled back");
    writing.looks = 0;
    savepoint.Rollback();
    return touched;
  }
  // A row that a trigger inserts under a random key has another key each time:
  // once looked for is enough.
  if (writing.looks > 0) {
    std::erase_if(writing.new_others,
                  [&](const EntityKey& key) { return writing.inserted_others.contains(key); });
  }
  writing.inserted_others.clear();
  if (writing.new_others.empty()) {
    writing.looks = 0;
    return touched;
  }
  // What they were before is to be seen.
  ++writing.looks;
  savepoint.Rollback();
  writing.log_seq = log_seq;
  PT_ASSIGN_OR_RETURN(touched.edit, LookAtOthers(writing));
  touched.again = !touched.edit.has_value();
  return touched;
}

absl::Status ReplicaImpl::RunAfterApply(Writing& writing) {
  std::set<const Table*> tables;
  for (const Target* target : writing.written) tables.insert(target->table);
  PT_RETURN_IF_ERROR(SetTriggers(true));
  for (const Table* table : tables) {
    for (const std::string& sql : table->plan.config.after_apply) {
      PT_ASSIGN_OR_RETURN(const bool done, RunOneAfterApply(writing, sql));
      if (done) continue;
      Log(LogLevel::kWarning, "replica.after_apply_failed",
          {LogField::Code("type", table->type())});
    }
  }
  return absl::OkStatus();
}

// False, and nothing is done: the schema refuses it, or it would change an edit.
absl::StatusOr<bool> ReplicaImpl::RunOneAfterApply(Writing& writing, const std::string& sql) {
  while (true) {
    const int64_t log_seq = writing.log_seq;
    PT_ASSIGN_OR_RETURN(sqlite::Savepoint savepoint, sqlite::Savepoint::Begin(*app_));
    const absl::Status status = app_->Exec(sql);
    if (!status.ok() && !IsRefusal(status)) return status;
    if (!status.ok()) return false;
    PT_ASSIGN_OR_RETURN(const Touched touched, JudgeTouched(writing, savepoint, log_seq, nullptr));
    if (touched.again) continue;
    if (touched.edit.has_value()) return false;
    PT_RETURN_IF_ERROR(savepoint.Release());
    return true;
  }
}

// What was applied stands as it was sent, whatever the app's triggers made of
// it: else two devices would never hold the same row.
absl::Status ReplicaImpl::PutTouchedBack(Writing& writing) {
  // Putting one back may touch another: a cascade over its children.
  if (PT_PLANTED("touched rows are not put back")) return absl::OkStatus();
  std::vector<EntityKey> todo(writing.touched_targets.begin(), writing.touched_targets.end());
  for (size_t i = 0; i < todo.size(); ++i) {
    const EntityKey key = todo[i];
    const int64_t log_seq = writing.log_seq;
    Target& target = *writing.targets.at(key);
    PT_ASSIGN_OR_RETURN(const Row row, ReadRow(*app_, *target.table, *ledger_, target.key));
    if (row.hashes == target.after) continue;
    PT_REACHED("a trigger's change was put back as sent");
    PT_RETURN_IF_ERROR(SetTriggers(false));
    target.is_there = !row.absent;
    target.before = row;
    PT_ASSIGN_OR_RETURN(sqlite::Savepoint savepoint, sqlite::Savepoint::Begin(*app_));
    const absl::Status status = WriteValues(writing, target).status();
    if (!status.ok() && !IsRefusal(status)) return status;
    if (!status.ok()) {
      writing.Refuse(key, RefusalOf(status));
      continue;
    }
    PT_ASSIGN_OR_RETURN(const Touched touched, JudgeTouched(writing, savepoint, log_seq, nullptr));
    if (touched.edit.has_value()) {
      writing.Refuse(key,
                     {"TOUCHES_EDIT", absl::StrCat(touched.edit->type, "/", touched.edit->id)});
      continue;
    }
    if (touched.again) {
      todo.push_back(key);
      continue;
    }
    PT_RETURN_IF_ERROR(savepoint.Release());
    for (const EntityKey& more : writing.touched_targets) {
      if (std::find(todo.begin(), todo.end(), more) == todo.end()) todo.push_back(more);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::LacksParent(const Target& target) {
  for (const Reference& reference : target.table->parents) {
    const std::vector<Value> values = PickAfter(target, reference.child_columns);
    if (values.empty() || HasNull(values)) continue;
    PT_ASSIGN_OR_RETURN(const bool there,
                        AnyRow(*app_, reference.parent_table, reference.parent_columns, values));
    if (!there) return true;
  }
  return false;
}

absl::StatusOr<bool> ReplicaImpl::LeavesChildren(const Target& target) {
  for (const Reference& reference : target.table->children) {
    const std::vector<Value> before = PickBefore(target, reference.parent_columns);
    if (before.empty() || HasNull(before)) continue;
    const bool gone = target.version.deleted || target.act == Act::kRemove ||
                      before != PickAfter(target, reference.parent_columns);
    if (!gone) continue;
    PT_ASSIGN_OR_RETURN(const bool left,
                        AnyRow(*app_, reference.child_table, reference.child_columns, before));
    if (left) return true;
  }
  return false;
}

// A violated key stops the commit of everything: those that cause it are found
// and set aside.
absl::Status ReplicaImpl::CheckForeignKeys(Writing& writing) {
  if (!app_->HasForeignKeyViolations()) return absl::OkStatus();
  const Refused why{"SQLITE_CONSTRAINT_FOREIGNKEY", ""};
  bool found = false;
  for (const Target* target : writing.written) {
    const bool deletes = target->version.deleted || target->act == Act::kRemove;
    bool culprit = false;
    if (!deletes) {
      PT_ASSIGN_OR_RETURN(culprit, LacksParent(*target));
    }
    if (!culprit) {
      PT_ASSIGN_OR_RETURN(culprit, LeavesChildren(*target));
    }
    if (!culprit) continue;
    PT_REACHED("a foreign key set a version aside");
    writing.Refuse(target->version.key, {why.code, target->table->plan.table});
    found = true;
  }
  if (found) return absl::OkStatus();
  // A key that the schema does not show us: whatever may be part of it waits.
  for (const Target* target : writing.written) {
    if (target->table->parents.empty() && target->table->children.empty()) continue;
    writing.Refuse(target->version.key, {why.code, target->table->plan.table});
    found = true;
  }
  return found ? absl::OkStatus()
               : absl::InternalError("a foreign key is violated that no table declares");
}

// Where the app's triggers cannot be run, they cannot keep the index either.
absl::Status ReplicaImpl::RebuildSearchIndexes(Writing& writing) {
  std::set<std::string> indexes;
  for (const Target* target : writing.written) {
    const bool off = target->table->plan.apply_mode == ApplyMode::kTriggersOff;
    const bool put_back = writing.touched_targets.contains(target->version.key);
    if (off || put_back) indexes.insert(target->table->fts.begin(), target->table->fts.end());
  }
  for (const Table* table : writing.cascaded) indexes.insert(table->fts.begin(), table->fts.end());
  for (const std::string& index : indexes) {
    const std::string name = QuoteName(index);
    const absl::Status status =
        app_->Exec(absl::StrCat("INSERT INTO main.", name, "(", name, ") VALUES('rebuild')"));
    if (!status.ok() && !IsRefusal(status)) return status;
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
