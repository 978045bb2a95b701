#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// What a caller says of himself, copied from the call's metadata. A header
// that came twice is not `valid`.
struct CallMetadata {
  std::optional<std::string> authorization;
  std::optional<std::string> device;  // ptdoc-device
  std::string agent;                  // ptdoc-agent
  bool valid = true;
};

// Who a caller is, by token alone.
struct Identity {
  Principal who;
  // No token exists in the store: a caller on loopback may do everything.
  bool open = false;
};

// Finds who calls. Reads the store, so it is called on the executor's threads
// only. Thread-safe.
class Authenticator {
 public:
  // How long a token that was found good is not looked up again. A refusal is
  // never kept, so a new token works at once.
  static constexpr absl::Duration kCacheLife = absl::Seconds(2);
  static constexpr size_t kCacheEntriesMax = 4096;
  static constexpr size_t kDeviceBytesMax = 256;
  static constexpr size_t kAgentBytesMax = 256;

  enum class Freshness { kCached, kFromStore };

  // Both must outlive this.
  Authenticator(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  // UNAUTHENTICATED with TOKEN_MISSING, TOKEN_INVALID (also: the token is
  // another device's than the one named), TOKEN_EXPIRED, TOKEN_REVOKED;
  // PERMISSION_DENIED with DEVICE_REVOKED; INVALID_ARGUMENT with FIELD for a
  // malformed device name; the store's own errors.
  absl::StatusOr<Identity> Authenticate(const CallMetadata& call,
                                        Freshness freshness = Freshness::kCached);

  // Whether any token exists; until one does every call is let in.
  absl::StatusOr<bool> TokensRequired();

 private:
  // Given out as it stands, not copied for each call.
  using Token = std::shared_ptr<const TokenRow>;
  struct Cached {
    Token row;
    absl::Duration until;  // by the monotonic clock
  };

  absl::StatusOr<Identity> AuthenticateOpen(const CallMetadata& call);
  absl::StatusOr<Token> Lookup(const std::string& hash, Freshness freshness);
  absl::StatusOr<Token> LookupInStore(const std::string& hash);
  void Remember(const std::string& hash, const Token& row);

  Store& store_;
  const Clock& clock_;
  Mutex mutex_;
  bool tokens_exist_ ABSL_GUARDED_BY(mutex_) = false;  // never turns false again
  std::unordered_map<std::string, Cached> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ptdoc::sync
