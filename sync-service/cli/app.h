#pragma once

namespace ptdoc::sync {

// The command line of sync-service; returns the exit code.
int RunServiceCli(int argc, char** argv);

}  // namespace ptdoc::sync
