#include "sync-service/store/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

absl::StatusOr<int> Open(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  return fd;
}

absl::Status SyncAndClose(int fd, const std::string& path) {
  const int result = fsync(fd);
  const int saved_errno = errno;
  close(fd);
  if (result == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(saved_errno, absl::StrCat("cannot sync ", path));
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::StatusOr<FileLock> FileLock::Take(const std::string& path, Kind kind) {
  PT_ASSIGN_OR_RETURN(const int fd, Open(path, O_RDWR | O_CREAT));
  FileLock lock(fd);
  const int operation = kind == Kind::kShared ? LOCK_SH : LOCK_EX;
  if (flock(fd, operation | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return absl::UnavailableError(absl::StrCat(path, " is locked"));
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", path));
}

absl::StatusOr<bool> FileLock::TakeMark() {
  // On one byte; it belongs to the open file, as flock's does.
  struct flock mark{};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  if (fcntl(fd_, F_OFD_SETLK, &mark) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return absl::ErrnoToStatus(errno, "cannot lock a byte of the lock file");
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

absl::Status CreatePrivateFile(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  // One that is there is not opened: SQLite may hold locks on it.
  if (fd < 0 && errno == EEXIST) return absl::OkStatus();
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  close(fd);
  return absl::OkStatus();
}

absl::Status SyncFile(const std::string& path) {
  PT_ASSIGN_OR_RETURN(const int fd, Open(path, O_RDONLY));
  return SyncAndClose(fd, path);
}

absl::Status SyncDirectoryOf(const std::string& path) {
  const std::string directory = DirectoryOf(path);
  PT_ASSIGN_OR_RETURN(const int fd, Open(directory, O_RDONLY | O_DIRECTORY));
  return SyncAndClose(fd, directory);
}

absl::Status RenameFile(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot rename ", from));
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot remove ", path));
}

}  // namespace ptdoc::sync
