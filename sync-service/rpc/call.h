#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "sync-service/auth/authenticator.h"
#include "sync-service/engine/engine.h"
#include "sync-service/feed/feed.h"
#include "sync-service/rpc/executor.h"
#include "sync-service/rpc/server.h"
#include "sync-service/rpc/shared_pages.h"
#include "sync-service/rpc/stream.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// Every method that the service answers, but health and reflection.
enum class Method : uint8_t {
  kPush,
  kPull,
  kRun,
  kStatus,
  kDigestRanges,
  kDigestRows,
  kListConflicts,
  kGetConflict,
  kResolveConflict,
  kUnlock,
  kListDevices,
  kRevokeDevice,
  kListAudit,
  kVerifyAudit,
};

// "SyncService/Push".
const char* MethodName(Method method);
// Who may call it.
bool MayCall(Role role, Method method);

// What the handlers share; all of it outlives them.
struct ServiceContext {
  Engine& engine;
  Store& store;
  const Clock& clock;
  const ServerOptions& options;
  Feed feed;
  SharedPages pages;
  Authenticator authenticator;
  Executor executor;
  StreamRegistry streams;
  std::atomic<bool> draining = false;

  ServiceContext(Engine& engine_in, Store& store_in, const Clock& clock_in,
                 const ServerOptions& options_in)
      : engine(engine_in),
        store(store_in),
        clock(clock_in),
        options(options_in),
        pages(clock_in),
        authenticator(store_in, clock_in),
        executor(engine_in, feed, options_in.executor) {}
};

// UNAVAILABLE, reason DRAINING.
absl::Status DrainingError();
// OK, or RESOURCE_EXHAUSTED with MESSAGE_TOO_LARGE.
absl::Status CheckMessageSize(size_t bytes);

// One call of one method: the one wrapper that every handler goes through.
// Thread-safe.
class Call {
 public:
  // Copies what it needs of `context`.
  Call(ServiceContext& service, Method method, const grpc::ServerContextBase& context);

  // UNAVAILABLE (DRAINING) once the service is stopping. Any thread.
  absl::Status Admit() const;

  // Who calls, if he may call this method. Reads the store: executor threads
  // only. PERMISSION_DENIED (ROLE), and what Authenticator says.
  absl::StatusOr<Principal> Authorize(
      Authenticator::Freshness freshness = Authenticator::Freshness::kCached) const;

  // Writes the call's one log line: at debug, errors at info.
  void LogEnd(const absl::Status& status, int64_t count = 0) const;

  ServiceContext& service() const { return service_; }
  absl::Duration begun() const { return begun_; }

 private:
  ServiceContext& service_;
  const Method method_;
  const CallMetadata metadata_;
  const absl::Duration begun_;
  mutable Mutex mutex_;
  // Of the last Authorize, for the log.
  mutable std::string tenant_ ABSL_GUARDED_BY(mutex_);
  mutable std::string device_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ptdoc::sync
