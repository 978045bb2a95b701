#pragma once

#include <grpcpp/server_builder.h>
#include <sys/types.h>

#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace ptdoc::sync {

struct UnixSocketOptions {
  std::string path;
  mode_t mode = 0660;
  // Beside root and the process's own user, who may connect.
  std::set<uid_t> allowed_uids = {};
};

// A unix socket that only certain users may connect to: the file's mode keeps
// others out, and the peer's uid as the kernel knows it (SO_PEERCRED) is
// checked for each connection. gRPC's own listener cannot tell the uid, so this
// accepts by itself and hands the connections over. Order of calls: Listen,
// AttachTo, the builder's BuildAndStart, Start; Stop before the server's
// Shutdown. Removes the socket file at the end.
class UnixSocketListener {
 public:
  // FAILED_PRECONDITION (reason SOCKET_IN_USE) if somebody answers at the path;
  // a dead socket file is replaced. INVALID_ARGUMENT (CONFIG) for a path that
  // is too long or cannot be bound.
  static absl::StatusOr<std::unique_ptr<UnixSocketListener>> Listen(UnixSocketOptions options);
  ~UnixSocketListener();  // Stop()
  UnixSocketListener(const UnixSocketListener&) = delete;
  UnixSocketListener& operator=(const UnixSocketListener&) = delete;

  void AttachTo(grpc::ServerBuilder& builder);
  void Start();
  // Takes no more connections; those taken stay. Idempotent.
  void Stop();

  const std::string& path() const { return options_.path; }

 private:
  UnixSocketListener(UnixSocketOptions options, int listen_fd, int wake_read_fd, int wake_write_fd);

  void AcceptLoop();
  void HandOver(int fd);
  bool MayConnect(int fd) const;

  const UnixSocketOptions options_;
  int listen_fd_;
  const int wake_read_fd_;  // readable once Stop was called
  const int wake_write_fd_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
};

}  // namespace ptdoc::sync
