#include "tests/bench/database.h"

#include <cstdio>
#include <cstdlib>

namespace ptdoc::bench {
namespace {

constexpr int kBusyTimeoutMs = 10'000;

void Check(int code, sqlite3* db, const char* what) {
  if (code == SQLITE_OK) return;
  Die(std::string(what) + ": " + (db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db)));
}

}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "floor: %s\n", what.c_str());
  std::fflush(nullptr);
  // Threads of gRPC may run: without destructors.
  std::_Exit(1);
}

Database::Database(const std::string& path) {
  Check(sqlite3_open(path.c_str(), &db_), db_, path.c_str());
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
}

Database::~Database() {
  sqlite3_close(db_);
}

void Database::Exec(const std::string& sql) {
  Check(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), db_, "exec");
}

int64_t Database::QueryInt(const std::string& sql) {
  Statement statement(*this, sql);
  if (!statement.Step()) Die("no row: " + sql);
  return statement.ColumnInt(0);
}

Statement::Statement(Database& db, const std::string& sql) {
  Check(sqlite3_prepare_v2(db.get(), sql.c_str(), -1, &statement_, nullptr), db.get(), sql.c_str());
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement& Statement::Text(int index, const std::string& value) {
  sqlite3_bind_text(statement_, index, value.data(), static_cast<int>(value.size()), nullptr);
  return *this;
}

Statement& Statement::Blob(int index, const std::string& value) {
  sqlite3_bind_blob(statement_, index, value.data(), static_cast<int>(value.size()), nullptr);
  return *this;
}

Statement& Statement::Int(int index, int64_t value) {
  sqlite3_bind_int64(statement_, index, value);
  return *this;
}

Statement& Statement::Real(int index, double value) {
  sqlite3_bind_double(statement_, index, value);
  return *this;
}

bool Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) Check(code, sqlite3_db_handle(statement_), "step");
  Reset();
  return false;
}

void Statement::Run() {
  while (Step()) continue;
}

bool Statement::TryRun() {
  const int code = sqlite3_step(statement_);
  sqlite3_reset(statement_);
  if (code == SQLITE_DONE) return true;
  if ((code & 0xff) != SQLITE_BUSY) Check(code, sqlite3_db_handle(statement_), "step");
  return false;
}

void Statement::Reset() {
  sqlite3_reset(statement_);
}

void Statement::Copy(int column, std::string* out) {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  out->assign(static_cast<const char*>(data), static_cast<size_t>(size));
}

int64_t Statement::ColumnInt(int column) {
  return sqlite3_column_int64(statement_, column);
}

double Statement::ColumnReal(int column) {
  return sqlite3_column_double(statement_, column);
}

}  // namespace ptdoc::bench
