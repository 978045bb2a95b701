#include "tests/bench/link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <random>
#include <vector>

#include "tests/bench/database.h"
#include "tests/bench/patients.h"

namespace ptdoc::bench {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kSegmentBytes = 1448;
// In flight in one direction; more than any round trip here can fill.
constexpr size_t kWaitingBytesMax = 16 << 20;
constexpr double kNever = 1e18;
constexpr double kRestSeconds = 1;

int LoopbackSocket(int port, bool listens) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  const int failed = listens ? bind(fd, generic, sizeof(address)) || listen(fd, 64)
                             : connect(fd, generic, sizeof(address));
  if (fd < 0 || failed != 0) Die("the link has no socket");
  return fd;
}

int PortOf(int fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

void Prepare(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct Piece {
  double due = 0;
  std::string bytes;
};

// One direction of one connection.
struct Way {
  int from = -1;
  int to = -1;
  int64_t* bytes = nullptr;  // that went this way, of all connections
  double earliest = 0;       // nothing arrives before
  std::deque<Piece> pieces;
  size_t waiting = 0;  // bytes in pieces
  size_t sent = 0;     // of the first piece
  bool source_ended = false;
  bool ended = false;
};

struct Connection {
  Way up;
  Way down;
};

class Link {
 public:
  explicit Link(const LinkOptions& options)
      : options_(options),
        one_way_(static_cast<double>(options.round_trip_us) / 2e6),
        listener_(LoopbackSocket(0, /*listens=*/true)) {}

  int port() const { return PortOf(listener_); }

  void Turn() {
    std::vector<pollfd> polls = {{listener_, POLLIN, 0},
                                 {options_.stays ? -1 : STDIN_FILENO, POLLIN, 0}};
    double due = kNever;
    for (const Connection& connection : connections_) {
      for (const Way* const way : {&connection.up, &connection.down}) {
        const bool ready = !way->pieces.empty() && way->pieces.front().due <= Seconds();
        if (!way->pieces.empty() && !ready) due = std::min(due, way->pieces.front().due);
        if (ready) polls.push_back({way->to, POLLOUT, 0});
        if (Reads(*way)) polls.push_back({way->from, POLLIN, 0});
      }
    }
    Wait(&polls, due);
    if (polls[0].revents != 0) Accept();
    if (polls[1].revents != 0) Answer();
    for (Connection& connection : connections_) {
      for (Way* const way : {&connection.up, &connection.down}) {
        Read(way);
        Write(way);
      }
    }
    connections_.remove_if([](const Connection& connection) { return Ended(connection); });
  }

 private:
  static bool Reads(const Way& way) { return !way.source_ended && way.waiting < kWaitingBytesMax; }

  static bool Ended(const Connection& connection) {
    if (!connection.up.ended || !connection.down.ended) return false;
    close(connection.up.from);
    close(connection.up.to);
    return true;
  }

  static void Wait(std::vector<pollfd>* polls, double due) {
    const double seconds = std::clamp(due - Seconds(), 0.0, kRestSeconds);
    timespec timeout = {};
    timeout.tv_sec = static_cast<time_t>(seconds);
    timeout.tv_nsec = static_cast<long>((seconds - std::floor(seconds)) * 1e9);
    ppoll(polls->data(), polls->size(), &timeout, nullptr);
  }

  void Accept() {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int server = LoopbackSocket(options_.to_port, /*listens=*/false);
    Prepare(client);
    Prepare(server);
    Connection connection;
    connection.up.from = connection.down.to = client;
    connection.up.to = connection.down.from = server;
    connection.up.bytes = &up_bytes_;
    connection.down.bytes = &down_bytes_;
    // The first bytes of the client follow the handshake.
    connection.up.earliest = Seconds() + 3 * one_way_;
    connections_.push_back(std::move(connection));
  }

  void Answer() {
    char byte = 0;
    if (read(STDIN_FILENO, &byte, 1) <= 0) std::_Exit(0);
    if (byte != '\n') return;
    std::printf("{\"up\": %lld, \"down\": %lld}\n", static_cast<long long>(up_bytes_),
                static_cast<long long>(down_bytes_));
    std::fflush(stdout);
  }

  void Read(Way* way) {
    if (!Reads(*way)) return;
    const ssize_t size = read(way->from, buffer_, sizeof(buffer_));
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
      way->source_ended = true;
      return;
    }
    *way->bytes += size;
    Append(way, std::string(buffer_, static_cast<size_t>(size)));
  }

  void Append(Way* way, const std::string& bytes) {
    const size_t step = options_.lost_of_1000 > 0 ? kSegmentBytes : bytes.size();
    for (size_t at = 0; at < bytes.size(); at += step) {
      const bool lost = static_cast<int64_t>(random_() % 1000) < options_.lost_of_1000;
      way->earliest = std::max(way->earliest, Seconds() + one_way_ + (lost ? 2 * one_way_ : 0));
      way->pieces.push_back({way->earliest, bytes.substr(at, step)});
      way->waiting += way->pieces.back().bytes.size();
    }
  }

  static void Write(Way* way) {
    while (!way->pieces.empty() && way->pieces.front().due <= Seconds()) {
      const std::string& bytes = way->pieces.front().bytes;
      const ssize_t size =
          send(way->to, bytes.data() + way->sent, bytes.size() - way->sent, MSG_NOSIGNAL);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (size < 0) {
        way->pieces.clear();
        way->source_ended = true;
        break;
      }
      way->sent += static_cast<size_t>(size);
      if (way->sent < bytes.size()) return;
      way->waiting -= bytes.size();
      way->sent = 0;
      way->pieces.pop_front();
    }
    if (!way->source_ended || !way->pieces.empty() || way->ended) return;
    way->ended = true;
    shutdown(way->to, SHUT_WR);
  }

  const LinkOptions options_;
  const double one_way_;  // seconds
  const int listener_;
  std::list<Connection> connections_;
  std::mt19937_64 random_{1};
  int64_t up_bytes_ = 0;
  int64_t down_bytes_ = 0;
  char buffer_[kReadBytes];
};

}  // namespace

void ServeLink(const LinkOptions& options) {
  prctl(PR_SET_TIMERSLACK, 1000);
  static Link link(options);
  std::printf("%d\n", link.port());
  std::fflush(stdout);
  while (true) link.Turn();
}

}  // namespace ptdoc::bench
