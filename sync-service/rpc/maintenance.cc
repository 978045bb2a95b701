#include "sync-service/rpc/maintenance.h"

#include <algorithm>
#include <memory>
#include <string>

#include "common/base/log.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

constexpr absl::Duration kTickMin = absl::Milliseconds(5);
constexpr absl::Duration kTickMax = absl::Milliseconds(250);
// Under a load that never pauses.
constexpr absl::Duration kBusyCheckpointInterval = absl::Seconds(1);

absl::Duration TickOf(const ServerOptions& options) {
  const absl::Duration finest = std::min(
      {options.heartbeat / 4, options.token_check_interval / 4, options.change_poll_interval});
  return std::clamp(finest, kTickMin, kTickMax);
}

absl::StatusOr<BatchEnd> NewestOf(Store& store, const std::string& tenant) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store.BeginRead());
  return reader->Newest(tenant);
}

// One bounded step, then the next one behind whatever waits by then.
void Prune(ServiceContext& service) {
  const absl::StatusOr<bool> more = service.engine.Prune();
  if (!more.ok()) {
    Log(LogLevel::kWarning, "prune.failed", {LogField::Error(more.status())});
    return;
  }
  if (!*more) return;
  // Refused only while the service stops.
  (void)service.executor.SubmitWrite([&service] { Prune(service); }, Executor::Load::kContinue);
}

}  // namespace

Maintenance::Maintenance(ServiceContext& service)
    : service_(service),
      tick_(TickOf(service.options)),
      pruned_at_(service.clock.Monotonic()),
      checkpointed_at_(service.clock.Monotonic()),
      thread_([this] { Loop(); }) {}

Maintenance::~Maintenance() {
  Stop();
}

void Maintenance::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool Maintenance::Sleep() {
  MutexLock lock(mutex_);
  if (!stopping_) wake_.WaitFor(mutex_, tick_);
  return !stopping_;
}

void Maintenance::Loop() {
  absl::Duration polled_at = service_.clock.Monotonic();
  while (Sleep()) {
    const absl::Duration now = service_.clock.Monotonic();
    service_.streams.Tick(now);
    service_.pages.DropOld();
    if (now - polled_at >= service_.options.change_poll_interval) {
      polled_at = now;
      LookForChanges();
      Checkpoint(now);
    }
    if (now - pruned_at_ >= service_.options.prune_interval) {
      pruned_at_ = now;
      SubmitPrune();
    }
  }
}

void Maintenance::LookForChanges() {
  const absl::StatusOr<int64_t> counter = service_.store.ChangeCounter();
  if (!counter.ok() || (counter.value() == seen_ && !untold_)) return;
  const bool first = !seen_.has_value();
  seen_ = *counter;
  if (first && service_.feed.Tenants().empty()) return;
  untold_ = false;
  (void)service_.executor.SubmitRead([this] { WakeFollowers(); }, Executor::Load::kContinue);
}

// The counter also moves with our own commits, of which the followers know
// already: they compare the revision with what they sent.
void Maintenance::WakeFollowers() {
  for (const std::string& tenant : service_.feed.Tenants()) {
    const absl::StatusOr<BatchEnd> newest = NewestOf(service_.store, tenant);
    if (newest.ok()) {
      service_.feed.Notify(tenant, newest->sequence);
    } else {
      untold_ = true;  // Tried again: the next change may be hours away.
    }
  }
}

void Maintenance::SubmitPrune() {
  ServiceContext& service = service_;
  (void)service_.executor.SubmitWrite([&service] { Prune(service); }, Executor::Load::kContinue);
}

void Maintenance::Checkpoint(absl::Duration now) {
  const bool rested = now - checkpointed_at_ >= kBusyCheckpointInterval;
  if (seen_ == checkpointed_ || !(rested || service_.executor.WriterIdle())) return;
  checkpointed_at_ = now;
  const absl::Status status = service_.store.Checkpoint();
  if (status.ok()) {
    checkpointed_ = seen_;
  } else {
    Log(LogLevel::kDebug, "checkpoint.failed", {LogField::Error(status)});
  }
}

}  // namespace ptdoc::sync
