#include "common/base/time_text.h"

#include <gtest/gtest.h>

#include "absl/time/civil_time.h"

namespace ptdoc::sync {
namespace {

TEST(TimeTextTest, TimeIsWrittenInUtcWithMilliseconds) {
  EXPECT_EQ(FormatUtc(absl::FromUnixMillis(1'771'303'500'000)), "2026-02-17T04:45:00.000Z");
  EXPECT_EQ(FormatUtc(absl::FromUnixNanos(1'999'999)), "1970-01-01T00:00:00.001Z");
}

TEST(TimeTextTest, TimeIsReadWithAnyFraction) {
  const absl::Time second = absl::FromUnixSeconds(1'771'303'500);

  EXPECT_EQ(ParseTime("2026-02-17T04:45:00.000Z").value(), second);
  EXPECT_EQ(ParseTime("2026-02-17T04:45:00Z").value(), second);
  EXPECT_EQ(ParseTime("2026-02-17T04:45:00.5Z").value(), second + absl::Milliseconds(500));
  EXPECT_EQ(ParseTime("2026-02-17T04:45:00.123456789Z").value(),
            second + absl::Nanoseconds(123'456'789));
}

// Both have a way of their own for the usual times: as absl would have it.
TEST(TimeTextTest, EveryTimeIsWrittenAndReadAsByAbseil) {
  constexpr char kFormat[] = "%Y-%m-%dT%H:%M:%E3SZ";
  const int64_t first =
      absl::ToUnixMillis(absl::FromCivil(absl::CivilDay(1968, 12, 30), absl::UTCTimeZone()));
  const int64_t last =
      absl::ToUnixMillis(absl::FromCivil(absl::CivilDay(10'001, 1, 3), absl::UTCTimeZone()));
  // A prime step of about two months, so that every hour, minute and month comes.
  for (int64_t ms = first; ms < last; ms += 5'270'400'007) {
    const absl::Time time = absl::FromUnixMillis(ms);
    const std::string text = absl::FormatTime(kFormat, time, absl::UTCTimeZone());

    ASSERT_EQ(FormatUtc(time), text);
    if (ms < 0 || text.size() != 24) continue;
    ASSERT_EQ(ParseTime(text).value(), time) << text;
  }
  EXPECT_EQ(FormatUtc(absl::FromUnixMillis(253'402'300'799'999)), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(ParseTime("2024-02-29T23:59:59.999Z").value(), absl::FromUnixMillis(1'709'251'199'999));
  EXPECT_FALSE(ParseTime("2023-02-29T23:59:59.999Z").ok());
  EXPECT_EQ(ParseTime("1969-12-31T23:59:59.999Z").value(), absl::FromUnixMillis(-1));
}

TEST(TimeTextTest, TextThatIsNoTimeIsRefused) {
  for (const char* text : {"", "Z", "2026-02-17", "2026-02-17T04:45:00", "2026-02-17T04:45:00.Z",
                           " 2026-02-17T04:45:00Z", "2026-02-17T04:45:00Z ", "2026-02-17 04:45:00Z",
                           "2026-02-30T04:45:00Z", "2026-13-01T04:45:00Z", "2026-02-17T25:45:00Z",
                           "2026-02-17T04:45:00+01:00", "infinite-future", "12026-02-17T04:45:00Z",
                           "2026-02-17T04:45:00.1.2Z", "2026-02-17T04:45:00.-5Z"}) {
    EXPECT_EQ(ParseTime(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TimeTextTest, DurationsAreWholeNumbersWithAUnit) {
  EXPECT_EQ(ParseDuration("250ms").value(), absl::Milliseconds(250));
  EXPECT_EQ(ParseDuration("30s").value(), absl::Seconds(30));
  EXPECT_EQ(ParseDuration("5m").value(), absl::Minutes(5));
  EXPECT_EQ(ParseDuration("2h").value(), absl::Hours(2));
  EXPECT_EQ(ParseDuration("365d").value(), absl::Hours(365 * 24));
  EXPECT_EQ(ParseDuration("0s").value(), absl::ZeroDuration());
}

TEST(TimeTextTest, TextThatIsNoDurationIsRefused) {
  for (const char* text : {"", "s", "30", "-1s", "+1s", "1.5s", " 1s", "1 s", "1s ", "1w", "1h30m",
                           "9223372036854775807d", "99999999999999999999s"}) {
    EXPECT_EQ(ParseDuration(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TimeTextTest, SizesAreBytesOrBinaryMultiples) {
  EXPECT_EQ(ParseByteSize("4096").value(), 4096);
  EXPECT_EQ(ParseByteSize("512KiB").value(), 512 << 10);
  EXPECT_EQ(ParseByteSize("1MiB").value(), 1 << 20);
  EXPECT_EQ(ParseByteSize("2GiB").value(), int64_t{2} << 30);
}

TEST(TimeTextTest, TextThatIsNoSizeIsRefused) {
  for (const char* text : {"", "MiB", "1MB", "1 MiB", "-1", "1.5MiB", "9223372036854775807KiB",
                           "9223372036854775808", "0x10"}) {
    EXPECT_EQ(ParseByteSize(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TimeTextTest, DurationsReadWell) {
  EXPECT_EQ(HumanDuration(absl::ZeroDuration()), "0 ms");
  EXPECT_EQ(HumanDuration(absl::Milliseconds(850)), "850 ms");
  EXPECT_EQ(HumanDuration(absl::Milliseconds(1'499)), "1.4 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(30)), "30 s");
  EXPECT_EQ(HumanDuration(absl::Milliseconds(59'999)), "59.9 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(200)), "3 min");
  EXPECT_EQ(HumanDuration(absl::Minutes(130)), "2 h 10 min");
  EXPECT_EQ(HumanDuration(absl::Hours(2)), "2 h");
  EXPECT_EQ(HumanDuration(absl::Hours(76)), "3 d 4 h");
  EXPECT_EQ(HumanDuration(-absl::Seconds(2)), "-2 s");
  EXPECT_EQ(HumanDuration(absl::InfiniteDuration()), "for ever");
}

}  // namespace
}  // namespace ptdoc::sync
