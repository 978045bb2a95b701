#include "common/base/time_text.h"

#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

struct Unit {
  absl::string_view suffix;
  int64_t factor;
};

// A suffix that ends another one comes after it.
constexpr Unit kTimeUnitsMs[] = {
    {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
constexpr Unit kByteUnits[] = {
    {"KiB", int64_t{1} << 10}, {"MiB", int64_t{1} << 20}, {"GiB", int64_t{1} << 30}, {"", 1}};

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

// Digits alone: SimpleAtoi also takes signs and white space.
std::optional<int64_t> ParseDigits(absl::string_view text) {
  int64_t value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
  }
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

template <size_t N>
std::optional<int64_t> ParseWithUnit(absl::string_view text, const Unit (&units)[N]) {
  for (const Unit& unit : units) {
    if (text.size() < unit.suffix.size()) continue;
    const size_t digits = text.size() - unit.suffix.size();
    if (text.substr(digits) != unit.suffix) continue;
    const std::optional<int64_t> value = ParseDigits(text.substr(0, digits));
    if (!value.has_value()) return std::nullopt;
    if (*value > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
    return *value * unit.factor;
  }
  return std::nullopt;
}

// "dddd-dd-ddTdd:dd:dd", perhaps a point and digits, "Z". absl::ParseTime alone
// also takes white space, other years and "infinite-future".
bool HasTimeShape(absl::string_view text) {
  constexpr absl::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size() || text.back() != 'Z') return false;
  for (size_t i = 0; i < kShape.size(); ++i) {
    if (kShape[i] == '0' ? !IsDigit(text[i]) : text[i] != kShape[i]) return false;
  }
  absl::string_view fraction = text.substr(kShape.size());
  fraction.remove_suffix(1);
  if (fraction.empty()) return true;
  if (fraction.size() < 2 || fraction[0] != '.') return false;
  for (const char c : fraction.substr(1)) {
    if (!IsDigit(c)) return false;
  }
  return true;
}

// Times are written and read for each row: what absl's formats do with tables of
// zones costs more than all else that is done with a row.
constexpr absl::string_view kMillisShape = "0000-00-00T00:00:00.000Z";
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kYear10000Ms = 253'402'300'800'000;

void PutDigits(int64_t value, int digits, char* out) {
  for (char* at = out + digits; at != out; value /= 10) {
    *--at = static_cast<char>('0' + value % 10);
  }
}

// `digits` of `text` from `at`; they are there.
int ReadDigits(absl::string_view text, size_t at, size_t digits) {
  int value = 0;
  for (const char c : text.substr(at, digits)) value = value * 10 + (c - '0');
  return value;
}

// Of the years 1970 to 9999.
std::string FormatMillis(int64_t ms) {
  const absl::CivilDay day = absl::CivilDay(1970, 1, 1) + ms / kDayMs;
  const int64_t of_day = ms % kDayMs;
  std::string text(kMillisShape);
  PutDigits(day.year(), 4, &text[0]);
  PutDigits(day.month(), 2, &text[5]);
  PutDigits(day.day(), 2, &text[8]);
  PutDigits(of_day / 3'600'000, 2, &text[11]);
  PutDigits(of_day / 60'000 % 60, 2, &text[14]);
  PutDigits(of_day / 1'000 % 60, 2, &text[17]);
  PutDigits(of_day % 1'000, 3, &text[20]);
  return text;
}

// A text of kMillisShape. False, changing nothing, for what is better looked at
// closely: a leap second, or no time at all.
bool ReadMillis(absl::string_view text, absl::Time* time) {
  const int month = ReadDigits(text, 5, 2);
  const int day = ReadDigits(text, 8, 2);
  const int hour = ReadDigits(text, 11, 2);
  const int minute = ReadDigits(text, 14, 2);
  const int second = ReadDigits(text, 17, 2);
  // Of a day that the month does not have it makes another month's.
  const absl::CivilDay date(ReadDigits(text, 0, 4), month, day);
  if (date.month() != month || date.day() != day) return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  const int64_t days = date - absl::CivilDay(1970, 1, 1);
  const int64_t seconds = int64_t{hour} * 3'600 + int64_t{minute} * 60 + second;
  *time = absl::FromUnixMillis(days * kDayMs + seconds * 1'000 + ReadDigits(text, 20, 3));
  return true;
}

// "2 h 10 min", without the second part if it is 0.
std::string TwoParts(int64_t value, int64_t factor, absl::string_view big,
                     absl::string_view small) {
  std::string head = absl::StrCat(value / factor, " ", big);
  if (value % factor == 0) return head;
  return absl::StrCat(head, " ", value % factor, " ", small);
}

}  // namespace

std::string FormatUtc(absl::Time time) {
  const int64_t ms = absl::ToUnixMillis(time);
  if (ms >= 0 && ms < kYear10000Ms) return FormatMillis(ms);
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

absl::StatusOr<absl::Time> ParseTime(absl::string_view text) {
  absl::Time time;
  std::string error;
  const bool has_shape = HasTimeShape(text);
  if (has_shape && text.size() == kMillisShape.size() && ReadMillis(text, &time)) return time;
  if (!has_shape ||
      !absl::ParseTime("%Y-%m-%dT%H:%M:%E*SZ", text, absl::UTCTimeZone(), &time, &error)) {
    return absl::InvalidArgumentError("not a time like 2026-02-17T04:45:00.000Z");
  }
  return time;
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  const std::optional<int64_t> ms = ParseWithUnit(text, kTimeUnitsMs);
  if (!ms.has_value()) {
    return absl::InvalidArgumentError("not a duration like 250ms, 30s, 5m, 2h or 365d");
  }
  return absl::Milliseconds(*ms);
}

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  const std::optional<int64_t> size = ParseWithUnit(text, kByteUnits);
  if (!size.has_value()) {
    return absl::InvalidArgumentError("not a size like 4096, 512KiB, 1MiB or 2GiB");
  }
  return *size;
}

std::string HumanDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) return absl::StrCat("-", HumanDuration(-duration));
  if (duration == absl::InfiniteDuration()) return "for ever";
  const int64_t ms = absl::ToInt64Milliseconds(duration);
  if (ms < 1'000) return absl::StrCat(ms, " ms");
  if (ms < 60'000) {
    const int64_t tenth = ms % 1'000 / 100;
    const std::string fraction = tenth == 0 ? "" : absl::StrCat(".", tenth);
    return absl::StrCat(ms / 1'000, fraction, " s");
  }
  const int64_t minutes = ms / 60'000;
  if (minutes < 60) return absl::StrCat(minutes, " min");
  if (minutes < int64_t{2} * 24 * 60) return TwoParts(minutes, 60, "h", "min");
  return TwoParts(minutes / 60, 24, "d", "h");
}

}  // namespace ptdoc::sync
