#pragma once

#include <atomic>
#include <functional>

#include "absl/time/time.h"
#include "common/base/mutex.h"
#include "device-agent/session/peer.h"

namespace ptdoc::sync {

// Hands a report to the thread that owns the session, in the order of calls.
// False, dropping it, if that thread takes nothing any more.
using PostReport = std::function<bool(std::function<void(PeerEvents&)>)>;

// Calls that gRPC still holds. Thread-safe.
class LiveCalls {
 public:
  void Enter() {
    MutexLock lock(mutex_);
    ++count_;
  }
  void Leave() {
    MutexLock lock(mutex_);
    if (--count_ == 0) none_.NotifyAll();
  }
  void WaitNone() {
    MutexLock lock(mutex_);
    while (count_ > 0) none_.Wait(mutex_);
  }
  // At most about `timeout`; a wake-up for no reason ends it early.
  void WaitNoneFor(absl::Duration timeout) {
    MutexLock lock(mutex_);
    if (count_ > 0) none_.WaitFor(mutex_, timeout);
  }

 private:
  Mutex mutex_;
  CondVar none_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What the calls of one peer share; it lives until the last of them is done.
struct PeerLink {
  PostReport post;
  LiveCalls live;
  // The service said so since the peer is there.
  std::atomic<bool> takes_compressed_tables = false;
  std::atomic<bool> takes_cells = false;
};

}  // namespace ptdoc::sync
