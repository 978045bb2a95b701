// ./dev simulate [--seeds N] [--from S] [--seed S] [--trace] [--watch TYPE/ID]

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "tests/simulation/simulate.h"

namespace {

int Usage() {
  std::fprintf(stderr,
               "usage: ptdoc_simulate [--seeds N] [--from S] [--seed S] [--trace] [--mishaps]\n"
               "                       [--watch TYPE/ID]\n"
               "  --seeds N  how many runs (100)\n"
               "  --from S   the first seed (1)\n"
               "  --seed S   only this one\n"
               "  --mishaps  files and the store are set back, lost and copied, too\n"
               "  --trace    print everything that happens\n"
               "  --watch X  with the trace, what each device holds of this entity\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 100;
  uint64_t from = 1;
  ptdoc::sync::sim::Telling telling;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      telling.trace = true;
      continue;
    }
    if (flag == "--mishaps") {
      telling.mishaps = true;
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
