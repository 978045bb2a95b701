#include "sync-service/store/backup.h"

#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/store/files.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/sqlite_store.h"
#include "sync-service/store/store_error.h"

namespace ptdoc::sync {
namespace {

constexpr char kNothingRestored[] = "Nothing was restored";

absl::Status InUse() {
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "STORE_IN_USE",
      "The store is in use. Nothing was restored. Stop the service, then try again.");
}

// What an operator can do about a backup that cannot be restored.
absl::Status RestoreError(const std::string& from, const absl::Status& status) {
  if (status.ok() || !ReasonOf(status).empty()) return status;
  if (absl::IsNotFound(status)) {
    return ReasonError(
        absl::StatusCode::kNotFound, "BACKUP_MISSING",
        absl::StrCat("There is no backup at ", from, ". Nothing was restored. Check the path."));
  }
  if (absl::IsDataLoss(status)) {
    return ReasonError(absl::StatusCode::kDataLoss, "BACKUP_DAMAGED",
                       "The backup is damaged. Nothing was restored. Use another backup.");
  }
  if (absl::IsFailedPrecondition(status)) {
    return ReasonError(
        absl::StatusCode::kFailedPrecondition, "BACKUP_UNUSABLE",
        absl::StrCat(from, " is no backup that this program can read: ", status.message(),
                     ". Nothing was restored. Give the path of a file that `sync-service backup` "
                     "of this version or an older one made."));
  }
  return StoreError(status);
}

// Of a path that cannot be written.
absl::Status FileError(const absl::Status& status, absl::string_view effect) {
  if (status.ok() || !ReasonOf(status).empty() || sqlite::ExtendedCode(status) != 0) return status;
  return ReasonError(status.code(), "FILE",
                     absl::StrCat("A file was not written: ", status.message(), ". ", effect,
                                  ". Check the path, its rights and the disk."));
}

// Removes a database that is not finished, with what SQLite put beside it.
void RemoveDatabase(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    RemoveFile(absl::StrCat(path, suffix)).IgnoreError();
  }
}

// A copy of `source` at `path` that needs no other file beside it.
absl::StatusOr<sqlite::Database> CopyTo(sqlite::Database& source, const std::string& path) {
  RemoveDatabase(path);
  PT_RETURN_IF_ERROR(CreatePrivateFile(path));
  PT_RETURN_IF_ERROR(source.BackupTo(path));
  PT_ASSIGN_OR_RETURN(sqlite::Database copy, sqlite::Database::Open(path, {}));
  PT_ASSIGN_OR_RETURN(const Value mode, copy.QueryValue("PRAGMA journal_mode=DELETE"));
  if (mode != Value::Text("delete")) return absl::InternalError("the copy keeps a log beside it");
  return copy;
}

absl::Status PutInPlace(const std::string& from, const std::string& to) {
  PT_RETURN_IF_ERROR(SyncFile(from));
  PT_RETURN_IF_ERROR(RenameFile(from, to));
  return SyncDirectoryOf(to);
}

absl::Status CheckWhole(sqlite::Database& db) {
  PT_RETURN_IF_ERROR(CheckIsStore(db));
  PT_ASSIGN_OR_RETURN(const Value verdict, db.QueryValue("PRAGMA quick_check(1)"));
  if (verdict == Value::Text("ok")) return absl::OkStatus();
  return absl::DataLossError("the file does not hold together");
}

// Makes a checked copy of the backup with its new epoch.
absl::Status PrepareCopy(const std::string& from, const std::string& path, Rng& rng) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadOnly;
  PT_ASSIGN_OR_RETURN(sqlite::Database source, sqlite::Database::Open(from, options));
  PT_RETURN_IF_ERROR(CheckIsStore(source));
  PT_ASSIGN_OR_RETURN(sqlite::Database copy, CopyTo(source, path));
  PT_RETURN_IF_ERROR(CheckWhole(copy));
  PT_RETURN_IF_ERROR(MigrateSchema(copy));
  return StartNewEpoch(copy, rng);
}

// Folds what stands in the old store's log into its file: a log that is left
// over would be taken for the new file's. Needs the file alone, so it also
// finds programs that know nothing of our lock file.
absl::Status SettleOldStore(const std::string& to) {
  std::error_code error;
  if (!std::filesystem::exists(to, error)) return absl::OkStatus();
  sqlite::OpenOptions options;
  options.busy_timeout = absl::ZeroDuration();
  absl::StatusOr<sqlite::Database> old = sqlite::Database::Open(to, options);
  absl::StatusOr<Value> mode = Value::Null();
  if (old.ok()) mode = old->QueryValue("PRAGMA journal_mode=DELETE");
  const absl::Status status = old.ok() ? mode.status() : old.status();
  if (sqlite::IsBusy(status)) return InUse();
  if (status.ok() && *mode == Value::Text("wal")) return InUse();
  if (status.ok()) return absl::OkStatus();
  // Too damaged to be opened, which may be why there is a restore at all.
  const bool is_damaged = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return is_damaged ? absl::OkStatus() : status;
}

absl::Status Replace(const std::string& copy, const std::string& to) {
  PT_RETURN_IF_ERROR(SettleOldStore(to));
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    PT_RETURN_IF_ERROR(RemoveFile(absl::StrCat(to, suffix)));
  }
  return PutInPlace(copy, to);
}

}  // namespace

std::string LockPathOf(const std::string& path) {
  return absl::StrCat(path, ".lock");
}

absl::Status WriteBackup(sqlite::Database& source, const std::string& path) {
  const std::string part = absl::StrCat(path, ".part");
  const absl::Cleanup remove = [&part] { RemoveDatabase(part); };
  const auto write = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(CopyTo(source, part).status());
    return PutInPlace(part, path);
  };
  return FileError(write(), "There is no new backup");
}

absl::Status RestoreSqliteStore(const std::string& from, const std::string& to, Rng& rng) {
  std::error_code error;
  if (from == to || std::filesystem::equivalent(from, to, error)) {
    return ReasonError(
        absl::StatusCode::kInvalidArgument, "USAGE",
        "The backup is the store itself. Nothing was restored. Give the path of a backup.");
  }
  const absl::StatusOr<FileLock> lock = FileLock::Take(LockPathOf(to), FileLock::Kind::kExclusive);
  if (absl::IsUnavailable(lock.status())) return InUse();
  PT_RETURN_IF_ERROR(FileError(lock.status(), kNothingRestored));
  const std::string copy = absl::StrCat(to, ".restoring");
  const absl::Cleanup remove = [&copy] { RemoveDatabase(copy); };
  PT_RETURN_IF_ERROR(RestoreError(from, PrepareCopy(from, copy, rng)));
  return FileError(Mapped(Replace(copy, to)), kNothingRestored);
}

}  // namespace ptdoc::sync
