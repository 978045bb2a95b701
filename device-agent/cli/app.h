#pragma once

namespace ptdoc::sync {

// The command line of device-agent; returns the exit code.
int RunAgentCli(int argc, char** argv);

}  // namespace ptdoc::sync
