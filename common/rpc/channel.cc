#include "common/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 60'000;
constexpr int kReconnectFirstMs = 500;
constexpr int kReconnectMaxMs = 5'000;
// An answer may hold one row of 3 MiB on top of a full page, and the rows that
// a batch must change; the peer is one that we chose to trust.
constexpr int kReceiveBytesMax = 64 << 20;
constexpr int kPortMax = 65535;
constexpr char kCorrectIt[] = ". Nothing was started or sent. Correct the address.";

absl::Status BadConfig(absl::string_view what) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CONFIG", what);
}

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  if (!in || content.str().empty()) {
    return BadConfig(absl::StrCat(path,
                                  ": the file cannot be read or is empty. Nothing was sent. "
                                  "Check the path and its permissions."));
  }
  return content.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const ChannelOptions& options) {
  grpc::SslCredentialsOptions ssl;
  PT_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem(options.ca_file));
  PT_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem(options.client_cert_file));
  PT_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem(options.client_key_file));
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectFirstMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  // Retries are ours to decide: a batch is sent again under its own id.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Two agents in one process (tests, simulations) do not share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  return arguments;
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > kPortMax) {
    return FieldError("address", absl::StrCat("\"", address, "\" is not host:port", kCorrectIt));
  }
  const absl::string_view host = address.substr(0, colon);
  if (absl::StrContains(host, ":") != (host.front() == '[' && host.back() == ']')) {
    return FieldError(
        "address",
        absl::StrCat("\"", address, "\": an IPv6 address stands in brackets", kCorrectIt));
  }
  return HostPort{std::string(host), port};
}

bool IsLoopbackHost(absl::string_view host) {
  if (host == "localhost" || host == "[::1]") return true;
  // "127.evil.example" is no address: digits and points only.
  for (const char c : host) {
    if (c != '.' && !absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return absl::StartsWith(host, "127.");
}

bool IsOnThisMachine(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return true;
  if (!absl::ConsumePrefix(&address, "http://")) absl::ConsumePrefix(&address, "https://");
  absl::ConsumeSuffix(&address, "/");
  const absl::StatusOr<HostPort> host = ParseHostPort(address);
  return host.ok() && IsLoopbackHost(host->host);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options) {
  if (absl::StartsWith(options.address, "unix:")) {
    return grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(),
                                     Arguments());
  }
  absl::string_view target = options.address;
  bool tls = !options.ca_file.empty() || !options.client_cert_file.empty();
  const bool plain = absl::ConsumePrefix(&target, "http://");
  if (absl::ConsumePrefix(&target, "https://")) tls = true;
  absl::ConsumeSuffix(&target, "/");
  if (plain && tls) {
    return BadConfig(
        "The address says http, but certificates are configured. Nothing was sent. Write https://, "
        "or take the certificates out.");
  }
  absl::StatusOr<HostPort> host = ParseHostPort(target);
  if (!host.ok()) return BadConfig(host.status().message());
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) {
    PT_ASSIGN_OR_RETURN(credentials, TlsCredentials(options));
  } else if (!options.behind_proxy && !IsLoopbackHost(host->host)) {
    return BadConfig(
        "The service is on another host and neither https:// nor ca_file is configured. Nothing "
        "was sent: tokens and rows would cross the network in plain text. Configure TLS, or "
        "behind_proxy where a proxy on this machine does it.");
  }
  return grpc::CreateCustomChannel(std::string(target), credentials, Arguments());
}

}  // namespace ptdoc::sync
