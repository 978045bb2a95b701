#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sqlite/connection.h"

namespace ptdoc::sqlite {
namespace {

// False also after an error by which SQLite ended the transaction itself.
bool InTransaction(sqlite3* db) {
  return sqlite3_get_autocommit(db) == 0;
}

std::string Quote(absl::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) out.push_back(c);
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

absl::StatusOr<int64_t> SchemaVersion(Database& db, size_t known) {
  PT_ASSIGN_OR_RETURN(const int64_t version, db.QueryInt("PRAGMA user_version"));
  if (version >= 0 && version <= static_cast<int64_t>(known)) return version;
  return absl::FailedPreconditionError(
      absl::StrCat("the file has schema version ", version, ", this program knows versions up to ",
                   known, "; use the program that wrote it, or a newer one"));
}

}  // namespace

Transaction::Transaction(std::shared_ptr<Database::Connection> connection)
    : connection_(std::move(connection)) {}

Transaction::Transaction(Transaction&&) noexcept = default;

Transaction::~Transaction() {
  Rollback();
}

void Database::Connection::RollBack() {
  absl::Status status;
  // Once more, for the case that there was no memory to compile it.
  for (int i = 0; i < 2 && InTransaction(db); ++i) status = Run("ROLLBACK");
  in_transaction = false;
  spoiled = InTransaction(db) ? status : absl::OkStatus();
}

absl::Status Database::Connection::CheckTransaction() {
  // One that could not be ended when its time had come.
  if (!spoiled.ok() && !in_transaction) RollBack();
  if (!spoiled.ok()) return spoiled;
  const bool lost = in_transaction && !InTransaction(db);
  return lost ? ErrorStatus(db, SQLITE_ABORT_ROLLBACK) : absl::OkStatus();
}

absl::StatusOr<Transaction> Transaction::Begin(Database& db, Kind kind) {
  const std::shared_ptr<Database::Connection>& connection = db.connection_;
  PT_RETURN_IF_ERROR(connection->CheckTransaction());
  if (kind == Kind::kWrite) {
    PT_RETURN_IF_ERROR(connection->Run("BEGIN IMMEDIATE"));
    connection->in_transaction = true;
    return Transaction(connection);
  }
  PT_RETURN_IF_ERROR(connection->Run("BEGIN"));
  connection->in_transaction = true;
  Transaction transaction(connection);
  // BEGIN alone takes no snapshot; the first read does.
  PT_RETURN_IF_ERROR(connection->Run("SELECT 1 FROM sqlite_master LIMIT 1"));
  return transaction;
}

absl::Status Transaction::Commit() {
  PT_CHECK(connection_ != nullptr);
  absl::Status status = connection_->CheckTransaction();
  if (status.ok()) status = connection_->Run("COMMIT");
  Rollback();
  return status;
}

void Transaction::Rollback() {
  if (connection_ == nullptr) return;
  std::exchange(connection_, nullptr)->RollBack();
}

Savepoint::Savepoint(std::shared_ptr<Database::Connection> connection)
    : connection_(std::move(connection)) {}

Savepoint::Savepoint(Savepoint&&) noexcept = default;

Savepoint::~Savepoint() {
  Rollback();
}

// One name for all: SQLite takes the innermost of that name.
absl::StatusOr<Savepoint> Savepoint::Begin(Database& db) {
  PT_RETURN_IF_ERROR(db.connection_->CheckTransaction());
  if (!db.in_transaction()) return absl::InternalError("a savepoint outside a transaction");
  PT_RETURN_IF_ERROR(db.connection_->Run("SAVEPOINT pt"));
  return Savepoint(db.connection_);
}

absl::Status Savepoint::Release() {
  PT_CHECK(connection_ != nullptr);
  absl::Status status = connection_->CheckTransaction();
  if (status.ok()) status = connection_->Run("RELEASE pt");
  if (!status.ok()) {
    Rollback();
    return status;
  }
  connection_.reset();
  return absl::OkStatus();
}

void Savepoint::Rollback() {
  if (connection_ == nullptr) return;
  const auto connection = std::exchange(connection_, nullptr);
  if (!InTransaction(connection->db)) return;
  ++connection->rollbacks;
  absl::Status status = connection->Run("ROLLBACK TO pt");
  if (status.ok()) status = connection->Run("RELEASE pt");
  // Out of memory, say. What was to be taken back must not be committed with the
  // rest of the transaction.
  if (!status.ok() && InTransaction(connection->db)) connection->spoiled = status;
}

absl::Status Migrate(Database& db, const std::vector<std::string>& steps) {
  PT_ASSIGN_OR_RETURN(int64_t version, SchemaVersion(db, steps.size()));
  while (version < static_cast<int64_t>(steps.size())) {
    PT_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db));
    // Again, now that nobody else can migrate.
    PT_ASSIGN_OR_RETURN(version, SchemaVersion(db, steps.size()));
    if (version == static_cast<int64_t>(steps.size())) return absl::OkStatus();
    PT_RETURN_IF_ERROR(db.Exec(steps[static_cast<size_t>(version)]));
    ++version;
    PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("PRAGMA user_version=", version)));
    PT_RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

std::string QuoteName(absl::string_view name) {
  return Quote(name, '"');
}
std::string QuoteText(absl::string_view text) {
  return Quote(text, '\'');
}

}  // namespace ptdoc::sqlite
