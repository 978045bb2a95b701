// serve: the daemon.
#include <cstdio>

#include "common/cli/output.h"
#include "common/cli/stop_signals.h"
#include "sync-service/cli/verbs.h"
#include "sync-service/rpc/server.h"

namespace ptdoc::sync {
namespace {

// How long open calls may take to end at SIGTERM.
constexpr absl::Duration kDrainDeadline = absl::Seconds(10);

}  // namespace

int Serve(Context& context) {
  const StopSignals signals;
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
  signals.Wait();
  (*server)->Drain(kDrainDeadline);
  Log(LogLevel::kInfo, "stopped");
  return kExitDone;
}

}  // namespace ptdoc::sync
