#include "common/base/planted.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "common/base/reached.h"
#include "common/base/status.h"
#include "tests/simulation/planted_bugs.h"

namespace ptdoc::sync {
namespace {

std::string& TheBug() {
  static auto* const bug = new std::string();
  return *bug;
}

}  // namespace

void PlantBug(const char* name) {
  TheBug() = name;
}

bool IsPlanted(const char* name) {
  return TheBug() == name;
}

std::map<std::string, int64_t>& ReachedPlaces() {
  static auto* const places = new std::map<std::string, int64_t>();
  return *places;
}

namespace sim {
namespace {

constexpr rlim_t kSecondsMax = 30;

}  // namespace

const std::vector<std::string>& PlantedBugs() {
  static const auto* const bugs =
      new std::vector<std::string>{"a delta is laid over current",
                                   "a page ends anywhere",
                                   "a set-aside version is tried whatever its revision",
                                   "a void id is forgotten",
                                   "an equal time wins",
                                   "acknowledge before COMMIT",
                                   "an intent is taken for done",
                                   "apply before the re-offer",
                                   "clamp to the time of arrival",
                                   "drain behind the snapshot",
                                   "drop the receipt",
                                   "finish before apply",
                                   "no savepoint around cascades",
                                   "old content is taken for new",
                                   "overwrite what is not drained",
                                   "push is taken whatever its cursor",
                                   "push without cursor",
                                   "rows are not compared",
                                   "send unchanged rows",
                                   "sign check after last write wins",
                                   "skip the archive",
                                   "skip the stale note",
                                   "the app's journal is not synced",
                                   "the base is not looked at",
                                   "the base moves on ServerWins",
                                   "the check of a base is not compared",
                                   "the later arrival wins",
                                   "touched rows are not put back",
                                   "trim the last log row",
                                   "two open batches for one entity"};
  return *bugs;
}

bool IsCaught(const std::string& bug, uint64_t seed, std::string* how) {
  const std::vector<std::string>& bugs = PlantedBugs();
  PT_CHECK(bug.empty() || std::find(bugs.begin(), bugs.end(), bug) != bugs.end());
  int ends[2];
  PT_CHECK(pipe(ends) == 0);
  // A process of its own: some bugs end in a check of the product itself.
  const pid_t child = fork();
  PT_CHECK(child >= 0);
  if (child == 0) {
    close(ends[0]);
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(3);
    PlantBug(bug.c_str());
    // Others go round in circles for ever.
    const rlimit most{kSecondsMax, kSecondsMax};
    PT_CHECK(setrlimit(RLIMIT_CPU, &most) == 0);
    const std::string failure = Simulate(seed).failure;
    const ssize_t written = write(ends[1], failure.data(), std::min<size_t>(failure.size(), 4000));
    _exit(failure.empty() && written == 0 ? 0 : 1);
  }
  close(ends[1]);
  char buffer[4096];
  const ssize_t got = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  int status = 0;
  PT_CHECK(waitpid(child, &status, 0) == child);
  if (how != nullptr) {
    *how = got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "the product stopped itself";
  }
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace sim

}  // namespace ptdoc::sync
