#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "gmock/gmock.h"
#include "tests/simulation/many.h"
#include "tests/simulation/required.h"
#include "tests/simulation/simulate.h"

namespace ptdoc::sync::sim {
namespace {

// How many runs, and from which seed on: every tree has its own.
Many HowMany() {
  Many many;
  many.jobs = JobsOfThisMachine();
  if (const char* const seeds = std::getenv("PTDOC_SIMULATION_SEEDS"); seeds != nullptr) {
    many.seeds = std::strtoull(seeds, nullptr, 10);
  }
  if (const char* const from = std::getenv("PTDOC_SIMULATION_FROM"); from != nullptr) {
    many.from = std::strtoull(from, nullptr, 10);
  }
  return many;
}

TEST(SimulationTest, EveryPromiseHoldsWhateverGoesWrong) {
  const Many many = HowMany();
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(many.from),
              static_cast<unsigned long long>(many.from + many.seeds - 1));

  const Totals totals = SimulateMany(many);

  EXPECT_EQ(totals.runs, many.seeds);
  EXPECT_EQ(totals.failed, 0u);
  // A run in which nobody disagrees proves little.
  EXPECT_GT(totals.conflicts, static_cast<int64_t>(many.seeds));
  EXPECT_THAT(NeverHappened(totals.counters, totals.runs), testing::IsEmpty());
}

// Whatever the tree: what these did once, they do not do again.
TEST(SimulationTest, TheFirstSeedsHoldInEveryTree) {
  Many many;
  many.jobs = JobsOfThisMachine();
#ifdef PTDOC_SANITIZED
  many.seeds = 10;
#else
  many.seeds = 100;
#endif

  EXPECT_EQ(SimulateMany(many).failed, 0u);
}

TEST(SimulationTest, OneSeedGivesOneRun) {
  std::set<uint64_t> hashes;
  for (int i = 0; i < 2; ++i) hashes.insert(Simulate(7).trace_hash);

  EXPECT_EQ(hashes.size(), 1u);
  EXPECT_FALSE(hashes.contains(Simulate(8).trace_hash));
}

}  // namespace
}  // namespace ptdoc::sync::sim
