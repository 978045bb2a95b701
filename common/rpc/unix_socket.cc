#include "common/rpc/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grpcpp/security/server_credentials.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr int kBacklog = 64;
constexpr int kRetryAcceptMs = 100;

absl::Status CannotListen(const std::string& path, absl::string_view what) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG",
                     absl::StrCat(path, ": the control socket cannot be made (", what,
                                  "). Nothing was started. Check [control] listen."));
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return CannotListen(path, "the path is empty or longer than 107 bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Removes a socket that nobody answers at; anything else at the path stays.
absl::Status ClearPath(const std::string& path, const sockaddr_un& address) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) return CannotListen(path, "another file stands there");
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const absl::Cleanup closer = [probe] { close(probe); };
  if (connect(probe, Generic(address), sizeof(address)) == 0) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "SOCKET_IN_USE",
                       absl::StrCat(path,
                                    ": another process answers at this control socket. "
                                    "Nothing was started. Stop that agent, or give this one "
                                    "another socket in [control] listen."));
  }
  if (unlink(path.c_str()) != 0) return CannotListen(path, std::strerror(errno));
  return absl::OkStatus();
}

absl::StatusOr<int> BindAndListen(const UnixSocketOptions& options, const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return CannotListen(options.path, std::strerror(errno));
  // Nobody can connect before listen(), so the mode is right before it matters.
  if (bind(fd, Generic(address), sizeof(address)) != 0 ||
      chmod(options.path.c_str(), options.mode) != 0 || listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return CannotListen(options.path, std::strerror(error));
  }
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UnixSocketListener>> UnixSocketListener::Listen(
    UnixSocketOptions options) {
  PT_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(options.path));
  PT_RETURN_IF_ERROR(ClearPath(options.path, address));
  PT_ASSIGN_OR_RETURN(const int listen_fd, BindAndListen(options, address));
  int wake[2];
  if (pipe2(wake, O_CLOEXEC) != 0) {
    const int error = errno;
    close(listen_fd);
    return CannotListen(options.path, std::strerror(error));
  }
  return std::unique_ptr<UnixSocketListener>(
      new UnixSocketListener(std::move(options), listen_fd, wake[0], wake[1]));
}

UnixSocketListener::UnixSocketListener(UnixSocketOptions options, int listen_fd, int wake_read_fd,
                                       int wake_write_fd)
    : options_(std::move(options)),
      listen_fd_(listen_fd),
      wake_read_fd_(wake_read_fd),
      wake_write_fd_(wake_write_fd) {}

UnixSocketListener::~UnixSocketListener() {
  Stop();
  close(wake_read_fd_);
  close(wake_write_fd_);
}

void UnixSocketListener::AttachTo(grpc::ServerBuilder& builder) {
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
}

void UnixSocketListener::Start() {
  PT_CHECK(acceptor_ != nullptr);
  thread_ = std::thread([this] { AcceptLoop(); });
}

void UnixSocketListener::Stop() {
  if (listen_fd_ < 0) return;
  const char wake = 1;
  PT_CHECK(write(wake_write_fd_, &wake, 1) == 1);
  if (thread_.joinable()) thread_.join();
  close(listen_fd_);
  listen_fd_ = -1;
  unlink(options_.path.c_str());
}

void UnixSocketListener::AcceptLoop() {
  pollfd fds[2] = {{listen_fd_, POLLIN, 0}, {wake_read_fd_, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if ((fds[0].revents & POLLIN) == 0) continue;
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      HandOver(fd);
    } else {
      // Out of descriptors: the socket stays readable, so wait a moment.
      poll(&fds[1], 1, kRetryAcceptMs);
    }
  }
}

void UnixSocketListener::HandOver(int fd) {
  if (!MayConnect(fd)) {
    Log(LogLevel::kWarning, "control.peer_refused");
    close(fd);
    return;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = listen_fd_;
  connection.fd = fd;  // gRPC owns it from here on.
  acceptor_->HandleNewConnection(&connection);
}

bool UnixSocketListener::MayConnect(int fd) const {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid() || options_.allowed_uids.count(peer.uid) > 0;
}

}  // namespace ptdoc::sync
