// serve: the daemon.
#include <pthread.h>

#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/cli/output.h"
#include "sync-service/cli/verbs.h"
#include "sync-service/rpc/server.h"

namespace ptdoc::sync {
namespace {

// How long open calls may take to end at SIGTERM.
constexpr absl::Duration kDrainDeadline = absl::Seconds(10);

sigset_t BlockedSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

// Waits for SIGTERM or SIGINT. Tokens are looked up in the store and so need no
// reload: SIGHUP is taken, and answered in the log.
void WaitForEnd(const sigset_t& set) {
  while (true) {
    int signal_number = 0;
    if (sigwait(&set, &signal_number) != 0) continue;
    if (signal_number != SIGHUP) return;
    Log(LogLevel::kInfo, "reloaded");
  }
}

}  // namespace

int Serve(Context& context, bool /*quiet*/) {
  // Blocked before any thread exists, so that every thread inherits it.
  const sigset_t signals = BlockedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const absl::Status opened = context.Open(/*create=*/true);
  if (!opened.ok()) return Fail(opened, context.json);
  InitLog(context.config.log);
  auto server =
      Server::Start(context.config.server, *context.engine, *context.store, context.clock);
  if (!server.ok()) return Fail(server.status(), context.json);
  const bool tokens = (*server)->tokens_required();
  std::printf("sync-service %s ready: grpc=%s store=%s tokens=%s\n", PTDOC_VERSION,
              (*server)->address().c_str(), context.config.store_url.c_str(),
              tokens ? "required" : "none (loopback only; make some with `sync-service setup`)");
  std::fflush(stdout);
  WaitForEnd(signals);
  (*server)->Drain(kDrainDeadline);
  Log(LogLevel::kInfo, "stopped");
  return kExitDone;
}

}  // namespace ptdoc::sync
