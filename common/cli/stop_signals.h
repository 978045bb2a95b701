#pragma once

#include <csignal>

#include "absl/time/time.h"

namespace ptdoc::sync {

// The signals that end a daemon or a watch, taken by one thread that waits for them.
class StopSignals {
 public:
  // Blocks them for this thread and all that it starts, and ignores SIGPIPE: to
  // be made before any other thread exists.
  StopSignals();

  // Returns at SIGTERM or SIGINT. SIGHUP is taken and changes nothing: tokens
  // and certificates are noticed by themselves.
  void Wait() const;
  // True if one of them, or SIGHUP, came within `time`.
  bool WaitFor(absl::Duration time) const;

 private:
  sigset_t set_;
};

}  // namespace ptdoc::sync
