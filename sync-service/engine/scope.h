#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {

// Both what the service takes part in (EngineOptions::allowed_types) and the
// caller's own rights.
bool MaySee(absl::string_view type, const Principal& who, const EngineOptions& options);

// What of the types that a caller names he is shown.
struct Scope {
  std::vector<std::string> types;    // empty = every type
  std::vector<std::string> refused;  // named, but not shown; sorted
};

// INVALID_ARGUMENT (FIELD) as of CheckTypes; PERMISSION_DENIED (TYPE_FORBIDDEN)
// where nothing is left.
absl::StatusOr<Scope> ScopeOf(const std::vector<std::string>& named, const Principal& who,
                              const EngineOptions& options);

}  // namespace ptdoc::sync
