#include "common/cli/stop_signals.h"

#include <pthread.h>

#include <initializer_list>

namespace ptdoc::sync {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set_, number);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void StopSignals::Wait() const {
  int number = SIGHUP;
  while (number == SIGHUP && sigwait(&set_, &number) == 0) continue;
}

bool StopSignals::WaitFor(absl::Duration time) const {
  const timespec limit = absl::ToTimespec(time);
  return sigtimedwait(&set_, nullptr, &limit) > 0;
}

}  // namespace ptdoc::sync
