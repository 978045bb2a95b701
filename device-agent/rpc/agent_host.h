#pragma once

#include <grpcpp/channel.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/rpc/channel.h"
#include "device-agent/replica/replica.h"
#include "device-agent/session/events.h"

namespace ptdoc::sync {

struct AgentOptions {
  ReplicaOptions replica;
  ChannelOptions channel;  // to the service
  // Holds the bare token; read again when it changes. Empty = no token.
  std::string token_file;
  // Rows go over the link compressed, where the service takes that.
  bool compress = false;
  absl::Duration interval = absl::Seconds(30);
  size_t batch_changes = 1000;
  size_t batch_bytes = 1 << 20;
  // "unix:///path"; empty = nobody can connect from outside the process.
  std::string control_listen;
  std::string agent_version = PTDOC_VERSION;
  // False: nothing happens but what is asked for (one verb without a daemon).
  bool automatic = true;
};

// The agent of one database, running: replica, runner thread, the connection
// to the service, and the AgentService that people and programs call, over the
// control socket or inside the process. Thread-safe but for Start and Stop.
class AgentHost {
 public:
  // The socket of [control] listen's built-in value, and of `state`'s.
  static constexpr const char* kDefaultControl = "unix:///run/ptdoc/agent.sock";

  // Ready when it returns: the replica is open, the control socket is bound.
  // Nothing waits for the service, but for up to 5 s for a verb that works on
  // the files without a daemon. `clock` and `rng` must outlive the host.
  // Errors: those of Replica::Open (SECOND_AGENT, NOT_INITIALISED), MakeChannel
  // (CONFIG), a token file that cannot be read or a control address that is no
  // unix socket (CONFIG), SOCKET_IN_USE.
  static absl::StatusOr<std::unique_ptr<AgentHost>> Start(AgentOptions options, const Clock& clock,
                                                          Rng& rng);
  virtual ~AgentHost() = default;  // stops

  // To the AgentService of this very process.
  virtual std::shared_ptr<grpc::Channel> InProcessChannel() = 0;
  // "unix:///path" as bound; empty if there is none.
  virtual std::string control_address() const = 0;
  // Pushes and pulls once, to the end or to an error (UNAVAILABLE, reason
  // SERVICE_UNREACHABLE, when the service does not answer). `result`, if given,
  // is filled in either case. Blocks.
  virtual absl::Status RunOnce(RunResult* result = nullptr) = 0;
  // Closes the streams and joins the threads; calls under way end with
  // CANCELLED. Batches without an answer stay Processing: the next start
  // settles them. Idempotent.
  virtual void Stop() = 0;
};

// Where the daemon of this configuration listens: `configured`, but
// "unix://<state>.sock" if that is the built-in value and its folder is missing
// or not writable for this process. An empty `state` means database + ".sync".
std::string ControlAddress(const std::string& configured, const std::string& database,
                           const std::string& state);

}  // namespace ptdoc::sync
