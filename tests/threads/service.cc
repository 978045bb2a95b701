#include "tests/threads/service.h"

#include <utility>

#include "common/base/status.h"

namespace ptdoc::sync::threads {
namespace {

constexpr absl::Duration kMaintainEvery = absl::Milliseconds(5);

std::unique_ptr<Store> OpenStore(const std::string& path, const Clock& clock, Rng& rng) {
  SqliteStoreOptions options;
  options.path = path;
  absl::StatusOr<std::unique_ptr<Store>> store = OpenSqliteStore(options, clock, rng);
  PT_CHECK(store.ok());
  return *std::move(store);
}

}  // namespace

Service::Service(const std::string& path)
    : store_(OpenStore(path, clock_, rng_)), engine_(*store_, clock_, rng_, EngineOptions()) {
  executor_ = std::make_unique<Executor>(engine_, feed_, ExecutorOptions());
  maintenance_ = std::thread([this] { Maintain(); });
}

Service::~Service() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  maintenance_.join();
  executor_->Stop();
}

void Service::Maintain() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    mutex_.Unlock();
    PT_CHECK(store_->Checkpoint().ok());
    PT_CHECK(store_->ChangeCounter().ok());
    // Refused only when there is more to do than this.
    executor_->SubmitWrite([this] { PT_CHECK(engine_.Prune().ok()); }).IgnoreError();
    mutex_.Lock();
    if (!stopping_) wake_.WaitFor(mutex_, kMaintainEvery);
  }
}

Principal Service::Device(const std::string& name) {
  Principal who;
  who.tenant = kTenant;
  who.device = name;
  return who;
}

void Service::Push(PushBatch batch, std::function<void(absl::StatusOr<PushAnswer>)> done) {
  PushJob job;
  job.bytes = 100 * (1 + batch.changes.size());
  job.authorize = [who = batch.who] { return absl::StatusOr<Principal>(who); };
  job.batch = std::move(batch);
  job.done = done;
  const absl::Status taken = executor_->SubmitPush(std::move(job));
  if (!taken.ok()) done(taken);
}

void PullStream::Start() {
  std::optional<Feed::Token> token;
  // Before the first page is read: what is committed in between wakes.
  if (follow_) {
    token =
        service_.feed().Subscribe(query_.who.tenant, [weak = weak_from_this()](Revision newest) {
          if (const auto self = weak.lock()) self->Wake(newest);
        });
  }
  MutexLock lock(mutex_);
  token_ = token;
  woken_ = true;
  Step();
}

void PullStream::Wake(Revision newest) {
  MutexLock lock(mutex_);
  if (newest != 0 && newest <= seen_) return;
  woken_ = true;
  Step();
}

void PullStream::Close() {
  std::optional<Feed::Token> token;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    token = std::exchange(token_, std::nullopt);
    while (busy_) idle_.Wait(mutex_);
  }
  if (token.has_value()) service_.feed().Unsubscribe(*token);
}

void PullStream::Step() {
  if (busy_ || closed_ || (caught_up_ && !woken_)) return;
  busy_ = true;
  woken_ = false;
  const absl::Status taken = service_.executor().SubmitRead(
      [self = shared_from_this()] { self->Read(); }, Executor::Load::kContinue);
  busy_ = taken.ok();
}

void PullStream::Read() {
  absl::StatusOr<PullPage> page =
      service_.engine().Pull(query_, resume_.has_value() ? &*resume_ : nullptr);
  const bool ok = page.ok();
  bool caught_up = false;
  if (ok) {
    resume_ = page->next;
    caught_up = page->caught_up;
  }
  const bool more = sink_(std::move(page));
  MutexLock lock(mutex_);
  busy_ = false;
  caught_up_ = caught_up;
  if (!more || !ok || (caught_up && !follow_)) closed_ = true;
  idle_.NotifyAll();
  Step();
}

}  // namespace ptdoc::sync::threads
