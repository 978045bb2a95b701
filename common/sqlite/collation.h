#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// The collation that a column of a table in `main` is declared with ("BINARY"
// where it is with none), whether this connection knows it or not.
absl::StatusOr<std::string> CollationOf(Database& db, const std::string& table,
                                        const std::string& column);

}  // namespace ptdoc::sqlite
