#include "sync-service/rpc/stream.h"

#include <chrono>
#include <utility>

namespace ptdoc::sync {

void StreamRegistry::Add(const std::shared_ptr<Stream>& stream) {
  {
    MutexLock lock(mutex_);
    streams_[stream.get()] = stream;
    if (!draining_) return;
  }
  stream->Drain();
}

void StreamRegistry::Remove(const Stream* stream) {
  MutexLock lock(mutex_);
  streams_.erase(stream);
  removed_.NotifyAll();
}

std::map<const Stream*, std::shared_ptr<Stream>> StreamRegistry::Copy() const {
  MutexLock lock(mutex_);
  return streams_;
}

void StreamRegistry::Tick(absl::Duration now) {
  // Outside the lock: a stream may end, and remove itself, meanwhile.
  for (const auto& [key, stream] : Copy()) stream->Tick(now);
}

void StreamRegistry::Drain() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  for (const auto& [key, stream] : Copy()) stream->Drain();
}

void StreamRegistry::WaitEmpty(absl::Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(mutex_);
  while (!streams_.empty()) {
    const absl::Duration left = absl::FromChrono(deadline - std::chrono::steady_clock::now());
    if (left <= absl::ZeroDuration()) return;
    removed_.WaitFor(mutex_, left);
  }
}

}  // namespace ptdoc::sync
