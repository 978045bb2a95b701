#include "sync-service/rpc/pull_reactor.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/rpc/status.h"
#include "common/wire/values.h"
#include "sync-service/rpc/message.h"
#include "sync-service/rpc/pull_source.h"

namespace ptdoc::sync {
namespace {

// One write and one read of the store may be outstanding; writes and Finish are
// started in Step(), under the lock (see push_reactor.cc).
class PullReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                          public Stream,
                          public std::enable_shared_from_this<PullReactor> {
 public:
  PullReactor(ServiceContext& service, grpc::CallbackServerContext* context,
              const v1::PullRequest& request)
      : service_(service),
        context_(context),
        call_(service, Method::kPull, *context),
        source_(service.engine, service.pages, service.clock, request),
        follow_(request.follow() && !source_.is_fetch()),
        stream_id_(request.stream_id()) {
    if (request.has_queue()) report_ = QueueHealthFromProto(request.queue());
  }

  // `request`: whether that could be read.
  void Begin(const absl::Status& request) {
    self_ = shared_from_this();
    service_.streams.Add(self_);
    absl::Status submitted = call_.Admit();
    if (submitted.ok()) submitted = request;
    if (submitted.ok()) {
      submitted = service_.executor.SubmitRead([self = self_] { self->First(); });
    }
    if (!submitted.ok()) EndWith(submitted);
  }

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Tick(absl::Duration now) override;
  void Drain() override { EndWith(DrainingError()); }

 private:
  // These three run on executor threads, one at a time but for Recheck.
  void First();
  void ReadNext();
  void Recheck();

  absl::Status Prepare();
  void Wake(Revision newest);
  void Take(absl::StatusOr<PullStep> step);
  // The stream ends with `status` after the message that is being written.
  void EndWith(const absl::Status& status);
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SubmitNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FeedMessage Heartbeat() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ServiceContext& service_;
  grpc::CallbackServerContext* const context_;  // alive until OnDone
  const Call call_;
  PullSource source_;  // of the one job that is reading
  const bool follow_;
  const std::string stream_id_;
  std::optional<QueueHealth> report_;
  std::shared_ptr<PullReactor> self_;  // until OnDone

  Mutex mutex_;
  std::deque<grpc::ByteBuffer> outbox_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer current_ ABSL_GUARDED_BY(mutex_);  // being written
  std::optional<FeedMessage> quiet_ ABSL_GUARDED_BY(mutex_);
  std::optional<Feed::Token> subscription_ ABSL_GUARDED_BY(mutex_);
  bool authorized_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = true;  // a job reads, or is to: First
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  // Since the last read began: newer revisions, of which only the store knows.
  bool unknown_ ABSL_GUARDED_BY(mutex_) = false;
  Revision known_ ABSL_GUARDED_BY(mutex_) = 0;  // the newest heard of
  Revision seen_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status ending_ ABSL_GUARDED_BY(mutex_);
  absl::Duration ending_since_ ABSL_GUARDED_BY(mutex_);
  absl::Duration checked_at_ ABSL_GUARDED_BY(mutex_);
  absl::Duration written_at_ ABSL_GUARDED_BY(mutex_);
  absl::Status final_ ABSL_GUARDED_BY(mutex_);
  int64_t messages_ ABSL_GUARDED_BY(mutex_) = 0;
};

void PullReactor::First() {
  const absl::Status status = Prepare();
  if (!status.ok()) return Take(status);
  {
    MutexLock lock(mutex_);
    authorized_ = true;
    checked_at_ = service_.clock.Monotonic();
    written_at_ = checked_at_;
  }
  ReadNext();
}

// Subscribes before the first page is read: what is committed in between wakes.
absl::Status PullReactor::Prepare() {
  PT_ASSIGN_OR_RETURN(const Principal who, call_.Authorize());
  if (report_.has_value()) {
    PushJob report;
    report.batch.queue = report_;
    report.authorize = [who] { return absl::StatusOr<Principal>(who); };
    report.done = [](const absl::StatusOr<PushAnswer>&) {};
    // A report that is lost is no reason to refuse the pull.
    (void)service_.executor.SubmitPush(std::move(report));
  }
  if (!follow_) return absl::OkStatus();
  source_.set_own(service_.executor.own_batches().Open(who, stream_id_));
  const Feed::Token token =
      service_.feed.Subscribe(who.tenant, [weak = weak_from_this()](Revision newest) {
        if (const auto self = weak.lock()) self->Wake(newest);
      });
  {
    MutexLock lock(mutex_);
    if (!finished_) subscription_ = token;
    if (subscription_.has_value()) return absl::OkStatus();
  }
  service_.feed.Unsubscribe(token);
  return absl::CancelledError("The caller went away.");
}

void PullReactor::ReadNext() {
  std::optional<Revision> known;
  {
    MutexLock lock(mutex_);
    if (!std::exchange(unknown_, false)) known = known_;
  }
  const absl::StatusOr<Principal> who = call_.Authorize();
  Take(who.ok() ? source_.Next(*who, known) : who.status());
}

void PullReactor::Take(absl::StatusOr<PullStep> step) {
  if (!step.ok()) return EndWith(step.status());
  std::vector<grpc::ByteBuffer> messages;
  for (const FeedMessage& message : step->messages) {
    absl::StatusOr<grpc::ByteBuffer> bytes = BytesOf(message);
    if (!bytes.ok()) return EndWith(bytes.status());
    messages.push_back(*std::move(bytes));
  }
  MutexLock lock(mutex_);
  busy_ = false;
  caught_up_ = step->caught_up;
  if (step->seen > 0) seen_ = step->seen;
  if (step->quiet.has_value()) {
    quiet_ = std::move(step->quiet);
  } else if (!messages.empty()) {
    quiet_.reset();
  }
  for (grpc::ByteBuffer& message : messages) outbox_.push_back(std::move(message));
  Step();
}

void PullReactor::Recheck() {
  const absl::Status status = call_.Authorize(Authenticator::Freshness::kFromStore).status();
  // Only a refusal ends the stream, not a store that is away for a moment.
  if (absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status)) EndWith(status);
}

void PullReactor::Wake(Revision newest) {
  MutexLock lock(mutex_);
  if (newest != 0 && newest <= seen_) return;
  woken_ = true;
  unknown_ = unknown_ || newest == 0;
  known_ = std::max(known_, newest);
  Step();
}

void PullReactor::EndWith(const absl::Status& status) {
  MutexLock lock(mutex_);
  if (ending_.ok()) {
    ending_ = status;
    ending_since_ = service_.clock.Monotonic();
  }
  Step();
}

void PullReactor::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  // Not as long as the follower is quiet: a page has up to a thousand rows.
  current_.Clear();
  ++messages_;
  cancelled_ = cancelled_ || !ok;
  Step();
}

void PullReactor::OnCancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  Step();
}

FeedMessage PullReactor::Heartbeat() {
  FeedMessage message;
  if (quiet_.has_value()) message = *std::exchange(quiet_, std::nullopt);
  TimeToProto(service_.clock.Now(), message.own.mutable_server_time());
  return message;
}

void PullReactor::Tick(absl::Duration now) {
  MutexLock lock(mutex_);
  if (finished_) return;
  if (!ending_.ok() && writing_ && now - ending_since_ > kEndPatience) {
    context_->TryCancel();
    return;
  }
  if (!authorized_ || !ending_.ok()) return;
  // A little early, because ticks come a little late.
  const absl::Duration silence = service_.options.heartbeat * 0.9;
  if (follow_ && !writing_ && outbox_.empty() && now - written_at_ >= silence) {
    absl::StatusOr<grpc::ByteBuffer> bytes = BytesOf(Heartbeat());
    if (bytes.ok()) outbox_.push_back(*std::move(bytes));
    Step();
  }
  if (now - checked_at_ < service_.options.token_check_interval) return;
  checked_at_ = now;
  // Refused only while the executor stops: then the stream is draining anyway.
  (void)service_.executor.SubmitRead([self = shared_from_this()] { self->Recheck(); },
                                     Executor::Load::kContinue);
}

void PullReactor::Step() {
  if (finished_ || writing_) return;
  if (cancelled_) return FinishNow(absl::CancelledError("The caller went away."));
  if (!ending_.ok()) return FinishNow(ending_);
  if (!outbox_.empty()) {
    current_.Swap(&outbox_.front());
    outbox_.pop_front();
    writing_ = true;
    written_at_ = service_.clock.Monotonic();
    StartWrite(&current_);
    return;
  }
  if (busy_) return;
  if (!caught_up_ || woken_) return SubmitNext();
  if (!follow_) FinishNow(absl::OkStatus());
}

void PullReactor::SubmitNext() {
  busy_ = true;
  woken_ = false;
  const absl::Status submitted = service_.executor.SubmitRead(
      [self = shared_from_this()] { self->ReadNext(); }, Executor::Load::kContinue);
  if (!submitted.ok()) FinishNow(submitted);
}

void PullReactor::FinishNow(const absl::Status& status) {
  finished_ = true;
  final_ = status;
  Finish(ToGrpcStatus(status));
}

void PullReactor::OnDone() {
  const std::shared_ptr<PullReactor> keep = std::move(self_);
  std::optional<Feed::Token> subscription;
  absl::Status status;
  int64_t messages = 0;
  {
    MutexLock lock(mutex_);
    subscription = std::exchange(subscription_, std::nullopt);
    status = final_;
    messages = messages_;
  }
  if (subscription.has_value()) service_.feed.Unsubscribe(*subscription);
  call_.LogEnd(status, messages);
  service_.streams.Remove(this);
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(ServiceContext& service,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer& bytes) {
  v1::PullRequest request;
  grpc::ByteBuffer read = bytes;  // shares the bytes with gRPC's
  const absl::Status status = ReadMessage("PullRequest", &read, &request);
  if (!status.ok()) request.Clear();
  const auto reactor = std::make_shared<PullReactor>(service, context, request);
  reactor->Begin(status);
  return reactor.get();
}

}  // namespace ptdoc::sync
