#include "device-agent/rpc/watch.h"

#include <utility>

#include "common/rpc/status.h"

namespace ptdoc::sync {

std::shared_ptr<WatchHub::Stream> WatchHub::Add() {
  auto stream = std::make_shared<Stream>(*this);
  MutexLock lock(mutex_);
  if (ended_ || streams_.size() >= kStreamsMax) return nullptr;
  streams_.insert(stream);
  return stream;
}

void WatchHub::Remove(Stream* stream) {
  std::shared_ptr<Stream> last;  // Destroyed outside the lock.
  MutexLock lock(mutex_);
  for (auto it = streams_.begin(); it != streams_.end(); ++it) {
    if (it->get() != stream) continue;
    last = *it;
    streams_.erase(it);
    return;
  }
}

bool WatchHub::empty() const {
  MutexLock lock(mutex_);
  return streams_.empty();
}

std::vector<std::shared_ptr<WatchHub::Stream>> WatchHub::Copy() const {
  MutexLock lock(mutex_);
  return {streams_.begin(), streams_.end()};
}

void WatchHub::Publish(const v1::AgentServiceStatusResponse& status) {
  for (const std::shared_ptr<Stream>& stream : Copy()) stream->Send(status);
}

void WatchHub::EndAll(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  for (const std::shared_ptr<Stream>& stream : Copy()) stream->End(status);
}

void WatchHub::Stream::Send(const v1::AgentServiceStatusResponse& status) {
  std::string text = status.SerializeAsString();
  MutexLock lock(mutex_);
  if (text == newest_) return;
  newest_ = std::move(text);
  next_ = status;
  Step();
}

void WatchHub::Stream::End(const absl::Status& status) {
  MutexLock lock(mutex_);
  if (!ending_.has_value()) ending_ = status;
  Step();
}

void WatchHub::Stream::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  if (!ok && !ending_.has_value()) ending_ = absl::CancelledError("The caller went away.");
  Step();
}

void WatchHub::Stream::Step() {
  if (writing_ || finished_) return;
  if (ending_.has_value()) {
    finished_ = true;
    Finish(ToGrpcStatus(*ending_));
  } else if (next_.has_value()) {
    writing_ = true;
    *message_.mutable_status() = *std::exchange(next_, std::nullopt);
    StartWrite(&message_);
  }
}

}  // namespace ptdoc::sync
