#include "sync-service/cli/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

absl::Status FileError(absl::string_view what, const std::string& path, int error) {
  const bool exists = error == EEXIST;
  return ReasonError(
      exists ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kFailedPrecondition,
      exists ? "FILE_EXISTS" : "FILE",
      absl::StrCat(what, " ", path, ": ", std::strerror(error),
                   ". Nothing was written there. Name another path, or make room at this one."));
}

}  // namespace

absl::Status WriteSecretFile(const std::string& path, absl::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("Cannot make", path, errno);
  const std::string line = absl::StrCat(text, "\n");
  const bool whole =
      write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (whole) return absl::OkStatus();
  unlink(path.c_str());
  return FileError("Cannot write", path, error);
}

absl::Status ReplaceSecretFile(const std::string& path, absl::string_view text) {
  const std::string beside = absl::StrCat(path, ".new");
  // One that an earlier attempt left is of no use: its token was never handed out.
  unlink(beside.c_str());
  const absl::Status written = WriteSecretFile(beside, text);
  if (!written.ok()) return written;
  if (rename(beside.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  unlink(beside.c_str());
  return FileError("Cannot write", path, error);
}

absl::Status MakeSecretDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno == EEXIST && std::filesystem::is_directory(path)) return absl::OkStatus();
  return FileError("Cannot make the directory", path, errno);
}

}  // namespace ptdoc::sync
