#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptdoc::sync {

// flock() on a file of its own beside the store. SQLite's locks tell who uses
// the file that was opened; this one tells who uses the path, which is what
// counts when a restore puts another file there. Let go on destruction, or by
// the system when the process dies.
class FileLock {
 public:
  enum class Kind { kShared, kExclusive };

  // Never waits: UNAVAILABLE if somebody else's lock is in the way.
  static absl::StatusOr<FileLock> Take(const std::string& path, Kind kind);

  FileLock() = default;
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileLock();

  // Takes the file's one mark, a lock of its own that bars nobody from Take: its
  // holder means to stay. False if somebody else has it. Let go with the lock.
  absl::StatusOr<bool> TakeMark();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// Makes an empty file that only its owner can read, unless there is a file.
absl::Status CreatePrivateFile(const std::string& path);

// Makes the file's content, and then its name in the directory, outlive a power
// cut. Not for a file that this process has open in SQLite: closing it here
// would drop SQLite's locks.
absl::Status SyncFile(const std::string& path);
absl::Status SyncDirectoryOf(const std::string& path);

// rename(), in one step, over whatever stands at `to`.
absl::Status RenameFile(const std::string& from, const std::string& to);
// OK also if there is no such file.
absl::Status RemoveFile(const std::string& path);

}  // namespace ptdoc::sync
