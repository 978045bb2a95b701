#include "tests/threads/peer.h"

#include <utility>

#include "common/base/status.h"

namespace ptdoc::sync::threads {

// What answers find on their way back. Runner::Post may be called by any thread,
// as long as the runner is there: until Close.
struct QueuePeer::Link {
  explicit Link(Runner& r) : runner(&r) {}

  // `stream`: the message is dropped if it has ended (0 = belongs to none).
  void Post(uint64_t stream, Runner::Command command) {
    MutexLock lock(mutex);
    if (runner == nullptr || (stream != 0 && stream != push && stream != pull)) return;
    // Refused when the runner stops; else there is room for all that is in flight.
    runner->Post(std::move(command));
  }

  Mutex mutex;
  Runner* runner ABSL_GUARDED_BY(mutex);
  uint64_t push ABSL_GUARDED_BY(mutex) = 0;
  uint64_t pull ABSL_GUARDED_BY(mutex) = 0;
};

QueuePeer::QueuePeer(Service& service, Runner& runner, std::string device)
    : service_(service), device_(std::move(device)), link_(std::make_shared<Link>(runner)) {}

QueuePeer::~QueuePeer() {
  if (pull_ != nullptr) pull_->Close();
  MutexLock lock(link_->mutex);
  link_->runner = nullptr;
}

void QueuePeer::Cut() {
  EndPush(absl::UnavailableError("connection lost"));
  EndPull(absl::UnavailableError("connection lost"));
}

void QueuePeer::EndPush(const absl::Status& status) {
  {
    MutexLock lock(link_->mutex);
    if (std::exchange(link_->push, 0) == 0) return;
  }
  link_->Post(0, [status](AgentCore& core) { core.OnPushClosed(status); });
}

void QueuePeer::EndPull(const absl::Status& status) {
  {
    MutexLock lock(link_->mutex);
    if (std::exchange(link_->pull, 0) == 0) return;
  }
  std::exchange(pull_, nullptr)->Close();
  link_->Post(0, [status](AgentCore& core) { core.OnPullClosed(status); });
}

void QueuePeer::OpenPush() {
  MutexLock lock(link_->mutex);
  link_->push = ++last_stream_;
}

void QueuePeer::ClosePush() {
  EndPush(absl::CancelledError("closed"));
}

void QueuePeer::SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                          const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch.batch_id;
  message.changes = batch.changes;
  message.cursor = cursor;
  message.queue = queue;
  Send(std::move(message));
}

void QueuePeer::SendSettle(const std::string& batch_id, const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch_id;
  message.queue = queue;
  message.settle = true;
  Send(std::move(message));
}

void QueuePeer::SendReport(const QueueHealth& queue) {
  PushBatch message;
  message.queue = queue;
  Send(std::move(message));
}

void QueuePeer::Send(PushBatch batch) {
  batch.who = Service::Device(device_);
  batch.witness = witness_;
  uint64_t stream = 0;
  {
    MutexLock lock(link_->mutex);
    stream = link_->push;
  }
  if (stream == 0) return;
  service_.Push(std::move(batch), [link = link_, stream](absl::StatusOr<PushAnswer> answer) {
    if (!answer.ok()) {
      link->Post(stream, [status = answer.status(), link, stream](AgentCore& core) {
        {
          MutexLock lock(link->mutex);
          if (link->push != stream) return;
          link->push = 0;
        }
        core.OnPushClosed(status);
      });
      return;
    }
    IncomingAnswer incoming{answer->batch_id, answer->results, answer->voided,
                            answer->witness,  answer->epoch,   answer->server_time};
    link->Post(stream, [link, stream, incoming = std::move(incoming)](AgentCore& core) {
      {
        MutexLock lock(link->mutex);
        if (link->push != stream) return;
      }
      core.OnPushAnswer(incoming);
    });
  });
}

void QueuePeer::OpenPull(const std::string& cursor, const std::vector<std::string>& types,
                         bool follow, const QueueHealth&) {
  uint64_t stream = 0;
  {
    MutexLock lock(link_->mutex);
    stream = link_->pull = ++last_stream_;
  }
  PullQuery query;
  query.who = Service::Device(device_);
  query.cursor = cursor;
  query.witness = witness_;
  query.types = types;
  query.page_size = 1 + stream % 7;
  const auto sink = [link = link_, stream, follow](absl::StatusOr<PullPage> page) {
    const bool ends = !page.ok() || (page->caught_up && !follow);
    const absl::Status status = page.status();
    IncomingPage incoming;
    if (page.ok()) {
      incoming.versions = std::move(page->versions);
      incoming.cursor = page->cursor;
      incoming.batch_end = page->batch_end;
      incoming.caught_up = page->caught_up;
      incoming.remaining = page->remaining;
      incoming.epoch = page->epoch;
      incoming.server_time = page->server_time;
    }
    link->Post(stream,
               [link, stream, ends, status, incoming = std::move(incoming)](AgentCore& core) {
                 {
                   MutexLock lock(link->mutex);
                   if (link->pull != stream) return;
                   if (ends) link->pull = 0;
                 }
                 if (status.ok()) core.OnPullPage(incoming);
                 if (ends) core.OnPullClosed(status);
               });
    return true;
  };
  if (pull_ != nullptr) pull_->Close();
  pull_ = std::make_shared<PullStream>(service_, std::move(query), follow, sink);
  pull_->Start();
}

void QueuePeer::ClosePull() {
  EndPull(absl::CancelledError("closed"));
}

void QueuePeer::Fetch(const std::vector<EntityKey>& keys) {
  const absl::Status taken =
      service_.executor().SubmitRead([&service = service_, link = link_, keys,
                                      who = Service::Device(device_), witness = witness_] {
        const absl::StatusOr<FetchPage> page = service.engine().Fetch(who, keys, witness);
        if (!page.ok()) {
          return link->Post(
              0, [status = page.status()](AgentCore& core) { core.OnFetchFailed(status); });
        }
        const IncomingFetch fetch{page->versions, page->missing, page->witness, page->epoch,
                                  page->server_time};
        link->Post(0, [fetch](AgentCore& core) { core.OnFetched(fetch); });
      });
  if (taken.ok()) return;
  link_->Post(0, [taken](AgentCore& core) { core.OnFetchFailed(taken); });
}

}  // namespace ptdoc::sync::threads
