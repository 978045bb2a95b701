#include "device-agent/cli/app.h"

int main(int argc, char** argv) {
  return ptdoc::sync::RunAgentCli(argc, argv);
}
