#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// Our errors are absl::Status with a reason (docs/PROTOCOL.md) and
// metadata as a payload; the wire turns them into google.rpc.ErrorInfo with
// domain "ptdoc.sync.v1". `message` says what happened, what it means for the
// data and what to do, and never holds entity content.
absl::Status ReasonError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                         const std::map<std::string, std::string>& metadata = {});

// INVALID_ARGUMENT, reason FIELD, with the field's path for BadRequest.
absl::Status FieldError(absl::string_view field, absl::string_view message);

// Adds how long waiting helps (RetryInfo).
absl::Status WithRetryAfterMs(absl::Status status, int64_t retry_after_ms);

// Empty if the status has none.
std::string ReasonOf(const absl::Status& status);
std::map<std::string, std::string> ReasonMetadata(const absl::Status& status);

inline constexpr absl::string_view kErrorDomain = "ptdoc.sync.v1";

// Metadata keys.
inline constexpr char kMetaField[] = "field";
inline constexpr char kMetaRetryAfterMs[] = "retry_after_ms";
inline constexpr char kMetaSharedRevision[] = "shared_revision";

}  // namespace ptdoc::sync
