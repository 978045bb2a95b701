#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "common/base/status.h"
#include "common/sqlite/abandon.h"
#include "common/sqlite/connection.h"

namespace ptdoc::sqlite {
namespace {

constexpr char kReadSchema[] = "SELECT 1 FROM sqlite_master LIMIT 1";

int OpenFlags(OpenOptions::Mode mode) {
  // No mutex of SQLite's own: a connection belongs to one thread at a time.
  constexpr int kAlways = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  switch (mode) {
    case OpenOptions::Mode::kReadOnly:
      return kAlways | SQLITE_OPEN_READONLY;
    case OpenOptions::Mode::kReadWrite:
      return kAlways | SQLITE_OPEN_READWRITE;
    case OpenOptions::Mode::kCreate:
      return kAlways | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  }
  return kAlways;
}

// Nobody asks SQLite how much memory it has: without that figure its allocations
// need no lock that all connections share. Where SQLite runs already, it stays as
// it is.
void CountNoMemory() {
  static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(configured);
}

absl::Status SetSwitch(sqlite3* db, int which, bool on) {
  int is_on = -1;
  const int code = sqlite3_db_config(db, which, on ? 1 : 0, &is_on);
  if (code != SQLITE_OK) return ErrorStatus(db, code);
  if (is_on != (on ? 1 : 0)) return absl::InternalError("SQLite refused a connection switch");
  return absl::OkStatus();
}

void SetLimits(sqlite3* db) {
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, kValueBytesMax);
  sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 2000);
  sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, 32766);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 1);
}

absl::Status SyncHandle(sqlite3* db, int which) {
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(db, "main", which, static_cast<void*>(&file));
  if (code != SQLITE_OK) return ErrorStatus(db, code);
  if (file == nullptr || file->pMethods == nullptr) {
    return absl::InternalError("SQLite has no open file to sync");
  }
  const int synced = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
  // Not through `db`: a call of the file's own method leaves no error there.
  return synced == SQLITE_OK ? absl::OkStatus() : ErrorStatus(nullptr, synced);
}

// Only for files that SQLite takes no locks on (a journal, a directory): closing
// a locked one would drop the locks of the whole process.
absl::Status SyncPath(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return errno == ENOENT ? absl::OkStatus() : absl::ErrnoToStatus(errno, "cannot open to sync");
  }
  const int result = fsync(fd);
  const int saved_errno = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : absl::ErrnoToStatus(saved_errno, "cannot sync");
}

void CountRollback(void* rollbacks) {
  ++*static_cast<int64_t*>(rollbacks);
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status CopyAll(sqlite3* from, sqlite3* to) {
  sqlite3_backup* backup = sqlite3_backup_init(to, "main", from, "main");
  if (backup == nullptr) return ErrorStatus(to, sqlite3_extended_errcode(to));
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (finished != SQLITE_OK) return ErrorStatus(to, finished);
  // Busy and locked are no errors to finish: the copy could be taken up again.
  if (stepped != SQLITE_DONE) return ErrorStatus(nullptr, stepped);
  return absl::OkStatus();
}

}  // namespace

Database::Connection::~Connection() {
  DropIdle();
  sqlite3_close_v2(db);
}

void Database::Connection::DropIdle() {
  for (const auto& [sql, text] : texts) {
    for (sqlite3_stmt* stmt : text->idle) sqlite3_finalize(stmt);
    text->idle.clear();
  }
  absl::erase_if(texts, [](const auto& item) { return item.second->out == 0; });
  idle_count = 0;
}

absl::StatusOr<sqlite3_stmt*> Database::Connection::Compile(absl::string_view sql) {
  sqlite3_stmt* stmt = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
  if (code != SQLITE_OK) return CompileError(db, code);
  const absl::string_view rest = sql.substr(static_cast<size_t>(tail - sql.data()));
  if (stmt == nullptr || !absl::StripAsciiWhitespace(rest).empty()) {
    sqlite3_finalize(stmt);
    return absl::InternalError("not exactly one SQL statement");
  }
  return stmt;
}

absl::StatusOr<Database::Connection::Taken> Database::Connection::Take(absl::string_view sql) {
  if (sql.empty()) return absl::InternalError("no SQL");
  if (const auto known = texts.find(sql); known != texts.end()) {
    CachedText* const text = known->second.get();
    if (!text->idle.empty()) {
      const Taken taken{text->idle.back(), text};
      text->idle.pop_back();
      --idle_count;
      ++text->out;
      return taken;
    }
  }
  PT_ASSIGN_OR_RETURN(sqlite3_stmt* const stmt, Compile(sql));
  auto known = texts.find(sql);
  if (known == texts.end()) {
    // Texts and statements stay bounded. More texts than this come from schemas
    // with very many tables; starting anew costs them little.
    if (texts.size() >= kIdleStatementsMax) DropIdle();
    auto text = std::make_unique<CachedText>();
    text->sql = std::string(sql);
    const absl::string_view name = text->sql;
    known = texts.emplace(name, std::move(text)).first;
  }
  ++known->second->out;
  return Taken{stmt, known->second.get()};
}

void Database::Connection::GiveBack(const Taken& taken) {
  sqlite3_reset(taken.stmt);
  sqlite3_clear_bindings(taken.stmt);
  if (idle_count >= kIdleStatementsMax) DropIdle();
  --taken.text->out;
  taken.text->idle.push_back(taken.stmt);
  ++idle_count;
}

absl::Status Database::Connection::Run(absl::string_view sql) {
  PT_ASSIGN_OR_RETURN(const Taken taken, Take(sql));
  int code = sqlite3_step(taken.stmt);
  while (code == SQLITE_ROW) code = sqlite3_step(taken.stmt);
  absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : ErrorStatus(db, code);
  GiveBack(taken);
  return status;
}

Database::Database(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

Database::Database(Database&&) noexcept = default;

Database& Database::operator=(Database&&) noexcept = default;

Database::~Database() = default;

absl::StatusOr<Database> Database::Open(const std::string& path, const OpenOptions& options) {
  CountNoMemory();
  auto connection = std::make_shared<Connection>();
  const char* vfs = options.vfs.empty() ? nullptr : options.vfs.c_str();
  // SQLite opens a directory, and fails to read it in words that help nobody.
  std::error_code unknown;
  if (vfs == nullptr && std::filesystem::is_directory(path, unknown)) {
    return ErrorStatus(nullptr, SQLITE_CANTOPEN_ISDIR);
  }
  const int code = sqlite3_open_v2(path.c_str(), &connection->db, OpenFlags(options.mode), vfs);
  if (code != SQLITE_OK) return ErrorStatus(connection->db, code);
  sqlite3_rollback_hook(connection->db, CountRollback, &connection->rollbacks);
  Database database(std::move(connection));
  PT_RETURN_IF_ERROR(database.Configure(options));
  PT_RETURN_IF_ERROR(database.ConfigureFile(options));
  return database;
}

// What needs no look at the file.
absl::Status Database::Configure(const OpenOptions& options) {
  sqlite3* const db = handle();
  SetLimits(db);
  PT_RETURN_IF_ERROR(SetBusyTimeout(options.busy_timeout));
  PT_RETURN_IF_ERROR(SetSwitch(db, SQLITE_DBCONFIG_DEFENSIVE, true));
  if (options.abandon_wal) AbandonWal(*this);
  if (!options.legacy_schema) {
    PT_RETURN_IF_ERROR(SetSwitch(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, false));
    PT_RETURN_IF_ERROR(SetSwitch(db, SQLITE_DBCONFIG_DQS_DML, false));
    PT_RETURN_IF_ERROR(SetSwitch(db, SQLITE_DBCONFIG_DQS_DDL, false));
  }
  PT_RETURN_IF_ERROR(SetSwitch(db, SQLITE_DBCONFIG_ENABLE_FKEY, options.foreign_keys));
  PT_RETURN_IF_ERROR(Exec("PRAGMA cell_size_check=ON"));
  return Exec("PRAGMA mmap_size=0");
}

// What reads the file; the first read tells whether it is a database.
absl::Status Database::ConfigureFile(const OpenOptions& options) {
  PT_RETURN_IF_ERROR(Exec(kReadSchema));
  PT_RETURN_IF_ERROR(
      Exec(options.synchronous_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  if (!options.wal || options.mode == OpenOptions::Mode::kReadOnly) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const Value mode, QueryValue("PRAGMA journal_mode=WAL"));
  if (mode != Value::Text("wal") && mode != Value::Text("memory")) {
    return absl::FailedPreconditionError("the database cannot be put into WAL mode");
  }
  return absl::OkStatus();
}

absl::Status Database::Exec(absl::string_view sql) {
  sqlite3* const db = handle();
  while (!sql.empty()) {
    PT_RETURN_IF_ERROR(connection_->CheckTransaction());
    sqlite3_stmt* stmt = nullptr;
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &stmt, &tail);
    if (code != SQLITE_OK) return CompileError(db, code);
    const absl::Cleanup finalize = [stmt] { sqlite3_finalize(stmt); };
    sql.remove_prefix(static_cast<size_t>(tail - sql.data()));
    if (stmt == nullptr) continue;  // White space or a comment.
    int stepped = sqlite3_step(stmt);
    while (stepped == SQLITE_ROW) stepped = sqlite3_step(stmt);
    if (stepped != SQLITE_DONE) return ErrorStatus(db, stepped);
  }
  return absl::OkStatus();
}

absl::Status Database::Compile(absl::string_view sql) {
  sqlite3_stmt* stmt = nullptr;
  const int code =
      sqlite3_prepare_v2(handle(), sql.data(), static_cast<int>(sql.size()), &stmt, nullptr);
  if (code != SQLITE_OK) return CompileError(handle(), code);
  sqlite3_finalize(stmt);
  return absl::OkStatus();
}

absl::StatusOr<Statement> Database::Prepare(absl::string_view sql) {
  PT_ASSIGN_OR_RETURN(const Connection::Taken taken, connection_->Take(sql));
  return Statement(connection_, taken.stmt, taken.text);
}

absl::StatusOr<Value> Database::QueryValue(absl::string_view sql) {
  PT_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  PT_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return Value::Null();
  Value value = statement.ColumnValue(0);
  // What the statement wrote is committed when it ends: PRAGMA journal_mode has
  // said "wal" by then, and can still fail.
  PT_RETURN_IF_ERROR(statement.Step().status());
  return value;
}

absl::StatusOr<int64_t> Database::QueryInt(absl::string_view sql) {
  PT_ASSIGN_OR_RETURN(const Value value, QueryValue(sql));
  if (value.is_null()) return 0;
  if (value.type() != Value::Type::kInteger) return absl::InternalError("not an integer");
  return value.integer();
}

std::string Database::file() const {
  return FileOf(handle());
}

sqlite3* Database::handle() const {
  return connection_->db;
}
int64_t Database::changes() const {
  return sqlite3_changes64(handle());
}
int64_t Database::total_changes() const {
  return sqlite3_total_changes64(handle());
}
int64_t Database::last_insert_rowid() const {
  return sqlite3_last_insert_rowid(handle());
}
bool Database::in_transaction() const {
  return sqlite3_get_autocommit(handle()) == 0;
}

int64_t Database::rollbacks() const {
  return connection_->rollbacks;
}

bool Database::HasForeignKeyViolations() const {
  int current = 0;
  int highest = 0;
  sqlite3_db_status(handle(), SQLITE_DBSTATUS_DEFERRED_FKS, &current, &highest, 0);
  return current != 0;
}

absl::Status Database::EnableTriggers(bool on) {
  return SetSwitch(handle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, on);
}

absl::Status Database::SetBusyTimeout(absl::Duration timeout) {
  const int64_t ms =
      std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 0, std::numeric_limits<int>::max());
  const int code = sqlite3_busy_timeout(handle(), static_cast<int>(ms));
  return code == SQLITE_OK ? absl::OkStatus() : ErrorStatus(handle(), code);
}

absl::Status Database::SyncJournal() {
  // A read first: it opens the -wal file, and finds the mode that another
  // process may have changed.
  PT_RETURN_IF_ERROR(connection_->Run(kReadSchema));
  PT_ASSIGN_OR_RETURN(const Value mode, QueryValue("PRAGMA journal_mode"));
  if (mode == Value::Text("wal")) return SyncHandle(handle(), SQLITE_FCNTL_JOURNAL_POINTER);
  const char* filename = sqlite3_db_filename(handle(), "main");
  if (filename == nullptr || *filename == '\0') return absl::OkStatus();
  PT_RETURN_IF_ERROR(SyncHandle(handle(), SQLITE_FCNTL_FILE_POINTER));
  PT_RETURN_IF_ERROR(SyncPath(sqlite3_filename_journal(filename)));
  return SyncPath(DirectoryOf(filename));
}

absl::Status Database::BackupTo(const std::string& path) {
  OpenOptions options;
  options.mode = OpenOptions::Mode::kCreate;
  // The copy's schema is the source's, so what it may hold is not for us to say.
  options.legacy_schema = true;
  PT_ASSIGN_OR_RETURN(Database copy, Open(path, options));
  return CopyAll(handle(), copy.handle());
}

}  // namespace ptdoc::sqlite
