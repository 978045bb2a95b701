#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// The statements of one SQL text: those that wait, and how many are out.
struct CachedText {
  std::string sql;
  std::vector<sqlite3_stmt*> idle;
  int out = 0;
};

// What a Database shares with its statements and transactions: SQLite's handle
// and the statements that wait for reuse. Whoever is last closes it. For this
// folder only.
struct Database::Connection {
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  struct Taken {
    sqlite3_stmt* stmt;
    CachedText* text;  // stays until the statement was given back
  };

  absl::StatusOr<Taken> Take(absl::string_view sql);
  absl::StatusOr<sqlite3_stmt*> Compile(absl::string_view sql);
  void GiveBack(const Taken& taken);
  void DropIdle();
  // Steps one statement of our own to its end, by way of the cache.
  absl::Status Run(absl::string_view sql);
  // Ends the transaction, whatever it takes.
  void RollBack();
  // An error while the work of a Transaction would be done without one: SQLite
  // has ended it by itself (any statement, a read, too, that is out of memory or
  // meets a sick disk can do that), or it must end because a savepoint could not
  // be rolled back. What went on then would be committed piece by piece.
  absl::Status CheckTransaction();

  sqlite3* db = nullptr;
  // By the SQL in the value itself.
  absl::flat_hash_map<absl::string_view, std::unique_ptr<CachedText>> texts;
  size_t idle_count = 0;
  int64_t rollbacks = 0;
  bool in_transaction = false;  // a Transaction is alive
  absl::Status spoiled;         // why it cannot be committed
};

// Empty for a database in memory, for one that could not be opened, and for null.
std::string FileOf(sqlite3* db);
// The status of a result code (extended) that is not OK; `db` may be null.
absl::Status ErrorStatus(sqlite3* db, int code);
// The same for SQL that does not compile: adds SQLite's complaint.
absl::Status CompileError(sqlite3* db, int code);

}  // namespace ptdoc::sqlite
