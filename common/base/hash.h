#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// SHA-256 of `data`, 32 bytes. Thread-safe.
std::string Sha256(absl::string_view data);

// HMAC-SHA-256, 32 bytes.
std::string HmacSha256(absl::string_view key, absl::string_view data);

// True in time that does not depend on where the strings differ.
bool EqualConstantTime(absl::string_view a, absl::string_view b);

using SipKey = std::array<uint64_t, 2>;

// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash, so that a
// stored hash does not tell what was hashed.
uint64_t SipHash24(const SipKey& key, absl::string_view data);

}  // namespace ptdoc::sync
