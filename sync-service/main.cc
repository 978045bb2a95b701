#include "sync-service/cli/app.h"

int main(int argc, char** argv) {
  return ptdoc::sync::RunServiceCli(argc, argv);
}
