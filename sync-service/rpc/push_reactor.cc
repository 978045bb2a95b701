#include "sync-service/rpc/push_reactor.h"

#include <deque>
#include <memory>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/status.h"
#include "common/wire/compression.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"
#include "sync-service/rpc/answers.h"
#include "sync-service/rpc/message.h"

namespace ptdoc::sync {
namespace {

// Compressed rows count in full in the queue of what waits, and no more of them
// may come than without compression.
absl::Status Expand(v1::PushRequest* request, size_t* bytes) {
  if (request->compressed_tables().empty()) return absl::OkStatus();
  PT_RETURN_IF_ERROR(
      ExpandTables(request->compressed_tables(), kMessageBytesMax, request->mutable_tables()));
  request->clear_compressed_tables();
  *bytes = request->ByteSizeLong();
  return absl::OkStatus();
}

absl::StatusOr<PushBatch> BatchFromProto(v1::PushRequest* request) {
  PushBatch batch;
  PT_ASSIGN_OR_RETURN(batch.changes,
                      ChangesFromProto(request->mutable_changes(), request->mutable_tables()));
  batch.batch_id = std::move(*request->mutable_batch_id());
  batch.cursor = std::move(*request->mutable_cursor());
  batch.witness = std::move(*request->mutable_witness());
  if (request->has_queue()) batch.queue = QueueHealthFromProto(request->queue());
  batch.settle = request->settle();
  batch.pull_stream = std::move(*request->mutable_pull_stream());
  return batch;
}

// gRPC allows one outstanding read, one outstanding write and one Finish, with
// no write outstanding. All three are started in Step(), under the lock, so that
// no two threads can break that rule. (They complete on other threads: none of
// them calls back into us before it returns.)
class PushReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public Stream,
                          public std::enable_shared_from_this<PushReactor> {
 public:
  PushReactor(ServiceContext& service, grpc::CallbackServerContext* context)
      : service_(service), context_(context), call_(service, Method::kPush, *context) {}

  void Begin() {
    self_ = shared_from_this();
    service_.streams.Add(self_);
    absl::Status submitted = call_.Admit();
    if (submitted.ok()) {
      submitted = service_.executor.SubmitRead([self = self_] { self->Authorize(); });
    }
    if (!submitted.ok()) EndWith(submitted);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Tick(absl::Duration now) override;
  void Drain() override { EndWith(DrainingError()); }

 private:
  // One batch that was read, until its answer is written.
  struct Slot {
    bool ready = false;
    absl::Status status;
    grpc::ByteBuffer response;
  };

  void Authorize();
  void Recheck();
  // No more batches; the stream ends with `status` after those that were taken.
  void EndWith(const absl::Status& status);
  void Submit(const std::shared_ptr<Slot>& slot);
  void Answer(const std::shared_ptr<Slot>& slot, absl::StatusOr<PushAnswer> answer);
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StepWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ServiceContext& service_;
  grpc::CallbackServerContext* const context_;  // alive until OnDone
  const Call call_;
  std::shared_ptr<PushReactor> self_;  // until OnDone
  grpc::ByteBuffer request_;           // belongs to the read that is outstanding

  Mutex mutex_;
  std::deque<std::shared_ptr<Slot>> slots_ ABSL_GUARDED_BY(mutex_);
  bool authorized_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status ending_ ABSL_GUARDED_BY(mutex_);
  absl::Duration ending_since_ ABSL_GUARDED_BY(mutex_);
  absl::Duration checked_at_ ABSL_GUARDED_BY(mutex_);
  absl::Status final_ ABSL_GUARDED_BY(mutex_);
  int64_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
};

void PushReactor::Authorize() {
  const absl::Status status = call_.Authorize().status();
  if (!status.ok()) return EndWith(status);
  MutexLock lock(mutex_);
  authorized_ = true;
  checked_at_ = service_.clock.Monotonic();
  Step();
}

void PushReactor::Recheck() {
  const absl::Status status = call_.Authorize(Authenticator::Freshness::kFromStore).status();
  // Only a refusal ends the stream, not a store that is away for a moment.
  if (absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status)) EndWith(status);
}

void PushReactor::EndWith(const absl::Status& status) {
  MutexLock lock(mutex_);
  if (ending_.ok()) {
    ending_ = status;
    ending_since_ = service_.clock.Monotonic();
  }
  Step();
}

void PushReactor::OnReadDone(bool ok) {
  if (ok) {
    auto slot = std::make_shared<Slot>();
    {
      MutexLock lock(mutex_);
      // A batch that came after the end was decided is not taken.
      ok = ending_.ok() && !finished_ && !cancelled_;
      if (ok) slots_.push_back(slot);
    }
    if (ok) Submit(slot);
  }
  MutexLock lock(mutex_);
  reading_ = false;
  read_closed_ = read_closed_ || !ok;
  Step();
}

// Runs while reading_ is still set, so nothing else touches request_.
void PushReactor::Submit(const std::shared_ptr<Slot>& slot) {
  PushJob job;
  job.bytes = request_.Length();
  google::protobuf::Arena arena(ArenaOfMessage());
  v1::PushRequest& request = *google::protobuf::Arena::CreateMessage<v1::PushRequest>(&arena);
  absl::Status status = ReadMessage("PushRequest", &request_, &request);
  if (status.ok()) status = Expand(&request, &job.bytes);
  if (status.ok()) {
    absl::StatusOr<PushBatch> batch = BatchFromProto(&request);
    status = batch.status();
    if (batch.ok()) job.batch = *std::move(batch);
  }
  if (status.ok()) {
    job.authorize = [self = shared_from_this()] { return self->call_.Authorize(); };
    job.done = [self = shared_from_this(), slot](absl::StatusOr<PushAnswer> answer) {
      self->Answer(slot, std::move(answer));
    };
    status = service_.executor.SubmitPush(std::move(job));
  }
  if (!status.ok()) Answer(slot, std::move(status));
}

void PushReactor::Answer(const std::shared_ptr<Slot>& slot, absl::StatusOr<PushAnswer> answer) {
  grpc::ByteBuffer response;
  absl::Status status = answer.status();
  if (status.ok()) {
    google::protobuf::Arena arena(ArenaOfMessage());
    v1::PushResponse& message = *google::protobuf::Arena::CreateMessage<v1::PushResponse>(&arena);
    PushAnswerToProto(*std::move(answer), &message);
    status = WriteMessage(message, &response);
  }
  MutexLock lock(mutex_);
  slot->status = std::move(status);
  slot->response.Swap(&response);
  slot->ready = true;
  Step();
}

void PushReactor::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  slots_.pop_front();
  ++answered_;
  cancelled_ = cancelled_ || !ok;
  Step();
}

void PushReactor::OnCancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  Step();
}

void PushReactor::Tick(absl::Duration now) {
  MutexLock lock(mutex_);
  if (finished_) return;
  if (!ending_.ok() && writing_ && now - ending_since_ > kEndPatience) {
    context_->TryCancel();
    return;
  }
  if (!authorized_ || now - checked_at_ < service_.options.token_check_interval) return;
  checked_at_ = now;
  // Refused only while the executor stops: then the stream is draining anyway.
  (void)service_.executor.SubmitRead([self = shared_from_this()] { self->Recheck(); },
                                     Executor::Load::kContinue);
}

void PushReactor::Step() {
  if (finished_) return;
  StepWrite();
  const bool may_read = authorized_ && !finished_ && !cancelled_ && ending_.ok() && !reading_ &&
                        !read_closed_ && slots_.size() < kUnansweredBatchesMax;
  if (!may_read) return;
  reading_ = true;
  StartRead(&request_);
}

void PushReactor::StepWrite() {
  if (writing_) return;
  if (cancelled_) return FinishNow(absl::CancelledError("The caller went away."));
  if (slots_.empty()) {
    if (!ending_.ok()) return FinishNow(ending_);
    if (read_closed_) FinishNow(absl::OkStatus());
    return;
  }
  const std::shared_ptr<Slot>& first = slots_.front();
  if (!first->ready) return;
  if (!first->status.ok()) return FinishNow(first->status);
  writing_ = true;
  StartWrite(&first->response);
}

void PushReactor::FinishNow(const absl::Status& status) {
  finished_ = true;
  final_ = status;
  Finish(ToGrpcStatus(status));
}

void PushReactor::OnDone() {
  const std::shared_ptr<PushReactor> keep = std::move(self_);
  absl::Status status;
  int64_t answered = 0;
  {
    MutexLock lock(mutex_);
    status = final_;
    answered = answered_;
  }
  call_.LogEnd(status, answered);
  service_.streams.Remove(this);
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartPush(
    ServiceContext& service, grpc::CallbackServerContext* context) {
  const auto reactor = std::make_shared<PushReactor>(service, context);
  reactor->Begin();
  return reactor.get();
}

}  // namespace ptdoc::sync
