#include "sync-service/engine/validate.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "common/model/reason.h"
#include "sync-service/engine/answer.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kCheckBytes = 8;
constexpr size_t kReasonCodeBytesMax = 64;

bool IsReasonCodeChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
}

absl::Status CheckSizes(const std::vector<Change>& changes) {
  if (changes.size() > kBatchChangesMax) {
    return TooLarge("The batch", changes.size(), kBatchChangesMax, "changes");
  }
  size_t answer_bytes = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    const EntityKey& key = changes[i].key;
    answer_bytes += AnswerBytes(key);
    if (key.type.size() > kEntityTypeBytesMax) {
      return TooLarge(absl::StrCat("entity_type of change ", i), key.type.size(),
                      kEntityTypeBytesMax, "bytes");
    }
    if (key.id.size() > kEntityIdBytesMax) {
      return TooLarge(absl::StrCat("entity_id of change ", i), key.id.size(), kEntityIdBytesMax,
                      "bytes");
    }
  }
  if (answer_bytes > kAnswerBytesMax) {
    return TooLarge("The answer to the batch", answer_bytes, kAnswerBytesMax, "bytes");
  }
  return absl::OkStatus();
}

Defect Invalid(absl::string_view message) {
  return {ErrorCode::kInvalidChange, std::string(message)};
}

// A token that is bound to a user refuses other names; a re-offer repeats what
// others wrote.
bool ClaimsAnotherUser(const Change& change, const Principal& who) {
  return !change.reoffer && !who.user.empty() && !change.modified_by.empty() &&
         change.modified_by != who.user;
}

}  // namespace

bool IsReportOnly(const PushBatch& batch) {
  return batch.queue.has_value() && batch.batch_id.empty() && batch.changes.empty() &&
         !batch.settle;
}

absl::Status CheckBatch(const PushBatch& batch) {
  if (!IsUuid(batch.batch_id)) {
    return FieldError("batch_id",
                      "batch_id is not a lower-case UUID. Nothing of the batch was taken. Send it "
                      "with a random UUID, the same one whenever it is sent again.");
  }
  if (batch.settle && !batch.changes.empty()) {
    return FieldError("changes",
                      "A call with settle asks for a batch's fate and carries no changes. Nothing "
                      "was taken. Send the changes in a call without settle.");
  }
  return CheckSizes(batch.changes);
}

Defect CheckChange(const Change& change, const Principal& who, const EngineOptions& options) {
  if (change.defect.code != ErrorCode::kNone) return change.defect;
  if (change.key.type.empty()) return Invalid("entity_type is empty");
  if (change.key.id.empty()) return {ErrorCode::kInvalidKey, "entity_id is empty"};
  if (!IsEntityId(change.key.id)) {
    return {ErrorCode::kInvalidKey,
            "entity_id is no key of any row: a text that begins with '[', holds NUL or is not "
            "UTF-8, and a key of several columns, is a compact JSON array of values"};
  }
  if (!options.allowed_types.empty() && options.allowed_types.count(change.key.type) == 0) {
    return {ErrorCode::kTypeForbidden, "this entity type is not configured on the service"};
  }
  if (who.rights != nullptr && !who.rights->MayChange(change.key.type)) {
    return {ErrorCode::kTypeForbidden,
            who.rights->MaySee(change.key.type)
                ? "the token of this device may see this entity type, not change it"
                : "the token of this device does not include this entity type"};
  }
  if (ClaimsAnotherUser(change, who)) {
    return {ErrorCode::kUserMismatch, "modified_by_user_id is not the user of the token"};
  }
  if (change.modified_by.size() > kUserBytesMax) {
    return Invalid(absl::StrCat("modified_by_user_id is longer than ", kUserBytesMax, " bytes"));
  }
  if (change.base_revision < 0) return Invalid("base_revision is negative");
  if (!change.base_check.empty() && change.base_check.size() != kCheckBytes) {
    return Invalid("base_check is not 8 bytes long");
  }
  const size_t size = change.fields.ByteSize();
  if (size > options.max_row_bytes) return RowTooLarge(size, options.max_row_bytes);
  return {};
}

absl::Status CheckTypes(const std::vector<std::string>& types) {
  if (types.size() > kTypesMax) {
    return FieldError("entity_types", absl::StrCat("More than ", kTypesMax,
                                                   " entity types are named. Nothing was read. "
                                                   "Name fewer, or none for all."));
  }
  const bool usable = std::all_of(types.begin(), types.end(), [](const std::string& type) {
    return !type.empty() && type.size() <= kEntityTypeBytesMax;
  });
  if (usable) return absl::OkStatus();
  return FieldError("entity_types",
                    absl::StrCat("An entity type is empty or longer than ", kEntityTypeBytesMax,
                                 " bytes. Nothing was read. Name types as they are configured."));
}

absl::Status CheckReasonCode(absl::string_view reason_code) {
  const bool usable = !reason_code.empty() && reason_code.size() <= kReasonCodeBytesMax &&
                      std::all_of(reason_code.begin(), reason_code.end(), IsReasonCodeChar);
  if (usable) return absl::OkStatus();
  return FieldError("reason_code",
                    "reason_code is not 1 to 64 letters, digits, '_', '.' or '-'. Nothing was "
                    "changed. Give a short code; free text could hold patient data.");
}

absl::Status TooLarge(absl::string_view what, size_t size, size_t limit, absl::string_view unit) {
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     absl::StrCat(what, " has ", size, " ", unit, ", the limit is ", limit,
                                  ". Nothing of the call was taken. Split it."));
}

Defect RowTooLarge(size_t size, size_t limit) {
  return {ErrorCode::kRowTooLarge,
          absl::StrCat("the row has ", size, " bytes, the limit is ", limit)};
}

std::string EntitiesDigest(const std::vector<Change>& changes) {
  ByteWriter listed;
  for (const Change& change : changes) {
    listed.String(change.key.type);
    listed.String(change.key.id);
  }
  return Sha256(listed.str());
}

}  // namespace ptdoc::sync
