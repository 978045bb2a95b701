#include "tests/simulation/sim_peer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "tests/simulation/content_mark.h"
#include "tests/simulation/overhear.h"

namespace ptdoc::sync::sim {
namespace {

constexpr int kPagesUnderWayMax = 4;

}  // namespace

Principal SimPeer::Who() const {
  Principal who;
  who.tenant = kTenant;
  who.device = device_;
  who.agent = "simulated";
  who.rights = service_.RightsOf(device_);
  return who;
}

// Messages of one stream keep their order.
absl::Duration SimPeer::Delay(absl::Duration* last) {
  absl::Duration delay = world_.Between(absl::Milliseconds(1), absl::Milliseconds(20));
  if (world_.Chance(chaos_.slow)) delay = world_.Between(absl::Seconds(1), absl::Seconds(40));
  *last = std::max(*last + absl::Microseconds(1), world_.now() + delay);
  return *last - world_.now();
}

void SimPeer::Open(Stream* stream, bool push) {
  *stream = Stream{};
  if (process_.dead()) return;
  stream->id = ++last_stream_;
  stream->up = stream->down = world_.now();
  stream->deaf = world_.Chance(chaos_.blackhole);
  if (link_up_ && service_.up()) return;
  Close(stream, push, absl::UnavailableError("no connection"));
}

// The other side's end; what is on its way down arrives first.
void SimPeer::Close(Stream* stream, bool push, const absl::Status& status) {
  if (stream->id == 0 || stream->ended || stream->deaf) return;
  stream->ended = true;
  Overhear(world_, "the end of a stream", status.ToString());
  if (const std::string reason = ReasonOf(status); !reason.empty()) {
    world_.Count("told " + reason);
  }
  const int id = stream->id;
  world_.After(Delay(&stream->down), [self = shared_from_this(), id, push, status] {
    Stream& one = push ? self->push_ : self->pull_;
    if (one.id != id) return;
    one.id = 0;
    self->world_.Trace(absl::StrCat(self->device_, push ? ": push" : ": pull", " ends ",
                                    absl::StatusCodeToString(status.code()), " ",
                                    ReasonOf(status)));
    if (self->events_ == nullptr) return;
    push ? self->events_->OnPushClosed(status) : self->events_->OnPullClosed(status);
  });
}

void SimPeer::Deafen() {
  pull_.deaf = true;
}

void SimPeer::Break(bool may_be_silent) {
  for (Stream* stream : {&push_, &pull_}) {
    if (may_be_silent && world_.Chance(0.3)) {
      stream->deaf = true;
    } else {
      Close(stream, stream == &push_, absl::UnavailableError("connection lost"));
    }
  }
}

// --- Push.

void SimPeer::OpenPush() {
  Open(&push_, true);
}

void SimPeer::SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                        const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch.batch_id;
  message.changes = batch.changes;
  message.cursor = cursor;
  message.queue = queue;
  if (pull_.id != 0) message.pull_stream = absl::StrCat(pull_.id);
  if (expects_cursor_ && cursor.empty()) {
    world_.Fail("a batch does not show where its device stands: " + device_);
  }
  Send(std::move(message));
}

void SimPeer::SendSettle(const std::string& batch_id, const QueueHealth& queue) {
  PushBatch message;
  message.batch_id = batch_id;
  message.queue = queue;
  message.settle = true;
  Send(std::move(message));
}

void SimPeer::SendReport(const QueueHealth& queue) {
  PushBatch message;
  message.queue = queue;
  Send(std::move(message));
}

void SimPeer::Send(PushBatch batch) {
  batch.who = Who();
  batch.witness = witness_;
  if (process_.dead()) return;
  if (push_.id == 0 || push_.ended || !link_up_) return;  // Its end is on the way.
  const int id = push_.id;
  const auto arrive = [self = shared_from_this()](int stream, PushBatch message) {
    self->Arrive(stream, std::move(message));
  };
  if (world_.Chance(chaos_.doubled)) {
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(90)),
                 [arrive, batch] { arrive(0, batch); });
  }
  if (world_.Chance(chaos_.cut)) {
    const bool arrives = world_.Chance(0.5);
    if (arrives) {
      world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(90)),
                   [arrive, batch] { arrive(0, batch); });
    }
    return Close(&push_, true, absl::UnavailableError("connection reset"));
  }
  if (push_.deaf && world_.Chance(0.5)) return;
  world_.After(Delay(&push_.up),
               [arrive, id, batch = std::move(batch)]() mutable { arrive(id, std::move(batch)); });
}

absl::Status SimPeer::RandomRefusal() {
  switch (world_.rng().Below(5)) {
    case 0:
      return ReasonError(absl::StatusCode::kUnavailable, "DRAINING", "stops");
    case 1:
      return WithRetryAfterMs(
          ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED", "busy"), 3000);
    case 2:
      return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY", "no store");
    case 3:
      return ReasonError(absl::StatusCode::kUnauthenticated, "TOKEN_EXPIRED", "expired");
    default:
      return absl::InternalError("by a proxy");
  }
}

// `stream` 0: a copy that comes late or twice; nobody waits for its answer.
void SimPeer::Arrive(int stream, PushBatch batch) {
  if (stream != 0 && (push_.id != stream || push_.ended)) {
    // The stream broke after the message was on its way: it may still get there.
    if (world_.Chance(0.5)) return;
    stream = 0;
  }
  if (!service_.up()) {
    if (stream != 0) Close(&push_, true, absl::UnavailableError("connection refused"));
    return;
  }
  if (const absl::Status admitted = service_.Admit(device_); !admitted.ok()) {
    if (stream != 0) Close(&push_, true, admitted);
    return;
  }
  if (stream != 0 && world_.Chance(chaos_.refused)) {
    return Close(&push_, true, RandomRefusal());
  }
  const std::string pull_stream = batch.pull_stream;
  service_.Push(std::move(batch), [self = shared_from_this(), stream,
                                   pull_stream](const absl::StatusOr<PushAnswer>& answer) {
    if (answer.ok()) self->LeaveOut(pull_stream, *answer);
    if (stream == 0 || self->push_.id != stream || self->push_.ended) return;
    if (!answer.ok()) return self->Close(&self->push_, true, answer.status());
    if (self->world_.Chance(self->chaos_.cut)) {
      return self->Close(&self->push_, true, absl::UnavailableError("connection reset"));
    }
    IncomingAnswer incoming{answer->batch_id, answer->results, answer->voided,
                            answer->witness,  answer->epoch,   answer->server_time};
    self->Down(&self->push_, [self, incoming = std::move(incoming)] {
      if (self->events_ != nullptr) self->events_->OnPushAnswer(incoming);
    });
  });
}

// As the service does: whoever waits for the answer or not.
void SimPeer::LeaveOut(const std::string& pull_stream, const PushAnswer& answer) {
  const bool is_open = pull_.id != 0 && pull_stream == absl::StrCat(pull_.id) &&
                       pulling_.service_life == service_.life() && pulling_.next.has_value();
  if (!is_open || !answer.own.has_value()) return;
  pulling_.next->own.push_back(*answer.own);
  world_.Count("own batch left out of the feed");
}

void SimPeer::Down(Stream* stream, std::function<void()> deliver) {
  if (stream->deaf) return;
  const bool push = stream == &push_;
  const int id = stream->id;
  world_.After(Delay(&stream->down),
               [self = shared_from_this(), push, id, deliver = std::move(deliver)] {
                 if ((push ? self->push_ : self->pull_).id == id) deliver();
               });
}

void SimPeer::ClosePush() {
  const int id = std::exchange(push_.id, 0);
  if (id == 0) return;
  world_.After(absl::Microseconds(1), [self = shared_from_this()] {
    if (self->events_ != nullptr) self->events_->OnPushClosed(absl::CancelledError("closed"));
  });
}

// --- Pull.

void SimPeer::OpenPull(const std::string& cursor, const std::vector<std::string>& types,
                       bool follow, const QueueHealth&) {
  pulling_ = Pulling{};
  pulling_.follow = follow;
  pulling_.service_life = service_.life();
  pulling_.query.who = Who();
  pulling_.query.cursor = cursor;
  pulling_.query.witness = witness_;
  pulling_.query.types = types;
  const size_t sizes[] = {0, 1, 3, 10, 30};
  pulling_.query.page_size = sizes[world_.rng().Below(std::size(sizes))];
  Open(&pull_, false);
  const int id = pull_.id;
  if (id == 0) return;
  world_.After(Delay(&pull_.up), [self = shared_from_this(), id] { self->PumpPull(id); });
  Heartbeat(id);
}

void SimPeer::PumpPull(int stream) {
  if (pull_.id != stream || pull_.ended || !service_.up()) return;
  if (pulling_.service_life != service_.life()) return;  // It fell silent with that one.
  if (const absl::Status admitted = service_.Admit(device_); !admitted.ok()) {
    return Close(&pull_, false, admitted);
  }
  pulling_.query.who = Who();
  while (pulling_.under_way < kPagesUnderWayMax) {
    const absl::StatusOr<PullPage> page =
        service_.Pull(pulling_.query, pulling_.next.has_value() ? &*pulling_.next : nullptr);
    if (!page.ok()) return Close(&pull_, false, page.status());
    pulling_.next = page->next;
    if (world_.Chance(chaos_.cut)) {
      return Close(&pull_, false, absl::UnavailableError("connection reset"));
    }
    ++pulling_.under_way;
    IncomingPage incoming;
    incoming.versions = page->versions;
    incoming.cursor = page->cursor;
    incoming.batch_end = page->batch_end;
    incoming.caught_up = page->caught_up;
    incoming.remaining = page->remaining;
    incoming.refused_types = page->refused_types;
    incoming.epoch = page->epoch;
    incoming.server_time = page->server_time;
    pulling_.waiting = page->caught_up;
    Down(&pull_, [self = shared_from_this(), stream, incoming = std::move(incoming)] {
      --self->pulling_.under_way;
      if (self->events_ != nullptr) self->events_->OnPullPage(incoming);
      if (!self->pulling_.waiting) self->PumpPull(stream);
    });
    if (!page->caught_up) continue;
    if (!pulling_.follow) Close(&pull_, false, absl::OkStatus());
    return;
  }
}

void SimPeer::Wake() {
  if (pull_.id == 0 || !pulling_.waiting || !pulling_.follow) return;
  pulling_.waiting = false;
  PumpPull(pull_.id);
}

void SimPeer::Heartbeat(int stream) {
  world_.After(absl::Seconds(20), [self = shared_from_this(), stream] {
    if (self->pull_.id != stream || self->pull_.ended || !self->service_.up()) return;
    self->Down(&self->pull_, [self] {
      IncomingPage beat;
      beat.server_time = self->world_.clock().Now();
      if (self->events_ != nullptr) self->events_->OnPullPage(beat);
    });
    self->Heartbeat(stream);
  });
}

void SimPeer::ClosePull() {
  const int id = std::exchange(pull_.id, 0);
  if (id == 0) return;
  world_.After(absl::Microseconds(1), [self = shared_from_this()] {
    if (self->events_ != nullptr) self->events_->OnPullClosed(absl::CancelledError("closed"));
  });
}

void SimPeer::Fetch(const std::vector<EntityKey>& keys) {
  if (process_.dead()) return;
  const absl::Duration delay = world_.Between(absl::Milliseconds(2), absl::Milliseconds(40));
  const bool lost = world_.Chance(chaos_.cut) || !link_up_;
  world_.After(delay, [self = shared_from_this(), keys, lost, witness = witness_] {
    if (self->events_ == nullptr) return;
    if (lost || !self->service_.up()) {
      return self->events_->OnFetchFailed(absl::UnavailableError("connection reset"));
    }
    if (const absl::Status admitted = self->service_.Admit(self->device_); !admitted.ok()) {
      return self->events_->OnFetchFailed(admitted);
    }
    self->AskFor(keys, witness);
  });
}

void SimPeer::AskFor(const std::vector<EntityKey>& keys, const std::string& witness) {
  const absl::StatusOr<FetchPage> page = service_.Fetch(Who(), keys, witness);
  if (!page.ok()) return events_->OnFetchFailed(page.status());
  bool slow = world_.Chance(chaos_.slow);
  if (world_.Chance(15 * chaos_.ambush)) {
    if (world_.Chance(0.5) && AmbushFetch(keys, witness)) return;
    // The service is restored while its answer is on the way.
    world_.Count("ambush: restored behind a fetch");
    slow = true;
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(2)),
                 [self = shared_from_this()] { self->service_.SetBack(/*new_epoch=*/true); });
  }
  Tell(*page, absl::Milliseconds(1), slow ? absl::Seconds(40) : absl::Milliseconds(20));
}

void SimPeer::Tell(const FetchPage& page, absl::Duration at_least, absl::Duration at_most) {
  IncomingFetch fetch{page.versions, page.missing, page.witness, page.epoch, page.server_time};
  world_.After(world_.Between(at_least, at_most), [self = shared_from_this(), fetch] {
    if (self->events_ != nullptr) self->events_->OnFetched(fetch);
  });
}

// Once written and set back, nobody else has read what the answer tells.
void SimPeer::SetBackBehind(const std::vector<EntityKey>& keys, const std::string& witness) {
  if (events_ == nullptr) return;
  if (!service_.up()) return events_->OnFetchFailed(absl::UnavailableError("connection reset"));
  const absl::StatusOr<FetchPage> page = service_.Fetch(Who(), keys, witness);
  if (!page.ok()) return events_->OnFetchFailed(page.status());
  world_.After(absl::ZeroDuration(),
               [self = shared_from_this()] { self->service_.SetBack(/*new_epoch=*/true); });
  Tell(*page, absl::Seconds(8), absl::Seconds(25));
}

// Somebody writes to what is asked for, and the service is set back to before
// that while the answer is on its way.
bool SimPeer::AmbushFetch(const std::vector<EntityKey>& keys, const std::string& witness) {
  const auto versions = service_.record().history.find(keys.front());
  if (versions == service_.record().history.end()) return false;
  const Version& head = versions->second.back();
  if (head.deleted || head.key.type == "Transfer") return false;
  world_.Count("ambush: written, fetched and set back");
  service_.Backup();
  Change change;
  change.key = head.key;
  change.operation = Operation::kUpdate;
  change.base_revision = head.revision;
  change.base_check = head.check;
  change.last_modified = ToTimeNs(world_.clock().Now());
  change.fields = head.fields;
  for (const char* const column : {"Body", "Answers", "Note"}) {
    if (change.fields.Find(column) == nullptr) continue;
    change.fields.Set(column, Value::Text(absl::StrCat(kContentMark, " of the desk")));
  }
  PushBatch batch;
  batch.who.tenant = kTenant;
  batch.who.device = "desk";
  batch.batch_id = NewUuid(world_.rng());
  batch.changes.push_back(std::move(change));
  const auto asked = std::make_shared<bool>(false);
  const auto ask = [self = shared_from_this(), keys, witness, asked] {
    if (!std::exchange(*asked, true)) self->SetBackBehind(keys, witness);
  };
  service_.Push(std::move(batch), [ask](const absl::StatusOr<PushAnswer>&) { ask(); });
  // A service that dies of it answers nobody.
  world_.After(absl::Seconds(1), ask);
  return true;
}

}  // namespace ptdoc::sync::sim
