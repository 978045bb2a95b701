#include <sqlite3.h>

#include <utility>

#include "common/base/status.h"
#include "common/sqlite/connection.h"

namespace ptdoc::sqlite {
namespace {

// SQLite binds NULL for a null pointer, also if the length is 0; an empty view
// may hold one.
const char* NonNull(absl::string_view bytes) {
  return bytes.data() == nullptr ? "" : bytes.data();
}

bool IsUtf8Text(sqlite3_value* value) {
  return sqlite3_value_type(value) == SQLITE_TEXT && sqlite3_value_encoding(value) == SQLITE_UTF8;
}

// Of a text or blob as it is stored.
absl::string_view BytesOf(sqlite3_value* value) {
  const void* bytes = sqlite3_value_blob(value);
  if (bytes == nullptr) return absl::string_view();
  return absl::string_view(static_cast<const char*>(bytes),
                           static_cast<size_t>(sqlite3_value_bytes(value)));
}

}  // namespace

Statement::Statement(std::shared_ptr<Database::Connection> connection, sqlite3_stmt* stmt,
                     CachedText* text)
    : connection_(std::move(connection)), stmt_(stmt), text_(text) {}

Statement::Statement(Statement&& other) noexcept
    : connection_(std::move(other.connection_)),
      stmt_(std::exchange(other.stmt_, nullptr)),
      text_(other.text_),
      bind_error_(other.bind_error_),
      borrows_(other.borrows_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this == &other) return *this;
  Release();
  connection_ = std::move(other.connection_);
  stmt_ = std::exchange(other.stmt_, nullptr);
  text_ = other.text_;
  bind_error_ = other.bind_error_;
  borrows_ = other.borrows_;
  return *this;
}

Statement::~Statement() {
  Release();
}

void Statement::Release() {
  if (stmt_ == nullptr) return;
  connection_->GiveBack({std::exchange(stmt_, nullptr), text_});
  connection_.reset();
}

Statement& Statement::Note(int bind_result) {
  if (bind_error_ == SQLITE_OK) bind_error_ = bind_result;
  return *this;
}

Statement& Statement::Bind(int index, int64_t value) {
  return Note(sqlite3_bind_int64(stmt_, index, value));
}

Statement& Statement::Bind(int index, double value) {
  return Note(sqlite3_bind_double(stmt_, index, value));
}

Statement& Statement::Bind(int index, absl::string_view text) {
  return Note(
      sqlite3_bind_text64(stmt_, index, NonNull(text), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

Statement& Statement::BindBlob(int index, absl::string_view blob) {
  return Note(sqlite3_bind_blob64(stmt_, index, NonNull(blob), blob.size(), SQLITE_TRANSIENT));
}

Statement& Statement::BindNull(int index) {
  return Note(sqlite3_bind_null(stmt_, index));
}

Statement& Statement::BindBorrowed(int index, absl::string_view text) {
  borrows_ = true;
  return Note(
      sqlite3_bind_text64(stmt_, index, NonNull(text), text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

Statement& Statement::BindBorrowedBlob(int index, absl::string_view blob) {
  borrows_ = true;
  return Note(sqlite3_bind_blob64(stmt_, index, NonNull(blob), blob.size(), SQLITE_STATIC));
}

Statement& Statement::Bind(int index, const Value& value) {
  switch (value.type()) {
    case Value::Type::kNull:
      return BindNull(index);
    case Value::Type::kInteger:
      return Bind(index, value.integer());
    case Value::Type::kReal:
      return Bind(index, value.real());
    case Value::Type::kText:
      return Bind(index, value.bytes());
    case Value::Type::kBlob:
      return BindBlob(index, value.bytes());
  }
  return Note(SQLITE_MISUSE);
}

absl::StatusOr<bool> Statement::Step() {
  PT_CHECK(stmt_ != nullptr);
  if (bind_error_ != SQLITE_OK) {
    const int code = bind_error_;
    Reset();
    return ErrorStatus(nullptr, code);
  }
  PT_RETURN_IF_ERROR(connection_->CheckTransaction());
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  absl::Status status = ErrorStatus(connection_->db, code);
  Reset();  // A failed statement would keep its locks.
  return status;
}

absl::Status Statement::Run() {
  absl::StatusOr<bool> row = Step();
  while (row.ok() && *row) row = Step();
  if (row.ok()) Reset();
  return row.status();
}

void Statement::Reset() {
  sqlite3_reset(stmt_);
  bind_error_ = SQLITE_OK;
  if (!borrows_) return;
  // Nobody may step it again over bytes that are gone.
  sqlite3_clear_bindings(stmt_);
  borrows_ = false;
}

int Statement::column_count() const {
  return sqlite3_column_count(stmt_);
}

absl::string_view Statement::ColumnName(int index) const {
  const char* name = sqlite3_column_name(stmt_, index);
  return name == nullptr ? absl::string_view() : absl::string_view(name);
}

bool Statement::IsNull(int index) const {
  return sqlite3_column_type(stmt_, index) == SQLITE_NULL;
}

int64_t Statement::Int(int index) const {
  return sqlite3_column_int64(stmt_, index);
}
double Statement::Real(int index) const {
  return sqlite3_column_double(stmt_, index);
}

absl::string_view Statement::Text(int index) const {
  // Text as it is stored: nothing is converted nor ended by a zero, for which a
  // long one would have to be copied.
  sqlite3_value* const value = sqlite3_column_value(stmt_, index);
  if (IsUtf8Text(value)) return BytesOf(value);
  // The text before its size: the first call may convert.
  const unsigned char* text = sqlite3_column_text(stmt_, index);
  // As where C++ finds no memory: what stands there must not be taken for empty.
  PT_CHECK(text != nullptr || IsNull(index));
  if (text == nullptr) return absl::string_view();
  const int size = sqlite3_column_bytes(stmt_, index);
  return absl::string_view(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
}

absl::string_view Statement::Blob(int index) const {
  const void* blob = sqlite3_column_blob(stmt_, index);
  if (blob == nullptr) return absl::string_view();
  const int size = sqlite3_column_bytes(stmt_, index);
  return absl::string_view(static_cast<const char*>(blob), static_cast<size_t>(size));
}

Value Statement::ColumnValue(int index) const {
  // Its value is looked up once: the calls by column look it up each.
  sqlite3_value* const value = sqlite3_column_value(stmt_, index);
  switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
      return Value::Integer(sqlite3_value_int64(value));
    case SQLITE_FLOAT:
      return Value::Real(sqlite3_value_double(value));
    case SQLITE_TEXT:
      return Value::Text(std::string(IsUtf8Text(value) ? BytesOf(value) : Text(index)));
    case SQLITE_BLOB:
      return Value::Blob(std::string(Blob(index)));
    default:
      return Value::Null();
  }
}

}  // namespace ptdoc::sqlite
