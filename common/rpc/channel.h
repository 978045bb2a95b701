#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// Where a client connects to, and how.
struct ChannelOptions {
  // "host:port", "http://host:port", "https://host:port", "unix:///path".
  std::string address;
  // With one of these, or https, the channel is TLS. Empty ca_file = the
  // system's authorities.
  std::string ca_file = {};
  std::string client_cert_file = {};
  std::string client_key_file = {};
  // Plaintext to others than loopback, because a proxy beside us does the TLS.
  bool behind_proxy = false;
};

// A channel of its own connection, which reconnects by itself (at most 5 s
// between attempts) and finds a dead peer within 80 s. Does not connect yet.
// INVALID_ARGUMENT (reason CONFIG): malformed address, plaintext to another
// host, or a file that cannot be read.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options);

// True for 127.0.0.0/8, ::1 in brackets, localhost, and unix sockets.
bool IsLoopbackHost(absl::string_view host);

// True for addresses of ChannelOptions that lead to such a host.
bool IsOnThisMachine(absl::string_view address);

struct HostPort {
  std::string host;  // "[::1]" keeps its brackets
  int port = 0;
};
// INVALID_ARGUMENT (FIELD) unless it is host:port with a port of 0 to 65535.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view address);

}  // namespace ptdoc::sync
