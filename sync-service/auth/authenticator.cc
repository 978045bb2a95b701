#include "sync-service/auth/authenticator.h"

#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/auth/tokens.h"

namespace ptdoc::sync {
namespace {

constexpr char kOpenTenant[] = "default";
constexpr char kOpenDevice[] = "local";
constexpr absl::string_view kScheme = "Bearer ";
constexpr size_t kTokenBytesMax = 128;

constexpr char kGetToken[] = "Give it a token made with `sync-service token create`.";

absl::Status Unauthenticated(absl::string_view reason, absl::string_view what,
                             absl::string_view remedy = kGetToken) {
  return ReasonError(
      absl::StatusCode::kUnauthenticated, reason,
      absl::StrCat(what, " Nothing was taken; what waits on a device stays there. ", remedy));
}

// The token's text out of "Bearer ptd_...".
absl::StatusOr<std::string> TokenText(const CallMetadata& call) {
  if (!call.authorization.has_value() || call.authorization->empty()) {
    return Unauthenticated("TOKEN_MISSING", "The call has no token.");
  }
  absl::string_view text = *call.authorization;
  const absl::Status invalid = Unauthenticated("TOKEN_INVALID", "The token is not known here.");
  if (!absl::StartsWithIgnoreCase(text, kScheme)) return invalid;
  text = absl::StripAsciiWhitespace(text.substr(kScheme.size()));
  if (!absl::StartsWith(text, kTokenPrefix) || text.size() > kTokenBytesMax) return invalid;
  return std::string(text);
}

std::string CleanAgent(const std::string& agent) {
  const std::string cut = agent.substr(0, Authenticator::kAgentBytesMax);
  return IsUtf8(cut) ? cut : "";
}

absl::Status CheckDeviceName(const std::string& device) {
  if (!device.empty() && device.size() <= Authenticator::kDeviceBytesMax && IsUtf8(device)) {
    return absl::OkStatus();
  }
  return FieldError("ptdoc-device",
                    absl::StrCat("The metadata ptdoc-device is empty or longer than ",
                                 Authenticator::kDeviceBytesMax, " bytes. Nothing was taken."));
}

absl::Status CheckDeviceStands(StoreReader& reader, const std::string& tenant,
                               const std::string& device) {
  PT_ASSIGN_OR_RETURN(const std::optional<DeviceRow> row, reader.FindDevice(tenant, device));
  if (!row.has_value() || !row->revoked) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kPermissionDenied, "DEVICE_REVOKED",
                     "An administrator revoked this device. Nothing was taken; what waits on it "
                     "stays there. To let it in again, an administrator makes it a new token with "
                     "`sync-service token create --device` and puts it in the place of the old "
                     "one.");
}

}  // namespace

absl::StatusOr<bool> Authenticator::TokensRequired() {
  {
    MutexLock lock(mutex_);
    if (tokens_exist_) return true;
  }
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const bool exist, reader->AnyToken());
  MutexLock lock(mutex_);
  tokens_exist_ = tokens_exist_ || exist;
  return tokens_exist_;
}

absl::StatusOr<Identity> Authenticator::Authenticate(const CallMetadata& call,
                                                     Freshness freshness) {
  if (!call.valid) {
    return Unauthenticated("TOKEN_INVALID", "The call names its token or device twice.");
  }
  PT_ASSIGN_OR_RETURN(const bool required, TokensRequired());
  if (!required) return AuthenticateOpen(call);
  PT_ASSIGN_OR_RETURN(const std::string text, TokenText(call));
  PT_ASSIGN_OR_RETURN(const Token row, Lookup(TokenHash(text), freshness));
  const TokenRow& token = *row;
  if (token.expires_at <= clock_.Now()) {
    return Unauthenticated("TOKEN_EXPIRED", "The token has expired.");
  }
  if (call.device.has_value() && *call.device != token.device) {
    return Unauthenticated("TOKEN_INVALID", "The token belongs to another device.",
                           "Leave [device] id out, so that the device is called what its token "
                           "calls it, or give it a token of its own.");
  }
  Identity identity;
  identity.who = {token.tenant, token.device, token.user, token.role, CleanAgent(call.agent)};
  if (token.rights.limited()) identity.who.rights = {row, &row->rights};
  return identity;
}

absl::StatusOr<Identity> Authenticator::AuthenticateOpen(const CallMetadata& call) {
  Identity identity;
  identity.open = true;
  identity.who.tenant = kOpenTenant;
  identity.who.device = call.device.value_or(kOpenDevice);
  identity.who.agent = CleanAgent(call.agent);
  // Who names a device is one; who does not is somebody at this machine.
  identity.who.role = call.device.has_value() ? Role::kDevice : Role::kAdmin;
  PT_RETURN_IF_ERROR(CheckDeviceName(identity.who.device));
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_RETURN_IF_ERROR(CheckDeviceStands(*reader, identity.who.tenant, identity.who.device));
  return identity;
}

absl::StatusOr<Authenticator::Token> Authenticator::Lookup(const std::string& hash,
                                                           Freshness freshness) {
  if (freshness == Freshness::kCached) {
    MutexLock lock(mutex_);
    const auto it = cache_.find(hash);
    if (it != cache_.end() && clock_.Monotonic() < it->second.until) return it->second.row;
  }
  absl::StatusOr<Token> row = LookupInStore(hash);
  if (row.ok()) {
    Remember(hash, *row);
  } else {
    MutexLock lock(mutex_);
    cache_.erase(hash);
  }
  return row;
}

absl::StatusOr<Authenticator::Token> Authenticator::LookupInStore(const std::string& hash) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(std::optional<TokenRow> row, reader->FindToken(hash));
  if (!row.has_value()) {
    return Unauthenticated("TOKEN_INVALID", "The token is not known here.");
  }
  if (row->revoked_at.has_value()) {
    return Unauthenticated("TOKEN_REVOKED", "The token was revoked.");
  }
  PT_RETURN_IF_ERROR(CheckDeviceStands(*reader, row->tenant, row->device));
  return std::make_shared<const TokenRow>(*std::move(row));
}

void Authenticator::Remember(const std::string& hash, const Token& row) {
  MutexLock lock(mutex_);
  // Rather look a few tokens up again than keep an order of use.
  if (cache_.size() >= kCacheEntriesMax) cache_.clear();
  cache_[hash] = {row, clock_.Monotonic() + kCacheLife};
}

}  // namespace ptdoc::sync
