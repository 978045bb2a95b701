#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "ptdoc/sync/v1/types.pb.h"

namespace ptdoc::sync {

// Rows are compressed inside of a message (docs/PROTOCOL.md, "Compressed rows").
// gRPC's own compression is of no use where the sender is not trusted: it
// unpacks before anybody asked who calls, and into any size. Stateless.

// Moves `tables` into `compressed` if that is shorter; else both stay as they are.
void CompressTables(google::protobuf::RepeatedPtrField<v1::RowSet>* tables,
                    std::string* compressed);

// Appends to `tables` what `compressed` holds; nothing if that is empty. Never
// takes more than some KiB beyond `bytes_max`. INVALID_ARGUMENT (FIELD) if it is
// damaged or goes on behind its end, RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE) if it
// holds more than `bytes_max` bytes; `tables` is unchanged then.
absl::Status ExpandTables(absl::string_view compressed, size_t bytes_max,
                          google::protobuf::RepeatedPtrField<v1::RowSet>* tables);

}  // namespace ptdoc::sync
