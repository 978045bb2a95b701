#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ptdoc::sync {

// When to ask again whether somebody committed. A file event can come before
// the commit can be seen (with synchronous=FULL it nearly always does: the
// fsync lies between the write to the -wal file and the update of its index):
// so ask at once, then every 100 us up to 20 times, which is as long as an fsync
// mostly takes, then every millisecond up to 10 times, then every 5 ms up to 20
// times, counted from the last event or change. Pure; times are monotonic.
class RecheckSchedule {
 public:
  static constexpr int kEagerTries = 20;
  static constexpr int kFastTries = 10;
  static constexpr int kTriesMax = 20;

  // An event came. While tries are under way, and none has seen a change, only
  // the number of the slow ones starts anew, so that the thousands of events of one
  // large transaction cost a try per millisecond.
  void Triggered(absl::Duration now);
  // True if it is time to ask.
  bool Due(absl::Duration now) const { return now >= next_; }
  // It was asked.
  void Tried(absl::Duration now, bool changed);
  absl::Duration next() const { return next_; }

 private:
  int eager_ = 0;
  int tries_ = 0;
  bool changed_ = false;  // since the last event
  absl::Duration next_ = absl::InfiniteDuration();
};

// File events of the app's database: its -wal file written or made, and in
// rollback mode the file itself written or its journal removed. Watches the
// directory, so that files which come and go are seen. Belongs to one thread.
class Watcher {
 public:
  // UNAVAILABLE where the system gives no file events (its limit of watches is
  // reached, a file system without them); asking once a second is left then.
  static absl::StatusOr<std::unique_ptr<Watcher>> Create(const std::string& database);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Readable when events wait; for poll().
  int fd() const { return fd_; }
  // Takes all that wait. True if one of them concerns the database, or events
  // were lost. Never blocks.
  bool Take();

 private:
  Watcher(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  bool Concerns(const char* file) const;

  const int fd_;
  const std::string name_;  // of the file inside its directory
};

}  // namespace ptdoc::sync
