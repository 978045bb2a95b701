#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "tests/simulation/planted_bugs.h"

namespace ptdoc::sync::sim {
namespace {

// The seed that caught it when it was last looked for. A change of the product
// changes what happens in a run: then others are tried, too.
struct Catch {
  const char* bug;
  uint64_t seed;
};

constexpr uint64_t kOtherSeeds = 100;

constexpr Catch kCatches[] = {
    {"a cursor stands at the end of the log", 1},
    {"a debug line tells the row", 1},
    {"a delta is laid over current", 5},
    {"a device does not keep what it lost", 1},
    {"a lock does not bind", 1},
    {"a merge does not see what was changed back", 167},
    {"a merge keeps what stands where both changed", 26},
    {"a merge looks at the time of the row", 14},
    {"a page ends anywhere", 1},
    {"a receipt holds no results", 1},
    {"a set-aside version is tried whatever its revision", 15},
    {"a void batch counts as taken", 3},
    {"a void id is forgotten", 14},
    {"accept the answer of an old epoch", 1},
    {"acknowledge before COMMIT", 1},
    {"an edit in a re-baseline keeps its base", 1},
    {"an equal time wins", 1},
    {"an error message quotes the row", 7},
    {"an intent is taken for done", 7},
    {"apply before the re-offer", 7},
    {"clamp to the time of arrival", 3},
    {"drain behind the snapshot", 1},
    {"drop the receipt", 1},
    {"feed from heads", 1},
    {"finish before apply", 3},
    {"no audit row is written", 1},
    {"no savepoint around cascades", 1},
    {"old content is taken for new", 3},
    {"overwrite what is not drained", 4},
    {"pull from commit_cursor", 1},
    {"push is taken whatever its cursor", 1},
    {"rebuild a batch on re-sending", 4},
    {"push without cursor", 1},
    {"reuse a log number", 1},
    {"rows are not compared", 2},
    {"send unchanged rows", 1},
    {"sign check after last write wins", 1},
    {"skip the archive", 1},
    {"skip the stale note", 2},
    {"the app's journal is not synced", 15},
    {"the app's journal is synced once a life", 35},
    {"the audit chain forgets the row before", 1},
    {"the base is not looked at", 1},
    {"the base moves on ServerWins", 1},
    {"the check of a base is not compared", 2},
    {"the later arrival wins", 1},
    {"the parts of a log count as many", 40},
    {"the sequence is not rolled back with its savepoint", 1},
    {"the type list is left out of the cursor", 33},
    {"the witness is not looked at", 15},
    {"touched rows are not put back", 7},
    {"trim the last log row", 1},
    {"two open batches for one entity", 1},
    {"what a restored service lacks is removed", 1},
    {"what is being sent is not compared", 59},
    {"what is refused for good is tried again", 32},
    {"what the service refuses is not looked at", 33},
    {"what was cancelled is not put back", 407},
};

class PlantedTest : public ::testing::TestWithParam<Catch> {};

TEST_P(PlantedTest, TheSimulationCatchesIt) {
#ifdef PTDOC_SANITIZED
  GTEST_SKIP() << "a bug need not be caught twice";
#endif
  bool caught = IsCaught(GetParam().bug, GetParam().seed);
  for (uint64_t seed = 1; seed <= kOtherSeeds && !caught; ++seed) {
    caught = IsCaught(GetParam().bug, seed);
    if (caught) std::printf("caught by seed %d\n", static_cast<int>(seed));
  }

  EXPECT_TRUE(caught) << GetParam().bug;
}

INSTANTIATE_TEST_SUITE_P(AllBugs, PlantedTest, ::testing::ValuesIn(kCatches),
                         [](const auto& test) { return "Bug" + std::to_string(test.index); });

}  // namespace
}  // namespace ptdoc::sync::sim
