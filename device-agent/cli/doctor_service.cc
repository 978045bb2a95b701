// Token, network, identity, clock, history.
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/model/digest.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "device-agent/cli/doctor.h"
#include "device-agent/rpc/grpc_peer.h"
#include "device-agent/rpc/token_file.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {
namespace {

constexpr absl::Duration kCallMax = absl::Seconds(5);
constexpr int kConnectMsMax = 3000;
constexpr absl::Duration kClockWarn = absl::Seconds(10);
constexpr absl::Duration kClockBad = absl::Minutes(1);  // service: max_clock_skew

void CheckToken(const std::string& path, Checkup& checkup) {
  if (path.empty()) {
    return checkup.Ok("token file", "None is configured; a service without tokens needs none.");
  }
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) {
    return checkup.Bad("token file", absl::StrCat(path, " is not there: ", std::strerror(errno)),
                       "sync-service token create --tenant TENANT --device DEVICE --out FILE");
  }
  const auto token = TokenFile::Open(path);
  if (!token.ok()) {
    return checkup.Bad("token file", absl::StrCat(path, " cannot be read, or holds no token."),
                       absl::StrCat("ls -l ", ShellWord(path)));
  }
  if ((info.st_mode & 077) != 0) {
    return checkup.Warn("token file",
                        absl::StrCat(path,
                                     " can be read by others: whoever has the token is this "
                                     "device."),
                        absl::StrCat("chmod 600 ", ShellWord(path)));
  }
  checkup.Ok("token file", absl::StrCat(path, " holds a token that only its owner can read."));
}

// "host:port" of an address, without what stands before it.
std::string Bare(absl::string_view address) {
  for (const char* scheme : {"https://", "http://", "dns:///", "dns:"}) {
    if (absl::ConsumePrefix(&address, scheme)) break;
  }
  while (absl::ConsumeSuffix(&address, "/")) {
  }
  return std::string(address);
}

// Connected within the deadline, or errno.
int TryConnect(const addrinfo& to) {
  const int fd = socket(to.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = 0;
  if (connect(fd, to.ai_addr, to.ai_addrlen) != 0) {
    error = errno;
    if (error == EINPROGRESS) {
      pollfd wait{fd, POLLOUT, 0};
      socklen_t size = sizeof(error);
      error = poll(&wait, 1, kConnectMsMax) == 1 ? 0 : ETIMEDOUT;
      if (error == 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  close(fd);
  return error;
}

// Name, then port. False: nothing further can be asked.
bool CheckNetwork(const std::string& address, Checkup& checkup) {
  if (absl::StartsWith(address, "unix:")) return true;
  const auto place = ParseHostPort(Bare(address));
  if (!place.ok()) return true;  // The channel says what is wrong.
  std::string host = place->host;
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(place->port);
  const int resolved = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (resolved != 0) {
    checkup.Bad("network",
                absl::StrCat("The name ", host, " is not known (DNS: ", gai_strerror(resolved),
                             "). What waits stays queued."),
                absl::StrCat("getent hosts ", ShellWord(host)));
    return false;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  int error = 0;
  for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
    error = TryConnect(*to);
    if (error == 0) {
      checkup.Ok("network", absl::StrCat(Bare(address), " can be reached."));
      return true;
    }
  }
  const bool refused = error == ECONNREFUSED;
  checkup.Bad(
      "network",
      absl::StrCat(Bare(address),
                   refused ? " refuses connections: no service runs there" : " does not answer: ",
                   refused ? "" : std::strerror(error), ". What waits stays queued."),
      refused ? "sync-service serve" : absl::StrCat("ping -c 3 ", ShellWord(host)));
  return false;
}

void CheckClock(const google::protobuf::Timestamp& at, absl::Time before, absl::Time after,
                Checkup& checkup) {
  const absl::Time there = absl::FromUnixSeconds(at.seconds()) + absl::Nanoseconds(at.nanos());
  // Within the time that the call took anything is possible.
  const absl::Duration offset = there < before  ? before - there
                                : there > after ? there - after
                                                : absl::ZeroDuration();
  const std::string text =
      absl::StrCat("The device's clock and the service's differ by ",
                   absl::FormatDuration(absl::Trunc(offset, absl::Seconds(1))));
  if (offset < kClockWarn) return checkup.Ok("clock", absl::StrCat(text, "."));
  const std::string effect = absl::StrCat(text, there < before ? " (the device is ahead)" : "",
                                          ": the triggers add the offset once they have "
                                          "synced; until then conflicts may go the wrong way.");
  if (offset >= kClockBad) {
    checkup.Bad("clock", effect, "timedatectl set-ntp true");
  } else {
    checkup.Warn("clock", effect, "timedatectl set-ntp true");
  }
}

void TellRefusal(absl::string_view name, const absl::Status& status, const ChannelOptions& channel,
                 Checkup& checkup) {
  const std::string reason = ReasonOf(status);
  const std::string text(status.message());
  if (absl::StartsWith(reason, "TOKEN_")) {
    return checkup.Bad("token",
                       absl::StrCat("The service refuses the token (", reason, "). ", text),
                       "sync-service token create --tenant TENANT --device DEVICE --out FILE");
  }
  if (reason == "ROLE") {
    return checkup.Bad("token", "The token is of another role than device (ROLE): it cannot sync.",
                       "sync-service token create --tenant TENANT --device DEVICE --role device "
                       "--out FILE");
  }
  if (reason == "DEVICE_REVOKED") {
    return checkup.Bad("token", "This device was revoked (DEVICE_REVOKED). A new token lets it in.",
                       "sync-service token create --tenant TENANT --device DEVICE --out FILE");
  }
  if (absl::IsFailedPrecondition(status) && !reason.empty()) {
    return checkup.Warn(
        "history",
        absl::StrCat("The service's history is another one than this device knows (", reason,
                     "): the next sync compares every row."),
        checkup.Agent("run"));
  }
  if (status.code() == absl::StatusCode::kUnimplemented) {
    return checkup.Warn("version", "The service is older than this agent: it cannot verify.",
                        "sync-service --version");
  }
  if (reason.empty() && absl::IsUnavailable(status) && CheckTls(channel, checkup)) return;
  checkup.Bad(name,
              absl::StrCat("The service answers with an error",
                           reason.empty() ? "" : absl::StrCat(" (", reason, ")"), ": ", text),
              checkup.Agent("status"));
}

// What the service says of this device, and of the history that it knows.
class Visit {
 public:
  Visit(AgentContext& context, std::shared_ptr<grpc::Channel> channel)
      : context_(context),
        options_{std::move(channel), DeviceId(context), PTDOC_VERSION,
                 !context.config.agent.replica.device_id.empty()},
        stub_(v1::SyncService::NewStub(options_.channel)),
        token_(TokenFile::Open(context.config.agent.token_file)) {}

  absl::Status Status(v1::StatusResponse* response) {
    grpc::ClientContext call;
    Prepare(call);
    return FromGrpcStatus(stub_->Status(&call, v1::StatusRequest(), response));
  }
  // As cheap a call as any that only a device may make.
  absl::Status Ask() {
    v1::DigestRowsRequest request;
    request.set_key(std::string(kDigestKeyBytes, 'k'));
    v1::EntityRef* const nobody = request.add_entities();
    nobody->set_entity_type("doctor");
    nobody->set_entity_id("doctor");
    absl::StatusOr<sqlite::Database> ledger = OpenToLook(StateFile(context_));
    if (ledger.ok()) request.set_witness(LedgerText(*ledger, "witness"));
    grpc::ClientContext call;
    Prepare(call);
    v1::DigestRowsResponse response;
    return FromGrpcStatus(stub_->DigestRows(&call, request, &response));
  }

 private:
  static std::string DeviceId(AgentContext& context) {
    const std::string& configured = context.config.agent.replica.device_id;
    if (!configured.empty()) return configured;
    absl::StatusOr<sqlite::Database> ledger = OpenToLook(StateFile(context));
    return ledger.ok() ? LedgerText(*ledger, "device_id") : std::string();
  }
  void Prepare(grpc::ClientContext& call) {
    if (token_.ok()) PrepareCall(options_, **token_, call);
    call.set_wait_for_ready(false);
    call.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kCallMax));
  }

  AgentContext& context_;
  const GrpcPeerOptions options_;
  const std::unique_ptr<v1::SyncService::Stub> stub_;
  const absl::StatusOr<std::unique_ptr<TokenFile>> token_;
};

}  // namespace

void CheckService(AgentContext& context, Checkup& checkup) {
  const AgentOptions& agent = context.config.agent;
  CheckToken(agent.token_file, checkup);
  auto channel = MakeChannel(agent.channel);
  if (!channel.ok()) {
    return checkup.Bad("service", channel.status().message(), checkup.Agent("config check"));
  }
  if (!CheckNetwork(agent.channel.address, checkup)) return;
  Visit visit(context, *channel);
  v1::StatusResponse response;
  const absl::Time before = context.clock.Now();
  const absl::Status answered = visit.Status(&response);
  if (!answered.ok()) return TellRefusal("service", answered, agent.channel, checkup);
  checkup.Ok("service", absl::StrCat("It answers as version ", response.server().version(), "."));
  CheckClock(response.server().server_time(), before, context.clock.Now(), checkup);
  const absl::Status asked = visit.Ask();
  if (!asked.ok()) return TellRefusal("service", asked, agent.channel, checkup);
  checkup.Ok("token", "This device may sync, and the service has the history that it knows.");
}

}  // namespace ptdoc::sync
