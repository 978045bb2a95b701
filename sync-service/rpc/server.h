#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "sync-service/engine/engine.h"
#include "sync-service/rpc/executor.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

struct ServerOptions {
  // "host:port"; port 0 takes a free one. Loopback unless `behind_proxy`.
  std::string listen = "127.0.0.1:5171";
  // Plaintext to others than loopback, because a proxy in front ends the TLS.
  // Refused while no token exists.
  bool behind_proxy = false;

  // A pull that follows hears something at least this often.
  absl::Duration heartbeat = absl::Seconds(20);
  // How often an open stream's token is looked up again.
  absl::Duration token_check_interval = absl::Seconds(4);
  // How often the store is asked whether another process committed.
  absl::Duration change_poll_interval = absl::Milliseconds(250);
  absl::Duration prune_interval = absl::Hours(1);
  // What Status tells of EngineOptions::max_row_bytes.
  size_t row_bytes_max = 3 << 20;
  size_t memory_bytes_max = 512 << 20;  // of gRPC's buffers, over all connections
  ExecutorOptions executor;
};

// Everything of the service that speaks gRPC: SyncService, AdminService,
// reflection and health on one port, with the executor's threads and a timer
// thread behind them. Thread-safe.
class Server {
 public:
  // Listens, and serves until Drain. All must outlive the server.
  // FAILED_PRECONDITION (reason LISTEN_FORBIDDEN) for an address other than
  // loopback without `behind_proxy`, or with it while no token exists,
  // (reason STORE_IN_USE) while another service serves the store, and
  // (reason LISTEN_FAILED) if the address cannot be bound;
  // INVALID_ARGUMENT (FIELD) if it is none.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options, Engine& engine,
                                                       Store& store, const Clock& clock);
  // Drain(zero) if nobody drained before.
  virtual ~Server() = default;

  // The port bound.
  virtual int port() const = 0;
  // "127.0.0.1:5171" with the port bound: what the ready line shows.
  virtual std::string address() const = 0;
  // False: no token exists, so every caller on loopback is let in.
  virtual bool tokens_required() const = 0;

  // Health turns NOT_SERVING, new calls are refused, open streams answer what
  // they took and end with UNAVAILABLE/DRAINING, then the port closes. Waits for
  // that at most `deadline`, then cuts what is left. What was acknowledged is
  // durable either way. Idempotent.
  virtual void Drain(absl::Duration deadline) = 0;
};

}  // namespace ptdoc::sync
