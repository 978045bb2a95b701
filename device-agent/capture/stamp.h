#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/clock.h"
#include "common/model/value.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// How an app writes times into its last_modified_column; `time_format` in the
// configuration.
enum class TimeFormat : uint8_t {
  kIso8601,      // "iso8601": 2026-02-17T04:45:00.123Z
  kEfCore,       // "efcore": 2026-02-17 04:45:00.1230000, UTC (Django's fits, too)
  kUnixSeconds,  // "unix"
  kUnixMillis,   // "unix_ms"
  kTicks,        // "ticks": .NET's 100 ns since 0001-01-01
};

// Empty for an unknown name, and for "auto".
std::optional<TimeFormat> ParseTimeFormat(absl::string_view name);

// From the first rows of a table. Empty if they tell nothing.
absl::StatusOr<std::optional<TimeFormat>> DetectTimeFormat(sqlite::Database& db,
                                                           const TableInfo& table,
                                                           const ColumnInfo& column);

// A time as the app would write it, cut to what the format can hold.
Value FormatStamp(TimeFormat format, TimeNs time);
// Texts of either form and with an offset are read whatever the format; text
// without an offset is UTC. Empty for what is no time after 1970.
std::optional<TimeNs> ParseStamp(TimeFormat format, const Value& value);

// SQL that turns `ms_sql`, milliseconds since 1970, into what FormatStamp makes.
std::string StampSql(TimeFormat format, absl::string_view ms_sql);

}  // namespace ptdoc::sync
