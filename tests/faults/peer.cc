#include "tests/faults/peer.h"

#include <utility>

namespace ptdoc::sync::faults {

Principal LocalPeer::Who() const {
  Principal who;
  who.tenant = kTenant;
  who.device = device_;
  return who;
}

void LocalPeer::Later(std::function<void()> what) {
  world_.After(absl::Milliseconds(1), [self = shared_from_this(), what = std::move(what)] {
    if (self->events_ != nullptr) what();
  });
}

void LocalPeer::EndPush(const absl::Status& status) {
  if (std::exchange(push_, 0) == 0) return;
  Later([this, status] { events_->OnPushClosed(status); });
}

void LocalPeer::EndPull(const absl::Status& status) {
  if (std::exchange(pull_, 0) == 0) return;
  Later([this, status] { events_->OnPullClosed(status); });
}

void LocalPeer::Break() {
  EndPush(absl::UnavailableError("connection lost"));
  EndPull(absl::UnavailableError("connection lost"));
}

void LocalPeer::OpenPush() {
  push_ = ++last_stream_;
  if (!link_up_ || !service_.up()) EndPush(absl::UnavailableError("no connection"));
}

void LocalPeer::ClosePush() {
  EndPush(absl::CancelledError("closed"));
}

void LocalPeer::SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                          const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch.batch_id;
  message.changes = batch.changes;
  message.cursor = cursor;
  message.queue = queue;
  Send(std::move(message));
}

void LocalPeer::SendSettle(const std::string& batch_id, const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch_id;
  message.queue = queue;
  message.settle = true;
  Send(std::move(message));
}

void LocalPeer::SendReport(const QueueHealth& queue) {
  PushBatch message;
  message.queue = queue;
  Send(std::move(message));
}

void LocalPeer::Send(PushBatch batch) {
  if (push_ == 0) return;
  batch.who = Who();
  batch.witness = witness_;
  service_.Push(std::move(batch), [self = shared_from_this(),
                                   stream = push_](const absl::StatusOr<PushAnswer>& answer) {
    if (self->push_ != stream) return;
    if (!answer.ok()) return self->EndPush(answer.status());
    const IncomingAnswer incoming{answer->batch_id, answer->results, answer->voided,
                                  answer->witness,  answer->epoch,   answer->server_time};
    self->Later([self = self.get(), stream, incoming] {
      if (self->push_ == stream) self->events_->OnPushAnswer(incoming);
    });
  });
}

void LocalPeer::OpenPull(const std::string& cursor, const std::vector<std::string>& types,
                         bool follow, const QueueHealth&) {
  pull_ = ++last_stream_;
  if (!link_up_ || !service_.up()) return EndPull(absl::UnavailableError("no connection"));
  query_ = PullQuery{};
  query_.who = Who();
  query_.cursor = cursor;
  query_.witness = witness_;
  query_.types = types;
  next_.reset();
  follow_ = follow;
  waiting_ = false;
  Later([this, stream = pull_] {
    if (pull_ == stream) Pump();
  });
  Beat(pull_);
}

void LocalPeer::ClosePull() {
  EndPull(absl::CancelledError("closed"));
}

void LocalPeer::Pump() {
  woken_ = false;
  if (!service_.up()) return EndPull(absl::UnavailableError("connection lost"));
  const absl::StatusOr<PullPage> page =
      service_.Pull(query_, next_.has_value() ? &*next_ : nullptr);
  if (!page.ok()) return EndPull(page.status());
  next_ = page->next;
  IncomingPage incoming;
  incoming.versions = page->versions;
  incoming.cursor = page->cursor;
  incoming.batch_end = page->batch_end;
  incoming.caught_up = page->caught_up;
  incoming.remaining = page->remaining;
  incoming.epoch = page->epoch;
  incoming.server_time = page->server_time;
  Later([this, stream = pull_, incoming = std::move(incoming)] {
    if (pull_ != stream) return;
    const bool caught_up = incoming.caught_up;
    events_->OnPullPage(incoming);
    if (pull_ != stream || events_ == nullptr) return;
    if (!caught_up || (follow_ && woken_)) return Pump();
    waiting_ = follow_;
    if (!follow_) EndPull(absl::OkStatus());
  });
}

void LocalPeer::Wake() {
  if (pull_ == 0) return;
  woken_ = true;
  if (std::exchange(waiting_, false)) Pump();
}

void LocalPeer::Beat(int stream) {
  world_.After(absl::Seconds(20), [self = shared_from_this(), stream] {
    if (self->events_ == nullptr || self->pull_ != stream) return;
    IncomingPage beat;
    beat.server_time = self->world_.clock().Now();
    self->events_->OnPullPage(beat);
    self->Beat(stream);
  });
}

void LocalPeer::Fetch(const std::vector<EntityKey>& keys) {
  Later([this, keys, witness = witness_] {
    if (!link_up_ || !service_.up()) {
      return events_->OnFetchFailed(absl::UnavailableError("no connection"));
    }
    const absl::StatusOr<FetchPage> page = service_.Fetch(Who(), keys, witness);
    if (!page.ok()) return events_->OnFetchFailed(page.status());
    events_->OnFetched(
        {page->versions, page->missing, page->witness, page->epoch, page->server_time});
  });
}

}  // namespace ptdoc::sync::faults
