#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// A position in a tenant's feed. `snapshot_end` > 0: the reader is still in the
// snapshot of heads with revisions up to there, at `sequence`.
struct Cursor {
  std::string epoch;  // 32 hex digits
  Revision sequence = 0;
  uint64_t tag = 0;  // of the batch that ends at sequence (0 at the start, or inside a snapshot)
  Revision snapshot_end = 0;
  uint64_t snapshot_tag = 0;  // of the batch that ends at snapshot_end
  uint64_t types_digest = 0;

  friend bool operator==(const Cursor&, const Cursor&) = default;
};

// Of a type list, in any order; 0 for "all".
uint64_t TypesDigest(std::vector<std::string> types);

// Opaque text with a MAC over everything and the tenant.
std::string SealCursor(const Cursor& cursor, absl::string_view tenant, absl::string_view mac_key);

// CURSOR_MALFORMED (INVALID_ARGUMENT) for anything that SealCursor did not make
// for this tenant with this key; EPOCH_CHANGED (FAILED_PRECONDITION) if it is
// well-formed but names another epoch than `epoch`, whatever its MAC says.
absl::StatusOr<Cursor> OpenCursor(absl::string_view text, absl::string_view tenant,
                                  absl::string_view mac_key, absl::string_view epoch);

}  // namespace ptdoc::sync
