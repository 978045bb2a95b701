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
    {"a delta is laid over current", 4},
    {"a device does not keep what it lost", 1},
    {"a lock does not bind", 8},
    {"a merge does not see what was changed back", 8},
    {"a merge keeps what stands where both changed", 8},
    {"a merge looks at the time of the row", 8},
    {"a page ends anywhere", 1},
    {"a receipt holds no results", 1},
    {"a set-aside version is tried whatever its revision", 1},
    {"a void batch counts as taken", 6},
    {"a void id is forgotten", 6},
    {"accept the answer of an old epoch", 113},
    {"acknowledge before COMMIT", 2},
    {"an edit in a re-baseline keeps its base", 6},
    {"an equal time wins", 4},
    {"an error message quotes the row", 22},
    {"an intent is taken for done", 14},
    {"apply before the re-offer", 3},
    {"clamp to the time of arrival", 6},
    {"drain behind the snapshot", 16},
    {"drop the receipt", 1},
    {"feed from heads", 1},
    {"finish before apply", 3},
    {"no audit row is written", 1},
    {"no savepoint around cascades", 171},
    {"old content is taken for new", 3},
    {"overwrite what is not drained", 1},
    {"pull from commit_cursor", 1},
    {"push is taken whatever its cursor", 6},
    {"rebuild a batch on re-sending", 4},
    {"push without cursor", 1},
    {"reuse a log number", 1},
    {"rows are not compared", 1},
    {"send unchanged rows", 1},
    {"sign check after last write wins", 1},
    {"skip the archive", 1},
    {"skip the stale note", 4},
    {"the app's journal is not synced", 1},
    {"the audit chain forgets the row before", 1},
    {"the base is not looked at", 1},
    {"the base moves on ServerWins", 1},
    {"the check of a base is not compared", 54},
    {"the later arrival wins", 1},
    {"the parts of a log count as many", 837250050},
    {"the sequence is not rolled back with its savepoint", 6},
    {"the type list is left out of the cursor", 228},
    {"the witness is not looked at", 6},
    {"touched rows are not put back", 3},
    {"trim the last log row", 1},
    {"two open batches for one entity", 6},
    {"what a restored service lacks is removed", 3},
    {"what a link's numbers meant goes with the log", 337},
    {"what is being sent is not compared", 37},
    {"what is refused for good is tried again", 71},
    {"what was cancelled is not put back", 109},
    {"what was sent is put back all the same", 265},
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
