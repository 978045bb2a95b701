#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/model/change.h"
#include "sync-service/store/type_rights.h"

namespace ptdoc::sync {

// What the service keeps. Everything belongs to a tenant, and nothing here
// crosses one. Errors: UNAVAILABLE with reason STORE_AWAY (try the whole
// transaction again), RESOURCE_EXHAUSTED with STORE_FULL, DATA_LOSS, INTERNAL.
// Reads of a tenant, an entity or a batch that is not there are not errors.

// A version as it stands in the log.
struct StoredVersion {
  Version version;
  std::string device;  // who sent it
  // Row 3: who sent the same content later, whose time version.last_modified
  // is. Empty: nobody, it is the time of `device`.
  std::string raised_by;
  std::string user;  // by token; version.modified_by is the claim
  TimeNs claimed_time = kSmallestTime;
  std::string content_hash;  // 32 bytes
  // One per field in the order of version.fields: when each was last changed.
  // Given to Append, empty means: all at version.last_modified.
  std::vector<TimeNs> field_times;
  // As many: on which device that was, an empty text after a clamped time. Empty
  // is: all on `device`. Kept for types whose fields are merged.
  std::vector<std::string> field_writers;
};

// One archive row (table SyncConflictArchives). Times stand there as text: they
// are kept to the millisecond.
struct ArchiveRow {
  std::string conflict_id;
  EntityKey key;
  Resolution resolution = Resolution::kNone;  // ResolutionName, or the two below
  std::string resolution_type;                // as stored: "LocalWins", "Cancelled", "Repaired"
  std::string rule;
  std::string reason;
  absl::Time detected_at;
  std::string archived_json;  // "null" for a deletion
  std::string chosen_json;
  std::string base_json;  // empty = not known
  TimeNs archived_time = kSmallestTime;
  TimeNs chosen_time = kSmallestTime;
  std::string archived_user;
  std::string archived_device;
  std::string chosen_user;
  std::string chosen_device;
  bool is_resolved = false;
  std::optional<absl::Time> resolved_at;
  std::string resolved_by;
  std::string resolved_action;
  int64_t id = 0;  // given by the store
};

// One audit row without its chain; never content. `at` is kept to the
// millisecond.
struct AuditEvent {
  absl::Time at;
  std::string event;  // "change", "unlock", "resolve", "token.create", ...
  std::string device;
  std::string user;     // by token
  std::string claimed;  // by claim
  EntityKey key;        // may be empty
  std::string outcome;
  std::string rule;
  Revision revision = 0;
  std::string reason;  // a short code
};

struct AuditRow {
  int64_t sequence = 0;
  AuditEvent event;
  std::string hash;  // 32 bytes: SHA-256(previous hash, canonical event, sequence)
};

// The recorded answer to a batch, kept as long as versions.
struct Receipt {
  bool voided = false;
  std::string entities_digest;        // 32 bytes over the list of entities, in order
  std::vector<ChangeResult> results;  // without `current`
  Revision last_revision = 0;  // where the batch stands (the newest before it, if it added none)
  uint64_t tag = 0;
  absl::Time committed_at;
};

// The end of a batch in the log.
struct BatchEnd {
  Revision sequence = 0;
  uint64_t tag = 0;  // random, given at commit
};

// One batch in the log: the revisions in (after, end.sequence].
struct BatchSpan {
  Revision after = 0;
  BatchEnd end;
};

struct FeedVersion {
  Version version;
  bool batch_end = false;  // the last version of its batch (of any type)
};

// A head without its content.
struct HeadCheck {
  EntityKey key;
  Revision revision = 0;
  std::string check;
};

struct DeviceRow {
  std::string device;
  absl::Time first_seen_at;
  absl::Time last_seen_at;
  std::string agent;  // what it said of itself
  bool revoked = false;
  std::optional<QueueHealth> queue;
};

enum class Role : uint8_t { kDevice = 1, kReviewer = 2, kAdmin = 3, kMonitor = 4 };
absl::string_view RoleName(Role role);
std::optional<Role> RoleFromName(absl::string_view name);

struct TokenRow {
  std::string id;    // short, shown in lists
  std::string hash;  // SHA-256 of the token
  std::string tenant;
  std::string device;
  std::string user;
  Role role = Role::kDevice;
  absl::Time created_at;
  absl::Time expires_at;
  std::optional<absl::Time> revoked_at;
  TypeRights rights;
};

struct StoreMeta {
  std::string epoch;    // 32 hex digits
  std::string mac_key;  // 32 bytes, for cursors
};

// The end of a tenant's audit chain. It stands apart from the rows, so that cut
// off ones are noticed.
struct AuditHead {
  int64_t sequence = 0;  // 0 = no row yet
  std::string hash;      // empty then
};

// Reads of one consistent snapshot. One thread at a time.
class StoreReader {
 public:
  virtual ~StoreReader() = default;

  virtual absl::StatusOr<StoreMeta> Meta() = 0;
  // A lower bound of what every earlier epoch shared with this one: the newest
  // revision of the tenant at the restore (the lowest of several). 0 if there
  // was no restore, or the tenant came after one.
  virtual absl::StatusOr<Revision> SharedRevision(absl::string_view tenant) = 0;
  // The newest version of an entity, tombstones included.
  virtual absl::StatusOr<std::optional<StoredVersion>> Head(absl::string_view tenant,
                                                            const EntityKey& key) = 0;
  // A version of this entity by revision; absent if it never was or is pruned.
  virtual absl::StatusOr<std::optional<StoredVersion>> FindVersion(absl::string_view tenant,
                                                                   const EntityKey& key,
                                                                   Revision revision) = 0;
  // Any version of the entity, pruned ones included, had this content.
  virtual absl::StatusOr<bool> KnowsContent(absl::string_view tenant, const EntityKey& key,
                                            absl::string_view content_hash) = 0;
  virtual absl::StatusOr<std::optional<Receipt>> FindReceipt(absl::string_view tenant,
                                                             absl::string_view device,
                                                             absl::string_view batch_id) = 0;
  // The newest batch end of the tenant; {0, 0} if nothing was ever committed.
  virtual absl::StatusOr<BatchEnd> Newest(absl::string_view tenant) = 0;
  // The batch that ends exactly at `sequence`, if there is one.
  virtual absl::StatusOr<std::optional<BatchEnd>> FindBatchEnd(absl::string_view tenant,
                                                               Revision sequence) = 0;
  // The batch that `revision` belongs to; absent above the newest. The end of a
  // batch is kept as long as one of its versions: a snapshot of heads is cut
  // where batches ended. Where whole batches were pruned, the next one that is
  // kept begins.
  virtual absl::StatusOr<std::optional<BatchSpan>> BatchAround(absl::string_view tenant,
                                                               Revision revision) = 0;
  // The last batch end committed at or before `at` ({0, 0} if none that is
  // kept). A batch counts as committed not before the one before it, whatever
  // the clock did.
  virtual absl::StatusOr<BatchEnd> BatchEndAt(absl::string_view tenant, absl::Time at) = 0;
  // The log is whole above this revision (0 = never pruned).
  virtual absl::StatusOr<Revision> PrunedUpTo(absl::string_view tenant) = 0;

  // The log after `after`, in commit order, of these types (empty = all), at
  // most `limit` versions or `bytes_max` content bytes, at least one if any.
  // Versions of other types are skipped but end batches: batch_end stands on
  // the last *returned* version of a batch if no wanted one follows in it.
  // `*covered` = the revision up to which the log was looked at.
  virtual absl::StatusOr<std::vector<FeedVersion>> ReadLog(absl::string_view tenant, Revision after,
                                                           std::span<const std::string> types,
                                                           size_t limit, size_t bytes_max,
                                                           Revision* covered) = 0;
  // Heads with after < revision <= up_to in revision order, tombstones left out.
  virtual absl::StatusOr<std::vector<Version>> ReadHeads(absl::string_view tenant, Revision after,
                                                         Revision up_to,
                                                         std::span<const std::string> types,
                                                         size_t limit, size_t bytes_max) = 0;
  // At most `limit` of the heads that ReadHeads gives, whatever their size: no
  // content is read.
  virtual absl::StatusOr<std::vector<HeadCheck>> ReadHeadChecks(absl::string_view tenant,
                                                                Revision after, Revision up_to,
                                                                std::span<const std::string> types,
                                                                size_t limit) = 0;
  // How many versions ReadLog (ReadHeads) would give for after < revision <=
  // up_to. Of at most kCountedRangeMax revisions exact; of more an upper bound,
  // the size of the range, so that progress costs no scan and never grows.
  static constexpr Revision kCountedRangeMax = 2000;
  virtual absl::StatusOr<uint64_t> CountLog(absl::string_view tenant, Revision after,
                                            Revision up_to, std::span<const std::string> types) = 0;
  virtual absl::StatusOr<uint64_t> CountHeads(absl::string_view tenant, Revision after,
                                              Revision up_to,
                                              std::span<const std::string> types) = 0;

  struct ConflictFilter {
    bool include_resolved = false;
    EntityKey key;  // empty parts = any
    int64_t after_id = 0;
    size_t limit = 100;
  };
  // Newest last. Contents are left out of the rows.
  virtual absl::StatusOr<std::vector<ArchiveRow>> ListConflicts(absl::string_view tenant,
                                                                const ConflictFilter& filter) = 0;
  virtual absl::StatusOr<std::optional<ArchiveRow>> FindConflict(absl::string_view tenant,
                                                                 absl::string_view conflict_id) = 0;
  virtual absl::StatusOr<uint64_t> CountOpenConflicts(absl::string_view tenant) = 0;
  // All versions of one entity that are kept, oldest first, without contents.
  virtual absl::StatusOr<std::vector<StoredVersion>> History(absl::string_view tenant,
                                                             const EntityKey& key) = 0;

  virtual absl::StatusOr<std::vector<DeviceRow>> ListDevices(absl::string_view tenant) = 0;
  virtual absl::StatusOr<std::optional<DeviceRow>> FindDevice(absl::string_view tenant,
                                                              absl::string_view device) = 0;
  virtual absl::StatusOr<AuditHead> ReadAuditHead(absl::string_view tenant) = 0;
  virtual absl::StatusOr<std::vector<AuditRow>> ReadAudit(absl::string_view tenant,
                                                          int64_t after_sequence, size_t limit) = 0;
  virtual absl::StatusOr<std::vector<std::string>> ListTenants() = 0;

  virtual absl::StatusOr<bool> AnyToken() = 0;
  virtual absl::StatusOr<std::optional<TokenRow>> FindToken(absl::string_view hash) = 0;
  virtual absl::StatusOr<std::vector<TokenRow>> ListTokens() = 0;
};

// A new version, its revision still open: Append gives them out in order.
struct NewVersion {
  StoredVersion stored;  // version.revision and version.check are filled by Append
  // The head's revision that it follows (0 = none), where the caller has read it in
  // this transaction and no version of the entity stands before this one in the
  // batch. Absent: Append looks.
  std::optional<Revision> previous;
};

// One write transaction. Rolled back unless committed. One thread at a time. No
// other one can begin before this is destroyed.
// After a write failed (NOT_FOUND apart), every write and Commit fail with the
// same status until RollbackSavepoint: what it left half done cannot be
// committed.
class StoreWriter : public StoreReader {
 public:
  // Savepoints nest like brackets; a batch of a group commit has its own. An
  // error of RollbackSavepoint means that the whole transaction is gone.
  virtual absl::Status BeginSavepoint() = 0;
  virtual absl::Status ReleaseSavepoint() = 0;
  virtual absl::Status RollbackSavepoint() = 0;

  // Appends the versions to the log as one batch with the next revisions of
  // the tenant, moves the heads, and fills revision and check of each. Returns
  // the batch's end; {newest, its tag}, unchanged, if there are no versions.
  // Rolled back with its savepoint, the revisions are given out again.
  virtual absl::StatusOr<BatchEnd> Append(absl::string_view tenant, std::span<NewVersion> versions,
                                          uint64_t tag, absl::Time committed_at) = 0;
  virtual absl::Status Archive(absl::string_view tenant, const ArchiveRow& row) = 0;
  // Appends to the tenant's hash chain.
  virtual absl::Status Audit(absl::string_view tenant, const AuditEvent& event) = 0;
  virtual absl::Status PutReceipt(absl::string_view tenant, absl::string_view device,
                                  absl::string_view batch_id, const Receipt& receipt) = 0;
  // Row 3 of the decision table: the stored time of the head rises, together
  // with the device that it is compared with (raised_by; it stays if `device` is
  // empty). The times of its fields become `field_times`, or stay if that is
  // empty; the same of `field_writers`. NOT_FOUND if the entity has no such
  // version.
  virtual absl::Status RaiseTime(absl::string_view tenant, const EntityKey& key, Revision revision,
                                 TimeNs time, absl::string_view device,
                                 std::span<const TimeNs> field_times,
                                 std::span<const std::string> field_writers) = 0;
  // NOT_FOUND if there is no such conflict.
  virtual absl::Status MarkConflictResolved(absl::string_view tenant, absl::string_view conflict_id,
                                            absl::Time at, absl::string_view by,
                                            absl::string_view action) = 0;

  // Inserts the device or moves its last_seen_at; `queue` and `agent` replace
  // what stands if set.
  virtual absl::Status TouchDevice(absl::string_view tenant, absl::string_view device,
                                   absl::Time at, absl::string_view agent,
                                   const std::optional<QueueHealth>& queue) = 0;
  // NOT_FOUND if the device was never seen. The first time stays.
  virtual absl::Status RevokeDevice(absl::string_view tenant, absl::string_view device,
                                    absl::Time at) = 0;
  // A new token admits a device that was revoked; the ones that it had before
  // are revoked for good, as of when the device was.
  virtual absl::Status PutToken(const TokenRow& token) = 0;
  // NOT_FOUND if there is no such token. The first time stays.
  virtual absl::Status RevokeToken(absl::string_view id, absl::Time at) = 0;

  // Drops what retention lets go, of one tenant: versions that were superseded
  // before `before` (a version that is the head until then is a base that
  // devices still edit, however old it is), tombstones committed before it, and
  // receipts. Content hashes stay. At most `limit` versions and as many
  // receipts; returns how many rows of both went: less than `limit` = done.
  virtual absl::StatusOr<size_t> Prune(absl::string_view tenant, absl::Time before,
                                       size_t limit) = 0;

  // After this returned OK everything is durable. After an error nothing is,
  // unless the status is UNKNOWN: then either may be.
  virtual absl::Status Commit() = 0;
};

// Thread-safe. One writer at a time; BeginWrite waits for another process's
// writer up to the busy timeout.
class Store {
 public:
  virtual ~Store() = default;
  virtual absl::StatusOr<std::unique_ptr<StoreWriter>> BeginWrite() = 0;
  virtual absl::StatusOr<std::unique_ptr<StoreReader>> BeginRead() = 0;
  // Grows whenever something was committed, by any process; cheap.
  virtual absl::StatusOr<int64_t> ChangeCounter() = 0;
  // Copies the store, consistent as of one moment, while it is in use, to a
  // single file that only its owner can read. One that is there is replaced in
  // one step. INVALID_ARGUMENT if `path` is the store itself.
  virtual absl::Status Backup(const std::string& path) = 0;
  // Makes this store the one that a service serves from, until it is destroyed:
  // of two services on one store each would miss what the other one decided
  // (limits, streams to end, work in the background). FAILED_PRECONDITION
  // (STORE_IN_USE) while another process, or another Store, does. Again = OK.
  virtual absl::Status ClaimForService() = 0;
  // Moves what was committed from the write-ahead log into the database, as far
  // as that disturbs nobody. For a background thread: commits do it by
  // themselves only when this was not called for long.
  virtual absl::Status Checkpoint() = 0;
};

// Checks the chain of one tenant, its end included.
struct AuditVerdict {
  bool intact = true;
  uint64_t entries = 0;
  int64_t first_bad_sequence = 0;
  std::string head_hash;
};
absl::StatusOr<AuditVerdict> VerifyAudit(StoreReader& reader, absl::string_view tenant);

// The hash of an audit row: SHA-256 over the previous hash, the sequence and
// the canonical event.
std::string AuditHash(absl::string_view previous, int64_t sequence, const AuditEvent& event);

}  // namespace ptdoc::sync
