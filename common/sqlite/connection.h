#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// What a Database shares with its statements and transactions: SQLite's handle
// and the statements that wait for reuse. Whoever is last closes it. For this
// folder only.
struct Database::Connection {
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  absl::StatusOr<sqlite3_stmt*> Take(absl::string_view sql);
  void GiveBack(const std::string& sql, sqlite3_stmt* stmt);
  void DropIdle();
  // Steps one statement of our own to its end, by way of the cache.
  absl::Status Run(absl::string_view sql);

  sqlite3* db = nullptr;
  absl::flat_hash_map<std::string, std::vector<sqlite3_stmt*>> idle;
  size_t idle_count = 0;
};

// Empty for a database in memory, for one that could not be opened, and for null.
std::string FileOf(sqlite3* db);
// The status of a result code (extended) that is not OK; `db` may be null.
absl::Status ErrorStatus(sqlite3* db, int code);
// The same for SQL that does not compile: adds SQLite's complaint.
absl::Status CompileError(sqlite3* db, int code);

}  // namespace ptdoc::sqlite
