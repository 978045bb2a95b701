#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/model/change.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {

// Checks that need no store. Messages name fields and limits, never content.

// The call carries queue figures and nothing else.
bool IsReportOnly(const PushBatch& batch);

// INVALID_ARGUMENT (FIELD) or RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE): nothing
// of the batch is taken.
absl::Status CheckBatch(const PushBatch& batch);

// Row 2 of the decision table: why this change alone is refused, for good.
// `code` is kNone if nothing is wrong.
Defect CheckChange(const Change& change, const Principal& who, const EngineOptions& options);

// INVALID_ARGUMENT (FIELD) unless each type is named and short enough.
absl::Status CheckTypes(const std::vector<std::string>& types);

// INVALID_ARGUMENT (FIELD) unless it is 1 to 64 of [A-Za-z0-9_.-]: free text of
// people could hold content, and this goes into the audit.
absl::Status CheckReasonCode(absl::string_view reason_code);

// RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE). `what` and `unit` name the limit.
absl::Status TooLarge(absl::string_view what, size_t size, size_t limit, absl::string_view unit);

// What a row larger than max_row_bytes is refused with.
Defect RowTooLarge(size_t size, size_t limit);

// 32 bytes over types and ids in order: tells whether a repeated batch is the
// batch that was answered.
std::string EntitiesDigest(const std::vector<Change>& changes);

}  // namespace ptdoc::sync
