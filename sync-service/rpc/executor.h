#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "sync-service/engine/engine.h"
#include "sync-service/feed/feed.h"
#include "sync-service/rpc/own_batches.h"

namespace ptdoc::sync {

struct ExecutorOptions {
  size_t readers = 2;
  // Bounds of what waits; beyond them callers are told to come back later.
  size_t write_queue_max = 1024;
  size_t write_queue_bytes_max = 64 << 20;
  size_t read_queue_max = 1024;
  // Bounds of one group commit.
  size_t group_batches_max = 64;
  size_t group_bytes_max = 8 << 20;
};

// One batch on its way to the writer thread.
struct PushJob {
  PushBatch batch;
  size_t bytes = 0;  // of its message
  // Runs on the writer thread before the batch is decided, and fills batch.who;
  // an error is the batch's answer.
  std::function<absl::StatusOr<Principal>()> authorize;
  // Runs on the writer thread, exactly once, after COMMIT returned. Must not block.
  std::function<void(absl::StatusOr<PushAnswer>)> done;
};

// The threads on which the store is used: one writer, a few readers, each with
// a bounded queue, so that no gRPC thread ever waits for the disk. The writer
// takes all batches that wait into one group commit. Thread-safe.
class Executor {
 public:
  enum class Load {
    kNewCall,   // refused with OVERLOADED when the queue is full
    kContinue,  // the next step of a call that was taken before: never refused for load
  };

  // All must outlive this. Notifies `feed` of every batch that grew it.
  Executor(Engine& engine, Feed& feed, ExecutorOptions options);
  ~Executor();  // Stop()
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // What streams need not show of the batches that ran here.
  OwnBatches& own_batches() { return own_batches_; }

  // RESOURCE_EXHAUSTED with OVERLOADED and a retry delay when the queue is
  // full; UNAVAILABLE with DRAINING after Stop. `job.done` is not called then.
  absl::Status SubmitPush(PushJob job);
  // Anything else that writes (or may): runs alone on the writer thread, in
  // order with the batches. Same errors; `job` is not called then.
  absl::Status SubmitWrite(std::function<void()> job, Load load = Load::kNewCall);
  absl::Status SubmitRead(std::function<void()> job, Load load = Load::kNewCall);

  // Nothing waits and nothing runs on the writer thread.
  bool WriterIdle() const;

  // Takes nothing new, finishes what waits, joins the threads. Idempotent.
  void Stop();

 private:
  struct WriteJob {
    bool is_push = false;
    PushJob push;
    std::function<void()> run;
  };

  absl::Status EnqueueWrite(WriteJob job, Load load);
  void WriterLoop();
  void ReaderLoop();
  // Waits for work; false when stopped and drained. A single generic job, or
  // consecutive batches within the group's bounds.
  bool TakeWriteJobs(std::vector<WriteJob>* jobs);
  bool TakeReadJob(std::function<void()>* job);
  void RunGroup(std::vector<WriteJob> jobs);

  Engine& engine_;
  Feed& feed_;
  OwnBatches own_batches_;
  const ExecutorOptions options_;

  mutable Mutex mutex_;
  CondVar write_ready_;
  CondVar read_ready_;
  std::deque<WriteJob> writes_ ABSL_GUARDED_BY(mutex_);
  size_t write_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writer_busy_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> reads_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace ptdoc::sync
