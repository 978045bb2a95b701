#include "common/model/digest.h"

#include "common/base/bytes.h"

namespace ptdoc::sync {

std::optional<SipKey> DigestKeyFrom(absl::string_view bytes) {
  if (bytes.size() != kDigestKeyBytes) return std::nullopt;
  ByteReader reader(bytes);
  const uint64_t first = reader.Fixed64();
  return SipKey{first, reader.Fixed64()};
}

uint64_t LeafDigest(const SipKey& key, absl::string_view check) {
  return SipHash24(key, check);
}

uint64_t FieldDigest(const SipKey& key, const Value& value) {
  thread_local std::string buffer;
  buffer.clear();
  AppendCanonical(value, &buffer);
  return SipHash24(key, buffer);
}

}  // namespace ptdoc::sync
