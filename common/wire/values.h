#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/model/change.h"
#include "common/model/value.h"
#include "google/protobuf/timestamp.pb.h"
#include "ptdoc/sync/v1/types.pb.h"

namespace ptdoc::sync {

// `text` with every byte that is not part of well-formed UTF-8 replaced by
// U+FFFD: one ill-formed `string` would make a whole message unparseable.
std::string ToUtf8(absl::string_view text);
// The same, without a copy for the usual case.
std::string ToUtf8(std::string&& text);

// TEXT that is not UTF-8 becomes raw_text, byte for byte.
void ValueToProto(const Value& value, v1::Value* out);
// Why a wire value is none of ours.
enum class ValueDefect { kNone, kUnset, kNotANumber, kMalformed };
// Moves bytes out of `in`. `*out` is NULL unless kNone.
ValueDefect ValueFromProto(v1::Value* in, Value* out);

void TimeToProto(absl::Time time, google::protobuf::Timestamp* out);
void TimeNsToProto(TimeNs time, google::protobuf::Timestamp* out);
// Absent for an ill-formed one, and outside the years 1970 to 2262.
std::optional<TimeNs> TimeNsFromProto(const google::protobuf::Timestamp& in);
std::optional<absl::Time> TimeFromProto(const google::protobuf::Timestamp& in);

v1::Operation OperationToProto(Operation operation);
// Absent for unspecified and unknown ones.
std::optional<Operation> OperationFromProto(v1::Operation operation);

// The level (HealthOf) is set, too.
void QueueHealthToProto(const QueueHealth& queue, v1::QueueHealth* out);
// Figures that are absent are 0; the level is not read, it follows from them.
QueueHealth QueueHealthFromProto(const v1::QueueHealth& in);
v1::Health HealthToProto(HealthLevel level);

}  // namespace ptdoc::sync
