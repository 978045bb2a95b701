#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "common/base/hash.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// Both sides of a verify compute these, under a key that the device draws for it:
// a sum that somebody has seen says nothing of the next one.

inline constexpr size_t kDigestKeyBytes = 16;

// Absent if `bytes` are not kDigestKeyBytes.
std::optional<SipKey> DigestKeyFrom(absl::string_view bytes);

// One entity's part of a range's digest; a range is the sum of its parts modulo
// 2^64, so their order does not matter. `check` is VersionCheck's: it covers
// identity, revision and content of the version.
uint64_t LeafDigest(const SipKey& key, absl::string_view check);

// One field, by its canonical encoding.
uint64_t FieldDigest(const SipKey& key, const Value& value);

}  // namespace ptdoc::sync
