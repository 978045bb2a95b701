#include "common/base/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ptdoc::sync {
namespace {

// The longest of many delays, to see the bound that jitter stays below.
absl::Duration Longest(const Backoff& backoff, int attempt) {
  SeededRng rng(1);
  absl::Duration longest;
  for (int i = 0; i < 1000; ++i) longest = std::max(longest, backoff.Delay(attempt, rng));
  return longest;
}

TEST(BackoffTest, BoundDoublesWithEveryAttempt) {
  const Backoff backoff{.first = absl::Seconds(1), .cap = absl::Minutes(5)};

  for (const auto& [attempt, seconds] : {std::pair{1, 1}, {2, 2}, {3, 4}, {8, 128}}) {
    EXPECT_LE(Longest(backoff, attempt), absl::Seconds(seconds));
    EXPECT_GT(Longest(backoff, attempt), absl::Seconds(seconds) * 0.9);
  }
}

TEST(BackoffTest, BoundStopsAtTheCapWhateverTheAttempt) {
  const Backoff backoff{.first = absl::Seconds(1), .cap = absl::Minutes(5)};

  for (const int attempt : {10, 64, 1'000'000'000}) {
    EXPECT_LE(Longest(backoff, attempt), absl::Minutes(5));
    EXPECT_GT(Longest(backoff, attempt), absl::Minutes(4));
  }
}

TEST(BackoffTest, DelaySpreadsOverTheWholeRange) {
  const Backoff backoff{.first = absl::Seconds(8), .cap = absl::Minutes(5)};
  SeededRng rng(2);
  int below_a_quarter = 0;

  for (int i = 0; i < 1000; ++i) {
    if (backoff.Delay(1, rng) < absl::Seconds(2)) ++below_a_quarter;
  }

  EXPECT_NEAR(below_a_quarter, 250, 60);
}

TEST(BackoffTest, OddSettingsAndAttemptsAreHarmless) {
  SeededRng rng(3);

  EXPECT_EQ((Backoff{.first = absl::ZeroDuration()}.Delay(5, rng)), absl::ZeroDuration());
  EXPECT_LE((Backoff{.first = absl::Hours(1), .cap = absl::Seconds(1)}.Delay(1, rng)),
            absl::Seconds(1));
  EXPECT_LE(Backoff().Delay(0, rng), absl::Seconds(1));
  EXPECT_LE(Backoff().Delay(-7, rng), absl::Seconds(1));
}

}  // namespace
}  // namespace ptdoc::sync
