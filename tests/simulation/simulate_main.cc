// ./dev simulate [--seeds N] [--from S] [--minutes M] [--jobs J] [--seed S] [--trace]
// [--watch TYPE/ID] [--plant BUG]

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "tests/simulation/many.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/required.h"

namespace {

using ptdoc::sync::sim::Many;
using ptdoc::sync::sim::Totals;

struct Options {
  Many many;
  bool one = false;
  std::string plant;
};

// The first seed that catches each bug.
int Plant(const Options& options) {
  int missed = 0;
  for (const std::string& bug : ptdoc::sync::sim::PlantedBugs()) {
    if (options.plant != "all" && options.plant != bug) continue;
    uint64_t seed = options.many.from;
    std::string how;
    const uint64_t end = options.many.from + options.many.seeds;
    while (seed < end && !ptdoc::sync::sim::IsCaught(bug, seed, &how)) ++seed;
    const bool caught = seed < end;
    missed += caught ? 0 : 1;
    std::printf("    {\"%s\", %" PRIu64 "},  // %s\n", bug.c_str(), caught ? seed : 0,
                caught ? how.substr(0, 100).c_str() : "NOT CAUGHT");
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

int Usage() {
  std::fprintf(stderr,
               "usage: ptdoc_simulate [--seeds N] [--from S] [--minutes M] [--seed S] [--trace]\n"
               "                       [--jobs J] [--watch TYPE/ID] [--plant BUG]\n"
               "  --seeds N    how many runs (100)\n"
               "  --from S     the first seed (1)\n"
               "  --minutes M  as many runs as fit into M minutes\n"
               "  --jobs J     processes side by side (as many as cores)\n"
               "  --seed S     only this one\n"
               "  --plant B    with the planted bug B (or all): the first seed that catches it\n"
               "  --trace      print everything that happens\n"
               "  --watch X    with the trace, what each device holds of this entity\n");
  return 2;
}

bool ReadValue(const std::string& flag, const std::string& value, Options* options) {
  if (flag == "--plant") {
    options->plant = value;
    return true;
  }
  if (flag == "--watch") {
    const size_t slash = value.find('/');
    if (slash == std::string::npos) return false;
    options->many.telling.watch = {value.substr(0, slash), value.substr(slash + 1)};
    return true;
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(value, &number)) return false;
  if (flag == "--seeds") {
    options->many.seeds = number;
  } else if (flag == "--from") {
    options->many.from = number;
  } else if (flag == "--jobs") {
    options->many.jobs = static_cast<unsigned>(std::clamp<uint64_t>(number, 1, 256));
  } else if (flag == "--minutes") {
    options->many.minutes = number;
    options->many.seeds = std::numeric_limits<uint32_t>::max();
  } else if (flag == "--seed") {
    options->many.from = number;
    options->many.seeds = 1;
    options->many.jobs = 1;
    options->one = true;
  } else {
    return false;
  }
  return true;
}

bool ReadOptions(const std::vector<std::string>& args, Options* options) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--trace") {
      options->many.telling.trace = true;
      options->many.jobs = 1;
      continue;
    }
    if (i + 1 == args.size() || !ReadValue(args[i], args[i + 1], options)) return false;
    ++i;
  }
  return true;
}

int Run(const Options& options) {
  const auto started = std::chrono::steady_clock::now();
  const Totals totals = ptdoc::sync::sim::SimulateMany(options.many);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  for (const auto& [what, times] : totals.counters) {
    std::printf("%12" PRId64 "  %s\n", times, what.c_str());
  }
  std::printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " runs, %" PRIu64 " failed, %" PRId64
              " steps, %" PRId64 " versions, %" PRId64 " conflicts, %.1f runs/s\n",
              options.many.from, options.many.from + totals.runs - 1, totals.runs, totals.failed,
              totals.steps, totals.accepted, totals.conflicts,
              static_cast<double>(totals.runs) / std::max(took.count(), 1e-3));
  if (options.one) return totals.failed == 0 ? 0 : 1;
  const std::vector<std::string> missing =
      ptdoc::sync::sim::NeverHappened(totals.counters, totals.runs);
  for (const std::string& what : missing) {
    std::printf("never happened: %s\n", what.c_str());
  }
  return totals.failed == 0 && missing.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.many.jobs = ptdoc::sync::sim::JobsOfThisMachine();
  if (!ReadOptions({argv + 1, argv + argc}, &options)) return Usage();
  return options.plant.empty() ? Run(options) : Plant(options);
}
