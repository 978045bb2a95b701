#include "common/model/reason.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kPayloadUrl = "ptdoc/reason";

struct ReasonPayload {
  std::string reason;
  std::map<std::string, std::string> metadata;
};

void Attach(const ReasonPayload& payload, absl::Status* status) {
  ByteWriter out;
  out.String(payload.reason);
  out.Varint(payload.metadata.size());
  for (const auto& [key, value] : payload.metadata) {
    out.String(key);
    out.String(value);
  }
  // Not from the string itself: clang does not find that constructor in the
  // Abseil that gcc built.
  status->SetPayload(kPayloadUrl, absl::Cord(absl::string_view(out.str())));
}

// Empty for a status that has none.
ReasonPayload PayloadOf(const absl::Status& status) {
  ReasonPayload payload;
  const absl::optional<absl::Cord> cord = status.GetPayload(kPayloadUrl);
  if (!cord.has_value()) return payload;
  const std::string bytes(*cord);
  ByteReader in(bytes);
  payload.reason = std::string(in.String());
  const uint64_t count = in.Varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    std::string key(in.String());
    payload.metadata[std::move(key)] = std::string(in.String());
  }
  return payload;
}

}  // namespace

absl::Status ReasonError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                         const std::map<std::string, std::string>& metadata) {
  absl::Status status(code, message);
  Attach({std::string(reason), metadata}, &status);
  return status;
}

absl::Status FieldError(absl::string_view field, absl::string_view message) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "FIELD", message,
                     {{kMetaField, std::string(field)}});
}

absl::Status WithRetryAfterMs(absl::Status status, int64_t retry_after_ms) {
  ReasonPayload payload = PayloadOf(status);
  payload.metadata[kMetaRetryAfterMs] = absl::StrCat(retry_after_ms);
  Attach(payload, &status);
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  return PayloadOf(status).reason;
}

std::map<std::string, std::string> ReasonMetadata(const absl::Status& status) {
  return PayloadOf(status).metadata;
}

}  // namespace ptdoc::sync
