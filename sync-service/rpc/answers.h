#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/wire/convert.h"
#include "ptdoc/sync/v1/admin_service.pb.h"
#include "ptdoc/sync/v1/sync_service.pb.h"
#include "ptdoc/sync/v1/types.pb.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// The engine's and the store's values as messages.

void PushAnswerToProto(PushAnswer answer, v1::PushResponse* out);
void RunAnswerToProto(RunAnswer answer, absl::Time completed_at, absl::Duration took,
                      v1::RunResponse* out);
void StatusAnswerToProto(const StatusAnswer& answer, size_t row_bytes_max, v1::StatusResponse* out);

// A page as messages of at most about kPageBytesMax each (a single version may
// be larger): cursor, batch_end and caught_up stand on the last, `remaining`
// on each. At least one message.
std::deque<v1::PullResponse> PageToProto(PullPage page, std::optional<RowForm> packed);
// The same of what was fetched; `last` marks the end of the whole fetch.
std::deque<v1::PullResponse> FetchPageToProto(FetchPage page, std::optional<RowForm> packed,
                                              bool last);

void ArchiveRowToProto(const ArchiveRow& row, Revision current_revision, v1::Conflict* out);
void DeviceRowToProto(const DeviceRow& row, v1::Device* out);
void AuditRowToProto(const AuditRow& row, v1::AuditEntry* out);

}  // namespace ptdoc::sync
