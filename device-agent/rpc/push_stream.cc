#include "device-agent/rpc/push_stream.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/status.h"
#include "common/rpc/status.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

absl::StatusOr<IncomingAnswer> AnswerFromProto(v1::PushResponse* in) {
  IncomingAnswer answer;
  PT_ASSIGN_OR_RETURN(answer.results, ResultsFromProto(in));
  answer.batch_id = std::move(*in->mutable_batch_id());
  answer.voided = in->voided();
  answer.witness = std::move(*in->mutable_witness());
  answer.epoch = std::move(*in->mutable_epoch());
  answer.server_time = TimeFromProto(in->server_time()).value_or(absl::UnixEpoch());
  return answer;
}

}  // namespace

void PushStream::Start(v1::SyncService::Stub& stub) {
  self_ = shared_from_this();
  link_->live.Enter();
  stub.async()->Push(&context_, this);
  // Reads and writes are started from the owner's thread too.
  AddHold();
  MutexLock lock(mutex_);
  reading_ = true;
  StartRead(&response_);
  StartCall();
}

void PushStream::Send(v1::PushRequest request, bool is_report) {
  MutexLock lock(mutex_);
  if (released_ || broken_ || closing_) return;
  const bool replaces =
      is_report && !queue_.empty() && queue_.back().is_report && (queue_.size() > 1 || !writing_);
  if (replaces) queue_.pop_back();
  PT_CHECK(queue_.size() < kQueuedMax);
  queue_.push_back({std::move(request), is_report});
  StepWrite();
}

void PushStream::StepWrite() {
  if (released_ || broken_ || writing_ || writes_done_) return;
  if (!queue_.empty()) {
    writing_ = true;
    StartWrite(&queue_.front().request);
  } else if (closing_) {
    writes_done_ = true;
    StartWritesDone();
  }
}

void PushStream::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  queue_.pop_front();
  if (!ok) {
    // The read says why in a moment.
    broken_ = true;
    queue_.clear();
  }
  StepWrite();
}

void PushStream::OnReadDone(bool ok) {
  absl::StatusOr<IncomingAnswer> answer = absl::UnknownError("the stream ended");
  if (ok) answer = AnswerFromProto(&response_);
  if (ok && !answer.ok()) Break(answer.status());
  {
    MutexLock lock(mutex_);
    reading_ = false;
    if (!answer.ok() || cancelled_) return Release();
    ready_.push_back(*std::move(answer));
    StepRead();
    if (std::exchange(posted_, true)) return;
  }
  const bool posted = link_->post([self = shared_from_this()](PeerEvents& events) {
    for (IncomingAnswer& one : self->Take()) {
      if (!self->closed_) events.OnPushAnswer(std::move(one));
    }
  });
  if (!posted) Abandon();
}

std::vector<IncomingAnswer> PushStream::Take() {
  MutexLock lock(mutex_);
  posted_ = false;
  std::vector<IncomingAnswer> taken = std::exchange(ready_, {});
  StepRead();
  return taken;
}

// Where enough of them wait none is read: a session that is slow holds up the service,
// not our memory.
void PushStream::StepRead() {
  if (released_ || reading_ || ready_.size() >= kReadyMax) return;
  reading_ = true;
  StartRead(&response_);
}

void PushStream::Close() {
  closed_ = true;
  MutexLock lock(mutex_);
  closing_ = true;
  // Batches that nobody waits for any more stay here: their fate is asked for.
  // Not the first one while gRPC holds its address.
  const auto first = queue_.begin() + (writing_ ? 1 : 0);
  const auto is_batch = [](const Message& message) { return !message.is_report; };
  queue_.erase(std::remove_if(first, queue_.end(), is_batch), queue_.end());
  StepWrite();
}

void PushStream::Abandon() {
  Break(absl::CancelledError("the stream was abandoned"));
}

void PushStream::Break(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (!cancelled_) why_ = why;
  cancelled_ = broken_ = true;
  context_.TryCancel();
  if (!reading_) Release();
}

void PushStream::Release() {
  if (std::exchange(released_, true)) return;
  RemoveHold();
}

void PushStream::OnDone(const grpc::Status& status) {
  absl::Status result = FromGrpcStatus(status);
  {
    MutexLock lock(mutex_);
    if (!why_.ok()) result = why_;
  }
  const std::shared_ptr<PeerLink> link = link_;
  std::shared_ptr<PushStream> self = std::move(self_);
  link->post([self, result](PeerEvents& events) {
    if (!std::exchange(self->closed_, true)) events.OnPushClosed(result);
  });
  self.reset();
  link->live.Leave();
}

}  // namespace ptdoc::sync
