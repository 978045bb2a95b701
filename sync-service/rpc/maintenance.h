#pragma once

#include <atomic>
#include <optional>
#include <thread>

#include "absl/time/time.h"
#include "common/base/mutex.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// The thread that does what nobody asks for: ticks the streams (heartbeats,
// tokens), wakes followers when another process committed, prunes, and moves
// the write-ahead log into the store: at once when the writer is idle, from time
// to time when it never is.
class Maintenance {
 public:
  // `service` must outlive this.
  explicit Maintenance(ServiceContext& service);
  ~Maintenance();  // Stop()
  Maintenance(const Maintenance&) = delete;
  Maintenance& operator=(const Maintenance&) = delete;

  void Stop();

 private:
  void Loop();
  // False when stopped.
  bool Sleep();
  void LookForChanges();
  void WakeFollowers();
  void SubmitPrune();
  void Checkpoint(absl::Duration now);

  ServiceContext& service_;
  const absl::Duration tick_;
  absl::Duration pruned_at_;
  std::optional<int64_t> seen_;          // the store's change counter
  std::optional<int64_t> checkpointed_;  // its value at the last checkpoint
  absl::Duration checkpointed_at_;
  // The followers could not be told of a change: the store was away.
  std::atomic<bool> untold_ = false;

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace ptdoc::sync
