#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "common/merge/resolve.h"
#include "sync-service/engine/engine.h"
#include "sync-service/engine/whole.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// The answer to one change before revisions are given out.
struct PlannedResult {
  ChangeResult result;
  // The batch's new version that the service holds afterwards; its revision
  // and check go into the result once it is appended.
  std::optional<size_t> version;
};

// Rows 3 and 9 of the decision table: what becomes of the head's times, whole,
// where its content stands.
struct RaisedTime {
  Revision revision = 0;
  TimeNs time = kSmallestTime;
  std::string device;  // empty: that of the version itself
  std::vector<TimeNs> field_times;
  std::vector<std::string> field_writers;
};

// Everything that a batch will write, decided before anything is written:
// revisions are given out last, so that a store with several writers holds its
// tenant's counter for as short as possible.
struct BatchPlan {
  std::vector<PlannedResult> results;  // in the order of the changes
  std::vector<NewVersion> versions;
  std::vector<ArchiveRow> archives;
  std::map<EntityKey, RaisedTime> raised;
};

// Decides the changes of one batch in order; a later change sees what an
// earlier one did. Writes nothing; takes fields out of the changes. For one
// batch, on the writer's thread.
class BatchDecider {
 public:
  // All must outlive this.
  BatchDecider(StoreReader& reader, PushBatch& batch, const EngineOptions& options, Rng& rng,
               absl::Time now)
      : reader_(reader), batch_(batch), options_(options), rng_(rng), now_(now) {}

  // The store's errors only.
  absl::StatusOr<BatchPlan> Decide();

 private:
  // What an earlier change of this batch made of an entity.
  struct Pending {
    size_t version = 0;
    Revision made_from = 0;
    std::unique_ptr<StoredVersion> as_sent;  // null mostly
  };
  // Of a key, in the batch's changes.
  using KeyView = std::pair<absl::string_view, absl::string_view>;

  absl::Status DecideOne(Change* change);
  absl::Status DecideReadable(Change* change);
  absl::StatusOr<Head> FindHead(const EntityKey& key);
  // A re-offer of content that the entity had before: old content never wins.
  absl::StatusOr<bool> IsOldContent(const Change& change, const Head& head,
                                    const StoredVersion& incoming);
  // Leaves its arguments as they are.
  Decision Ask(const Change& change, Head& head, Base& base, StoredVersion& incoming) const;
  // Takes `incoming`.
  void Record(const Change& change, const Head& head, const Base& base, StoredVersion&& incoming,
              const Decision& decision);
  // The ids of the losers' archive rows; empty for a side that lost nothing.
  struct Losses {
    std::string of_incoming;
    std::string of_current;
  };
  // `made`: what becomes a version, or would have.
  Losses AddArchives(const Head& head, const Base& base, const StoredVersion& incoming,
                     const StoredVersion& made, const Decision& decision);
  // Absent where no other device has lost anything.
  std::optional<ConflictNotice> NoticeOf(const Head& head, const Decision& decision,
                                         const std::string& conflict_id) const;
  size_t AddVersion(const Change& change, const Head& head, StoredVersion&& made,
                    std::optional<StoredVersion>&& as_sent);
  bool IsClamped(const Change& change) const;
  void RaiseTime(const Head& head, const StoredVersion& written, bool clamped,
                 const Decision& decision);
  void AddFailure(const EntityKey& key, const Defect& defect, absl::string_view rule,
                  bool retryable);
  void AddOldContent(const Change& change, const Head& head);
  // False, and the change refused for now: the batch would write, or its answer
  // would carry, more than a process should hold at once.
  bool HasRoom(const Change& change, size_t bytes, size_t bytes_max, size_t* used);
  // Row 6c: nothing of the batch takes effect but the collided rows' archives.
  void RefuseBatch();

  StoreReader& reader_;
  PushBatch& batch_;
  const EngineOptions& options_;
  Rng& rng_;
  const absl::Time now_;

  BatchPlan plan_;
  absl::flat_hash_map<KeyView, Pending> pending_;
  size_t written_bytes_ = 0;  // content, of versions and archives
  size_t answer_bytes_ = 0;   // of what re-offers are answered with
};

}  // namespace ptdoc::sync
