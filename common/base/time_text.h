#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ptdoc::sync {

// "2026-02-17T04:45:00.000Z", cut to milliseconds: how times stand in our tables
// and JSON. (Not named FormatTime: for an argument of absl::Time that would be
// ambiguous with absl's, which writes local time.)
std::string FormatUtc(absl::Time time);

// Reads FormatUtc's form, with any number of digits of a second or none.
// INVALID_ARGUMENT, as for the others here; messages do not repeat the input.
absl::StatusOr<absl::Time> ParseTime(absl::string_view text);

// "30s", "2h", "365d", "250ms": whole numbers with s, m, h, d or ms.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// Bytes: "1MiB", "512KiB", "2GiB", "4096".
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);

// For people: "1.4 s", "3 min", "2 h 10 min", "850 ms", "3 d 4 h"
// (from two days); cut, not rounded. "for ever" if infinite.
std::string HumanDuration(absl::Duration duration);

}  // namespace ptdoc::sync
