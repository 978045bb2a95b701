#include "device-agent/loop/watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ptdoc::sync {
namespace {

constexpr uint32_t kMask = IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_ONLYDIR;
// Room for a good many events at once: one large commit makes thousands.
constexpr size_t kBufferBytes = size_t{64} << 10;

absl::Status SystemError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// The file itself, not a link to it: SQLite puts its -wal beside the file.
std::string RealPath(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;
  std::string real(resolved);
  std::free(resolved);
  return real;
}

}  // namespace

void RecheckSchedule::Triggered(absl::Duration now) {
  tries_ = 0;
  if (next_ != absl::InfiniteDuration() && !changed_) return;
  eager_ = 0;
  changed_ = false;
  next_ = now;
}

void RecheckSchedule::Tried(absl::Duration now, bool changed) {
  // Behind the commit that was seen another one may be on its way, whose event
  // came already.
  if (changed) {
    changed_ = true;
    eager_ = kEagerTries;
    tries_ = 0;
  } else if (eager_ < kEagerTries) {
    ++eager_;
    next_ = now + absl::Microseconds(100);
    return;
  } else {
    ++tries_;
  }
  if (tries_ > kTriesMax) {
    next_ = absl::InfiniteDuration();
    return;
  }
  next_ = now + (tries_ <= kFastTries ? absl::Milliseconds(1) : absl::Milliseconds(5));
}

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Create(const std::string& database) {
  const std::string path = RealPath(database);
  const size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : (slash == 0 ? "/" : path.substr(0, slash));
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return SystemError("no file events");
  std::unique_ptr<Watcher> watcher(new Watcher(fd, name));
  if (inotify_add_watch(fd, directory.c_str(), kMask) < 0) {
    return SystemError("no file events for the database's directory");
  }
  return watcher;
}

Watcher::~Watcher() {
  close(fd_);
}

bool Watcher::Concerns(const char* file) const {
  const absl::string_view event(file);
  if (event.substr(0, name_.size()) != name_) return false;
  const absl::string_view suffix = event.substr(name_.size());
  return suffix.empty() || suffix == "-wal" || suffix == "-journal";
}

bool Watcher::Take() {
  alignas(inotify_event) char buffer[kBufferBytes];
  bool concerned = false;
  while (true) {
    const ssize_t size = read(fd_, buffer, sizeof(buffer));
    if (size <= 0) return concerned;
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof(event));
      const char* name = buffer + at + sizeof(event);
      if ((event.mask & IN_Q_OVERFLOW) != 0 || (event.len > 0 && Concerns(name))) concerned = true;
      at += static_cast<ssize_t>(sizeof(event) + event.len);
    }
  }
}

}  // namespace ptdoc::sync
