#include "sync-service/engine/scope.h"

#include <algorithm>
#include <set>

#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/engine/validate.h"

namespace ptdoc::sync {
namespace {

bool IsLimited(const Principal& who, const EngineOptions& options) {
  return !options.allowed_types.empty() || (who.rights != nullptr && who.rights->limited());
}

// All that a caller who names none may see. Never empty of itself, but for rights
// that have nothing in common with what the service takes part in.
std::set<std::string, std::less<>> EveryType(const Principal& who, const EngineOptions& options) {
  std::set<std::string, std::less<>> every = options.allowed_types;
  if (who.rights != nullptr) {
    every.insert(who.rights->types.begin(), who.rights->types.end());
    every.insert(who.rights->read_only.begin(), who.rights->read_only.end());
  }
  return every;
}

}  // namespace

bool MaySee(absl::string_view type, const Principal& who, const EngineOptions& options) {
  const bool taken = options.allowed_types.empty() || options.allowed_types.contains(type);
  return taken && (who.rights == nullptr || who.rights->MaySee(type));
}

absl::StatusOr<Scope> ScopeOf(const std::vector<std::string>& named, const Principal& who,
                              const EngineOptions& options) {
  PT_RETURN_IF_ERROR(CheckTypes(named));
  if (!IsLimited(who, options)) return Scope{named, {}};
  std::set<std::string, std::less<>> wanted(named.begin(), named.end());
  if (named.empty()) wanted = EveryType(who, options);
  Scope scope;
  for (const std::string& type : wanted) {
    if (MaySee(type, who, options)) {
      scope.types.push_back(type);
    } else if (!named.empty()) {
      scope.refused.push_back(type);
    }
  }
  if (!scope.types.empty()) return scope;
  return ReasonError(
      absl::StatusCode::kPermissionDenied, "TYPE_FORBIDDEN",
      "This token may see none of the entity types that were asked for. Nothing was read, and "
      "what waits on a device stays there. Ask for others, or let an administrator make a token "
      "that has them: `sync-service token create --types`, and [sync] entity_types of the "
      "service.");
}

}  // namespace ptdoc::sync
