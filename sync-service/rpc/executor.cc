#include "sync-service/rpc/executor.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kRetryAfterMs = 1'000;

absl::Status Overloaded() {
  return WithRetryAfterMs(
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED",
                  "The service has more waiting than it takes. Nothing of this call was taken. "
                  "Send it again a little later."),
      kRetryAfterMs);
}

absl::Status Stopping() {
  return ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                     "The service is stopping. Nothing of this call was taken. Send it again.");
}

}  // namespace

Executor::Executor(Engine& engine, Feed& feed, ExecutorOptions options)
    : engine_(engine), feed_(feed), options_(options) {
  threads_.emplace_back([this] { WriterLoop(); });
  for (size_t i = 0; i < options_.readers; ++i) {
    threads_.emplace_back([this] { ReaderLoop(); });
  }
}

Executor::~Executor() {
  Stop();
}

absl::Status Executor::SubmitPush(PushJob job) {
  WriteJob write;
  write.is_push = true;
  write.push = std::move(job);
  return EnqueueWrite(std::move(write), Load::kNewCall);
}

absl::Status Executor::SubmitWrite(std::function<void()> job, Load load) {
  WriteJob write;
  write.run = std::move(job);
  return EnqueueWrite(std::move(write), load);
}

absl::Status Executor::EnqueueWrite(WriteJob job, Load load) {
  MutexLock lock(mutex_);
  if (stopping_) return Stopping();
  // One batch is always taken, however large: its size is bounded elsewhere.
  const bool full =
      writes_.size() >= options_.write_queue_max ||
      (!writes_.empty() && write_bytes_ + job.push.bytes > options_.write_queue_bytes_max);
  if (full && load == Load::kNewCall) return Overloaded();
  write_bytes_ += job.push.bytes;
  writes_.push_back(std::move(job));
  write_ready_.NotifyOne();
  return absl::OkStatus();
}

absl::Status Executor::SubmitRead(std::function<void()> job, Load load) {
  MutexLock lock(mutex_);
  if (stopping_) return Stopping();
  if (load == Load::kNewCall && reads_.size() >= options_.read_queue_max) return Overloaded();
  reads_.push_back(std::move(job));
  read_ready_.NotifyOne();
  return absl::OkStatus();
}

bool Executor::WriterIdle() const {
  MutexLock lock(mutex_);
  return writes_.empty() && !writer_busy_;
}

void Executor::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    write_ready_.NotifyAll();
    read_ready_.NotifyAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool Executor::TakeWriteJobs(std::vector<WriteJob>* jobs) {
  MutexLock lock(mutex_);
  writer_busy_ = false;
  while (writes_.empty() && !stopping_) write_ready_.Wait(mutex_);
  if (writes_.empty()) return false;
  writer_busy_ = true;
  size_t bytes = 0;
  do {
    bytes += writes_.front().push.bytes;
    jobs->push_back(std::move(writes_.front()));
    writes_.pop_front();
  } while (jobs->front().is_push && !writes_.empty() && writes_.front().is_push &&
           jobs->size() < options_.group_batches_max &&
           bytes + writes_.front().push.bytes <= options_.group_bytes_max);
  write_bytes_ -= bytes;
  return true;
}

void Executor::WriterLoop() {
  std::vector<WriteJob> jobs;
  while (TakeWriteJobs(&jobs)) {
    if (jobs.front().is_push) {
      RunGroup(std::move(jobs));
    } else {
      jobs.front().run();
    }
    jobs = {};
  }
}

void Executor::RunGroup(std::vector<WriteJob> jobs) {
  std::vector<PushBatch> batches;
  std::vector<PushJob*> taken;
  for (WriteJob& job : jobs) {
    absl::StatusOr<Principal> who = job.push.authorize();
    if (!who.ok()) {
      job.push.done(std::move(who).status());
      continue;
    }
    job.push.batch.who = *std::move(who);
    batches.push_back(std::move(job.push.batch));
    taken.push_back(&job.push);
  }
  if (batches.empty()) return;
  std::vector<absl::StatusOr<PushAnswer>> answers = engine_.Push(batches);
  PT_CHECK(answers.size() == batches.size());
  std::map<std::string, Revision> grown;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].ok() || !answers[i]->appended) continue;
    Revision& newest = grown[batches[i].who.tenant];
    newest = std::max(newest, answers[i]->newest);
    if (answers[i]->own.has_value()) {
      own_batches_.Note(batches[i].who, batches[i].pull_stream, *answers[i]->own);
    }
  }
  // Wake-ups before answers: other threads read for the followers while this one answers.
  for (const auto& [tenant, newest] : grown) feed_.Notify(tenant, newest);
  for (size_t i = 0; i < answers.size(); ++i) taken[i]->done(std::move(answers[i]));
}

bool Executor::TakeReadJob(std::function<void()>* job) {
  MutexLock lock(mutex_);
  while (reads_.empty() && !stopping_) read_ready_.Wait(mutex_);
  if (reads_.empty()) return false;
  *job = std::move(reads_.front());
  reads_.pop_front();
  return true;
}

void Executor::ReaderLoop() {
  std::function<void()> job;
  while (TakeReadJob(&job)) {
    job();
    job = nullptr;  // Frees what it holds before the next wait.
  }
}

}  // namespace ptdoc::sync
