#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/mutex.h"

namespace ptdoc::sync {

// True if `text` can stand in a header as it is: printable ASCII, not empty.
bool IsHeaderText(absl::string_view text);

// The device's token as it stands in its file, read again when the file
// changes. While the file is missing or holds no token, the last good one
// stays. Thread-safe.
class TokenFile {
 public:
  static constexpr size_t kTokenBytesMax = 4096;

  // `path` empty: there is no token, and never will be. INVALID_ARGUMENT
  // (reason CONFIG) if the file cannot be read or holds no token.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);

  // Looks at the file first. Empty = none.
  std::string Token();
  // Looks at the file; a number that grows with each new token.
  uint64_t Version();

 private:
  explicit TokenFile(std::string path) : path_(std::move(path)) {}
  // INVALID_ARGUMENT (CONFIG); what was read before stays.
  absl::Status Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Mutex mutex_;
  struct stat seen_ ABSL_GUARDED_BY(mutex_) = {};
  std::string token_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ptdoc::sync
