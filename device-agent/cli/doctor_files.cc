// Who works on the files, the app's file, capture, disks.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/time_text.h"
#include "device-agent/capture/capture.h"
#include "device-agent/cli/doctor.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kDiskLow = 256 << 20;
constexpr int64_t kDiskFull = 16 << 20;
constexpr int64_t kWalLarge = 64 << 20;
// As long as an app may hold its file without being in the way.
constexpr absl::Duration kLockPatience = absl::Seconds(2);

std::string MiB(int64_t bytes) {
  return absl::StrCat(bytes >> 20, " MiB");
}

int64_t SizeOf(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// "PID (name)" of a process, with when it was started: since then at most it can
// have held anything.
std::string ProcessText(int pid) {
  std::string name = "?";
  std::ifstream comm(absl::StrCat("/proc/", pid, "/comm"));
  std::getline(comm, name);
  struct stat info{};
  const std::string folder = absl::StrCat("/proc/", pid);
  if (stat(folder.c_str(), &info) != 0) return absl::StrCat("process ", pid);
  return absl::StrCat("process ", pid, " (", name, "), which runs since ",
                      FormatUtc(absl::FromTimeT(info.st_mtim.tv_sec)));
}

// Who holds a lock on one of these files, by the kernel's list; without this
// process.
std::set<int> LockHolders(const std::vector<std::string>& paths, bool writers_only) {
  std::set<std::string> inodes;
  for (const std::string& path : paths) {
    struct stat info{};
    if (stat(path.c_str(), &info) == 0) inodes.insert(absl::StrCat(info.st_ino));
  }
  std::set<int> holders;
  std::ifstream locks("/proc/locks");
  std::string line;
  while (std::getline(locks, line)) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string mode;
    std::string access;
    std::string pid;
    std::string place;
    words >> number >> kind >> mode >> access >> pid >> place;
    if (writers_only && access != "WRITE") continue;
    const size_t colon = place.rfind(':');
    if (colon == std::string::npos || !inodes.contains(place.substr(colon + 1))) continue;
    const int holder = std::atoi(pid.c_str());
    if (holder > 0 && holder != getpid()) holders.insert(holder);
  }
  return holders;
}

std::string HoldersText(const std::set<int>& holders) {
  std::vector<std::string> texts;
  texts.reserve(holders.size());
  for (const int pid : holders) texts.push_back(ProcessText(pid));
  return texts.empty() ? std::string("a process that this user cannot see")
                       : absl::StrJoin(texts, ", ");
}

bool SomebodyHoldsTheLock(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
  close(fd);
  return held;
}

PlanRequest RequestOf(const AgentContext& context) {
  PlanRequest request = context.config.agent.replica.plan;
  for (EntityConfig& entity : request.entities) {
    if (entity.user.empty()) entity.user = context.config.agent.replica.user;
  }
  return request;
}

void CheckLocks(const std::string& path, Checkup& checkup) {
  sqlite::OpenOptions options;
  options.legacy_schema = true;
  options.busy_timeout = kLockPatience;
  options.abandon_wal = true;  // It may be damaged.
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(path, options);
  const absl::Status tried = db.ok() ? db->Exec("BEGIN IMMEDIATE; ROLLBACK") : db.status();
  if (!sqlite::IsBusy(tried)) {
    if (tried.ok()) checkup.Ok("lock", "Nobody holds the app's file for long.");
    return;
  }
  const std::set<int> holders = LockHolders({path, path + "-shm"}, /*writers_only=*/true);
  checkup.Warn("lock",
               absl::StrCat("The app's file is held for writing by ", HoldersText(holders),
                            ": nothing can be applied until it lets go."),
               holders.empty() ? std::string("fuser -v ") + ShellWord(path)
                               : absl::StrCat("ps -fp ", absl::StrJoin(holders, ",")));
}

void CheckWal(const std::string& path, absl::string_view name, Checkup& checkup) {
  const int64_t size = SizeOf(path + "-wal");
  if (size <= kWalLarge) return;
  const std::set<int> holders = LockHolders({path + "-shm"}, /*writers_only=*/false);
  checkup.Warn(
      name,
      absl::StrCat(path, "-wal has ", MiB(size),
                   ": some reader keeps it from being emptied: ", HoldersText(holders), "."),
      holders.empty() ? std::string("fuser -v ") + ShellWord(path)
                      : absl::StrCat("ps -fp ", absl::StrJoin(holders, ",")));
}

void CheckPlan(const Plan& plan, const std::string& path, Checkup& checkup) {
  int64_t captured_only = 0;
  for (const Refusal& refusal : plan.refusals) {
    checkup.Warn("schema",
                 absl::StrCat("Table ", refusal.table, " is not synced (", refusal.reason,
                              "): ", refusal.what, ". To sync it: ", refusal.remedy, "."),
                 checkup.Agent("init --dry-run"));
  }
  for (const TablePlan& table : plan.tables) {
    if (table.apply_mode == ApplyMode::kCaptureOnly) {
      ++captured_only;
      checkup.Warn("schema",
                   absl::StrCat("Table ", table.table, " is captured only: ", table.reason),
                   checkup.Agent("init --rehearse"));
    }
    if (table.rows_with_null_key > 0) {
      std::vector<std::string> nulls;
      for (const std::string& column : table.key) {
        nulls.push_back(sqlite::QuoteName(column) + " IS NULL");
      }
      checkup.Warn("schema",
                   absl::StrCat("Table ", table.table, ": ",
                                Plural(table.rows_with_null_key, "row has", "rows have"),
                                " a NULL in the key and cannot be synced (INVALID_KEY)."),
                   absl::StrCat("sqlite3 ", ShellWord(path), " ",
                                ShellWord(absl::StrCat("SELECT count(*) FROM ",
                                                       sqlite::QuoteName(table.table), " WHERE ",
                                                       absl::StrJoin(nulls, " OR ")))));
    }
  }
  if (plan.refusals.empty() && captured_only == 0) {
    checkup.Ok("schema", absl::StrCat(Plural(static_cast<int64_t>(plan.tables.size()), "table"),
                                      " can be synced two ways."));
  }
}

void CheckTriggers(sqlite::Database& db, const Plan& plan, const AgentContext& context,
                   Checkup& checkup) {
  const auto odd = CheckObjects(db, plan);
  if (!odd.ok()) return;
  if (!odd->empty()) {
    const size_t shown = odd->size() < 5 ? odd->size() : 5;
    checkup.Bad(
        "triggers",
        absl::StrCat(odd->size(),
                     " of our objects in the app's file are missing or have "
                     "another text (",
                     absl::StrJoin(odd->begin(), odd->begin() + static_cast<long>(shown), ", "),
                     "): what the app writes meanwhile is found by comparing."),
        checkup.Agent("run"));
    return;
  }
  std::string bypassed;
  absl::StatusOr<sqlite::Database> ledger = OpenToLook(StateFile(context));
  if (ledger.ok()) bypassed = LedgerText(*ledger, "scan_found");
  // What the agent's own writing sets off has no time.
  const auto logged =
      db.QueryInt("SELECT 1 FROM SyncLog WHERE Op <> 'A' AND Time IS NOT NULL LIMIT 1");
  if (bypassed == "1") {
    checkup.Warn("triggers",
                 "bypassed: some program writes with triggers switched off. Its changes are found "
                 "by comparing rows, which takes longer.",
                 checkup.Agent("verify"));
  } else if (logged.ok() && *logged > 0) {
    checkup.Ok("triggers", "Present, and seen firing.");
  } else {
    checkup.Ok("triggers",
               "Present; never seen firing: the app has written nothing yet, or runs with triggers "
               "switched off.");
  }
}

int64_t LedgerNumber(sqlite::Database& ledger, const std::string& name) {
  int64_t number = 0;
  return absl::SimpleAtoi(LedgerText(ledger, name), &number) ? number : 0;
}

// Both files as they stand at one moment, or nearly so: an agent may be at work between
// them.
bool IsKnownFile(sqlite::Database& db, sqlite::Database& ledger) {
  const auto intents = ledger.QueryInt("SELECT count(*) FROM SyncIntents");
  const std::string known = LedgerText(ledger, "file_id");
  const int64_t page_number = LedgerNumber(ledger, "page_number");
  const int64_t page_tag = LedgerNumber(ledger, "page_tag");
  std::vector<LogMark> marks;
  for (const char* which : {"drained", "sent"}) {
    marks.push_back({LedgerNumber(ledger, absl::StrCat(which, "_seq")),
                     LedgerNumber(ledger, absl::StrCat(which, "_tag"))});
  }
  const absl::StatusOr<ControlRow> control = ptdoc::sync::ReadControl(db);
  // What cannot be read says nothing.
  if (!intents.ok() || !control.ok() || known.empty()) return true;
  if (known != control->file_id) return false;
  const bool marked = control->page_number == page_number && control->page_tag == page_tag;
  if (!marked && *intents == 0) return false;
  return std::any_of(marks.begin(), marks.end(), [&](const LogMark& mark) {
    const absl::StatusOr<bool> there = HasMark(db, mark);
    return !there.ok() || *there;
  });
}

// Whether the file is the one that the agent's own file speaks of.
void CheckIdentity(sqlite::Database& db, const AgentContext& context, Checkup& checkup) {
  absl::StatusOr<sqlite::Database> ledger = OpenToLook(StateFile(context));
  if (!ledger.ok()) return;
  constexpr int kLooksMax = 5;
  for (int looks = 0; looks < kLooksMax; ++looks) {
    if (IsKnownFile(db, *ledger)) return;
    absl::SleepFor(absl::Milliseconds(100));
  }
  checkup.Warn("identity",
               "The app's file is another one than the agent knows (set back, or copied): the "
               "next sync compares every row with the service. Deletions that were not sent may "
               "reappear.",
               checkup.Agent("run"));
}

void CheckDisk(absl::string_view what, const std::string& folder, int64_t wanted,
               std::map<unsigned long, int>* seen, Checkup& checkup) {
  struct statvfs disk{};
  if (statvfs(folder.c_str(), &disk) != 0) {
    return checkup.Bad("disk", absl::StrCat(folder, " (", what, ") cannot be looked at."),
                       absl::StrCat("ls -ld ", ShellWord(folder)));
  }
  if ((*seen)[disk.f_fsid]++ > 0) return;
  const auto room = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
  const std::string text = absl::StrCat(MiB(room), " free where ", what, " stands (", folder, ")");
  const std::string command = absl::StrCat("df -h ", ShellWord(folder));
  if (room < kDiskFull) {
    checkup.Bad("disk", absl::StrCat(text, ": make room. What the app commits is safe."), command);
  } else if (room < kDiskLow || room < wanted) {
    checkup.Warn("disk", absl::StrCat(text, ": that is little."), command);
  } else {
    checkup.Ok("disk", absl::StrCat(text, "."));
  }
}

std::string FolderOf(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path whole = std::filesystem::absolute(path, ignored);
  return whole.parent_path().string();
}

std::string TempFolder() {
  for (const char* name : {"SQLITE_TMPDIR", "TMPDIR"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

// Not synced by right: nothing is wrong with this device.
void CheckRefusedTypes(sqlite::Database& ledger, PlanRequest* request, Checkup& checkup) {
  request->refused_types =
      absl::StrSplit(LedgerText(ledger, "refused_types"), '\n', absl::SkipEmpty());
  if (request->refused_types.empty()) return;
  checkup.Ok("types",
             absl::StrCat("The service does not show these types to this device: ",
                          absl::StrJoin(request->refused_types, ", "),
                          ". Their rows stay, and nothing of them is captured or sent. An "
                          "administrator can make a token that includes them (`sync-service token "
                          "create --types`), or add them to the service's [sync] entity_types, if "
                          "it names some."));
}

}  // namespace

std::string StateFile(const AgentContext& context) {
  const ReplicaOptions& replica = context.config.agent.replica;
  return replica.state.empty() ? replica.database + ".sync" : replica.state;
}

absl::StatusOr<sqlite::Database> OpenToLook(const std::string& path) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadOnly;
  options.legacy_schema = true;
  options.busy_timeout = kLockPatience;
  return sqlite::Database::Open(path, options);
}

void CheckAgents(AgentContext& context, Checkup& checkup) {
  if (context.DaemonAnswers()) {
    return checkup.Ok(
        "agent", absl::StrCat("A daemon answers on ", context.config.agent.control_listen, "."));
  }
  const std::string lock = StateFile(context) + ".lock";
  if (SomebodyHoldsTheLock(lock)) {
    const std::set<int> holders = LockHolders({lock}, /*writers_only=*/false);
    return checkup.Bad(
        "agent",
        absl::StrCat("Another agent works on this database, and does not answer on ",
                     context.config.agent.control_listen, ": ", HoldersText(holders), "."),
        holders.empty() ? absl::StrCat("fuser -v ", ShellWord(lock))
                        : absl::StrCat("kill ", absl::StrJoin(holders, " ")));
  }
  checkup.Ok("agent", absl::StrCat("No daemon runs; each verb works by itself. To sync all the "
                                   "time: ",
                                   checkup.Agent("serve")));
}

void CheckDatabase(AgentContext& context, Checkup& checkup) {
  const std::string& path = context.config.agent.replica.database;
  absl::StatusOr<sqlite::Database> db = OpenToLook(path);
  if (!db.ok()) {
    if (sqlite::IsBusy(db.status())) return CheckLocks(path, checkup);
    return checkup.Bad("database",
                       absl::StrCat(path, " cannot be read: ", db.status().message(), "."),
                       absl::StrCat("ls -l ", ShellWord(path)));
  }
  checkup.Ok("database", absl::StrCat(path, ", ", MiB(SizeOf(path)), "."));
  CheckLocks(path, checkup);
  CheckWal(path, "wal", checkup);
  absl::StatusOr<sqlite::Database> ledger = OpenToLook(StateFile(context));
  PlanRequest request = RequestOf(context);
  request.count_rows = true;
  if (ledger.ok()) CheckRefusedTypes(*ledger, &request, checkup);
  const absl::StatusOr<Plan> plan = MakePlan(*db, request);
  if (!plan.ok() && (absl::IsDataLoss(plan.status()) || absl::IsUnavailable(plan.status()))) {
    return checkup.Bad(
        "database",
        absl::StrCat(path, " cannot be read (", plan.status().message(),
                     "): nothing is sent from it and nothing applied to it before "
                     "PRAGMA integrity_check passes. Mend it, or put a backup there."),
        absl::StrCat("sqlite3 ", ShellWord(path), " 'PRAGMA integrity_check'"));
  }
  if (!plan.ok()) {
    return checkup.Bad("schema",
                       absl::StrCat(absl::StripSuffix(plan.status().message(), "."),
                                    ". Its changes stay queued, and nothing is applied to it."),
                       checkup.Agent("init --dry-run"));
  }
  const absl::StatusOr<ControlRow> control = ReadControl(*db);
  const bool taken_out = ledger.ok() && LedgerText(*ledger, "uninstalled") == "1";
  if (taken_out || (!control.ok() && !ledger.ok())) {
    return checkup.Bad("capture", "Capture is not installed in this file: nothing is recorded.",
                       checkup.Agent("init"));
  }
  CheckPlan(*plan, path, checkup);
  CheckTriggers(*db, *plan, context, checkup);
  CheckIdentity(*db, context, checkup);
}

void CheckDisks(const AgentContext& context, Checkup& checkup) {
  std::map<unsigned long, int> seen;
  const std::string& database = context.config.agent.replica.database;
  CheckWal(StateFile(context), "wal", checkup);
  CheckDisk("the app's file", FolderOf(database), 0, &seen, checkup);
  CheckDisk("the agent's own file", FolderOf(StateFile(context)), 0, &seen, checkup);
  CheckDisk("what SQLite keeps for a moment", TempFolder(), 0, &seen, checkup);
}

}  // namespace ptdoc::sync
