#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "common/base/rng.h"
#include "sync-service/engine/engine.h"
#include "sync-service/feed/feed.h"
#include "sync-service/rpc/executor.h"
#include "sync-service/store/sqlite_store.h"

namespace ptdoc::sync::threads {

inline constexpr char kTenant[] = "clinic";

// The service without its network: store, engine, feed and executor as they are,
// with all their threads, and one that maintains the store all the time.
class Service {
 public:
  explicit Service(const std::string& path);
  ~Service();

  static Principal Device(const std::string& name);
  // `done` runs on the writer thread.
  void Push(PushBatch batch, std::function<void(absl::StatusOr<PushAnswer>)> done);

  Engine& engine() { return engine_; }
  Executor& executor() { return *executor_; }
  Feed& feed() { return feed_; }
  Store& store() { return *store_; }
  const Clock& clock() const { return clock_; }
  Rng& rng() { return rng_; }

 private:
  void Maintain();

  SystemClock clock_;
  SystemRng rng_;
  const std::unique_ptr<Store> store_;
  Engine engine_;
  Feed feed_;
  std::unique_ptr<Executor> executor_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread maintenance_;
};

// One pull as the service's streams do it: a step at a time on a reader thread,
// woken by the feed. Thread-safe.
class PullStream : public std::enable_shared_from_this<PullStream> {
 public:
  // Runs on a reader thread, one call at a time. False: no more is wanted.
  using Sink = std::function<bool(absl::StatusOr<PullPage>)>;

  PullStream(Service& service, PullQuery query, bool follow, Sink sink)
      : service_(service), query_(std::move(query)), follow_(follow), sink_(std::move(sink)) {}

  void Start();
  // When this returns the sink does not run and will never run again. Not to be
  // called from the sink.
  void Close();

 private:
  void Wake(Revision newest);
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read();

  Service& service_;
  PullQuery query_;                     // of the job that reads
  std::optional<PullPosition> resume_;  // the same
  const bool follow_;
  const Sink sink_;
  Mutex mutex_;
  CondVar idle_;
  std::optional<Feed::Token> token_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  Revision seen_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ptdoc::sync::threads
