#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "common/base/rng.h"
#include "device-agent/loop/agent_core.h"
#include "device-agent/loop/watcher.h"
#include "device-agent/replica/replica.h"
#include "device-agent/session/peer.h"

namespace ptdoc::sync {

// The thread that owns a Replica, a Peer and the AgentCore between them. All
// else talks to it by closures.
class Runner {
 public:
  // Posted closures that have not run. A Peer keeps far below it: it asks the
  // network for the next message when the closure with the last one has run.
  static constexpr size_t kCommandsMax = 4096;
  // The net below file events: who asks once a second misses nothing.
  static constexpr absl::Duration kAskEvery = absl::Seconds(1);

  using Command = std::function<void(AgentCore&)>;
  // Makes the Peer; it reports by posting calls of the core's PeerEvents here.
  using PeerFactory = std::function<std::unique_ptr<Peer>(Runner&)>;

  // `clock` and `rng` must outlive this. `database` is watched for commits.
  Runner(std::string database, std::unique_ptr<Replica> replica, const PeerFactory& peer,
         const Clock& clock, Rng& rng, CoreOptions options);
  ~Runner();  // stops

  // Starts the thread and the cycle. Once.
  void Start();
  // Ends the thread after the command that runs; those that wait are dropped.
  // Requests under way end with CANCELLED. May be called from any thread but
  // its own, and again.
  void Stop();

  // Runs `command` on the thread, in the order of posting. False, without
  // keeping it, if it is stopped or kCommandsMax wait. Thread-safe.
  bool Post(Command command);

 private:
  void Loop();
  void Wait();
  void RunCommands();
  void LookForCommits();
  absl::Duration Timeout() const;
  bool stopping();

  const std::string database_;
  const Clock& clock_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<AgentCore> core_;
  std::unique_ptr<Watcher> watcher_;  // null: no file events
  RecheckSchedule recheck_;
  absl::Duration ask_at_ = absl::ZeroDuration();
  int wake_fd_ = -1;
  std::thread thread_;

  Mutex mutex_;
  std::deque<Command> commands_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ptdoc::sync
