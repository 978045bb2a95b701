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

}  // namespace

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
  for (ChangeResult& result : answer.results) {
    if (!NeedsCurrent(result)) continue;
    PT_ASSIGN_OR_RETURN(result.current, CurrentOf(reader, batch.who.tenant, result.key));
  }
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
      return result.outcome == Outcome::kUnchanged && result.rule == "reoffer";
  }
  return false;
}

}  // namespace ptdoc::sync
