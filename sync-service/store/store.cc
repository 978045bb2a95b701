#include "sync-service/store/store.h"

#include <array>

namespace ptdoc::sync {
namespace {

constexpr std::array<Role, 4> kRoles = {Role::kDevice, Role::kReviewer, Role::kAdmin,
                                        Role::kMonitor};

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kDevice:
      return "device";
    case Role::kReviewer:
      return "reviewer";
    case Role::kAdmin:
      return "admin";
    case Role::kMonitor:
      return "monitor";
  }
  return "";
}

std::optional<Role> RoleFromName(absl::string_view name) {
  for (const Role role : kRoles) {
    if (RoleName(role) == name) return role;
  }
  return std::nullopt;
}

}  // namespace ptdoc::sync
