#include "common/model/change.h"

#include <array>
#include <string>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/hash.h"

namespace ptdoc::sync {
namespace {

// What is hashed begins with what it is, so that a hash of one kind can never
// stand for one of another.
constexpr absl::string_view kContentDomain = "ptdoc.content.1";
constexpr absl::string_view kCheckDomain = "ptdoc.check.1";
constexpr size_t kCheckBytes = 8;
// Of what is hashed before the content: numbers, and the lengths of ordinary texts.
constexpr size_t kBesideContent = 32;

constexpr uint32_t kPendingOkMax = 100;
constexpr uint32_t kPendingWarningMax = 500;

struct CodeName {
  ErrorCode code;
  absl::string_view name;
};

constexpr std::array<CodeName, 11> kCodeNames = {{
    {ErrorCode::kNone, ""},
    {ErrorCode::kInvalidChange, "INVALID_CHANGE"},
    {ErrorCode::kInvalidValue, "INVALID_VALUE"},
    {ErrorCode::kRowTooLarge, "ROW_TOO_LARGE"},
    {ErrorCode::kTypeForbidden, "TYPE_FORBIDDEN"},
    {ErrorCode::kUserMismatch, "USER_MISMATCH"},
    {ErrorCode::kBaseUnknown, "BASE_UNKNOWN"},
    {ErrorCode::kKeyCollision, "KEY_COLLISION"},
    {ErrorCode::kBatchRefused, "BATCH_REFUSED"},
    {ErrorCode::kInvalidKey, "INVALID_KEY"},
    {ErrorCode::kInternal, "INTERNAL"},
}};

}  // namespace

absl::string_view ResolutionName(Resolution resolution) {
  switch (resolution) {
    case Resolution::kNone:
      return "";
    case Resolution::kLocalWins:
      return "LocalWins";
    case Resolution::kServerWins:
      return "ServerWins";
    case Resolution::kMerged:
      return "Merged";
    case Resolution::kSignedWins:
      return "SignedWins";
    case Resolution::kLockedWins:
      return "LockedWins";
    case Resolution::kManual:
      return "Manual";
    case Resolution::kRejectedImmutable:
      return "RejectedImmutable";
    case Resolution::kRejectedLocked:
      return "RejectedLocked";
    case Resolution::kKeyCollision:
      return "KeyCollision";
  }
  return "";
}

absl::string_view OperationName(Operation operation) {
  switch (operation) {
    case Operation::kCreate:
      return "Create";
    case Operation::kUpdate:
      return "Update";
    case Operation::kDelete:
      return "Delete";
  }
  return "";
}

absl::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAccepted:
      return "Accepted";
    case Outcome::kUnchanged:
      return "Unchanged";
    case Outcome::kConflict:
      return "Conflict";
    case Outcome::kFailed:
      return "Failed";
  }
  return "";
}

absl::string_view ResolutionReason(Resolution resolution) {
  switch (resolution) {
    case Resolution::kNone:
      return "";
    case Resolution::kLocalWins:
      return "The device's version is the later one; the service's is archived";
    case Resolution::kServerWins:
      return "The service's version stands; the device's is archived";
    case Resolution::kMerged:
      return "Both versions were merged field by field; what lost is archived";
    case Resolution::kSignedWins:
      return "A signed version wins over a draft; the draft is archived";
    case Resolution::kLockedWins:
      return "A locked version wins over a draft; the draft is archived";
    case Resolution::kManual:
      return "The service's version stands until a reviewer decides";
    case Resolution::kRejectedImmutable:
      return "Entity is signed and immutable";
    case Resolution::kRejectedLocked:
      return "Entity is locked and cannot be modified";
    case Resolution::kKeyCollision:
      return "Another entity has this key already; the two are never merged";
  }
  return "";
}

absl::string_view ErrorCodeName(ErrorCode code) {
  for (const CodeName& entry : kCodeNames) {
    if (entry.code == code) return entry.name;
  }
  return "INTERNAL";
}

ErrorCode ErrorCodeFromName(absl::string_view name) {
  for (const CodeName& entry : kCodeNames) {
    if (entry.name == name) return entry.code;
  }
  return ErrorCode::kInternal;
}

HealthLevel HealthOf(const QueueHealth& queue) {
  const uint32_t pending = queue.initial ? 0 : queue.pending;
  if (pending > kPendingWarningMax) return HealthLevel::kCritical;
  if (pending > kPendingOkMax || queue.failed > 0) return HealthLevel::kWarning;
  return HealthLevel::kOk;
}

std::string ContentHash(const EntityKey& key, bool deleted, const Fields& fields) {
  ByteWriter head;
  head.Reserve(kContentDomain.size() + key.type.size() + key.id.size() + kBesideContent);
  head.String(kContentDomain);
  head.String(key.type);
  head.String(key.id);
  head.U8(deleted ? 1 : 0);
  std::string hashed = head.Take();
  if (!deleted) AppendCanonical(fields, &hashed);
  return Sha256(hashed);
}

std::string VersionCheck(const EntityKey& key, Revision revision, absl::string_view content_hash) {
  ByteWriter hashed;
  hashed.Reserve(kCheckDomain.size() + key.type.size() + key.id.size() + content_hash.size() +
                 kBesideContent);
  hashed.String(kCheckDomain);
  hashed.String(key.type);
  hashed.String(key.id);
  hashed.Fixed64(static_cast<uint64_t>(revision));
  hashed.String(content_hash);
  return Sha256(hashed.str()).substr(0, kCheckBytes);
}

}  // namespace ptdoc::sync
