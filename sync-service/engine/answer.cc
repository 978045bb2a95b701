#include "sync-service/engine/answer.h"

#include <optional>
#include <utility>

#include "common/base/status.h"
#include "common/model/cursor.h"

namespace ptdoc::sync {
namespace {

// What a device is told of an entity of which not even a tombstone is left.
Version Gone(const EntityKey& key) {
  Version version;
  version.key = key;
  version.deleted = true;
  return version;
}

absl::StatusOr<Version> CurrentOf(StoreReader& reader, absl::string_view tenant,
                                  const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(std::optional<StoredVersion> head, reader.Head(tenant, key));
  if (!head.has_value()) return Gone(key);
  return std::move(head->version);
}

bool IsOldContent(const ChangeResult& result) {
  return result.outcome == Outcome::kUnchanged && result.rule == "reoffer";
}

// Fills in `current` as far as a message has room: of re-offers first. A repeated
// answer may be read with another token than the batch was sent with.
absl::Status AddCurrents(StoreReader& reader, const Principal& who,
                         std::vector<ChangeResult>* results) {
  const std::string& tenant = who.tenant;
  const auto may_see = [&](const ChangeResult& result) {
    return who.rights == nullptr || who.rights->MaySee(result.key.type);
  };
  size_t used = 0;
  for (ChangeResult& result : *results) {
    used += AnswerBytes(result.key);
    if (!IsOldContent(result) || !may_see(result)) continue;
    PT_ASSIGN_OR_RETURN(result.current, CurrentOf(reader, tenant, result.key));
    used += AnswerBytes(*result.current);
  }
  for (ChangeResult& result : *results) {
    if (!NeedsCurrent(result) || result.current.has_value() || !may_see(result)) continue;
    PT_ASSIGN_OR_RETURN(Version current, CurrentOf(reader, tenant, result.key));
    used += AnswerBytes(current);
    // The rest is not even read: it may be a thousand times as large.
    if (used > kAnswerBytesMax) break;
    result.current = std::move(current);
  }
  return absl::OkStatus();
}

}  // namespace

size_t AnswerBytes(const Version& version) {
  constexpr size_t kOfVersion = 128;
  constexpr size_t kOfField = 24;
  return version.fields.ByteSize() + version.fields.size() * kOfField + version.key.type.size() +
         version.key.id.size() + version.modified_by.size() + kOfVersion;
}

size_t AnswerBytes(const EntityKey& key) {
  constexpr size_t kOfResult = 400;  // ids, codes, and the texts of ours
  return 2 * (key.type.size() + key.id.size()) + kOfResult;
}

PushAnswer EmptyAnswer(const StoreMeta& meta, absl::Time now) {
  PushAnswer answer;
  answer.epoch = meta.epoch;
  answer.server_time = now;
  return answer;
}

absl::StatusOr<PushAnswer> AnswerFrom(StoreReader& reader, const PushBatch& batch,
                                      const StoreMeta& meta, Receipt receipt, absl::Time now) {
  PushAnswer answer = EmptyAnswer(meta, now);
  answer.batch_id = batch.batch_id;
  answer.voided = receipt.voided;
  if (receipt.voided) return answer;
  Cursor end;
  end.epoch = meta.epoch;
  end.sequence = receipt.last_revision;
  end.tag = receipt.tag;
  answer.commit_cursor = SealCursor(end, batch.who.tenant, meta.mac_key);
  answer.newest = receipt.last_revision;
  answer.results = std::move(receipt.results);
  PT_RETURN_IF_ERROR(AddCurrents(reader, batch.who, &answer.results));
  return answer;
}

bool NeedsCurrent(const ChangeResult& result) {
  switch (result.resolution) {
    case Resolution::kServerWins:
    case Resolution::kMerged:
    case Resolution::kManual:
    case Resolution::kRejectedImmutable:
    case Resolution::kRejectedLocked:
      return true;
    case Resolution::kLocalWins:
    case Resolution::kSignedWins:
    case Resolution::kLockedWins:
    case Resolution::kKeyCollision:
      return false;
    case Resolution::kNone:
      // A re-offer of old content is the one answer without a conflict that
      // differs from what was sent.
      return IsOldContent(result);
  }
  return false;
}

}  // namespace ptdoc::sync
