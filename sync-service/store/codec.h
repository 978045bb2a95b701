#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// Compact forms of what stands in blob columns. Encodings are the store's own:
// they change only with a migration. Decoding anything else is DATA_LOSS.

// The times of a version's fields as differences to its own time; empty if all
// are equal to it.
// Name ids of the devices that changed each field last; 0 = the version's own.
// Empty: all are.
std::string EncodeFieldWriters(std::span<const int64_t> writers);
absl::StatusOr<std::vector<int64_t>> DecodeFieldWriters(absl::string_view bytes, size_t fields);
std::string EncodeFieldTimes(std::span<const TimeNs> times, TimeNs version_time);
absl::StatusOr<std::vector<TimeNs>> DecodeFieldTimes(absl::string_view bytes, TimeNs version_time,
                                                     size_t fields);

std::string EncodeNotice(const ConflictNotice& notice);
absl::StatusOr<ConflictNotice> DecodeNotice(absl::string_view bytes);

// The results of a batch, without `current`. Revisions are written as
// differences to `last_revision`, names that repeat as numbers.
std::string EncodeResults(std::span<const ChangeResult> results, Revision last_revision);
absl::StatusOr<std::vector<ChangeResult>> DecodeResults(absl::string_view bytes,
                                                        Revision last_revision);

}  // namespace ptdoc::sync
