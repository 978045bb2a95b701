#include "device-agent/capture/stamp.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

struct NamedFormat {
  absl::string_view name;
  TimeFormat format;
};
constexpr NamedFormat kFormats[] = {{"iso8601", TimeFormat::kIso8601},
                                    {"efcore", TimeFormat::kEfCore},
                                    {"unix", TimeFormat::kUnixSeconds},
                                    {"unix_ms", TimeFormat::kUnixMillis},
                                    {"ticks", TimeFormat::kTicks}};

constexpr int64_t kTicksAt1970 = 621'355'968'000'000'000;
constexpr int64_t kTicksPerMs = 10'000;
constexpr int64_t kNsPerMs = 1'000'000;
// Seconds stay below, milliseconds (from 1973 on) and ticks above.
constexpr int64_t kSecondsMax = 100'000'000'000;
constexpr int64_t kMillisMax = 100'000'000'000'000;
constexpr int kDetectRows = 100;

std::optional<TimeFormat> FormatOf(const Value& value) {
  if (value.type() == Value::Type::kInteger) {
    if (value.integer() <= kSecondsMax) return TimeFormat::kUnixSeconds;
    return value.integer() <= kMillisMax ? TimeFormat::kUnixMillis : TimeFormat::kTicks;
  }
  if (value.type() != Value::Type::kText || value.bytes().size() <= 10) return std::nullopt;
  if (value.bytes()[10] == 'T') return TimeFormat::kIso8601;
  return value.bytes()[10] == ' ' ? std::optional(TimeFormat::kEfCore) : std::nullopt;
}

// Reads a text from its beginning.
class Reader {
 public:
  explicit Reader(absl::string_view text) : rest_(text) {}

  // Exactly `count` digits.
  std::optional<int> Digits(size_t count) {
    int value = 0;
    if (rest_.size() < count) return std::nullopt;
    for (size_t i = 0; i < count; ++i) {
      if (!absl::ascii_isdigit(static_cast<unsigned char>(rest_[i]))) return std::nullopt;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }
  bool Take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Digits of a fraction as nanoseconds; those below are dropped.
  int64_t FractionNs() {
    int64_t ns = 0;
    int64_t unit = 100'000'000;
    while (const std::optional<int> digit = Digits(1)) {
      ns += *digit * unit;
      unit /= 10;
    }
    return ns;
  }
  bool AtEnd() const { return rest_.empty(); }

 private:
  absl::string_view rest_;
};

// "Z", "+01:00", "-0530" or nothing, to the end of the text, in seconds.
std::optional<int64_t> ReadOffset(Reader& reader) {
  if (reader.AtEnd()) return 0;
  if (reader.Take('Z')) return reader.AtEnd() ? std::optional<int64_t>(0) : std::nullopt;
  const bool west = reader.Take('-');
  if (!west && !reader.Take('+')) return std::nullopt;
  const std::optional<int> hours = reader.Digits(2);
  reader.Take(':');
  const std::optional<int> minutes = reader.Digits(2);
  if (!hours || !minutes || !reader.AtEnd()) return std::nullopt;
  const int64_t seconds = int64_t{3600} * *hours + int64_t{60} * *minutes;
  return west ? -seconds : seconds;
}

// Year, month, day, hour, minute, second; those of the day may be absent.
std::optional<absl::CivilSecond> ReadCivil(Reader& reader) {
  std::array<int, 6> part{};
  constexpr absl::string_view kBefore = " -- ::";
  for (size_t i = 0; i < part.size(); ++i) {
    if (i == 3 && reader.AtEnd()) break;
    if (i == 3 && !reader.Take('T') && !reader.Take(' ')) return std::nullopt;
    if (i != 0 && i != 3 && !reader.Take(kBefore[i])) return std::nullopt;
    const std::optional<int> digits = reader.Digits(i == 0 ? 4 : 2);
    if (!digits) return std::nullopt;
    part[i] = *digits;
  }
  const absl::CivilSecond civil(part[0], part[1], part[2], part[3], part[4], part[5]);
  // CivilSecond carries over what is too large: the 31st of February is no time.
  if (civil.month() != part[1] || civil.day() != part[2] || civil.hour() != part[3] ||
      civil.minute() != part[4] || civil.second() != part[5]) {
    return std::nullopt;
  }
  return civil;
}

std::optional<TimeNs> ParseText(absl::string_view text) {
  Reader reader(text);
  const std::optional<absl::CivilSecond> civil = ReadCivil(reader);
  if (!civil) return std::nullopt;
  const int64_t fraction_ns = reader.Take('.') ? reader.FractionNs() : 0;
  const std::optional<int64_t> offset = ReadOffset(reader);
  if (!offset) return std::nullopt;
  const TimeNs time = ToTimeNs(absl::FromCivil(*civil, absl::UTCTimeZone()) -
                               absl::Seconds(*offset) + absl::Nanoseconds(fraction_ns));
  return time > kSmallestTime ? std::optional(time) : std::nullopt;
}

std::optional<TimeNs> ParseInteger(TimeFormat format, int64_t value) {
  int64_t unit_ns = kNsPerMs;
  if (format == TimeFormat::kUnixSeconds) unit_ns = 1000 * kNsPerMs;
  if (format == TimeFormat::kTicks) {
    unit_ns = kNsPerMs / kTicksPerMs;
    if (value < kTicksAt1970) return std::nullopt;
    value -= kTicksAt1970;
  }
  if (value <= 0 || value > std::numeric_limits<int64_t>::max() / unit_ns) return std::nullopt;
  return value * unit_ns;
}

}  // namespace

std::optional<TimeFormat> ParseTimeFormat(absl::string_view name) {
  for (const NamedFormat& known : kFormats) {
    if (known.name == name) return known.format;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<TimeFormat>> DetectTimeFormat(sqlite::Database& db,
                                                           const TableInfo& table,
                                                           const ColumnInfo& column) {
  const std::string name = sqlite::QuoteName(column.name);
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare(absl::StrCat("SELECT ", name, " FROM main.", sqlite::QuoteName(table.name),
                              " WHERE ", name, " IS NOT NULL LIMIT ", kDetectRows)));
  std::array<int, std::size(kFormats)> votes{};
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) break;
    const std::optional<TimeFormat> format = FormatOf(rows.ColumnValue(0));
    if (format) ++votes[static_cast<size_t>(*format)];
  }
  const auto most = std::max_element(votes.begin(), votes.end());
  if (*most == 0) return std::optional<TimeFormat>();
  return std::optional(static_cast<TimeFormat>(most - votes.begin()));
}

Value FormatStamp(TimeFormat format, TimeNs time) {
  const int64_t ms = time / kNsPerMs;
  const auto text = [time](absl::string_view form) {
    return Value::Text(absl::FormatTime(form, FromTimeNs(time), absl::UTCTimeZone()));
  };
  switch (format) {
    case TimeFormat::kIso8601:
      return text("%Y-%m-%dT%H:%M:%E3SZ");
    case TimeFormat::kEfCore:
      return text("%Y-%m-%d %H:%M:%E7S");
    case TimeFormat::kUnixSeconds:
      return Value::Integer(ms / 1000);
    case TimeFormat::kUnixMillis:
      return Value::Integer(ms);
    case TimeFormat::kTicks:
      return Value::Integer(time / (kNsPerMs / kTicksPerMs) + kTicksAt1970);
  }
  return Value::Null();
}

std::optional<TimeNs> ParseStamp(TimeFormat format, const Value& value) {
  if (value.type() == Value::Type::kText) return ParseText(value.bytes());
  if (value.type() == Value::Type::kInteger) return ParseInteger(format, value.integer());
  return std::nullopt;
}

std::string StampSql(TimeFormat format, absl::string_view ms_sql) {
  switch (format) {
    case TimeFormat::kIso8601:
      return absl::StrCat("strftime('%Y-%m-%dT%H:%M:%fZ', (", ms_sql, ") / 1000.0, 'unixepoch')");
    case TimeFormat::kEfCore:
      return absl::StrCat("strftime('%Y-%m-%d %H:%M:%f', (", ms_sql,
                          ") / 1000.0, 'unixepoch') || '0000'");
    case TimeFormat::kUnixSeconds:
      return absl::StrCat("(", ms_sql, ") / 1000");
    case TimeFormat::kUnixMillis:
      return std::string(ms_sql);
    case TimeFormat::kTicks:
      return absl::StrCat("(", ms_sql, ") * ", kTicksPerMs, " + ", kTicksAt1970);
  }
  return "NULL";
}

}  // namespace ptdoc::sync
