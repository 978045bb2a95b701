#include <algorithm>
#include <utility>

#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/engine/answer.h"
#include "sync-service/engine/decide.h"
#include "sync-service/engine/engine.h"
#include "sync-service/engine/position.h"
#include "sync-service/engine/validate.h"

namespace ptdoc::sync {
namespace {

using PushAnswers = std::vector<absl::StatusOr<PushAnswer>>;

absl::Status BatchIdReused() {
  return ReasonError(absl::StatusCode::kInvalidArgument, "BATCH_ID_REUSED",
                     "This batch_id was used for another list of entities. Nothing of the batch "
                     "was taken. Send it with a batch_id of its own.");
}

// For the sender it is as if the answer was lost on its way.
absl::Status FateUnknown() {
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                     "The store failed while it committed. Whether the batch was stored is not "
                     "known; nothing is lost. Send the same batch again under the same batch_id.");
}

// Random, so that a cursor tells this batch from one that got the same revision
// in another life of the store; never 0, which means "no batch".
uint64_t NewTag(Rng& rng) {
  uint64_t tag = 0;
  while (tag == 0) tag = rng.Next();
  return tag;
}

// Revisions exist since the versions were appended.
void TakeRevisions(BatchPlan* plan) {
  for (PlannedResult& planned : plan->results) {
    if (!planned.version.has_value()) continue;
    const Version& version = plan->versions[*planned.version].stored.version;
    planned.result.revision = version.revision;
    planned.result.check = version.check;
  }
}

// What all rows of a batch have in common.
AuditEvent AuditOf(const Principal& who, absl::Time now) {
  AuditEvent event;
  event.at = now;
  event.event = "change";
  event.device = who.device;
  event.user = who.user;
  return event;
}

void SetAudited(const Change& change, const ChangeResult& result, AuditEvent* event) {
  event->claimed.clear();
  // A longer one was refused, and says so.
  if (change.modified_by.size() <= kUserBytesMax) event->claimed = change.modified_by;
  event->key = change.key;
  event->outcome = std::string(OutcomeName(result.outcome));
  event->rule = result.rule;
  event->revision = result.revision;
  event->reason =
      std::string(result.error_code != ErrorCode::kNone ? ErrorCodeName(result.error_code)
                                                        : ResolutionName(result.resolution));
}

// Every accepted or refused change has one audit row; one that changed nothing
// has none.
absl::Status WriteAudit(StoreWriter& writer, const PushBatch& batch, const BatchPlan& plan,
                        absl::Time now) {
  if (PT_PLANTED("no audit row is written")) return absl::OkStatus();
  AuditEvent event = AuditOf(batch.who, now);
  for (size_t i = 0; i < plan.results.size(); ++i) {
    const ChangeResult& result = plan.results[i].result;
    if (result.outcome == Outcome::kUnchanged) continue;
    SetAudited(batch.changes[i], result, &event);
    PT_RETURN_IF_ERROR(writer.Audit(batch.who.tenant, event));
  }
  return absl::OkStatus();
}

// Writes what was decided and returns the receipt, which is written, too.
absl::StatusOr<Receipt> WriteBatch(StoreWriter& writer, const PushBatch& batch, BatchPlan plan,
                                   uint64_t tag, absl::Time now) {
  const std::string& tenant = batch.who.tenant;
  PT_ASSIGN_OR_RETURN(const BatchEnd end, writer.Append(tenant, plan.versions, tag, now));
  TakeRevisions(&plan);
  for (const auto& [key, raised] : plan.raised) {
    PT_RETURN_IF_ERROR(writer.RaiseTime(tenant, key, raised.revision, raised.time, raised.device,
                                        raised.field_times, raised.field_writers));
  }
  for (const ArchiveRow& row : plan.archives) PT_RETURN_IF_ERROR(writer.Archive(tenant, row));
  PT_RETURN_IF_ERROR(WriteAudit(writer, batch, plan, now));

  Receipt receipt;
  receipt.entities_digest = EntitiesDigest(batch.changes);
  receipt.results.reserve(plan.results.size());
  for (PlannedResult& planned : plan.results) receipt.results.push_back(std::move(planned.result));
  receipt.last_revision = end.sequence;
  receipt.tag = end.tag;
  receipt.committed_at = now;
  if (PT_PLANTED("drop the receipt")) return receipt;
  if (PT_PLANTED("a receipt holds no results")) {
    Receipt empty = receipt;
    empty.results.clear();
    PT_RETURN_IF_ERROR(writer.PutReceipt(tenant, batch.who.device, batch.batch_id, empty));
    return receipt;
  }
  PT_RETURN_IF_ERROR(writer.PutReceipt(tenant, batch.who.device, batch.batch_id, receipt));
  return receipt;
}

// The id never takes effect from here on, so that a late original is harmless.
absl::StatusOr<Receipt> WriteVoid(StoreWriter& writer, const PushBatch& batch, absl::Time now) {
  PT_REACHED("a batch was recorded as void");
  Receipt receipt;
  receipt.voided = true;
  if (PT_PLANTED("a void id is forgotten")) return receipt;
  receipt.committed_at = now;
  PT_RETURN_IF_ERROR(
      writer.PutReceipt(batch.who.tenant, batch.who.device, batch.batch_id, receipt));
  return receipt;
}

bool IsAllOwn(const Receipt& receipt) {
  return std::none_of(
      receipt.results.begin(), receipt.results.end(),
      [](const ChangeResult& result) { return result.outcome == Outcome::kConflict; });
}

absl::StatusOr<Receipt> DecideAndWrite(StoreWriter& writer, PushBatch& batch, const StoreMeta& meta,
                                       const EngineOptions& options, Rng& rng, absl::Time now,
                                       std::optional<OwnBatch>* own, bool* appended) {
  if (!batch.cursor.empty() && !PT_PLANTED("push is taken whatever its cursor")) {
    PT_RETURN_IF_ERROR(OpenFeedCursor(writer, batch.who.tenant, meta, batch.cursor).status());
  }
  PT_ASSIGN_OR_RETURN(BatchPlan plan, BatchDecider(writer, batch, options, rng, now).Decide());
  *appended = !plan.versions.empty();
  const auto versions = static_cast<Revision>(plan.versions.size());
  PT_ASSIGN_OR_RETURN(Receipt receipt,
                      WriteBatch(writer, batch, std::move(plan), NewTag(rng), now));
  if (*appended && IsAllOwn(receipt)) {
    *own = {receipt.last_revision - versions, {receipt.last_revision, receipt.tag}};
  }
  return receipt;
}

}  // namespace

PushAnswers Engine::Push(std::span<PushBatch> batches) {
  const auto all = [&](const absl::Status& status) { return PushAnswers(batches.size(), status); };
  const absl::Time now = clock_.Now();
  absl::StatusOr<std::unique_ptr<StoreWriter>> writer = store_.BeginWrite();
  if (!writer.ok()) return all(writer.status());
  PushAnswers answers;
  answers.reserve(batches.size());
  for (PushBatch& batch : batches) {
    if (const absl::Status begun = (*writer)->BeginSavepoint(); !begun.ok()) return all(begun);
    answers.push_back(PushOne(**writer, batch, now));
    const absl::Status ended =
        answers.back().ok() ? (*writer)->ReleaseSavepoint() : (*writer)->RollbackSavepoint();
    if (!ended.ok()) return all(ended);
  }
  // Nothing leaves before this returned: a crash between the two makes the
  // device send the batch again, which its receipt makes harmless.
  const absl::Status committed = (*writer)->Commit();
  if (committed.ok() || PT_PLANTED("acknowledge before COMMIT")) return answers;
  return all(absl::IsUnknown(committed) ? FateUnknown() : committed);
}

absl::StatusOr<PushAnswer> Engine::PushOne(StoreWriter& writer, PushBatch& batch, absl::Time now) {
  const Principal& who = batch.who;
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, writer.Meta());
  if (!IsReportOnly(batch)) PT_RETURN_IF_ERROR(CheckBatch(batch));
  PT_RETURN_IF_ERROR(writer.TouchDevice(who.tenant, who.device, now, who.agent, batch.queue));
  if (IsReportOnly(batch)) {
    // Nothing else may be said for a long time: the answer that the witness comes
    // from can have been on its way while the store was set back.
    PT_RETURN_IF_ERROR(CheckWitness(writer, who.tenant, meta, batch.witness).status());
    return EmptyAnswer(meta, now);
  }

  // The receipt comes first: a batch that was answered keeps its answer,
  // whatever became of its cursor's history since.
  PT_ASSIGN_OR_RETURN(std::optional<Receipt> receipt,
                      writer.FindReceipt(who.tenant, who.device, batch.batch_id));
  const absl::Status witnessed = CheckWitness(writer, who.tenant, meta, batch.witness).status();
  bool appended = false;
  std::optional<OwnBatch> own;
  if (receipt.has_value()) {
    const bool repeated = batch.settle || receipt->voided ||
                          receipt->entities_digest == EntitiesDigest(batch.changes);
    if (!repeated) return BatchIdReused();
  } else if (batch.settle) {
    PT_ASSIGN_OR_RETURN(receipt, WriteVoid(writer, batch, now));
  } else {
    PT_RETURN_IF_ERROR(witnessed);
    PT_ASSIGN_OR_RETURN(receipt,
                        DecideAndWrite(writer, batch, meta, options_, rng_, now, &own, &appended));
    if (PT_PLANTED("the sequence is not rolled back with its savepoint") && rng_.Below(20) == 0) {
      return absl::UnavailableError("a fault after the batch was written");
    }
  }
  PT_ASSIGN_OR_RETURN(PushAnswer answer, AnswerFrom(writer, batch, meta, *std::move(receipt), now));
  answer.appended = appended;
  answer.own = own;
  // A device that is told of a fork anew must not forget what it remembers.
  if (witnessed.ok()) {
    PT_ASSIGN_OR_RETURN(answer.witness, SealWitness(writer, who.tenant, meta));
  }
  return answer;
}

}  // namespace ptdoc::sync
