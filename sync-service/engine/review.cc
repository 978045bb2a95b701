#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "sync-service/engine/archive.h"
#include "sync-service/engine/engine.h"
#include "sync-service/engine/validate.h"
#include "sync-service/engine/whole.h"

namespace ptdoc::sync {
namespace {

constexpr char kReviewRule[] = "review";
constexpr char kReplaced[] = "A reviewer replaced this version";

absl::Status Precondition(absl::string_view reason, absl::string_view message) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, reason, message);
}

absl::Status NotFound(absl::string_view what) {
  return ReasonError(absl::StatusCode::kNotFound, "NOT_FOUND",
                     absl::StrCat(what,
                                  " was not found. Nothing was changed. Check its id and "
                                  "the tenant."));
}

// A person's decision about one entity, as it is written.
struct Review {
  const Principal& who;
  EntityKey key;
  bool deleted = false;
  Fields fields;
  absl::Time now;
};

// Whoever reviews; a token that is bound to no user is known by its device.
std::string ReviewerOf(const Principal& who) {
  return who.user.empty() ? who.device : who.user;
}

NewVersion MakeVersion(Review review, const TypePolicy& policy, const StoredVersion* current) {
  NewVersion made;
  StoredVersion& stored = made.stored;
  Version& version = stored.version;
  version.key = std::move(review.key);
  version.deleted = review.deleted;
  version.modified_by = ReviewerOf(review.who);
  version.fields = std::move(review.fields);
  stored.claimed_time = ToTimeNs(review.now);
  version.last_modified = stored.claimed_time;
  if (current != nullptr) {
    version.last_modified = std::max(version.last_modified, current->version.last_modified + 1);
  }
  stored.device = review.who.device;
  stored.user = review.who.user;
  stored.content_hash = ContentHash(version.key, version.deleted, version.fields);
  const bool merges = policy.policy == ConflictPolicy::kMergeFields;
  StampFields(current, merges ? &stored.device : nullptr, &stored);
  return made;
}

// What a reviewer replaced stands in the archives like any loser, as decided.
ArchiveRow ReplacedRow(const std::string& conflict_id, const StoredVersion& replaced,
                       const StoredVersion& chosen, const Review& review) {
  Loss loss;
  loss.conflict_id = conflict_id;
  loss.key = replaced.version.key;
  loss.resolution = Resolution::kManual;
  loss.rule = kReviewRule;
  loss.detected_at = review.now;
  loss.loser = &replaced;
  loss.winner = &chosen;
  ArchiveRow row = MakeArchive(loss);
  row.reason = kReplaced;
  row.is_resolved = true;
  row.resolved_at = review.now;
  row.resolved_by = ReviewerOf(review.who);
  row.resolved_action = "Replaced";
  return row;
}

AuditEvent ReviewAudit(const Principal& who, absl::string_view event, const EntityKey& key,
                       absl::string_view outcome, Revision revision, absl::string_view reason_code,
                       absl::Time now) {
  AuditEvent audit;
  audit.at = now;
  audit.event = std::string(event);
  audit.device = who.device;
  audit.user = who.user;
  audit.key = key;
  audit.outcome = std::string(outcome);
  audit.rule = kReviewRule;
  audit.revision = revision;
  audit.reason = std::string(reason_code);
  return audit;
}

absl::string_view ActionName(ResolveAction action) {
  switch (action) {
    case ResolveAction::kKeep:
      return "Kept";
    case ResolveAction::kRestore:
      return "Restored";
    case ResolveAction::kEdit:
      return "Edited";
  }
  return "";
}

absl::Status CheckRequest(const ResolveRequest& request, size_t max_row_bytes) {
  PT_RETURN_IF_ERROR(CheckReasonCode(request.reason_code));
  if (request.action != ResolveAction::kEdit) return absl::OkStatus();
  if (!request.content.has_value() || request.content->empty()) {
    return FieldError("content_json",
                      "The edited content is missing. Nothing was changed. Send the "
                      "whole row as it shall stand.");
  }
  if (request.content->ByteSize() > max_row_bytes) {
    return FieldError("content_json",
                      absl::StrCat("The edited content is larger than ", max_row_bytes,
                                   " bytes. Nothing was changed. Make it smaller."));
  }
  return absl::OkStatus();
}

// Nobody writes over a signed or locked version, and over none that he did not
// see.
absl::Status CheckReplaceable(const TypePolicy& policy, const StoredVersion* current,
                              Revision expected) {
  const Revision stands = current == nullptr ? 0 : current->version.revision;
  if (stands != expected) {
    return ReasonError(absl::StatusCode::kAborted, "REVISION",
                       absl::StrCat("Revision ", stands, " stands, not ", expected,
                                    ". Nothing was changed. Look at the conflict again."));
  }
  if (current == nullptr || current->version.deleted) return absl::OkStatus();
  if (IsSigned(policy, current->version.fields)) {
    return Precondition("SIGNED",
                        "The entity is signed and immutable. Nothing was changed. Write "
                        "an addendum as an entity of its own.");
  }
  if (IsLocked(policy, current->version.fields)) {
    return Precondition("LOCKED",
                        "The entity is locked. Nothing was changed. An administrator "
                        "can unlock it.");
  }
  return absl::OkStatus();
}

// What a restore or an edit writes.
absl::StatusOr<Review> ReviewOf(const Principal& who, const ResolveRequest& request,
                                const ArchiveRow& row, absl::Time now) {
  Review review{who, row.key, false, {}, now};
  if (request.action == ResolveAction::kEdit) {
    review.fields = *request.content;
    return review;
  }
  if (row.resolution_type == ResolutionName(Resolution::kKeyCollision)) {
    return Precondition("KEY_COLLISION",
                        "The archived row is another thing under the same key. Nothing was "
                        "changed. Enter it again under a key of its own, then keep this conflict.");
  }
  review.deleted = row.archived_json == "null";
  if (review.deleted) return review;
  PT_ASSIGN_OR_RETURN(review.fields, FieldsFromJson(row.archived_json));
  return review;
}

// Tells the devices whose rows it is about: the one whose version is replaced
// keeps its row, and the one that lost the conflict learns that it is resolved.
ConflictNotice NoticeOf(const std::string& replaced_id, const StoredVersion* replaced,
                        const std::string& resolved_id) {
  ConflictNotice notice;
  notice.resolution = Resolution::kManual;
  notice.resolved_conflict_id = resolved_id;
  if (replaced == nullptr) return notice;
  notice.conflict_id = replaced_id;
  notice.lost_device = replaced->device;
  notice.lost_revision = replaced->version.revision;
  return notice;
}

// Appends the version, which resolves `conflict_id`, and archives what it
// replaces.
absl::StatusOr<Revision> Replace(StoreWriter& writer, Rng& rng, const std::string& conflict_id,
                                 const TypePolicy& policy, Review review,
                                 const StoredVersion* current) {
  const std::string& tenant = review.who.tenant;
  const Review as_reviewed{review.who, review.key, review.deleted, {}, review.now};
  NewVersion made = MakeVersion(std::move(review), policy, current);
  if (current != nullptr && current->content_hash == made.stored.content_hash) {
    return current->version.revision;  // It stands already: row 3 of the table.
  }
  const std::string replaced_id = NewUuid(rng);
  made.stored.version.conflict = NoticeOf(replaced_id, current, conflict_id);
  PT_RETURN_IF_ERROR(writer.Append(tenant, {&made, 1}, rng.Next() | 1, as_reviewed.now).status());
  if (current != nullptr) {
    PT_RETURN_IF_ERROR(
        writer.Archive(tenant, ReplacedRow(replaced_id, *current, made.stored, as_reviewed)));
  }
  return made.stored.version.revision;
}

// The locked field's value turned false, in the type that it has.
Value Unlocked(const Value& locked) {
  switch (locked.type()) {
    case Value::Type::kReal:
      return Value::Real(0.0);
    case Value::Type::kText:
      if (absl::EqualsIgnoreCase(locked.bytes(), "true")) return Value::Text("false");
      if (absl::EqualsIgnoreCase(locked.bytes(), "yes")) return Value::Text("no");
      return Value::Text("0");
    case Value::Type::kBlob:
      return Value::Blob("");
    case Value::Type::kNull:
    case Value::Type::kInteger:
      return Value::Integer(0);
  }
  return Value::Integer(0);
}

absl::Status CheckUnlockable(const TypePolicy& policy, const StoredVersion& current) {
  if (IsSigned(policy, current.version.fields)) {
    return Precondition("SIGNED",
                        "The entity is signed and immutable. Nothing was changed. "
                        "Write an addendum as an entity of its own.");
  }
  if (!IsLocked(policy, current.version.fields)) {
    return Precondition("NOT_LOCKED",
                        "The entity is not locked. Nothing was changed. Edit it on any "
                        "device.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Revision> Engine::ResolveConflict(const Principal& who,
                                                 const ResolveRequest& request) {
  PT_RETURN_IF_ERROR(CheckRequest(request, options_.max_row_bytes));
  const absl::Time now = clock_.Now();
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreWriter> writer, store_.BeginWrite());
  PT_ASSIGN_OR_RETURN(const std::optional<ArchiveRow> row,
                      writer->FindConflict(who.tenant, request.conflict_id));
  if (!row.has_value()) return NotFound("The conflict");
  PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> head, writer->Head(who.tenant, row->key));
  const StoredVersion* current = head.has_value() ? &*head : nullptr;
  Revision revision = current == nullptr ? 0 : current->version.revision;
  if (request.action == ResolveAction::kKeep) {
    if (row->is_resolved) return revision;  // A repeated call.
  } else {
    const TypePolicy& policy = options_.policies.For(row->key.type);
    PT_RETURN_IF_ERROR(CheckReplaceable(policy, current, request.expected_revision));
    PT_ASSIGN_OR_RETURN(Review review, ReviewOf(who, request, *row, now));
    PT_ASSIGN_OR_RETURN(
        revision, Replace(*writer, rng_, request.conflict_id, policy, std::move(review), current));
  }
  const absl::string_view action = ActionName(request.action);
  PT_RETURN_IF_ERROR(
      writer->MarkConflictResolved(who.tenant, request.conflict_id, now, ReviewerOf(who), action));
  PT_RETURN_IF_ERROR(writer->Audit(who.tenant, ReviewAudit(who, "resolve", row->key, action,
                                                           revision, request.reason_code, now)));
  PT_RETURN_IF_ERROR(writer->Commit());
  return revision;
}

absl::StatusOr<Revision> Engine::Unlock(const Principal& who, const EntityKey& key,
                                        absl::string_view reason_code) {
  PT_RETURN_IF_ERROR(CheckReasonCode(reason_code));
  const absl::Time now = clock_.Now();
  const TypePolicy& policy = options_.policies.For(key.type);
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreWriter> writer, store_.BeginWrite());
  PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> head, writer->Head(who.tenant, key));
  if (!head.has_value() || head->version.deleted) return NotFound("The entity");
  PT_RETURN_IF_ERROR(CheckUnlockable(policy, *head));
  Review review{who, key, false, head->version.fields, now};
  review.fields.Set(policy.locked_field, Unlocked(*head->version.fields.Find(policy.locked_field)));
  NewVersion made = MakeVersion(std::move(review), policy, &*head);
  PT_RETURN_IF_ERROR(writer->Append(who.tenant, {&made, 1}, rng_.Next() | 1, now).status());
  const Revision revision = made.stored.version.revision;
  PT_RETURN_IF_ERROR(writer->Audit(
      who.tenant, ReviewAudit(who, "unlock", key, "Unlocked", revision, reason_code, now)));
  PT_RETURN_IF_ERROR(writer->Commit());
  return revision;
}

}  // namespace ptdoc::sync
