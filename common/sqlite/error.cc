#include <sqlite3.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/sqlite/connection.h"

namespace ptdoc::sqlite {
namespace {

constexpr char kCodePayload[] = "ptdoc/sqlite-code";
constexpr char kConstraintPayload[] = "ptdoc/sqlite-constraint";
constexpr char kFilePayload[] = "ptdoc/sqlite-file";
constexpr size_t kComplaintBytesMax = 200;

struct CodeName {
  int code;
  const char* name;
};

#define PT_CODE(name) \
  CodeName {          \
    name, #name       \
  }
constexpr CodeName kCodeNames[] = {
    PT_CODE(SQLITE_ERROR),
    PT_CODE(SQLITE_INTERNAL),
    PT_CODE(SQLITE_PERM),
    PT_CODE(SQLITE_ABORT),
    PT_CODE(SQLITE_BUSY),
    PT_CODE(SQLITE_LOCKED),
    PT_CODE(SQLITE_NOMEM),
    PT_CODE(SQLITE_READONLY),
    PT_CODE(SQLITE_INTERRUPT),
    PT_CODE(SQLITE_IOERR),
    PT_CODE(SQLITE_CORRUPT),
    PT_CODE(SQLITE_FULL),
    PT_CODE(SQLITE_CANTOPEN),
    PT_CODE(SQLITE_PROTOCOL),
    PT_CODE(SQLITE_SCHEMA),
    PT_CODE(SQLITE_TOOBIG),
    PT_CODE(SQLITE_CONSTRAINT),
    PT_CODE(SQLITE_MISMATCH),
    PT_CODE(SQLITE_MISUSE),
    PT_CODE(SQLITE_AUTH),
    PT_CODE(SQLITE_RANGE),
    PT_CODE(SQLITE_NOTADB),
    PT_CODE(SQLITE_ERROR_MISSING_COLLSEQ),
    PT_CODE(SQLITE_BUSY_RECOVERY),
    PT_CODE(SQLITE_BUSY_SNAPSHOT),
    PT_CODE(SQLITE_CANTOPEN_ISDIR),
    PT_CODE(SQLITE_ABORT_ROLLBACK),
    PT_CODE(SQLITE_READONLY_DBMOVED),
    PT_CODE(SQLITE_READONLY_CANTINIT),
    PT_CODE(SQLITE_READONLY_RECOVERY),
    PT_CODE(SQLITE_READONLY_DIRECTORY),
    PT_CODE(SQLITE_IOERR_READ),
    PT_CODE(SQLITE_IOERR_SHORT_READ),
    PT_CODE(SQLITE_IOERR_WRITE),
    PT_CODE(SQLITE_IOERR_FSYNC),
    PT_CODE(SQLITE_IOERR_TRUNCATE),
    PT_CODE(SQLITE_IOERR_LOCK),
    PT_CODE(SQLITE_IOERR_DELETE),
    PT_CODE(SQLITE_IOERR_ACCESS),
    PT_CODE(SQLITE_IOERR_SHMOPEN),
    PT_CODE(SQLITE_IOERR_SHMSIZE),
    PT_CODE(SQLITE_IOERR_SHMLOCK),
    PT_CODE(SQLITE_IOERR_SHMMAP),
    PT_CODE(SQLITE_CONSTRAINT_CHECK),
    PT_CODE(SQLITE_CONSTRAINT_COMMITHOOK),
    PT_CODE(SQLITE_CONSTRAINT_DATATYPE),
    PT_CODE(SQLITE_CONSTRAINT_FOREIGNKEY),
    PT_CODE(SQLITE_CONSTRAINT_FUNCTION),
    PT_CODE(SQLITE_CONSTRAINT_NOTNULL),
    PT_CODE(SQLITE_CONSTRAINT_PRIMARYKEY),
    PT_CODE(SQLITE_CONSTRAINT_ROWID),
    PT_CODE(SQLITE_CONSTRAINT_TRIGGER),
    PT_CODE(SQLITE_CONSTRAINT_UNIQUE),
    PT_CODE(SQLITE_CONSTRAINT_VTAB),
};
#undef PT_CODE

constexpr int Primary(int code) {
  return code & 0xff;
}

std::string NameOf(int code) {
  const char* primary = "SQLITE_UNKNOWN";
  for (const CodeName& entry : kCodeNames) {
    if (entry.code == code) return entry.name;
    if (entry.code == Primary(code)) primary = entry.name;
  }
  return absl::StrCat(primary, " (", code, ")");
}

// A full disk or quota can show up as a failed write, sync or open too.
bool IsOutOfSpace(int system_errno) {
  return system_errno == ENOSPC || system_errno == EDQUOT;
}

absl::StatusCode CodeOfCantOpen(int system_errno) {
  // No room to make the file.
  if (IsOutOfSpace(system_errno)) return absl::StatusCode::kResourceExhausted;
  switch (system_errno) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::StatusCode StatusCodeOf(int code, int system_errno) {
  if (code == SQLITE_CANTOPEN_ISDIR) return absl::StatusCode::kFailedPrecondition;
  switch (Primary(code)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return absl::StatusCode::kAborted;
    case SQLITE_FULL:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
      return absl::StatusCode::kDataLoss;
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_SCHEMA:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_CONSTRAINT:
      return absl::StatusCode::kAlreadyExists;
    case SQLITE_PERM:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_CANTOPEN:
      return CodeOfCantOpen(system_errno);
    case SQLITE_IOERR:
      return IsOutOfSpace(system_errno) ? absl::StatusCode::kResourceExhausted
                                        : absl::StatusCode::kInternal;
    default:
      return absl::StatusCode::kInternal;
  }
}

// The part of SQLite's own message that names the constraint. Only codes whose
// text SQLite makes from the schema: RAISE, functions and virtual tables put
// anything there.
std::string ConstraintIn(int code, absl::string_view message) {
  absl::string_view before_name;
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
    case SQLITE_CONSTRAINT_NOTNULL:
    case SQLITE_CONSTRAINT_CHECK:
      before_name = "constraint failed: ";
      break;
    case SQLITE_CONSTRAINT_DATATYPE:
      before_name = " column ";
      break;
    default:
      return "";
  }
  const size_t at = message.find(before_name);
  if (at == absl::string_view::npos) return "";
  return std::string(message.substr(at + before_name.size()));
}

// By way of string_view: Clang cannot link the constructor that takes a
// std::string of an Abseil that GCC compiled.
void Attach(absl::string_view payload, absl::string_view value, absl::Status* status) {
  status->SetPayload(payload, absl::Cord(value));
}

absl::Status MakeStatus(sqlite3* db, int code, int system_errno, absl::string_view detail) {
  std::string message = NameOf(code);
  if (Primary(code) == SQLITE_NOTADB) {
    absl::StrAppend(&message, ": the file is not an SQLite database or is encrypted");
  }
  if (code == SQLITE_CANTOPEN_ISDIR) absl::StrAppend(&message, ": the path is a directory");
  if (!detail.empty()) absl::StrAppend(&message, ": ", detail.substr(0, kComplaintBytesMax));
  absl::Status status(StatusCodeOf(code, system_errno), message);
  Attach(kCodePayload, absl::StrCat(code), &status);
  const std::string file = FileOf(db);
  if (!file.empty()) Attach(kFilePayload, file, &status);
  return status;
}

}  // namespace

std::string FileOf(sqlite3* db) {
  const char* name = db == nullptr ? nullptr : sqlite3_db_filename(db, "main");
  return name == nullptr ? std::string() : std::string(name);
}

absl::Status ErrorStatus(sqlite3* db, int code) {
  const int system_errno = db == nullptr ? 0 : sqlite3_system_errno(db);
  if (db == nullptr || Primary(code) != SQLITE_CONSTRAINT)
    return MakeStatus(db, code, system_errno, "");
  const std::string constraint = ConstraintIn(code, sqlite3_errmsg(db));
  absl::Status status = MakeStatus(db, code, system_errno, constraint);
  if (!constraint.empty()) Attach(kConstraintPayload, constraint, &status);
  return status;
}

absl::Status CompileError(sqlite3* db, int code) {
  if (Primary(code) != SQLITE_ERROR) return ErrorStatus(db, code);
  return MakeStatus(db, code, 0, sqlite3_errmsg(db));
}

absl::Status CorruptError(const Database& db, absl::string_view detail) {
  return MakeStatus(db.handle(), SQLITE_CORRUPT, 0, detail);
}

int ExtendedCode(const absl::Status& status) {
  const auto payload = status.GetPayload(kCodePayload);
  int code = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &code)) return 0;
  return code;
}

std::string ConstraintName(const absl::Status& status) {
  const auto payload = status.GetPayload(kConstraintPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

std::string FileOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kFilePayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

bool IsBusy(const absl::Status& status) {
  return absl::IsAborted(status) && ExtendedCode(status) != 0;
}

}  // namespace ptdoc::sqlite
