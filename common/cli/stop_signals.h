#pragma once

#include <csignal>

namespace ptdoc::sync {

// The signals that end a daemon, taken by one thread that waits for them.
class StopSignals {
 public:
  // Blocks them for this thread and all that it starts, and ignores SIGPIPE: to
  // be made before any other thread exists.
  StopSignals();

  // Returns at SIGTERM or SIGINT. SIGHUP is taken and changes nothing: tokens
  // and certificates are noticed by themselves.
  void Wait() const;

 private:
  sigset_t set_;
};

}  // namespace ptdoc::sync
