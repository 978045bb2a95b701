#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/model/value.h"

struct sqlite3;
struct sqlite3_stmt;

namespace ptdoc::sqlite {

struct CachedText;

using ptdoc::sync::Value;

class Statement;

// How a connection is opened. Every connection has DEFENSIVE on, memory mapping
// off, explicit foreign_keys and limits (a value or row is at most
// kValueBytesMax), and, unless legacy_schema says otherwise, trusted_schema and
// double-quoted string literals off.
struct OpenOptions {
  enum class Mode { kReadOnly, kReadWrite, kCreate };
  Mode mode = Mode::kReadWrite;
  bool wal = false;  // ask for journal_mode=WAL (our own files)
  bool synchronous_full = true;
  bool foreign_keys = false;
  absl::Duration busy_timeout = absl::Milliseconds(250);
  // For a file whose schema somebody else wrote. SQLite compiles the triggers
  // and views of a schema under the rules of the connection that fires them:
  // with double-quoted strings off, every write to a table whose trigger holds
  // "text" in double quotes fails ("no such column: text"), and with
  // trusted_schema off so does a trigger that calls one of its application's
  // functions or virtual tables. True leaves both at SQLite's default.
  bool legacy_schema = false;
  // From the beginning as after AbandonWal: also where the opening fails.
  bool abandon_wal = false;
  // Empty = the default. (GCC warns of designated initializers that leave a
  // member without one out.)
  std::string vfs{};  // NOLINT(readability-redundant-member-init)
};

inline constexpr int kValueBytesMax = 128 << 20;
inline constexpr size_t kIdleStatementsMax = 256;  // of one connection's cache

// Status codes: kAborted = busy or locked (try again); kResourceExhausted =
// disk full (or quota); kDataLoss = corrupt; kFailedPrecondition = not a
// database (or encrypted), read-only, schema changed; kAlreadyExists =
// constraint; kNotFound = no such file; kPermissionDenied = the system refuses
// to open it; kInternal = the rest. The message holds SQLite's code name, of
// constraints the constraint's name, and of SQL that does not compile SQLite's
// complaint (names of the schema); never values, never what an application's
// RAISE says. ExtendedCode() tells the exact SQLite result code; 0 for a status
// that did not come from SQLite.
int ExtendedCode(const absl::Status& status);
// "table.column, table.column", "index 'name'" or a CHECK's name (its text, if
// it has no name), as SQLite gave it; empty for other errors, for foreign keys
// (SQLite does not say which), and for texts that the app's RAISE made.
std::string ConstraintName(const absl::Status& status);
// The whole path of the file that the error speaks of; empty if it is not known.
std::string FileOf(const absl::Status& status);
bool IsBusy(const absl::Status& status);

class Database;
// What SQLite says of a damaged file, for whoever found the damage by asking.
absl::Status CorruptError(const Database& db, absl::string_view detail);

// One connection. Belongs to one thread at a time. Statements, transactions and
// savepoints hold on to the connection, not to this object: it can be moved or
// destroyed while they are alive (the file is closed when the last of them is
// gone).
class Database {
 public:
  // Reads the schema, so that a file that is no database, is encrypted or is
  // locked for good is found here. ":memory:" is a database of its own.
  static absl::StatusOr<Database> Open(const std::string& path, const OpenOptions& options);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  // Runs statements (several, separated by ';'); rows are dropped. Stops at the
  // first error. Compiles anew each time: for schemas and pragmas.
  absl::Status Exec(absl::string_view sql);
  // Whether one statement compiles now; it is not run, nor kept.
  absl::Status Compile(absl::string_view sql);
  // A prepared statement from this connection's cache, reset and unbound. The
  // Statement goes back to the cache when it is destroyed; two of one text may
  // be out at once.
  absl::StatusOr<Statement> Prepare(absl::string_view sql);
  // First column of the first row; NULL value if there is no row.
  absl::StatusOr<Value> QueryValue(absl::string_view sql);
  // The same as an integer; 0 for NULL. INTERNAL for any other type.
  absl::StatusOr<int64_t> QueryInt(absl::string_view sql);

  int64_t changes() const;
  int64_t total_changes() const;
  int64_t last_insert_rowid() const;
  bool in_transaction() const;
  // How often a transaction or a savepoint was rolled back so far, by us or by
  // SQLite itself: who remembers what he read or wrote in one forgets it then.
  int64_t rollbacks() const;
  // True if the open transaction could not be committed as it stands: a
  // deferred foreign key is violated.
  bool HasForeignKeyViolations() const;
  // SQLITE_DBCONFIG_ENABLE_TRIGGER. Statements that are out or cached follow.
  absl::Status EnableTriggers(bool on);
  absl::Status SetBusyTimeout(absl::Duration timeout);
  // Makes everything that anybody committed to the main database so far survive
  // a power cut, whichever process wrote it with whatever `synchronous` but OFF.
  // WAL mode: syncs the -wal file on SQLite's own handle. Rollback modes: the
  // main file so, then what is left of the -journal and the directory, because
  // a deleted journal that comes back would undo the last commit. kAborted if
  // the file is locked. Nothing to do for a database in memory.
  absl::Status SyncJournal();
  // Copies the whole database to `path` (SQLite's online backup), over a
  // database that is there. After an error the copy may be incomplete.
  absl::Status BackupTo(const std::string& path);
  // As in FileOf; empty for one in memory.
  std::string file() const;
  sqlite3* handle() const;

 private:
  friend class Statement;
  friend class Transaction;
  friend class Savepoint;
  struct Connection;
  explicit Database(std::shared_ptr<Connection> connection);
  absl::Status Configure(const OpenOptions& options);
  absl::Status ConfigureFile(const OpenOptions& options);
  std::shared_ptr<Connection> connection_;
};

// A prepared statement. Bind (from 1), Step, read columns (from 0). Errors of
// binds are kept and returned by Step. After an error it is reset; bindings
// stay until they are bound anew (borrowed ones go). NaN is bound as NULL.
class Statement {
 public:
  Statement(Statement&&) noexcept;
  Statement& operator=(Statement&&) noexcept;
  ~Statement();

  Statement& Bind(int index, int64_t value);
  Statement& Bind(int index, int value) { return Bind(index, static_cast<int64_t>(value)); }
  Statement& Bind(int index, bool value) { return Bind(index, static_cast<int64_t>(value)); }
  Statement& Bind(int index, double value);
  Statement& Bind(int index, absl::string_view text);  // copied
  Statement& Bind(int index, const char* text) { return Bind(index, absl::string_view(text)); }
  Statement& Bind(int index, const std::string& text) {
    return Bind(index, absl::string_view(text));
  }
  Statement& Bind(int index, const Value& value);
  Statement& BindBlob(int index, absl::string_view blob);  // copied
  Statement& BindNull(int index);
  // Not copied, for statements that run once a row: the bytes must stay until the
  // statement was reset, as Run does. All bindings are NULL from then on.
  Statement& BindBorrowed(int index, absl::string_view text);
  Statement& BindBorrowedBlob(int index, absl::string_view blob);

  // True: a row is there. False: done.
  absl::StatusOr<bool> Step();
  // For statements that return no rows: steps to the end and resets, so that
  // it can be bound again.
  absl::Status Run();
  void Reset();

  int column_count() const;
  absl::string_view ColumnName(int index) const;
  bool IsNull(int index) const;
  int64_t Int(int index) const;
  double Real(int index) const;
  // Views are valid until the next Step or Reset, or a read of the same column
  // as another type.
  absl::string_view Text(int index) const;
  absl::string_view Blob(int index) const;
  Value ColumnValue(int index) const;

 private:
  friend class Database;
  Statement(std::shared_ptr<Database::Connection> connection, sqlite3_stmt* stmt, CachedText* text);
  void Release();
  Statement& Note(int bind_result);
  std::shared_ptr<Database::Connection> connection_;
  sqlite3_stmt* stmt_ = nullptr;
  CachedText* text_ = nullptr;  // its place in the connection's cache
  int bind_error_ = 0;          // the first since the last Reset
  bool borrows_ = false;        // since the last Reset
};

// BEGIN IMMEDIATE (kWrite) or BEGIN (kRead: the snapshot is taken at once, by a
// read of the schema). Rolls back unless committed.
class Transaction {
 public:
  enum class Kind { kRead, kWrite };
  static absl::StatusOr<Transaction> Begin(Database& db, Kind kind = Kind::kWrite);
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // After a failed commit the transaction is rolled back.
  absl::Status Commit();
  void Rollback();

 private:
  explicit Transaction(std::shared_ptr<Database::Connection> connection);
  std::shared_ptr<Database::Connection> connection_;  // null when it is over
};

// A savepoint inside a transaction; rolls back to it unless released. They end
// in the opposite order of their beginning. INTERNAL outside a transaction:
// SQLite ends a transaction by itself after some errors (disk full), and work
// that goes on then must not be committed piece by piece.
class Savepoint {
 public:
  static absl::StatusOr<Savepoint> Begin(Database& db);
  Savepoint(Savepoint&&) noexcept;
  Savepoint& operator=(Savepoint&&) = delete;
  ~Savepoint();
  absl::Status Release();
  void Rollback();

 private:
  explicit Savepoint(std::shared_ptr<Database::Connection> connection);
  std::shared_ptr<Database::Connection> connection_;  // null when it is over
};

// Schema migrations of our own files: step i brings user_version i to i + 1,
// each in its own transaction, safe beside another process that does the same.
// FAILED_PRECONDITION, changing nothing, if the file is newer than this program.
absl::Status Migrate(Database& db, const std::vector<std::string>& steps);

// "name" with quotes doubled.
std::string QuoteName(absl::string_view name);
// 'text' with quotes doubled.
std::string QuoteText(absl::string_view text);

}  // namespace ptdoc::sqlite
