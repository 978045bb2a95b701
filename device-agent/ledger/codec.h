#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {

// How RowHashes and column lists stand in the ledger's blobs.
std::string EncodeRowHashes(const RowHashes& row);
// DATA_LOSS for bytes that EncodeRowHashes did not make.
absl::StatusOr<RowHashes> DecodeRowHashes(absl::string_view bytes);

std::string EncodeColumns(const std::vector<std::string>& columns);
absl::StatusOr<std::vector<std::string>> DecodeColumns(absl::string_view bytes);

// An empty text stands as NULL.
void BindTextOrNull(sqlite::Statement& stmt, int index, const std::string& text);

}  // namespace ptdoc::sync
