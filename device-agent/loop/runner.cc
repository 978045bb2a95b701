#include "device-agent/loop/runner.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/base/log.h"
#include "common/base/status.h"

namespace ptdoc::sync {

Runner::Runner(std::string database, std::unique_ptr<Replica> replica, const PeerFactory& peer,
               const Clock& clock, Rng& rng, CoreOptions options)
    : database_(std::move(database)),
      clock_(clock),
      replica_(std::move(replica)),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  PT_CHECK(wake_fd_ >= 0);
  peer_ = peer(*this);
  core_ = std::make_unique<AgentCore>(*replica_, *peer_, clock_, rng, std::move(options));
}

Runner::~Runner() {
  Stop();
  core_.reset();
  peer_.reset();
  replica_.reset();
  close(wake_fd_);
}

void Runner::Start() {
  PT_CHECK(!thread_.joinable());
  absl::StatusOr<std::unique_ptr<Watcher>> watcher = Watcher::Create(database_);
  if (watcher.ok()) {
    watcher_ = std::move(*watcher);
  } else {
    Log(LogLevel::kWarning, "no_file_events", {LogField::Error(watcher.status())});
  }
  thread_ = std::thread([this] { Loop(); });
}

void Runner::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  // Full only if it is readable already.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
  // Closures may own what others wait for: drop them outside the lock.
  std::deque<Command> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(commands_);
  }
}

bool Runner::Post(Command command) {
  {
    MutexLock lock(mutex_);
    if (stopping_ || commands_.size() >= kCommandsMax) return false;
    commands_.push_back(std::move(command));
    if (commands_.size() > 1) return true;  // It is awake already.
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  return true;
}

bool Runner::stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

void Runner::Loop() {
  // What was posted before comes first: a pause holds from the beginning.
  RunCommands();
  core_->Start();
  ask_at_ = clock_.Monotonic() + kAskEvery;
  while (!stopping()) {
    Wait();
    RunCommands();
    LookForCommits();
    if (clock_.Monotonic() >= core_->NextDeadline()) core_->Tick();
  }
  // On its own thread, so that callbacks of requests run where they always do.
  core_.reset();
}

absl::Duration Runner::Timeout() const {
  const absl::Duration next = std::min({core_->NextDeadline(), ask_at_, recheck_.next()});
  return std::max(next - clock_.Monotonic(), absl::ZeroDuration());
}

void Runner::Wait() {
  pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {-1, POLLIN, 0}};
  if (watcher_ != nullptr) fds[1].fd = watcher_->fd();
  const timespec timeout = absl::ToTimespec(Timeout());
  ppoll(fds, 2, &timeout, nullptr);
  if ((fds[0].revents & POLLIN) != 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = read(wake_fd_, &count, sizeof(count));
  }
  if (watcher_ != nullptr && (fds[1].revents & POLLIN) != 0 && watcher_->Take()) {
    recheck_.Triggered(clock_.Monotonic());
  }
}

void Runner::RunCommands() {
  std::deque<Command> commands;
  {
    MutexLock lock(mutex_);
    commands.swap(commands_);
  }
  core_->Gather();
  for (Command& command : commands) {
    if (stopping()) return;
    command(*core_);
    command = nullptr;
  }
  core_->Gathered();
}

void Runner::LookForCommits() {
  const absl::Duration now = clock_.Monotonic();
  const bool by_event = recheck_.Due(now);
  if (!by_event && now < ask_at_) return;
  ask_at_ = now + kAskEvery;
  const absl::StatusOr<bool> changed = replica_->AppChanged();
  const bool yes = changed.ok() && *changed;
  if (by_event) recheck_.Tried(now, yes);
  if (yes) core_->OnCommitSeen();
}

}  // namespace ptdoc::sync
