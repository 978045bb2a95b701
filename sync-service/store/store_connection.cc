#include "sync-service/store/store_connection.h"

#include <utility>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "sync-service/store/schema.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kHashDomain = "ptdoc.heads.1";

}  // namespace

absl::StatusOr<int64_t> StoreConnection::KeyHash(int64_t tenant, int64_t type,
                                                 absl::string_view entity_id) {
  if (!hash_key_.has_value()) {
    PT_ASSIGN_OR_RETURN(const std::string secret, ReadMeta(db, kMetaMacKey));
    const std::string derived = HmacSha256(secret, kHashDomain);
    ByteReader in(derived);
    const uint64_t first = in.Fixed64();
    hash_key_ = SipKey{first, in.Fixed64()};
  }
  ByteWriter hashed(std::move(hashed_));
  hashed.Varint(static_cast<uint64_t>(tenant));
  hashed.Varint(static_cast<uint64_t>(type));
  hashed.Raw(entity_id);
  const uint64_t hash = SipHash24(*hash_key_, hashed.str());
  hashed_ = hashed.Take();
  return static_cast<int64_t>(hash);
}

}  // namespace ptdoc::sync
