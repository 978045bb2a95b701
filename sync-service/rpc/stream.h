#pragma once

#include <map>
#include <memory>

#include "absl/time/time.h"
#include "common/base/mutex.h"

namespace ptdoc::sync {

// How long a peer that does not read may hold up a stream's end; then it is cut.
inline constexpr absl::Duration kEndPatience = absl::Seconds(5);

// What the server does with every stream that is open.
class Stream {
 public:
  virtual ~Stream() = default;
  // Called every fraction of a second, by the monotonic clock.
  virtual void Tick(absl::Duration now) = 0;
  // Answer what was taken, then end with UNAVAILABLE/DRAINING.
  virtual void Drain() = 0;
};

// The streams that are open. Thread-safe.
class StreamRegistry {
 public:
  // A stream that comes after Drain is drained at once.
  void Add(const std::shared_ptr<Stream>& stream);
  void Remove(const Stream* stream);

  void Tick(absl::Duration now);
  void Drain();
  // Waits until no stream is open, or `timeout` passed.
  void WaitEmpty(absl::Duration timeout);

 private:
  std::map<const Stream*, std::shared_ptr<Stream>> Copy() const;

  mutable Mutex mutex_;
  CondVar removed_;
  std::map<const Stream*, std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ptdoc::sync
