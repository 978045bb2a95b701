#include "tests/simulation/many.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/reached.h"
#include "common/base/status.h"

namespace ptdoc::sync::sim {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Share {
  uint64_t from;
  uint64_t step;
  uint64_t end;
};

// Runs a share of the seeds in this process; `begun` is told before each.
template <typename Begun>
Totals RunShare(const Many& many, const Share& share, SteadyTime end, const Begun& begun) {
  Totals totals;
  for (uint64_t seed = share.from; seed < share.end; seed += share.step) {
    if (many.minutes > 0 && std::chrono::steady_clock::now() >= end) break;
    begun(seed);
    const Report report = SimulateAndTell(seed, many.telling);
    ++totals.runs;
    totals.failed += report.failure.empty() ? 0 : 1;
    totals.steps += report.steps;
    totals.accepted += report.accepted;
    totals.conflicts += report.conflicts;
    for (const auto& [what, times] : report.counters) totals.counters[what] += times;
  }
  for (const auto& [place, times] : ReachedPlaces()) totals.counters[place] += times;
  return totals;
}

void Add(const Totals& part, Totals* all) {
  all->runs += part.runs;
  all->failed += part.failed;
  all->steps += part.steps;
  all->accepted += part.accepted;
  all->conflicts += part.conflicts;
  for (const auto& [what, times] : part.counters) all->counters[what] += times;
}

// A process of its own, and the end of a pipe to read what it says.
struct Worker {
  pid_t pid;
  FILE* out;
};

// "seed S" before each run; at the end "totals RUNS FAILED STEPS ACCEPTED
// CONFLICTS", then a line "TIMES WHAT" for each counter, and "end".
void Work(const Many& many, const Share& share, SteadyTime end, FILE* out) {
  const Totals totals = RunShare(many, share, end, [&](uint64_t seed) {
    std::fprintf(out, "seed %" PRIu64 "\n", seed);
    std::fflush(out);
  });
  std::fprintf(out, "totals %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
               totals.runs, totals.failed, totals.steps, totals.accepted, totals.conflicts);
  for (const auto& [what, times] : totals.counters) {
    std::fprintf(out, "%" PRId64 " %s\n", times, what.c_str());
  }
  std::fprintf(out, "end\n");
  std::fclose(out);
}

Worker Start(const Many& many, const Share& share, SteadyTime end) {
  int ends[2];
  PT_CHECK(pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t pid = fork();
  PT_CHECK(pid >= 0);
  if (pid == 0) {
    close(ends[0]);
    Work(many, share, end, fdopen(ends[1], "w"));
    // Not exit(): what the parent registered for its own end is not ours to do.
    std::fflush(nullptr);
    _exit(0);
  }
  close(ends[1]);
  return {pid, fdopen(ends[0], "r")};
}

std::vector<std::string> Lines(FILE* in) {
  std::vector<std::string> lines;
  char line[1024];
  while (std::fgets(line, sizeof line, in) != nullptr) {
    std::string text = line;
    if (!text.empty() && text.back() == '\n') text.pop_back();
    lines.push_back(std::move(text));
  }
  return lines;
}

// What a worker said. One that fell silent died in the run that it named last.
Totals Listen(const Worker& worker) {
  const std::vector<std::string> lines = Lines(worker.out);
  std::fclose(worker.out);
  int status = 0;
  PT_CHECK(waitpid(worker.pid, &status, 0) == worker.pid);
  Totals totals;
  const bool whole = !lines.empty() && lines.back() == "end";
  std::string last = "seed ?";
  bool in_counters = false;
  for (const std::string& line : lines) {
    std::istringstream in(line);
    std::string word;
    in >> word;
    if (word == "seed") {
      last = line;
    } else if (word == "totals") {
      in >> totals.runs >> totals.failed >> totals.steps >> totals.accepted >> totals.conflicts;
      in_counters = true;
    } else if (in_counters && line != "end") {
      totals.counters[line.substr(word.size() + 1)] += std::strtoll(word.c_str(), nullptr, 10);
    }
  }
  if (whole) return totals;
  std::fprintf(stderr, "%s: the process died (status %d), and with it what it had counted\n",
               last.c_str(), status);
  std::fprintf(stderr, "  replay: ./dev simulate --%s --trace\n", last.c_str());
  ++totals.failed;
  return totals;
}

}  // namespace

Totals SimulateMany(const Many& many) {
  const SteadyTime end = std::chrono::steady_clock::now() + std::chrono::minutes(many.minutes);
  if (many.jobs <= 1) {
    return RunShare(many, {many.from, 1, many.from + many.seeds}, end, [](uint64_t) {});
  }
  std::vector<Worker> workers;
  for (unsigned i = 0; i < many.jobs; ++i) {
    workers.push_back(Start(many, {many.from + i, many.jobs, many.from + many.seeds}, end));
  }
  Totals totals;
  for (const Worker& worker : workers) Add(Listen(worker), &totals);
  return totals;
}

unsigned JobsOfThisMachine() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : cores;
}

}  // namespace ptdoc::sync::sim
