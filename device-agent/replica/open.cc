// Opening both files, and whether the app's file is still the one we know.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/sqlite/abandon.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

// The app must not notice us: one short try, the caller comes again.
constexpr absl::Duration kWriteWait = absl::Milliseconds(50);
constexpr absl::Duration kReadWait = absl::Milliseconds(100);
// KiB. A page of versions fits.
constexpr char kAppCache[] = "PRAGMA cache_size=-16000";
// The states and the index of open items have random keys: with hundreds of thousands of
// them each row that is sent reads and writes a page of either, and most that are not in
// the cache are read from the file.
constexpr char kLedgerCache[] = "PRAGMA cache_size=-32000";
// What a savepoint, or a statement with triggers, may have to put back: in memory. In a
// file each changed page is two writes of the system, while the app waits.
constexpr char kUndoInMemory[] = "PRAGMA temp_store=MEMORY";

sqlite::OpenOptions AppOptions(const std::string& vfs, absl::Duration wait) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadWrite;
  options.busy_timeout = wait;
  options.foreign_keys = true;
  options.legacy_schema = true;
  options.vfs = vfs;
  options.abandon_wal = true;
  return options;
}

// The file itself, not a link to it: agents that were told of one file by two names
// must meet at one lock.
std::string BesideDatabase(const ReplicaOptions& options, absl::string_view suffix) {
  std::error_code unresolved;
  std::filesystem::path database = options.database;
  if (options.vfs.empty()) database = std::filesystem::canonical(database, unresolved);
  return absl::StrCat(unresolved ? options.database : database.string(), suffix);
}

ReplicaOptions WithState(ReplicaOptions options) {
  if (options.state.empty()) options.state = BesideDatabase(options, ".sync");
  return options;
}

// A file that no agent has ever worked on, and that none can work on.
absl::Status DatabaseError(const std::string& database, const absl::Status& why) {
  if (absl::IsNotFound(why)) {
    return ReasonError(absl::StatusCode::kNotFound, "DATABASE_MISSING",
                       absl::StrCat("There is no database at ", database,
                                    ". Nothing was changed. Check the path."));
  }
  return ReasonError(absl::StatusCode::kFailedPrecondition, "DATABASE_UNUSABLE",
                     absl::StrCat("This file cannot be used: ", database, " (", why.message(),
                                  "). Nothing was changed. Check the path; an encrypted or foreign "
                                  "file cannot be synced."));
}

// A lock on one byte of the lock file, apart from flock's: its holder means to
// keep the files. It belongs to the open file, as flock's does.
struct flock StayingMark() {
  struct flock mark{};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  return mark;
}

bool MarkAsStaying(int fd) {
  struct flock mark = StayingMark();
  return fcntl(fd, F_OFD_SETLK, &mark) == 0;
}

bool IsMarkedAsStaying(int fd) {
  struct flock mark = StayingMark();
  return fcntl(fd, F_OFD_GETLK, &mark) == 0 && mark.l_type != F_UNLCK;
}

constexpr absl::string_view kMayNotWrite =
    "Give the agent the right to write there, or name another place in [device] state.";
constexpr absl::string_view kDamaged = "Move it away, and run device-agent init.";

// Of the agent's own file, or the lock beside it.
absl::Status StateError(const std::string& path, absl::string_view why, absl::string_view advice) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "STATE_UNUSABLE",
                     absl::StrCat("The agent's own file cannot be used: ", path, " (", why,
                                  "). Nothing was changed; what the app writes is kept in its own "
                                  "file. ",
                                  advice));
}

// Memory or the disk failed: nothing is known against the file, and what waits in
// it would be lost with it.
absl::Status StateAway(const std::string& path, absl::string_view why) {
  return ReasonError(
      absl::StatusCode::kInternal, "STATE_AWAY",
      absl::StrCat("The agent's own file could not be opened: ", path, " (", why,
                   "). Nothing was changed, and what waits in it is not lost. Leave it where it "
                   "is; look at the memory and the disk of this machine, then try again."));
}

// Why the ledger does not open, as people are told it.
absl::Status LedgerError(const std::string& path, const absl::Status& opened) {
  if (sqlite::ExtendedCode(opened) == 0 || absl::IsNotFound(opened) || sqlite::IsBusy(opened) ||
      absl::IsResourceExhausted(opened)) {
    return opened;
  }
  constexpr int kNotADatabase = 26;  // sqlite.org/rescode.html
  const bool damaged =
      absl::IsDataLoss(opened) || (sqlite::ExtendedCode(opened) & 0xff) == kNotADatabase;
  if (damaged) return StateError(path, opened.message(), kDamaged);
  const bool refused = absl::IsFailedPrecondition(opened) || absl::IsPermissionDenied(opened);
  if (refused) return StateError(path, opened.message(), kMayNotWrite);
  return StateAway(path, opened.message());
}

// The lock of the app's file: without it two agents would not know of each other.
absl::Status LockError(const std::string& path, absl::string_view why) {
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "LOCK_UNUSABLE",
      absl::StrCat("The lock beside the app's file cannot be used: ", path, " (", why,
                   "). Nothing was changed. Give the agent the right to write in that directory, "
                   "which SQLite needs as well."));
}

absl::Status NotInitialised(const std::string& database) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "NOT_INITIALISED",
                     absl::StrCat(database,
                                  " is not prepared for syncing. Nothing was changed. "
                                  "Run device-agent init."));
}

}  // namespace

ReplicaImpl::~ReplicaImpl() {
  CloseConnections();
  for (const int fd : lock_fds_) close(fd);
}

ReplicaImpl::ReplicaImpl(ReplicaOptions options, const Clock& clock, Rng& rng)
    : options_(WithState(std::move(options))), clock_(clock), rng_(rng) {}

absl::StatusOr<std::unique_ptr<Replica>> Replica::Open(const ReplicaOptions& options,
                                                       const Clock& clock, Rng& rng) {
  auto replica = std::make_unique<ReplicaImpl>(options, clock, rng);
  PT_RETURN_IF_ERROR(replica->OpenFiles());
  return replica;
}

std::optional<FileState> ReplicaImpl::FileStateOf(const absl::Status& status) const {
  // Aborted without SQLite's code: it changed while we looked at it.
  if (sqlite::IsBusy(status) || absl::IsAborted(status)) return FileState::kBlockedByApp;
  if (sqlite::ExtendedCode(status) == 0) return std::nullopt;
  if (ledger_ != nullptr && sqlite::FileOf(status) == ledger_->db().file()) return std::nullopt;
  if (absl::IsNotFound(status)) return FileState::kMissing;
  if (absl::IsDataLoss(status) && corrupt_.ok()) corrupt_ = status;
  if (absl::IsDataLoss(status) || absl::IsFailedPrecondition(status) ||
      absl::IsPermissionDenied(status)) {
    return FileState::kUnreadable;
  }
  return std::nullopt;
}

// The app's file has one lock wherever its agents keep their own files, and so has
// an agent's own file.
absl::Status ReplicaImpl::TakeLock() {
  if (!options_.take_lock) return absl::OkStatus();
  const std::string of_app = BesideDatabase(options_, ".sync.lock");
  const std::string of_state = options_.state + ".lock";
  std::error_code away;
  const bool has_directory =
      std::filesystem::exists(std::filesystem::absolute(of_app, away).parent_path(), away);
  if (!has_directory) {
    return DatabaseError(options_.database, absl::NotFoundError("no such directory"));
  }
  int error = 0;
  PT_RETURN_IF_ERROR(Lock(of_app, &error));
  if (error != 0) return LockError(of_app, std::strerror(error));
  // The usual case, by whatever names.
  if (std::filesystem::equivalent(of_app, of_state, away)) return absl::OkStatus();
  PT_RETURN_IF_ERROR(Lock(of_state, &error));
  return error == 0 ? absl::OkStatus() : StateError(of_state, std::strerror(error), kMayNotWrite);
}

// `*error`: why there can be no lock file, else 0.
absl::Status ReplicaImpl::Lock(const std::string& path, int* error) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  *error = fd < 0 ? errno : 0;
  if (fd < 0) return absl::OkStatus();
  lock_fds_.push_back(fd);
  // The kernel drops both locks when the process ends, however it ends. First
  // the mark: whoever has it may wait for a verb, and nobody waits for him.
  const bool marked = !options_.stays || MarkAsStaying(fd);
  if (marked && flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  const bool stays = options_.stays ? !marked : IsMarkedAsStaying(fd);
  return ReasonError(absl::StatusCode::kAlreadyExists, "SECOND_AGENT",
                     absl::StrCat("Another agent works on ", options_.database,
                                  ". Nothing was changed. Stop it, or use it through its socket."),
                     {{kMetaHolder, stays ? kHolderStays : kHolderPasses}});
}

absl::Status ReplicaImpl::OpenLedger(bool create) {
  absl::StatusOr<std::unique_ptr<Ledger>> ledger =
      Ledger::Open(options_.state, create, options_.vfs, rng_);
  // A file that can only be read opens well; it is the first write that tells.
  const absl::Status opened = ledger.ok() ? (*ledger)->Begin().status() : ledger.status();
  if (!opened.ok()) return LedgerError(options_.state, opened);
  ledger_ = *std::move(ledger);
  PT_RETURN_IF_ERROR(ledger_->db().Exec(kLedgerCache));
  PT_ASSIGN_OR_RETURN(device_id_, ledger_->Get("device_id"));
  if (!options_.device_id.empty()) {
    if (device_id_ != options_.device_id) {
      PT_RETURN_IF_ERROR(ledger_->Put("device_id", options_.device_id));
    }
    device_id_ = options_.device_id;
  }
  if (device_id_.empty()) {
    device_id_ = NewUuid(rng_);
    PT_RETURN_IF_ERROR(ledger_->Put("device_id", device_id_));
  }
  return LoadMode();
}

absl::Status ReplicaImpl::LoadMode() {
  PT_ASSIGN_OR_RETURN(const std::string mode, ledger_->Get("mode"));
  mode_ = mode == "recovering"     ? Mode::kRecovering
          : mode == "rebaselining" ? Mode::kRebaselining
                                   : Mode::kNormal;
  PT_ASSIGN_OR_RETURN(const int64_t ready, ledger_->GetInt("recovery_ready", 0));
  recovery_ready_ = ready != 0;
  PT_ASSIGN_OR_RETURN(shared_revision_, ledger_->GetInt("shared_revision", 0));
  return LoadRefusedTypes();
}

absl::Status ReplicaImpl::AsDatabaseError(const absl::Status& status) const {
  const std::optional<FileState> state = FileStateOf(status);
  if (!state.has_value() || *state == FileState::kBlockedByApp) return status;
  return DatabaseError(options_.database, status);
}

// Said before anything of ours is made beside a file that is not ours.
absl::Status ReplicaImpl::CheckPrepared() {
  if (!options_.take_lock || !options_.vfs.empty()) return absl::OkStatus();
  struct stat file{};
  if (stat(options_.state.c_str(), &file) == 0) return absl::OkStatus();
  sqlite::OpenOptions open = AppOptions("", kReadWait);
  open.mode = sqlite::OpenOptions::Mode::kReadOnly;
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(options_.database, open);
  if (!db.ok()) {
    if (sqlite::IsBusy(db.status())) return absl::OkStatus();
    return DatabaseError(options_.database, db.status());
  }
  const absl::StatusOr<ControlRow> control = ReadControl(*db);
  return absl::IsNotFound(control.status()) ? NotInitialised(options_.database) : absl::OkStatus();
}

absl::Status ReplicaImpl::OpenFiles() {
  PT_RETURN_IF_ERROR(CheckPrepared());
  PT_RETURN_IF_ERROR(TakeLock());
  const absl::Status has = OpenLedger(/*create=*/false);
  const bool has_ledger = has.ok();
  if (!has_ledger && !absl::IsNotFound(has)) return has;
  const absl::Status opened = Reconnect();
  if (!opened.ok() && !FileStateOf(opened).has_value()) return opened;
  // A ledger without a file id is one that somebody died over while making it.
  std::string file_id;
  if (has_ledger) {
    PT_ASSIGN_OR_RETURN(const int64_t uninstalled, ledger_->GetInt(kUninstalled, 0));
    if (uninstalled != 0) return NotInitialised(options_.database);
    PT_ASSIGN_OR_RETURN(file_id, ledger_->Get("file_id"));
  }
  if (file_id.empty() && mode_ != Mode::kRecovering) {
    // Without a ledger only our objects in the app's file tell that this file
    // was ours: then the ledger was lost.
    if (!opened.ok()) return NotInitialised(options_.database);
    const absl::StatusOr<ControlRow> control = ReadControl(*app_);
    if (absl::IsNotFound(control.status())) return NotInitialised(options_.database);
    PT_RETURN_IF_ERROR(control.status());
    if (!has_ledger) PT_RETURN_IF_ERROR(OpenLedger(/*create=*/true));
    PT_RETURN_IF_ERROR(BeginRecovery());
  }
  return Ready().status();
}

std::optional<ReplicaImpl::FileIdentity> ReplicaImpl::IdentityNow() const {
  if (options_.identity) {
    const uint64_t identity = options_.identity();
    return identity == 0 ? std::nullopt : std::optional(FileIdentity(0, identity));
  }
  if (!options_.vfs.empty()) return FileIdentity();
  struct stat file{};
  // Only stat: opening and closing the file by hand would drop SQLite's locks.
  if (stat(options_.database.c_str(), &file) != 0) return std::nullopt;
  return FileIdentity(file.st_dev, file.st_ino);
}

// By its inode; 0: there is none. Under an open connection of ours nobody but
// SQLite may take it away, and SQLite does not.
uint64_t ReplicaImpl::WalNow() const {
  struct stat file{};
  if (!options_.vfs.empty() || !app_.has_value()) return 0;
  return stat((app_->file() + "-wal").c_str(), &file) == 0 ? file.st_ino : 0;
}

bool ReplicaImpl::IsWalGone() const {
  return wal_ != 0 && WalNow() != wal_;
}

absl::Status ReplicaImpl::OpenConnections() {
  file_ = IdentityNow().value_or(FileIdentity());
  PT_ASSIGN_OR_RETURN(
      app_, sqlite::Database::Open(options_.database, AppOptions(options_.vfs, kWriteWait)));
  PT_ASSIGN_OR_RETURN(
      snapshot_, sqlite::Database::Open(options_.database, AppOptions(options_.vfs, kReadWait)));
  PT_RETURN_IF_ERROR(app_->Exec(kAppCache));
  PT_RETURN_IF_ERROR(app_->Exec(kUndoInMemory));
  PT_RETURN_IF_ERROR(snapshot_->Exec(kAppCache));
  wal_ = WalNow();
  return absl::OkStatus();
}

absl::Status ReplicaImpl::Reconnect() {
  CloseConnections();
  const absl::Status status = OpenConnections();
  if (!status.ok()) CloseConnections();
  return status;
}

void ReplicaImpl::CloseConnections() {
  const bool gone = IsWalGone();
  if (gone) Log(LogLevel::kWarning, "replica.wal_gone", {});
  const bool sound = corrupt_.ok() && last_state_ != FileState::kUnreadable;
  for (std::optional<sqlite::Database>* db : {&snapshot_, &app_}) {
    if (db->has_value()) sqlite::AbandonWal(**db, gone || !sound);
  }
  wal_ = 0;
  snapshot_.reset();
  app_.reset();
  schema_version_ = -1;
  watched_version_ = -1;
  seen_data_version_ = synced_data_version_ = retried_data_version_ = -1;
  checked_ = Checked();
  triggers_on_ = true;
}

std::optional<FileState> ReplicaImpl::NoteFileState(const absl::Status& status) {
  const std::optional<FileState> state =
      status.ok() ? std::optional(FileState::kReady) : FileStateOf(status);
  if (!state.has_value()) return state;
  last_state_ = *state;
  file_problem_.clear();
  if (*state == FileState::kMissing || *state == FileState::kUnreadable) {
    file_problem_ = absl::StrCat(options_.database, ": ", status.message());
  }
  return state;
}

absl::StatusOr<FileState> ReplicaImpl::Ready() {
  const absl::Status status = CheckFile();
  const std::optional<FileState> state = NoteFileState(status);
  if (!state.has_value()) return status;
  const bool none_is_there = plan_.tables.empty() && !options_.plan.entities.empty();
  if (*state == FileState::kReady && (none_is_there || !NamesTables())) {
    last_state_ = FileState::kMissing;
    file_problem_ =
        absl::StrCat(options_.database, NamesTables() ? ": no synced table is there"
                                                      : ": no table is configured to be synced");
  }
  return last_state_;
}

FileState ReplicaImpl::News() {
  return std::exchange(recovery_news_, false) ? FileState::kRecovering : FileState::kReady;
}

absl::Status ReplicaImpl::CheckFile() {
  const std::optional<FileIdentity> now = IdentityNow();
  if (!now.has_value()) {
    CloseConnections();
    return sqlite::Database::Open(options_.database, AppOptions(options_.vfs, kReadWait)).status();
  }
  const bool replaced = app_.has_value() && *now != file_;
  if (!app_.has_value() || replaced || IsWalGone()) PT_RETURN_IF_ERROR(Reconnect());
  if (wal_ == 0) wal_ = WalNow();  // The app has changed its journal mode.
  PT_RETURN_IF_ERROR(CheckWhole());
  PT_ASSIGN_OR_RETURN(const bool is_ledger_changed, ledger_->Look());
  // Before anything is read: what is committed meanwhile counts as new.
  PT_ASSIGN_OR_RETURN(const int64_t data_version, app_->QueryInt("PRAGMA data_version"));
  PT_RETURN_IF_ERROR(SettleOpenIntent());
  const Checked now_stands{data_version, app_->total_changes()};
  const bool unchanged = !is_ledger_changed && now_stands == checked_ && !recheck_objects_;
  if (unchanged && !Recovering()) return absl::OkStatus();
  checked_ = Checked();
  const absl::StatusOr<ControlRow> control = ReadControl(*app_);
  bool ours = !replaced && control.ok();
  if (!control.ok() && !absl::IsNotFound(control.status())) return control.status();
  if (ours) {
    PT_ASSIGN_OR_RETURN(ours, IsOurs(*control));
  }
  if (!ours && !(Recovering() && !recovery_ready_)) {
    // Whatever is different in it would be offered.
    PT_RETURN_IF_ERROR(FindDamage(*app_));
    PT_RETURN_IF_ERROR(BeginRecovery());
  }
  if (Recovering() && !recovery_ready_) {
    // The plan is needed for what arrives meanwhile; our objects come back with
    // the recovery itself.
    PT_ASSIGN_OR_RETURN(plan_, PlanOfWhatIsThere());
    PT_RETURN_IF_ERROR(MakeTables());
    PT_RETURN_IF_ERROR(StepRecovery());
    if (!recovery_ready_) return absl::OkStatus();
  }
  PT_RETURN_IF_ERROR(RefreshSchema());
  checked_ = now_stands;
  return absl::OkStatus();
}

absl::StatusOr<bool> ReplicaImpl::IsOurs(const ControlRow& control) {
  PT_ASSIGN_OR_RETURN(const std::string file_id, ledger_->Get("file_id"));
  PT_ASSIGN_OR_RETURN(const int64_t page_number, ledger_->GetInt("page_number", 0));
  PT_ASSIGN_OR_RETURN(const int64_t page_tag, ledger_->GetInt("page_tag", 0));
  const bool marked = control.page_number == page_number && control.page_tag == page_tag;
  if (control.file_id != file_id || !(marked || PT_PLANTED("the page mark is not looked at"))) {
    return false;
  }
  return LogIsOurs();
}

absl::StatusOr<bool> ReplicaImpl::LogIsOurs() {
  PT_ASSIGN_OR_RETURN(const LogMark drained, GetMark("drained"));
  absl::StatusOr<bool> there = HasMark(*app_, drained);
  if (absl::IsNotFound(there.status())) return false;
  if (!there.ok() || *there) return there;
  PT_ASSIGN_OR_RETURN(const LogMark sent, GetMark("sent"));
  PT_ASSIGN_OR_RETURN(there, HasMark(*app_, sent));
  if (!*there) return false;
  PT_REACHED("the cut log is drained again");
  // Only what was never sent is gone. Items are hints: they are drained again,
  // and a row that equals its base is not sent.
  Log(LogLevel::kWarning, "replica.log_cut", {LogField::Count("from_seq", sent.seq)});
  PT_RETURN_IF_ERROR(PutMark("drained", sent));
  return true;
}

absl::StatusOr<bool> ReplicaImpl::AppChanged() {
  if (!snapshot_.has_value()) return true;
  const absl::StatusOr<int64_t> version = snapshot_->QueryInt("PRAGMA data_version");
  // Held exclusively, or gone: the next cycle finds out which.
  if (!version.ok()) return true;
  const bool changed = *version != std::exchange(watched_version_, *version);
  return changed;
}

absl::StatusOr<int64_t> ReplicaImpl::RowsLogged() {
  if (!snapshot_.has_value()) return 0;
  PT_ASSIGN_OR_RETURN(const LogMark last, LastMark(*snapshot_));
  return last.seq;
}

}  // namespace ptdoc::sync
