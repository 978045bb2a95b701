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
      new std::vector<std::string>{"a cursor stands at the end of the log",
                                   "a debug line tells the row",
                                   "a delta is laid over current",
                                   "a device does not keep what it lost",
                                   "a lock does not bind",
                                   "a merge does not see what was changed back",
                                   "a merge keeps what stands where both changed",
                                   "a merge looks at the time of the row",
                                   "a page ends anywhere",
                                   "a receipt holds no results",
                                   "a link's row is found by its old numbers",
                                   "a set-aside version is tried whatever its revision",
                                   "a void batch counts as taken",
                                   "a void id is forgotten",
                                   "accept the answer of an old epoch",
                                   "acknowledge before COMMIT",
                                   "an edit in a re-baseline keeps its base",
                                   "an equal time wins",
                                   "an error message quotes the row",
                                   "an intent is taken for done",
                                   "apply before the re-offer",
                                   "clamp to the time of arrival",
                                   "drain behind the snapshot",
                                   "drop the receipt",
                                   "feed from heads",
                                   "finish before apply",
                                   "no audit row is written",
                                   "no savepoint around cascades",
                                   "old content is taken for new",
                                   "overwrite what is not drained",
                                   "pull from commit_cursor",
                                   "push is taken whatever its cursor",
                                   "push without cursor",
                                   "rebuild a batch on re-sending",
                                   "reuse a log number",
                                   "rows are not compared",
                                   "rows of a type that comes back are taken for new",
                                   "send unchanged rows",
                                   "sign check after last write wins",
                                   "skip the archive",
                                   "skip the stale note",
                                   "the app's journal is not synced",
                                   "the app's journal is synced once a life",
                                   "the audit chain forgets the row before",
                                   "the base is not looked at",
                                   "the base moves on ServerWins",
                                   "the ledger is not synced when it is opened",
                                   "the check of a base is not compared",
                                   "the cursor of a type that left is kept",
                                   "the later arrival wins",
                                   "the page mark is not looked at",
                                   "the parts of a log count as many",
                                   "the sequence is not rolled back with its savepoint",
                                   "the type list is left out of the cursor",
                                   "the witness is not looked at",
                                   "touched rows are not put back",
                                   "trim the last log row",
                                   "two open batches for one entity",
                                   "what a restored service lacks is removed",
                                   "what a void batch brought is not asked for",
                                   "what was captured of a type that leaves is dropped",
                                   "what is being sent is not compared",
                                   "what is refused for good is tried again",
                                   "what the service refuses is not looked at",
                                   "what was cancelled is not put back"};
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
