#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// The file whose lock tells who uses the store at `path`.
std::string LockPathOf(const std::string& path);

// Copies the database behind `source` to `path` as one durable file without a
// write-ahead log, readable by its owner only, put there in one step.
absl::Status WriteBackup(sqlite::Database& source, const std::string& path);

}  // namespace ptdoc::sync
