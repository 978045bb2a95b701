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

constexpr uint64_t kOtherSeeds = 40;

constexpr Catch kCatches[] = {
    {"a delta is laid over current", 1},
    {"a page ends anywhere", 1},
    {"a set-aside version is tried whatever its revision", 1},
    {"a void id is forgotten", 6},
    {"acknowledge before COMMIT", 14},
    {"an equal time wins", 6},
    {"an intent is taken for done", 5},
    {"apply before the re-offer", 2},
    {"clamp to the time of arrival", 1},
    {"drain behind the snapshot", 2},
    {"drop the receipt", 1},
    {"finish before apply", 2},
    {"no savepoint around cascades", 7},
    {"old content is taken for new", 1},
    {"overwrite what is not drained", 1},
    {"push is taken whatever its cursor", 11},
    {"rows are not compared", 12},
    {"send unchanged rows", 1},
    {"sign check after last write wins", 2},
    {"skip the archive", 1},
    {"skip the stale note", 1},
    {"the app's journal is not synced", 21},
    {"the base is not looked at", 1},
    {"the base moves on ServerWins", 1},
    {"the check of a base is not compared", 58},
    {"the later arrival wins", 1},
    {"touched rows are not put back", 5},
    {"trim the last log row", 1},
    {"two open batches for one entity", 13},
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
