#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "sync-service/cli/service_config.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// What every verb works with: the flags that all of them have, and the opened
// store. One a process.
struct Context {
  std::string config_file;
  std::string store_flag;
  std::string tenant_flag;
  bool json = false;
  std::vector<ConfigFlag> flags;

  SystemClock clock;
  SystemRng rng;
  ServiceConfig config;
  std::unique_ptr<Store> store;
  std::unique_ptr<Engine> engine;

  absl::Status LoadConfig();
  // LoadConfig, then the store. NOT_FOUND (reason NO_STORE) if it is not there
  // and `create` is false; STORE_UNUSABLE if it is damaged or no store.
  absl::Status Open(bool create);
  // --tenant, else the only tenant of the store, else "default". USAGE if there
  // are several, TENANT_UNKNOWN if the store does not have it.
  absl::StatusOr<std::string> Tenant();
  // The same, but --tenant may name a new one.
  absl::StatusOr<std::string> TenantToBe();
  // " --config FILE --store URL --tenant T" of those that were given: what a
  // command that is shown needs to work on the same clinic.
  std::string GivenFlags() const;
  // The person at the shell: an administrator of this tenant.
  absl::StatusOr<Principal> Operator();
};

}  // namespace ptdoc::sync
