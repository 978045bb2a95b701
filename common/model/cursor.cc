#include "common/model/cursor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kEpochBytes = 16;
constexpr size_t kMacBytes = 16;
constexpr size_t kCursorTextMax = 256;
constexpr absl::string_view kCursorDomain = "ptdoc.cursor.1";
constexpr absl::string_view kTypesDomain = "ptdoc.types.1";

bool IsEpoch(absl::string_view text) {
  const auto is_lower_hex = [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); };
  return text.size() == 2 * kEpochBytes && std::all_of(text.begin(), text.end(), is_lower_hex);
}

std::string MacOf(absl::string_view body, absl::string_view tenant, absl::string_view mac_key) {
  ByteWriter covered;
  covered.String(kCursorDomain);
  covered.String(tenant);
  covered.Raw(body);
  std::string mac = HmacSha256(mac_key, covered.str());
  mac.resize(kMacBytes);
  return mac;
}

absl::Status Malformed() {
  return ReasonError(absl::StatusCode::kInvalidArgument, "CURSOR_MALFORMED",
                     "The cursor was not made by this service for this tenant. Nothing was read "
                     "or changed. Send the last cursor that the service gave, or none to start "
                     "from the beginning.");
}

absl::Status EpochChanged() {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "EPOCH_CHANGED",
                     "The service's store was restored or replaced since this cursor was made. "
                     "Nothing was changed on either side. Settle open batches and pull from the "
                     "start with an empty cursor.");
}

// The bytes between format and MAC. False if the layout does not fit.
bool ReadBody(absl::string_view body, Cursor* out) {
  ByteReader in(body);
  if (in.U8() != kFormat) return false;
  out->epoch = absl::BytesToHexString(in.Raw(kEpochBytes));
  out->sequence = static_cast<Revision>(in.Fixed64());
  out->tag = in.Fixed64();
  out->snapshot_end = static_cast<Revision>(in.Fixed64());
  out->snapshot_tag = in.Fixed64();
  out->types_digest = in.Fixed64();
  return in.ok() && in.AtEnd() && out->sequence >= 0 && out->snapshot_end >= 0;
}

}  // namespace

uint64_t TypesDigest(std::vector<std::string> types) {
  if (types.empty()) return 0;
  std::sort(types.begin(), types.end());
  types.erase(std::unique(types.begin(), types.end()), types.end());
  ByteWriter hashed;
  hashed.String(kTypesDomain);
  for (const std::string& type : types) hashed.String(type);
  const std::string hash = Sha256(hashed.str());
  const uint64_t digest = ByteReader(hash).Fixed64();
  return digest == 0 ? 1 : digest;  // 0 means "all"
}

std::string SealCursor(const Cursor& cursor, absl::string_view tenant, absl::string_view mac_key) {
  PT_CHECK(IsEpoch(cursor.epoch));
  ByteWriter body;
  body.U8(kFormat);
  body.Raw(absl::HexStringToBytes(cursor.epoch));
  body.Fixed64(static_cast<uint64_t>(cursor.sequence));
  body.Fixed64(cursor.tag);
  body.Fixed64(static_cast<uint64_t>(cursor.snapshot_end));
  body.Fixed64(cursor.snapshot_tag);
  body.Fixed64(cursor.types_digest);
  std::string sealed = body.Take();
  sealed += MacOf(sealed, tenant, mac_key);
  return absl::WebSafeBase64Escape(sealed);
}

absl::StatusOr<Cursor> OpenCursor(absl::string_view text, absl::string_view tenant,
                                  absl::string_view mac_key, absl::string_view epoch) {
  std::string sealed;
  if (text.size() > kCursorTextMax || !absl::WebSafeBase64Unescape(text, &sealed)) {
    return Malformed();
  }
  // The decoder passes over padding, blanks and spare bits: one cursor has one
  // text.
  if (sealed.size() < kMacBytes || absl::WebSafeBase64Escape(sealed) != text) return Malformed();
  const absl::string_view whole(sealed);
  const absl::string_view body = whole.substr(0, whole.size() - kMacBytes);
  Cursor cursor;
  if (!ReadBody(body, &cursor)) return Malformed();
  // Before the MAC: a restored store may have another key, and its devices
  // must be told to start again rather than that they have a bug.
  if (cursor.epoch != epoch) return EpochChanged();
  if (!EqualConstantTime(whole.substr(body.size()), MacOf(body, tenant, mac_key))) {
    return Malformed();
  }
  return cursor;
}

}  // namespace ptdoc::sync
