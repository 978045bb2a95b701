#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/merge/policy.h"
#include "common/model/change.h"
#include "common/model/cursor.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// Who calls, by token alone.
struct Principal {
  std::string tenant;
  std::string device;
  std::string user;  // empty: the token is not bound to a user
  Role role = Role::kDevice;
  std::string agent;  // what the caller says of itself (metadata ptdoc-agent)
  std::shared_ptr<const TypeRights> rights = {};  // null = every type
};

struct EngineOptions {
  PolicySet policies;
  absl::Duration max_clock_skew = absl::Minutes(1);
  absl::Duration tombstone_retention = absl::Hours(24 * 90);
  size_t max_row_bytes = 3 << 20;
  // The types that the service takes from anybody and shows to anybody. Empty = every
  // type.
  std::set<std::string, std::less<>> allowed_types;
};

inline constexpr size_t kBatchChangesMax = 5000;
inline constexpr size_t kMessageBytesMax = 4 << 20;
// Content that one batch may write: small changes of large rows make large
// versions. What is beyond is refused once, to be sent as a batch of its own.
inline constexpr size_t kBatchContentBytesMax = 32 << 20;
inline constexpr size_t kPageVersionsDefault = 500;
inline constexpr size_t kPageVersionsMax = 1000;
inline constexpr size_t kPageBytesMax = 1 << 20;
inline constexpr size_t kUnansweredBatchesMax = 8;
inline constexpr size_t kUserBytesMax = 256;   // of a claimed user
inline constexpr size_t kTypesMax = 1000;      // named in one pull
inline constexpr size_t kFetchKeysMax = 5000;  // in one fetch
inline constexpr size_t kRangeRowsDefault = 1000;
inline constexpr size_t kRangeRowsMax = 10'000;
inline constexpr size_t kDigestStepRows = 16'000;   // looked at in one call
inline constexpr size_t kDigestKeysMax = 1000;      // asked for in one call
inline constexpr size_t kPruneStepVersions = 1000;  // of one tenant, in one transaction

struct PushBatch {
  Principal who;
  std::string batch_id;
  std::vector<Change> changes;
  std::string cursor;   // empty = not checked
  std::string witness;  // the same: PushAnswer's or FetchPage's of before
  // With this, and no batch_id, changes or settle, the call is only a report.
  std::optional<QueueHealth> queue;
  bool settle = false;
  std::string pull_stream;  // which feed of the caller need not show what this appends
};

// What one batch appended: the revisions above `after` up to its end.
struct OwnBatch {
  Revision after = 0;
  BatchEnd end;
};

struct PushAnswer {
  std::string batch_id;
  std::vector<ChangeResult> results;  // in the order of the changes
  std::string commit_cursor;
  std::string epoch;
  absl::Time server_time;
  // Of everything that the results rely on. Empty if the caller's own witness
  // is of another history, which its pull will tell.
  std::string witness;
  bool voided = false;
  bool appended = false;  // the feed grew: wake its followers
  Revision newest = 0;    // where the batch stands; 0 for a report or a void one
  // Set if it appended, now, and its answer says all that the feed would: each
  // version is what was sent, and took nobody's place.
  std::optional<OwnBatch> own;
};

struct PullQuery {
  Principal who;
  std::string cursor;
  std::string witness;  // as in PushBatch
  std::vector<std::string> types;
  size_t page_size = 0;
};

// Where a catch-up stands, also inside a batch. Only the process that made it
// can use it; it is never sent.
struct PullPosition {
  Cursor cursor;
  // Versions still to come, counted once when the catch-up began; absent: not
  // counted yet.
  std::optional<uint64_t> remaining;
  // What is left of a batch that is longer than a page and was read from the
  // heads: as of one moment, or half of it might be superseded before the next
  // page. `cursor` is behind it.
  std::shared_ptr<const std::vector<Version>> rest;
  size_t rest_sent = 0;
  // Batches that the reader need not see, in the order of their revisions: added
  // by whoever keeps the position, dropped when the log is read past them.
  std::vector<OwnBatch> own;
};

struct PullPage {
  std::vector<Version> versions;
  std::string cursor;  // empty where the page ends inside a batch
  bool batch_end = false;
  bool caught_up = false;
  uint64_t remaining = 0;  // never grows within one catch-up
  absl::Time server_time;
  std::string epoch;
  std::vector<std::string> refused_types;  // named, but not for this caller
  std::optional<PullPosition> next;        // where the next page goes on; always set
  Revision newest = 0;                     // of the snapshot that was read
  std::optional<uint64_t> counted;         // what was still to come, if this page counted it
};

// A place in the log from which several callers read the same, with all that
// decides what Pull gives from there.
struct PagePlace {
  std::string tenant;
  Cursor cursor;                           // in the log
  std::vector<std::string> types;          // as the caller may see them; empty = every type
  size_t limit = 0;                        // versions
  std::vector<std::string> refused_types;  // PullPage's: of this caller alone
};

struct FetchPage {
  std::vector<Version> versions;  // tombstones included
  std::vector<EntityKey> missing;
  // Types of keys that were left out: the caller may not see them.
  std::vector<std::string> refused_types;
  absl::Time server_time;
  std::string epoch;
  std::string witness;  // of these versions
};

// What a device compares its rows with: the heads of `pull.types` in a range of
// revisions, under the device's key.
struct DigestQuery {
  PullQuery pull;
  std::string key;
  Revision after = 0;
  Revision up_to = 0;  // 0 = the newest
  size_t range_rows = 0;
  std::vector<EntityKey> entities;  // DigestRows: these, in place of a range
};

struct RangeDigest {
  Revision after = 0;
  Revision up_to = 0;
  uint32_t rows = 0;
  uint64_t digest = 0;
};

struct RangesAnswer {
  std::vector<RangeDigest> ranges;
  Revision up_to = 0;
  Revision cursor = 0;  // where the query's cursor stands
  bool end = false;
};

// One head: the digest of each of its fields, by name.
struct RowDigest {
  EntityKey key;
  Revision revision = 0;
  std::string check;
  bool deleted = false;
  std::vector<std::string> names;
  std::vector<uint64_t> digests;
};

struct RowsAnswer {
  std::vector<RowDigest> rows;
  std::vector<EntityKey> missing;
  Revision covered = 0;
  Revision cursor = 0;
  Revision newest = 0;
};

struct RunAnswer {
  PushAnswer push;
  PullPage page;  // without what the call itself pushed
  bool has_more = false;
};

struct DeviceQueue {
  std::string device;
  QueueHealth queue;
  absl::Time last_seen_at;
  std::string agent;
};

struct StatusAnswer {
  QueueHealth total;
  std::vector<DeviceQueue> devices;
  std::string epoch;
  absl::Time server_time;
};

enum class ResolveAction : uint8_t { kKeep = 1, kRestore = 2, kEdit = 3 };

struct ResolveRequest {
  std::string conflict_id;
  ResolveAction action = ResolveAction::kKeep;
  std::optional<Fields> content;  // for kEdit
  Revision expected_revision = 0;
  std::string reason_code;
};

// What the service does, in model types, over a Store. No threads of its own:
// Push, Run, ResolveConflict, Unlock and Prune run on the one writer thread, the
// reads on any thread (each with its own StoreReader). Holds no state but its
// options: everything is in the store, so a crash loses nothing but unanswered
// calls. Trusts the Principal: roles and revoked devices are checked before.
// All calls pass the store's own errors through.
class Engine {
 public:
  // All must outlive this.
  Engine(Store& store, const Clock& clock, Rng& rng, EngineOptions options);

  // Group commit: all batches in one transaction, a savepoint each, answers in
  // order. Takes rows out of the changes: what is pushed again must be a copy. An
  // answer is OK only after COMMIT returned. One batch's error touches no other;
  // if COMMIT fails, every answer is that error (reason STORE_AWAY or STORE_FULL)
  // and nothing took effect. UNAVAILABLE can also mean that the store failed while
  // it committed, as the message then says: as always, the same batch again, or a
  // settle, tells.
  // Errors of one batch: FIELD, BATCH_ID_REUSED, CURSOR_MALFORMED,
  // MESSAGE_TOO_LARGE, EPOCH_CHANGED, HISTORY_FORKED, CURSOR_EXPIRED (the last
  // three with kMetaSharedRevision).
  std::vector<absl::StatusOr<PushAnswer>> Push(std::span<PushBatch> batches);

  // One page of the feed, of at most page_size versions (0 = the default) and
  // about kPageBytesMax bytes, of the types that the caller may see; it may be empty. It ends at a
  // batch end unless one batch is longer than a page; that batch spans pages. Errors:
  // CURSOR_MALFORMED, EPOCH_CHANGED, CURSOR_EXPIRED, HISTORY_FORKED,
  // SCOPE_CHANGED; the last four carry kMetaSharedRevision. `resume`:
  // PullPage::next of the page before, in place of query.cursor; a follower
  // that is caught up resumes with it, too; DRAINING if what the caller may see
  // has changed meanwhile. TYPE_FORBIDDEN if he may see none of the types.
  absl::StatusOr<PullPage> Pull(const PullQuery& query, const PullPosition* resume = nullptr);

  // Where the page after `position` begins; absent if only this caller reads it so:
  // inside a snapshot, or with batches ahead that he need not see. Those right in
  // front of him are passed first. Does not look into the store. Errors: as Pull, of
  // the types.
  absl::StatusOr<std::optional<PagePlace>> PlaceOf(const PullQuery& query,
                                                   PullPosition* position) const;

  // What Pull would say of the query's cursor and types.
  absl::Status CheckPull(const PullQuery& query);

  // These entities as they are now, at most kFetchKeysMax (MESSAGE_TOO_LARGE). Those
  // that the caller may not see stand in no list. A witness of another history: as Pull.
  absl::StatusOr<FetchPage> Fetch(const Principal& who, std::span<const EntityKey> keys,
                                  absl::string_view witness = {});

  // The heads in ranges of about range_rows, tombstones left out; at most about
  // kDigestStepRows in one call, so that `end` may be false. FIELD (a bad key or
  // range), and what Pull says of the cursor, the witness and the types.
  absl::StatusOr<RangesAnswer> DigestRanges(const DigestQuery& query);
  // Single heads with a digest of each field: of the entities (tombstones
  // included), or of a page of the range. MESSAGE_TOO_LARGE above kDigestKeysMax.
  absl::StatusOr<RowsAnswer> DigestRows(const DigestQuery& query);

  // Push and one page, for thin clients. The batch id is made if it is empty,
  // and batch.cursor is query.cursor: a cursor that cannot be pulled from
  // refuses the whole call before anything is pushed.
  absl::StatusOr<RunAnswer> Run(PushBatch batch, const PullQuery& query);
  // The second half of Run, for a caller that pushed in a group commit (after
  // CheckPull). Its page always ends at a batch end. Both halves are one message
  // of at most kMessageBytesMax: a page that does not fit is left out, and the
  // cursor stays, with has_more; MESSAGE_TOO_LARGE, if nothing was pushed either.
  absl::StatusOr<RunAnswer> RunPage(PushAnswer push, const PullQuery& query);

  // The caller's own queue; reviewers, admins and monitors see the tenant's sum.
  absl::StatusOr<StatusAnswer> Status(const Principal& who);

  // The revision that stands afterwards. kKeep writes no version and does not
  // look at expected_revision. NOT_FOUND; INVALID_ARGUMENT (FIELD); ABORTED
  // (reason REVISION) if another revision stands; FAILED_PRECONDITION (reasons
  // SIGNED, LOCKED) over a signed or locked one, (KEY_COLLISION) to restore a
  // row that is another thing under the same key. Nothing is changed then.
  absl::StatusOr<Revision> ResolveConflict(const Principal& who, const ResolveRequest& request);
  // Opens a locked form: a new revision with the locked field false. NOT_FOUND;
  // INVALID_ARGUMENT (FIELD); FAILED_PRECONDITION (reasons NOT_LOCKED, SIGNED).
  absl::StatusOr<Revision> Unlock(const Principal& who, const EntityKey& key,
                                  absl::string_view reason_code);
  // One bounded step of retention: at most kPruneStepVersions of each tenant, a
  // transaction each; true if there is more.
  absl::StatusOr<bool> Prune();

 private:
  absl::StatusOr<PushAnswer> PushOne(StoreWriter& writer, PushBatch& batch, absl::Time now);

  Store& store_;
  const Clock& clock_;
  Rng& rng_;
  EngineOptions options_;
};

}  // namespace ptdoc::sync
