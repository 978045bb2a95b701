#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/model/value.h"

namespace ptdoc::sync {

// Identity of an entity within a tenant.
struct EntityKey {
  std::string type;
  std::string id;

  friend auto operator<=>(const EntityKey&, const EntityKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const EntityKey& k) {
    return H::combine(std::move(h), k.type, k.id);
  }
};

// The sequence number (> 0) that the service gave a version; 0 = never seen.
using Revision = int64_t;

enum class Operation : uint8_t { kCreate = 0, kUpdate = 1, kDelete = 2 };

enum class Outcome : uint8_t { kAccepted = 1, kUnchanged = 2, kConflict = 3, kFailed = 4 };

// Numbers as on the wire.
enum class Resolution : uint8_t {
  kNone = 0,
  kLocalWins = 1,
  kServerWins = 2,
  kMerged = 3,
  kSignedWins = 4,
  kLockedWins = 5,
  kManual = 6,
  kRejectedImmutable = 7,
  kRejectedLocked = 8,
  kKeyCollision = 9,
};

// As in SQL and JSON, "RejectedImmutable"; empty for kNone.
absl::string_view ResolutionName(Resolution resolution);
// "Create", "Update", "Delete".
absl::string_view OperationName(Operation operation);
absl::string_view OutcomeName(Outcome outcome);
// One sentence for people, without content: "Entity is signed and immutable".
absl::string_view ResolutionReason(Resolution resolution);

// The error codes of one change (docs/PROTOCOL.md).
enum class ErrorCode : uint8_t {
  kNone = 0,
  kInvalidChange,
  kInvalidValue,
  kRowTooLarge,
  kTypeForbidden,
  kUserMismatch,
  kBaseUnknown,
  kKeyCollision,
  kBatchRefused,
  kInvalidKey,
  kInternal,
};
// "INVALID_CHANGE"; empty for kNone.
absl::string_view ErrorCodeName(ErrorCode code);
// kNone for the empty name, kInternal for one that is not known.
ErrorCode ErrorCodeFromName(absl::string_view name);

// Why a change cannot be taken, found while it was read. The message names the
// field or the key, never content.
struct Defect {
  ErrorCode code = ErrorCode::kNone;
  std::string message;
};

// One create, update or delete as it was sent.
struct Change {
  EntityKey key;
  Operation operation = Operation::kUpdate;
  Revision base_revision = 0;
  std::string base_check;  // 8 bytes, or empty = not checked
  bool integer_key = false;
  std::optional<TimeNs> last_modified;  // absent = the service's clock
  std::string modified_by;              // a claim
  Fields fields;
  bool complete = false;
  bool reoffer = false;
  Defect defect;  // set by whoever read it from outside
};

// Tells the device whose accepted version lost, so that it can keep its row.
struct ConflictNotice {
  std::string conflict_id;
  Resolution resolution = Resolution::kNone;
  std::string lost_device;
  Revision lost_revision = 0;
  // The conflict that a reviewer resolved with this version, if one did.
  std::string resolved_conflict_id = {};

  friend bool operator==(const ConflictNotice&, const ConflictNotice&) = default;
};

// An entity's content with time, author and deleted flag, as pullers see it.
struct Version {
  EntityKey key;
  Revision revision = 0;
  std::string check;  // 8 bytes
  bool deleted = false;
  TimeNs last_modified = kSmallestTime;
  std::string modified_by;
  Fields fields;
  std::optional<ConflictNotice> conflict;

  friend bool operator==(const Version&, const Version&) = default;
};

struct ChangeResult {
  EntityKey key;
  Outcome outcome = Outcome::kFailed;
  Resolution resolution = Resolution::kNone;
  Revision revision = 0;
  std::string check;
  std::optional<Version> current;
  std::string rule;
  std::string conflict_id;
  ErrorCode error_code = ErrorCode::kNone;
  std::string error_message;
  bool retryable = false;
};

// Queue figures that a device reports.
struct QueueHealth {
  uint32_t pending = 0;
  uint32_t processing = 0;
  uint32_t failed = 0;
  std::optional<absl::Time> oldest_pending_at;
  std::optional<absl::Time> last_sync_at;
  uint32_t open_conflicts = 0;
  uint32_t set_aside = 0;
  bool initial = false;
};

enum class HealthLevel : uint8_t { kOk = 1, kWarning = 2, kCritical = 3 };
// Up to 100 pending ok, up to 500 warning, above
// critical; failed items warn. The first upload is not counted.
HealthLevel HealthOf(const QueueHealth& queue);

// SHA-256 (32 bytes) over identity, deleted flag and canonical content; not the
// time. A deleted version has no content: its `fields` do not count.
std::string ContentHash(const EntityKey& key, bool deleted, const Fields& fields);

// The 8-byte check of a version: covers identity, revision and content.
std::string VersionCheck(const EntityKey& key, Revision revision, absl::string_view content_hash);

}  // namespace ptdoc::sync
