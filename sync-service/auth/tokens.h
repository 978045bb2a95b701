#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// Every token begins with this, so that secret scanners can find a leaked one.
inline constexpr char kTokenPrefix[] = "ptd_";

inline constexpr absl::Duration kDeviceTokenLife = absl::Hours(24 * 365);
inline constexpr absl::Duration kPersonTokenLife = absl::Hours(12);

// The default life of a token of this role: long for devices and monitors,
// short for people.
absl::Duration DefaultTokenLife(Role role);

struct TokenSpec {
  std::string tenant;
  std::string device;
  std::string user;  // empty: not bound to a user
  Role role = Role::kDevice;
  absl::Time expires_at;
  TypeRights rights = {};
};

struct NewToken {
  std::string text;  // shown once, kept nowhere
  TokenRow row;      // what the store keeps
};

// "ptd_" and 32 random bytes in base64url. `rng` must be fit for secrets.
NewToken MakeToken(Rng& rng, const TokenSpec& spec, absl::Time now);

// What stands in the store: SHA-256 of the text. The text has 256 random bits,
// so nothing slower is needed.
std::string TokenHash(absl::string_view text);

}  // namespace ptdoc::sync
