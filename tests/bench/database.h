#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>

namespace ptdoc::bench {

// Prints `what` and ends the process with 1: a measurement has no way to go on.
[[noreturn]] void Die(const std::string& what);

// One connection: WAL, synchronous=FULL, all else as SQLite comes. Ends the
// process on any error. One thread at a time.
class Database {
 public:
  explicit Database(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void Exec(const std::string& sql);
  int64_t QueryInt(const std::string& sql);
  sqlite3* get() { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

// A prepared statement. Bound text and blobs must live until the next Reset.
class Statement {
 public:
  Statement(Database& db, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& Text(int index, const std::string& value);
  Statement& Blob(int index, const std::string& value);
  Statement& Int(int index, int64_t value);
  Statement& Real(int index, double value);

  // True on a row; false at the end, and then it is reset.
  bool Step();
  void Run();
  // False, and reset, if a lock of somebody else is in the way.
  bool TryRun();
  void Reset();

  // Copies a column into a string that keeps its memory from row to row.
  void Copy(int column, std::string* out);
  int64_t ColumnInt(int column);
  double ColumnReal(int column);

 private:
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace ptdoc::bench
