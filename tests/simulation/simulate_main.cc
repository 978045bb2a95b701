// ./dev simulate [--seeds N] [--from S] [--minutes M] [--seed S] [--trace] [--watch TYPE/ID]

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/base/reached.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/required.h"
#include "tests/simulation/simulate.h"

namespace {

using ptdoc::sync::sim::Report;
using ptdoc::sync::sim::Telling;

struct Options {
  uint64_t from = 1;
  uint64_t seeds = 100;
  uint64_t minutes = 0;  // 0 = as many as `seeds`
  bool one = false;
  std::string plant;
  Telling telling;
};

// The first seed that catches each bug.
int Plant(const Options& options) {
  int missed = 0;
  for (const std::string& bug : ptdoc::sync::sim::PlantedBugs()) {
    if (options.plant != "all" && options.plant != bug) continue;
    uint64_t seed = options.from;
    std::string how;
    const uint64_t end = options.from + options.seeds;
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
               "                       [--watch TYPE/ID] [--plant BUG]\n"
               "  --seeds N    how many runs (100)\n"
               "  --from S     the first seed (1)\n"
               "  --minutes M  as many runs as fit into M minutes\n"
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
    options->telling.watch = {value.substr(0, slash), value.substr(slash + 1)};
    return true;
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(value, &number)) return false;
  if (flag == "--seeds") {
    options->seeds = number;
  } else if (flag == "--from") {
    options->from = number;
  } else if (flag == "--minutes") {
    options->minutes = number;
    options->seeds = std::numeric_limits<uint32_t>::max();
  } else if (flag == "--seed") {
    options->from = number;
    options->seeds = 1;
    options->one = true;
  } else {
    return false;
  }
  return true;
}

bool ReadOptions(const std::vector<std::string>& args, Options* options) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--trace") {
      options->telling.trace = true;
      continue;
    }
    if (i + 1 == args.size() || !ReadValue(args[i], args[i + 1], options)) return false;
    ++i;
  }
  return true;
}

int Run(const Options& options) {
  const auto started = std::chrono::steady_clock::now();
  const auto end = started + std::chrono::minutes(options.minutes);
  uint64_t runs = 0;
  uint64_t failed = 0;
  int64_t accepted = 0;
  int64_t conflicts = 0;
  std::map<std::string, int64_t> counters;
  for (; runs < options.seeds; ++runs) {
    if (options.minutes > 0 && std::chrono::steady_clock::now() >= end) break;
    const Report report = ptdoc::sync::sim::SimulateAndTell(options.from + runs, options.telling);
    failed += report.failure.empty() ? 0 : 1;
    accepted += report.accepted;
    conflicts += report.conflicts;
    for (const auto& [what, times] : report.counters) counters[what] += times;
  }
  for (const auto& [place, times] : ptdoc::sync::ReachedPlaces()) counters[place] += times;
  for (const auto& [what, times] : counters) {
    std::printf("%12" PRId64 "  %s\n", times, what.c_str());
  }
  std::printf("%" PRIu64 " runs, %" PRIu64 " failed, %" PRId64 " versions, %" PRId64 " conflicts\n",
              runs, failed, accepted, conflicts);
  if (options.one) return failed == 0 ? 0 : 1;
  const std::vector<std::string> missing = ptdoc::sync::sim::NeverHappened(counters, runs);
  for (const std::string& what : missing) {
    std::printf("never happened: %s\n", what.c_str());
  }
  return failed == 0 && missing.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!ReadOptions({argv + 1, argv + argc}, &options)) return Usage();
  return options.plant.empty() ? Run(options) : Plant(options);
}
