#include "common/sqlite/collation.h"

#include <sqlite3.h>

#include "common/sqlite/connection.h"

namespace ptdoc::sqlite {

absl::StatusOr<std::string> CollationOf(Database& db, const std::string& table,
                                        const std::string& column) {
  const char* collation = nullptr;
  const int code = sqlite3_table_column_metadata(db.handle(), "main", table.c_str(), column.c_str(),
                                                 nullptr, &collation, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return ErrorStatus(db.handle(), code);
  return std::string(collation == nullptr ? "BINARY" : collation);
}

}  // namespace ptdoc::sqlite
