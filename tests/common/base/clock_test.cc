#include "common/base/clock.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/fake_clock.h"

namespace ptdoc::sync {
namespace {

TEST(ClockTest, MonotonicNeverGoesBack) {
  const SystemClock clock;
  absl::Duration last = clock.Monotonic();

  for (int i = 0; i < 1000; ++i) {
    const absl::Duration now = clock.Monotonic();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(last, absl::ZeroDuration());
}

TEST(ClockTest, NowIsAfterThisWasWritten) {
  EXPECT_GT(SystemClock().Now(), absl::FromUnixSeconds(1'700'000'000));
}

TEST(ClockTest, TimeNsKeepsEveryNanosecond) {
  constexpr TimeNs kTime = 1'771'303'500'123'456'789;

  EXPECT_EQ(ToTimeNs(FromTimeNs(kTime)), kTime);
}

TEST(ClockTest, TimeNsSaturatesAtBothEnds) {
  constexpr TimeNs kBiggest = std::numeric_limits<TimeNs>::max();

  EXPECT_EQ(ToTimeNs(absl::FromUnixSeconds(-1)), kSmallestTime);
  EXPECT_EQ(ToTimeNs(absl::InfinitePast()), kSmallestTime);
  EXPECT_EQ(ToTimeNs(absl::FromUnixSeconds(10'000'000'000)), kBiggest);
  EXPECT_EQ(ToTimeNs(absl::InfiniteFuture()), kBiggest);
}

TEST(FakeClockTest, SetLeavesTheMonotonicClockAlone) {
  FakeClock clock;
  clock.Advance(absl::Seconds(3));

  clock.Set(absl::UnixEpoch());

  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
  EXPECT_EQ(clock.Monotonic(), absl::Seconds(3));
}

}  // namespace
}  // namespace ptdoc::sync
