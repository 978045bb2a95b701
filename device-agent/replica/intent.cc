// One piece of work in both files: intent, commit of the app's file, finish.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

// In WAL mode a commit then leaves the disk for later: the app would wait for it,
// or be refused, while we hold its file. In the other modes SQLite needs the order.
absl::Status SyncLater(sqlite::Database& app) {
  PT_ASSIGN_OR_RETURN(const Value mode, app.QueryValue("PRAGMA journal_mode"));
  if (mode != Value::Text("wal")) return absl::OkStatus();
  return app.Exec("PRAGMA synchronous=NORMAL");
}

}  // namespace

absl::Status ReplicaImpl::At(const char* point) {
  if (!fail_point_ || !fail_point_(point)) return absl::OkStatus();
  return absl::CancelledError("a test's fault");
}

absl::Status ReplicaImpl::PutMark(absl::string_view which, const LogMark& mark) {
  PT_RETURN_IF_ERROR(ledger_->PutInt(absl::StrCat(which, "_seq"), mark.seq));
  return ledger_->PutInt(absl::StrCat(which, "_tag"), mark.tag);
}

absl::StatusOr<LogMark> ReplicaImpl::GetMark(absl::string_view which) {
  LogMark mark;
  PT_ASSIGN_OR_RETURN(mark.seq, ledger_->GetInt(absl::StrCat(which, "_seq"), 0));
  PT_ASSIGN_OR_RETURN(mark.tag, ledger_->GetInt(absl::StrCat(which, "_tag"), 0));
  return mark;
}

absl::StatusOr<Intent> ReplicaImpl::OpenNewIntent(const Work& work) {
  PT_ASSIGN_OR_RETURN(const ControlRow control, ReadControl(*app_));
  Intent intent;
  intent.page_number = control.page_number + 1;
  intent.page_tag = static_cast<int64_t>(rng_.Next() >> 1);
  intent.kind = work.kind;
  intent.payload = EncodeWork(work);
  PT_RETURN_IF_ERROR(ledger_->PutIntent(intent));
  PT_RETURN_IF_ERROR(At("intent"));
  return intent;
}

absl::Status ReplicaImpl::DropIntent(const Intent& intent) {
  return ledger_->DropIntent(intent);
}

absl::StatusOr<Attempt> ReplicaImpl::Execute(Work& work, Findings* findings) {
  bool writes = false;
  for (const Target& target : work.targets) {
    writes |= target.act == Act::kWrite || target.act == Act::kRemove;
  }
  if (!writes) {
    PT_RETURN_IF_ERROR(SettleInLedger(work, nullptr));
    return Attempt::kDone;
  }
  const absl::StatusOr<Intent> intent = OpenNewIntent(work);
  if (!intent.ok()) {
    if (FileStateOf(intent.status()) == FileState::kBlockedByApp) return Attempt::kBlocked;
    return intent.status();
  }
  if (PT_PLANTED("finish before apply")) {
    PT_RETURN_IF_ERROR(SettleInLedger(work, nullptr));
    PT_RETURN_IF_ERROR(At("settled too early"));
  }
  const absl::Status later = SyncLater(*app_);
  absl::StatusOr<Attempt> attempt =
      later.ok() ? WriteToApp(work, *intent, findings) : absl::StatusOr<Attempt>(later);
  if (!app_->Exec("PRAGMA synchronous=FULL").ok()) {
    // A connection that promises less than others rely on is not used again. What
    // became of the intent the page mark will tell.
    CloseConnections();
    return attempt.ok() ? absl::InternalError("a connection's switch failed") : attempt.status();
  }
  if (!attempt.ok()) {
    // Busy is known to have changed nothing. Of anything else the page mark will
    // tell: the intent stays for the next call, or the next process.
    if (!sqlite::IsBusy(attempt.status())) return attempt.status();
    attempt = Attempt::kBlocked;
    blocked_ = true;
  }
  if (*attempt != Attempt::kDone) {
    PT_RETURN_IF_ERROR(DropIntent(*intent));
    return attempt;
  }
  PT_RETURN_IF_ERROR(At("committed"));
  // Before the ledger relies on it. If this fails the intent stays for the next call.
  PT_RETURN_IF_ERROR(app_->SyncJournal());
  PT_RETURN_IF_ERROR(SettleInLedger(work, &*intent));
  PT_RETURN_IF_ERROR(At("settled"));
  return Attempt::kDone;
}

// What a dead process left: the page mark says how far it came.
absl::Status ReplicaImpl::SettleOpenIntent() {
  PT_ASSIGN_OR_RETURN(const std::optional<Intent> intent, ledger_->OpenIntent());
  if (!intent.has_value()) return absl::OkStatus();
  const absl::StatusOr<ControlRow> control = ReadControl(*app_);
  // Without a control row the file is not what it was: a recovery follows, and
  // it needs the intent no more.
  if (absl::IsNotFound(control.status())) return DropIntent(*intent);
  if (!control.ok()) return control.status();
  if (PT_PLANTED("an intent is taken for done")) {
    PT_ASSIGN_OR_RETURN(const Work hoped, DecodeWork(intent->payload));
    return SettleInLedger(hoped, &*intent);
  }
  if (control->page_number != intent->page_number || control->page_tag != intent->page_tag) {
    PT_REACHED("an intent had not happened");
    return DropIntent(*intent);
  }
  PT_REACHED("an intent had happened");
  // Whoever committed it may have died before it was on the disk.
  PT_RETURN_IF_ERROR(app_->SyncJournal());
  PT_ASSIGN_OR_RETURN(const Work work, DecodeWork(intent->payload));
  return SettleInLedger(work, &*intent);
}

absl::Status ReplicaImpl::SettleTarget(const Target& target) {
  const Version& version = target.version;
  const EntityKey& key = version.key;
  switch (target.act) {
    case Act::kWrite:
    case Act::kAdopt:
      PT_RETURN_IF_ERROR(ledger_->PutState(
          {key, version.revision, version.check, version.last_modified, target.after, false}));
      if (PT_PLANTED("a set-aside version is tried whatever its revision")) {
        PT_ASSIGN_OR_RETURN(const std::optional<SetAside> aside, ledger_->FindSetAside(key));
        if (aside.has_value() && aside->version.revision < version.revision) break;
      }
      PT_RETURN_IF_ERROR(ledger_->ClearSetAside(key, version.revision));
      break;
    case Act::kRemove:
      PT_RETURN_IF_ERROR(ledger_->DeleteState(key));
      // A person took his own row back: what the service holds still waits.
      if (target.closes_item == 0) PT_RETURN_IF_ERROR(ledger_->ClearSetAside(key));
      break;
    case Act::kSetAside: {
      PT_RETURN_IF_ERROR(ledger_->PutSetAside({version, target.code, target.constraint, 1}));
      PT_ASSIGN_OR_RETURN(const std::optional<RowState> state, ledger_->FindState(key));
      // That the service holds nothing at all is known for good.
      const bool confirms = version.revision == 0 && state.has_value() && state->unconfirmed;
      if (!target.stays_as_sent.has_value() && !confirms) break;
      RowState kept = state.value_or(RowState{key, 0, "", kSmallestTime, {}, false});
      if (confirms) kept.unconfirmed = false;
      if (target.stays_as_sent.has_value()) kept.row = *target.stays_as_sent;
      PT_RETURN_IF_ERROR(ledger_->PutState(kept));
      break;
    }
  }
  // A note of something newer stays: it is fetched next.
  PT_ASSIGN_OR_RETURN(const std::optional<StaleNote> note, ledger_->FindStale(key));
  const bool newer = note.has_value() && note->revision > version.revision;
  if (!newer || target.act == Act::kRemove) PT_RETURN_IF_ERROR(ledger_->ClearStale(key));
  if (target.archive.has_value()) PT_RETURN_IF_ERROR(ledger_->PutArchive(*target.archive).status());
  if (target.closes_item == 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger_->FindItem(target.closes_item));
  if (!item.has_value()) return absl::OkStatus();
  item->status = target.closes_as;
  item->completed_at = clock_.Now();
  if (target.closes_as == ItemStatus::kCompleted) item->error_message.clear();
  return ledger_->UpdateItem(*item);
}

absl::Status ReplicaImpl::SettleInLedger(const Work& work, const Intent* intent) {
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  if (work.kind == "recover") {
    // From here on the file counts as another one: what was known is void.
    PT_RETURN_IF_ERROR(ledger_->ForgetEverythingSynced());
    PT_RETURN_IF_ERROR(ledger_->Drop("key:"));
    PT_RETURN_IF_ERROR(ledger_->Drop("key_case:"));
    PT_RETURN_IF_ERROR(ledger_->Drop("references:"));
    PT_RETURN_IF_ERROR(ledger_->Put("file_id", work.file_id));
    PT_RETURN_IF_ERROR(ledger_->PutInt("recovery_ready", 1));
    PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*app_));
    PT_RETURN_IF_ERROR(PutMark("drained", last));
    PT_RETURN_IF_ERROR(PutMark("sent", last));
  }
  if (work.compare) PT_RETURN_IF_ERROR(WantComparison());
  for (const Target& target : work.targets) PT_RETURN_IF_ERROR(SettleTarget(target));
  for (const StaleNote& note : work.notes) PT_RETURN_IF_ERROR(ledger_->NoteStale(note));
  for (const ArchiveEntry& entry : work.archives) {
    PT_RETURN_IF_ERROR(ledger_->PutArchive(entry).status());
  }
  if (work.moves_cursor) PT_RETURN_IF_ERROR(ledger_->Put("cursor", work.cursor));
  if (!work.epoch.empty()) PT_RETURN_IF_ERROR(ledger_->Put("epoch", work.epoch));
  if (intent != nullptr) PT_RETURN_IF_ERROR(ledger_->FinishIntent(*intent));
  return tx.Commit();
}

}  // namespace ptdoc::sync
