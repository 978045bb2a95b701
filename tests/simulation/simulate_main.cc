// ./dev simulate [--seeds N] [--from S] [--seed S] [--trace] [--watch TYPE/ID]

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/simulate.h"

namespace {

// The first seed that catches each bug.
int Plant(const std::string& name, uint64_t from, uint64_t seeds) {
  int missed = 0;
  for (const std::string& bug : ptdoc::sync::sim::PlantedBugs()) {
    if (name != "all" && name != bug) continue;
    uint64_t seed = from;
    std::string how;
    while (seed < from + seeds && !ptdoc::sync::sim::IsCaught(bug, seed, &how)) ++seed;
    const bool caught = seed < from + seeds;
    missed += caught ? 0 : 1;
    std::printf("    {\"%s\", %" PRIu64 "},  // %s\n", bug.c_str(), caught ? seed : 0,
                caught ? how.substr(0, 100).c_str() : "NOT CAUGHT");
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

int Usage() {
  std::fprintf(stderr,
               "usage: ptdoc_simulate [--seeds N] [--from S] [--seed S] [--trace]\n"
               "                       [--watch TYPE/ID]\n"
               "  --seeds N  how many runs (100)\n"
               "  --from S   the first seed (1)\n"
               "  --seed S   only this one\n"
               "  --plant B  with the planted bug B (or all): the first seed that catches it\n"
               "  --trace    print everything that happens\n"
               "  --watch X  with the trace, what each device holds of this entity\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 100;
  std::string plant;
  uint64_t from = 1;
  ptdoc::sync::sim::Telling telling;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      telling.trace = true;
      continue;
    }
    if (flag == "--plant" && i + 1 < argc) {
      plant = argv[++i];
      continue;
    }
    if (flag == "--watch" && i + 1 < argc) {
      const std::string watch = argv[++i];
      const size_t slash = watch.find('/');
      if (slash == std::string::npos) return Usage();
      telling.watch = {watch.substr(0, slash), watch.substr(slash + 1)};
      continue;
    }
    uint64_t number = 0;
    if (i + 1 >= argc || !absl::SimpleAtoi(argv[++i], &number)) return Usage();
    if (flag == "--seeds") {
      seeds = number;
    } else if (flag == "--from") {
      from = number;
    } else if (flag == "--seed") {
      from = number;
      seeds = 1;
    } else {
      return Usage();
    }
  }
  if (!plant.empty()) return Plant(plant, from, seeds);
  uint64_t failed = 0;
  int64_t accepted = 0;
  int64_t conflicts = 0;
  std::map<std::string, int64_t> counters;
  for (uint64_t seed = from; seed < from + seeds; ++seed) {
    const ptdoc::sync::sim::Report report = ptdoc::sync::sim::SimulateAndTell(seed, telling);
    failed += report.failure.empty() ? 0 : 1;
    accepted += report.accepted;
    conflicts += report.conflicts;
    for (const auto& [what, times] : report.counters) counters[what] += times;
  }
  for (const auto& [what, times] : counters) {
    std::printf("%12" PRId64 "  %s\n", times, what.c_str());
  }
  std::printf("%" PRIu64 " runs, %" PRIu64 " failed, %" PRId64 " versions, %" PRId64 " conflicts\n",
              seeds, failed, accepted, conflicts);
  return failed == 0 ? 0 : 1;
}
