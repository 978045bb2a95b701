#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "tests/simulation/required.h"
#include "tests/simulation/simulate.h"

namespace ptdoc::sync::sim {
namespace {

#ifdef PTDOC_SANITIZED
constexpr uint64_t kSeeds = 25;
#else
constexpr uint64_t kSeeds = 100;
#endif

TEST(SimulationTest, EveryPromiseHoldsWhateverGoesWrong) {
  int64_t conflicts = 0;
  std::map<std::string, int64_t> counters;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Report report = SimulateAndTell(seed);
    EXPECT_EQ(report.failure, "") << "seed " << seed;
    conflicts += report.conflicts;
    for (const auto& [what, times] : report.counters) counters[what] += times;
  }

  // A run in which nobody disagrees proves little.
  EXPECT_GT(conflicts, static_cast<int64_t>(kSeeds));
  EXPECT_THAT(NeverHappened(counters, kSeeds), testing::IsEmpty());
}

TEST(SimulationTest, OneSeedGivesOneRun) {
  std::set<uint64_t> hashes;
  for (int i = 0; i < 2; ++i) hashes.insert(Simulate(7).trace_hash);

  EXPECT_EQ(hashes.size(), 1u);
  EXPECT_FALSE(hashes.contains(Simulate(8).trace_hash));
}

}  // namespace
}  // namespace ptdoc::sync::sim
