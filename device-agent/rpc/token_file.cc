#include "device-agent/rpc/token_file.h"

#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

absl::Status BadToken(const std::string& path, absl::string_view what) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                     absl::StrCat(path, ": ", what,
                                  ". Nothing was sent with it. Write the token, as `sync-service "
                                  "token create` printed it, into this file."));
}

// Whoever replaces the file by a new one changes the inode; whoever writes into
// it changes time or size.
bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(TokenFile::kTokenBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || !in.eof()) return BadToken(path, "the token file cannot be read or is too long");
  text.resize(static_cast<size_t>(in.gcount()));
  absl::StripAsciiWhitespace(&text);
  if (!IsHeaderText(text)) return BadToken(path, "the file holds no token");
  return text;
}

}  // namespace

bool IsHeaderText(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) return false;
  }
  return !text.empty();
}

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  std::unique_ptr<TokenFile> file(new TokenFile(path));
  MutexLock lock(file->mutex_);
  PT_RETURN_IF_ERROR(file->Refresh());
  return file;
}

std::string TokenFile::Token() {
  MutexLock lock(mutex_);
  // The next look reads it again; until then the service says what is wrong.
  (void)Refresh();
  return token_;
}

uint64_t TokenFile::Version() {
  MutexLock lock(mutex_);
  (void)Refresh();
  return version_;
}

absl::Status TokenFile::Refresh() {
  if (path_.empty()) return absl::OkStatus();
  struct stat now{};
  if (stat(path_.c_str(), &now) != 0) return BadToken(path_, "there is no such token file");
  if (SameFile(now, seen_)) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(std::string token, ReadToken(path_));
  seen_ = now;
  if (token == token_) return absl::OkStatus();
  token_ = std::move(token);
  if (++version_ > 1) Log(LogLevel::kInfo, "token.changed");
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
