#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/value.h"

namespace ptdoc::sync {

inline constexpr size_t kEntityIdBytesMax = 1024;
inline constexpr size_t kEntityTypeBytesMax = 256;

// A column's affinity (sqlite.org/datatype3.html, section 3.1).
enum class Affinity : uint8_t { kBlob, kText, kNumeric, kInteger, kReal };

// From a column's declared type.
Affinity AffinityOf(absl::string_view declared_type);

// True if a column of this affinity stores `value` as it is: what is bound is
// what is read. (TEXT '7' bound to an INTEGER column would be read as 7.)
bool AffinityKeeps(Affinity affinity, const Value& value);

// The EntityId of a key (docs/PROTOCOL.md). A one-column key is
// itself as TEXT in a column of TEXT affinity, its digits as INTEGER in one of
// INTEGER affinity; everything else is a compact JSON array in row JSON.
// INVALID_ARGUMENT (reason INVALID_KEY) for NULL in the key, or above
// kEntityIdBytesMax.
absl::StatusOr<std::string> EncodeEntityId(std::span<const Value> key,
                                           std::span<const Affinity> affinities);

// The inverse. INVALID_ARGUMENT (reason INVALID_KEY) if `id` is not one that EncodeEntityId makes
// for these affinities.
absl::StatusOr<std::vector<Value>> DecodeEntityId(absl::string_view id,
                                                  std::span<const Affinity> affinities);

// True if `id` is what EncodeEntityId makes of some key: for whoever does not
// know the key's columns. Any other id can be that of no row on any device.
bool IsEntityId(absl::string_view id);

}  // namespace ptdoc::sync
