#include "sync-service/auth/tokens.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/hash.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr size_t kIdBytes = 6;

}  // namespace

absl::Duration DefaultTokenLife(Role role) {
  return role == Role::kReviewer || role == Role::kAdmin ? kPersonTokenLife : kDeviceTokenLife;
}

NewToken MakeToken(Rng& rng, const TokenSpec& spec, absl::Time now) {
  NewToken token;
  token.text = absl::StrCat(kTokenPrefix, absl::WebSafeBase64Escape(rng.Bytes(kSecretBytes)));
  token.row.id = absl::BytesToHexString(rng.Bytes(kIdBytes));
  token.row.hash = TokenHash(token.text);
  token.row.tenant = spec.tenant;
  token.row.device = spec.device;
  token.row.user = spec.user;
  token.row.role = spec.role;
  token.row.created_at = now;
  token.row.expires_at = spec.expires_at;
  token.row.rights = spec.rights;
  return token;
}

std::string TokenHash(absl::string_view text) {
  return Sha256(text);
}

}  // namespace ptdoc::sync
