// The agent's own file, and what it says of the queue.
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/cli/doctor.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

constexpr uint32_t kPendingOkMax = 100;  // seed, "Queue Size"
constexpr uint32_t kPendingWarnMax = 500;
constexpr absl::Duration kQueueAgeMax = absl::Hours(24);

// Rows of a query, each handed to `show`; nothing if it cannot be asked.
template <typename Show>
void ForEach(sqlite::Database& db, absl::string_view sql, const Show& show) {
  absl::StatusOr<sqlite::Statement> rows = db.Prepare(sql);
  if (!rows.ok()) return;
  while (true) {
    const absl::StatusOr<bool> found = rows->Step();
    if (!found.ok() || !*found) return;
    show(*rows);
  }
}

int64_t CountOf(sqlite::Database& db, absl::string_view sql) {
  return db.QueryInt(sql).value_or(0);
}

void CheckIntegrity(sqlite::Database& ledger, const std::string& path, Checkup& checkup) {
  const absl::StatusOr<Value> verdict = ledger.QueryValue("PRAGMA quick_check(1)");
  if (verdict.ok() && *verdict == Value::Text("ok")) {
    return checkup.Ok("ledger", absl::StrCat(path, " is whole."));
  }
  checkup.Bad("ledger",
              absl::StrCat(path,
                           " is damaged. The app's changes are safe in its own file. Stop "
                           "the agent, move this file away with its -wal and -shm, and "
                           "initialise again: every row is compared with the service."),
              checkup.Agent("init"));
}

void CheckPending(sqlite::Database& ledger, absl::Time now, Checkup& checkup) {
  const int64_t initial =
      CountOf(ledger, "SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 1) AND Flags & 8");
  const int64_t pending = CountOf(
      ledger, "SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 1) AND NOT Flags & 24");
  const std::string waits =
      absl::StrCat(Plural(pending, "edit waits", "edits wait"), " to be sent",
                   initial > 0 ? absl::StrCat(", and ", initial, " of the first upload") : "");
  absl::StatusOr<Value> oldest = ledger.QueryValue(
      "SELECT min(EnqueuedAt) FROM SyncQueueItems WHERE Status IN (0, 1) AND NOT Flags & 24");
  std::optional<absl::Time> since;
  if (oldest.ok() && oldest->type() == Value::Type::kText) {
    const absl::StatusOr<absl::Time> time = ParseTime(oldest->bytes());
    if (time.ok()) since = *time;
  }
  const std::string age =
      since.has_value() ? absl::StrCat("; the oldest came ", Ago(since, now)) : "";
  if (pending > kPendingWarnMax) {
    checkup.Bad("queue", absl::StrCat(waits, age, "."), checkup.Agent("run"));
  } else if (pending > kPendingOkMax || (since.has_value() && now - *since > kQueueAgeMax)) {
    checkup.Warn("queue", absl::StrCat(waits, age, "."), checkup.Agent("run"));
  } else {
    checkup.Ok("queue", absl::StrCat(waits, age, "."));
  }
}

// Grouped by reason: the code before the colon.
void CheckFailed(sqlite::Database& ledger, Checkup& checkup) {
  bool any = false;
  ForEach(ledger,
          "SELECT CASE WHEN instr(ErrorMessage, ':') > 0 THEN substr(ErrorMessage, 1, "
          "instr(ErrorMessage, ':') - 1) ELSE ifnull(ErrorMessage, '?') END, count(*), "
          "sum(RetryCount >= MaxRetries) FROM SyncQueueItems WHERE Status = 3 GROUP BY 1",
          [&](const sqlite::Statement& row) {
            any = true;
            const std::string what = absl::StrCat(Plural(row.Int(1), "item"), " failed with ",
                                                  row.Text(0), ", ", row.Int(2), " for good.");
            checkup.Warn(
                "failed", what,
                row.Int(2) > 0 ? checkup.Agent("queue retry --all") : checkup.Agent("queue list"));
          });
  if (!any) checkup.Ok("failed", "No item has failed.");
}

void CheckPeople(sqlite::Database& ledger, Checkup& checkup) {
  const int64_t held =
      CountOf(ledger, "SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 3) AND Flags & 16");
  if (held > 0) {
    checkup.Warn("held",
                 absl::StrCat(Plural(held, "deletion waits", "deletions wait"),
                              " for a person (HELD_DELETE): many rows of a type went at once."),
                 checkup.Agent("queue confirm"));
  }
  const int64_t open =
      CountOf(ledger, "SELECT count(*) FROM SyncConflictArchives WHERE IsResolved = 0");
  if (open > 0) {
    checkup.Warn("conflicts",
                 absl::StrCat(Plural(open, "conflict is", "conflicts are"),
                              " open: versions of this device that lost."),
                 checkup.Agent("conflicts list"));
  }
  ForEach(ledger,
          "SELECT EntityType, Code, ConstraintName, count(*), min(EntityId) FROM SyncSetAside "
          "GROUP BY 1, 2, 3",
          [&](const sqlite::Statement& row) {
            const std::string type(row.Text(0));
            const std::string id(row.Text(4));
            checkup.Warn(
                "set aside",
                absl::StrCat(Plural(row.Int(3), "version"), " of ", type,
                             ": the app's schema refuses ", row.Int(3) == 1 ? "it" : "them", " (",
                             row.Text(1), row.Text(2).empty() ? "" : " ", row.Text(2), ")."),
                checkup.Agent(absl::StrCat("why ", ShellWord(type), " ", ShellWord(id))));
          });
}

void CheckModes(sqlite::Database& ledger, Checkup& checkup) {
  const std::string mode = LedgerText(ledger, "mode");
  if (!mode.empty()) {
    checkup.Warn("recovery",
                 absl::StrCat("The device compares its rows with the service (", mode,
                              "). Deletions that were not sent before may reappear."),
                 checkup.Agent("run"));
  } else if (LedgerText(ledger, "caught_up") != "1") {
    checkup.Warn("recovery", "The first download has not ended.", checkup.Agent("run"));
  } else {
    checkup.Ok("recovery", "None is under way; the first download has ended.");
  }
  const std::string paused = LedgerText(ledger, "paused_until");
  if (paused.empty()) return;
  checkup.Warn("paused",
               absl::StrCat("The agent is paused (",
                            paused == "resumed" ? "until it is resumed" : paused, ")."),
               checkup.Agent("resume"));
}

}  // namespace

std::string LedgerText(sqlite::Database& ledger, absl::string_view name) {
  absl::StatusOr<sqlite::Statement> row =
      ledger.Prepare("SELECT CAST(Value AS TEXT) FROM SyncMeta WHERE Name = ?1");
  if (!row.ok()) return "";
  row->Bind(1, name);
  const absl::StatusOr<bool> found = row->Step();
  return found.ok() && *found ? std::string(row->Text(0)) : std::string();
}

void CheckLedger(AgentContext& context, Checkup& checkup) {
  const std::string path = StateFile(context);
  absl::StatusOr<sqlite::Database> ledger = OpenToLook(path);
  if (absl::IsNotFound(ledger.status())) {
    return checkup.Bad("ledger",
                       absl::StrCat("There is no ", path,
                                    ": it was never made, or lost. The app's changes are safe in "
                                    "its own file."),
                       checkup.Agent("init"));
  }
  if (!ledger.ok()) {
    return checkup.Bad("ledger",
                       absl::StrCat(path, " cannot be read: ", ledger.status().message(),
                                    ". The app's changes are safe in its own file. If it is "
                                    "damaged, move it away with its -wal and -shm, and initialise "
                                    "again."),
                       checkup.Agent("init"));
  }
  CheckIntegrity(*ledger, path, checkup);
  CheckPending(*ledger, context.clock.Now(), checkup);
  CheckFailed(*ledger, checkup);
  CheckPeople(*ledger, checkup);
  CheckModes(*ledger, checkup);
}

}  // namespace ptdoc::sync
