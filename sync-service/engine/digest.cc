// What a device compares its rows with: digests of heads.
#include "common/model/digest.h"

#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/engine/engine.h"
#include "sync-service/engine/position.h"
#include "sync-service/engine/scope.h"
#include "sync-service/engine/validate.h"

namespace ptdoc::sync {
namespace {

// So many digests of fields fill a message: about 1 MiB.
constexpr size_t kDigestFieldsMax = 100'000;

absl::StatusOr<SipKey> KeyOf(const DigestQuery& query) {
  const std::optional<SipKey> key = DigestKeyFrom(query.key);
  if (key.has_value()) return *key;
  return FieldError("key", "The key is not 16 bytes. Nothing was read. Send 16 random bytes.");
}

absl::Status CheckRange(const DigestQuery& query) {
  const bool ordered = query.up_to == 0 || query.after <= query.up_to;
  if (query.after >= 0 && query.up_to >= 0 && ordered) return absl::OkStatus();
  return FieldError("after_revision",
                    "The range ends before it begins, or is negative. Nothing was read. Name "
                    "revisions that an answer gave.");
}

// Of a device that is still in its first catch-up nothing is known to have come.
absl::StatusOr<Revision> CursorRevision(StoreReader& reader, const PullQuery& query,
                                        const StoreMeta& meta) {
  if (query.cursor.empty()) return 0;
  PT_ASSIGN_OR_RETURN(const Cursor cursor,
                      OpenFeedCursor(reader, query.who.tenant, meta, query.cursor));
  return cursor.snapshot_end == 0 ? cursor.sequence : 0;
}

// Cuts heads that come in the order of their revisions into ranges.
class RangeCutter {
 public:
  RangeCutter(const SipKey& key, size_t rows, Revision after) : key_(key), rows_(rows) {
    open_.after = after;
  }

  void Add(const HeadCheck& head) {
    open_.up_to = head.revision;
    open_.digest += LeafDigest(key_, head.check);
    if (++open_.rows == rows_) Close(head.revision);
  }
  void Close(Revision up_to) {
    if (up_to == open_.after) return;
    open_.up_to = up_to;
    const Revision next = up_to;
    ranges_.push_back(std::exchange(open_, RangeDigest()));
    open_.after = next;
  }
  // The end of the last range that is closed.
  Revision at() const { return open_.after; }
  std::vector<RangeDigest> Take() { return std::move(ranges_); }

 private:
  const SipKey key_;
  const size_t rows_;
  RangeDigest open_;
  std::vector<RangeDigest> ranges_;
};

RowDigest DigestOf(const SipKey& key, const Version& version) {
  RowDigest row;
  row.key = version.key;
  row.revision = version.revision;
  row.check = version.check;
  row.deleted = version.deleted;
  for (const Field& field : version.fields) {
    row.names.push_back(field.name);
    row.digests.push_back(FieldDigest(key, field.value));
  }
  return row;
}

}  // namespace

absl::StatusOr<RangesAnswer> Engine::DigestRanges(const DigestQuery& query) {
  PT_ASSIGN_OR_RETURN(const SipKey key, KeyOf(query));
  PT_RETURN_IF_ERROR(CheckRange(query));
  PT_ASSIGN_OR_RETURN(const Scope scope, ScopeOf(query.pull.types, query.pull.who, options_));
  PT_RETURN_IF_ERROR(CheckPull(query.pull));
  const std::string& tenant = query.pull.who.tenant;
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader->Newest(tenant));
  RangesAnswer answer;
  PT_ASSIGN_OR_RETURN(answer.cursor, CursorRevision(*reader, query.pull, meta));
  answer.up_to = query.up_to == 0 ? newest.sequence : std::min(query.up_to, newest.sequence);
  const size_t rows = query.range_rows == 0 ? kRangeRowsDefault : query.range_rows;
  RangeCutter cutter(key, std::min(rows, kRangeRowsMax), query.after);
  Revision at = query.after;
  size_t looked = 0;
  while (!answer.end && looked < kDigestStepRows) {
    PT_ASSIGN_OR_RETURN(
        const std::vector<HeadCheck> heads,
        reader->ReadHeadChecks(tenant, at, answer.up_to, scope.types, kRangeRowsDefault));
    for (const HeadCheck& head : heads) cutter.Add(head);
    looked += heads.size();
    answer.end = heads.size() < kRangeRowsDefault;
    if (!heads.empty()) at = heads.back().revision;
  }
  // A range is never left open at the end of a call: the next one begins behind it.
  cutter.Close(answer.end ? std::max(answer.up_to, query.after) : at);
  answer.ranges = cutter.Take();
  return answer;
}

absl::StatusOr<RowsAnswer> Engine::DigestRows(const DigestQuery& query) {
  PT_ASSIGN_OR_RETURN(const SipKey key, KeyOf(query));
  PT_RETURN_IF_ERROR(CheckRange(query));
  if (query.entities.size() > kDigestKeysMax) {
    return TooLarge("The list of entities", query.entities.size(), kDigestKeysMax, "entries");
  }
  PT_ASSIGN_OR_RETURN(const Scope scope, ScopeOf(query.pull.types, query.pull.who, options_));
  PT_RETURN_IF_ERROR(CheckPull(query.pull));
  const std::string& tenant = query.pull.who.tenant;
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader->Newest(tenant));
  RowsAnswer answer;
  answer.newest = newest.sequence;
  PT_ASSIGN_OR_RETURN(answer.cursor, CursorRevision(*reader, query.pull, meta));
  size_t fields = 0;
  for (const EntityKey& entity : query.entities) {
    if (fields > kDigestFieldsMax) return answer;
    if (!MaySee(entity.type, query.pull.who, options_)) continue;
    PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> head, reader->Head(tenant, entity));
    if (!head.has_value()) {
      answer.missing.push_back(entity);
      continue;
    }
    answer.rows.push_back(DigestOf(key, head->version));
    fields += answer.rows.back().digests.size();
  }
  if (!query.entities.empty()) return answer;
  const Revision up_to = query.up_to == 0 ? newest.sequence : query.up_to;
  PT_ASSIGN_OR_RETURN(
      const std::vector<Version> heads,
      reader->ReadHeads(tenant, query.after, up_to, scope.types, kDigestKeysMax, kPageBytesMax));
  answer.covered = heads.empty() ? up_to : query.after;
  for (const Version& head : heads) {
    if (fields > kDigestFieldsMax) return answer;
    answer.rows.push_back(DigestOf(key, head));
    answer.covered = head.revision;
    fields += answer.rows.back().digests.size();
  }
  return answer;
}

}  // namespace ptdoc::sync
