#include "device-agent/rpc/control_answers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/wire/values.h"
#include "device-agent/rpc/control_errors.h"

namespace ptdoc::sync {
namespace {

v1::LinkState LinkToProto(LinkState link) {
  switch (link) {
    case LinkState::kConnecting:
      return v1::LINK_STATE_CONNECTING;
    case LinkState::kOnline:
      return v1::LINK_STATE_ONLINE;
    case LinkState::kOffline:
      return v1::LINK_STATE_OFFLINE;
    case LinkState::kUnauthenticated:
      return v1::LINK_STATE_UNAUTHENTICATED;
    case LinkState::kRefused:
      return v1::LINK_STATE_REFUSED;
  }
  return v1::LINK_STATE_UNSPECIFIED;
}

constexpr size_t kSetAsideShown = 20;

// To whole seconds: so that a status which says nothing new looks the same.
void SecondToProto(absl::Time time, google::protobuf::Timestamp* out) {
  TimeToProto(absl::FromUnixSeconds(absl::ToUnixSeconds(time + absl::Milliseconds(500))), out);
}

void SetQueue(const QueueHealth& queue, v1::AgentServiceStatusResponse* out) {
  out->set_pending(queue.pending);
  out->set_processing(queue.processing);
  out->set_failed(queue.failed);
  if (queue.oldest_pending_at) {
    TimeToProto(*queue.oldest_pending_at, out->mutable_oldest_pending_at());
  }
  if (queue.last_sync_at) TimeToProto(*queue.last_sync_at, out->mutable_last_sync_at());
  out->set_open_conflicts(queue.open_conflicts);
  out->set_set_aside(queue.set_aside);
}

void SetLink(const CoreSnapshot& snapshot, v1::AgentServiceStatusResponse* out) {
  const SessionView& view = snapshot.session;
  out->set_link(LinkToProto(view.link));
  if (snapshot.next_attempt_at) {
    SecondToProto(*snapshot.next_attempt_at, out->mutable_next_attempt_at());
  }
  if (view.reason.ok()) return;
  const std::string reason = ReasonOf(view.reason);
  if (!reason.empty()) {
    out->set_link_reason(reason);
    out->set_link_message(ToUtf8(view.reason.message()));
    return;
  }
  // Who wrote the text of such an error is not known, so it is not shown.
  out->set_link_reason("SERVICE_UNREACHABLE");
  out->set_link_message(absl::StrCat("The service does not answer (",
                                     absl::StatusCodeToString(view.reason.code()),
                                     "). Your changes are safe on this device. They are sent as "
                                     "soon as it answers."));
}

void SetProgress(const CoreSnapshot& snapshot, v1::AgentServiceStatusResponse* out) {
  v1::Progress* const progress = out->mutable_progress();
  progress->set_push_done(snapshot.push_done);
  progress->set_push_known(std::max(snapshot.push_known, snapshot.push_done));
  progress->set_pull_done(snapshot.pull_done);
  progress->set_pull_known(std::max(snapshot.pull_known, snapshot.pull_done));
}

bool IsAway(FileState file) {
  return file == FileState::kMissing || file == FileState::kUnreadable;
}

HealthLevel LevelOf(const CoreSnapshot& snapshot) {
  const SessionView& view = snapshot.session;
  HealthLevel level = HealthOf(snapshot.facts.queue);
  if (view.link == LinkState::kRefused || IsAway(snapshot.facts.file))
    return HealthLevel::kCritical;
  const bool needs_help =
      view.link == LinkState::kUnauthenticated || !view.local_error.ok() || snapshot.facts.held > 0;
  if (needs_help) level = std::max(level, HealthLevel::kWarning);
  return level;
}

void SetWarnings(const CoreSnapshot& snapshot, v1::AgentServiceStatusResponse* out) {
  if (IsAway(snapshot.facts.file)) {
    const absl::Status error = FileError(snapshot.facts.file, snapshot.facts.file_problem);
    out->add_warnings(ToUtf8(error.message()));
  }
  if (!snapshot.session.local_error.ok()) {
    out->add_warnings(ToUtf8(LocalError(snapshot.session.local_error).message()));
  }
  for (const std::string& warning : snapshot.facts.warnings) out->add_warnings(ToUtf8(warning));
}

absl::Status SetAsideToProto(AgentCore& core, v1::AgentServiceStatusResponse* out) {
  if (out->set_aside() == 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::vector<SetAside> entries,
                      core.replica().ledger().ListSetAside(kSetAsideShown));
  for (const SetAside& entry : entries) {
    v1::SetAsideVersion* const version = out->add_set_aside_versions();
    version->set_entity_type(ToUtf8(entry.version.key.type));
    version->set_entity_id(ToUtf8(entry.version.key.id));
    version->set_code(ToUtf8(entry.code));
    version->set_constraint(ToUtf8(entry.constraint));
  }
  return absl::OkStatus();
}

uint32_t MillisToProto(absl::Duration duration) {
  const int64_t ms = std::max<int64_t>(absl::ToInt64Milliseconds(duration), 0);
  return static_cast<uint32_t>(std::min<int64_t>(ms, std::numeric_limits<uint32_t>::max()));
}

void CountsToProto(const PushCounts& counts, v1::PushSummary* out) {
  out->set_total(counts.total());
  out->set_success(counts.success);
  out->set_failed(counts.failed);
  out->set_conflicts(counts.conflicts);
}

void CountsToProto(const PullCounts& counts, v1::PullSummary* out) {
  out->set_total(counts.total());
  out->set_applied(counts.applied);
  out->set_skipped(counts.skipped);
  out->set_conflicts(counts.conflicts);
}

// What the three answers have in common.
template <typename Response>
void FrameToProto(const RunResult& result, Response* out) {
  out->set_success(result.success());
  TimeToProto(result.completed_at, out->mutable_completed_at());
  out->set_duration_ms(MillisToProto(result.duration));
  for (const ConflictLine& line : result.conflicts) {
    v1::ConflictSummary* const conflict = out->add_conflicts();
    conflict->set_entity_type(ToUtf8(line.key.type));
    conflict->set_entity_id(ToUtf8(line.key.id));
    conflict->set_resolution(std::string(ResolutionName(line.resolution)));
    conflict->set_reason(ToUtf8(line.reason));
  }
}

}  // namespace

absl::StatusOr<v1::AgentServiceStatusResponse> StatusOf(AgentCore& core,
                                                        const AgentIdentity& identity) {
  PT_ASSIGN_OR_RETURN(const CoreSnapshot snapshot, core.Snapshot());
  const ReplicaFacts& facts = snapshot.facts;
  v1::AgentServiceStatusResponse out;
  SetQueue(facts.queue, &out);
  out.set_health(HealthToProto(LevelOf(snapshot)));
  // Not as at the start: the token's name for this device is learned.
  PT_ASSIGN_OR_RETURN(std::string device, core.replica().ledger().Get("device_id"));
  out.set_device_id(ToUtf8(std::move(device)));
  out.set_database(ToUtf8(identity.database));
  out.set_service_address(ToUtf8(identity.service_address));
  SetLink(snapshot, &out);
  out.set_paused(snapshot.session.paused);
  if (snapshot.paused_until) SecondToProto(*snapshot.paused_until, out.mutable_paused_until());
  out.set_initial(facts.initial);
  out.set_recovering(facts.recovering || facts.rebaselining);
  out.set_blocked_by_app(snapshot.session.blocked_by_app || facts.file == FileState::kBlockedByApp);
  out.set_held(facts.held);
  out.set_stale(facts.stale);
  out.set_backfill(facts.backfill);
  SetProgress(snapshot, &out);
  PT_RETURN_IF_ERROR(SetAsideToProto(core, &out));
  SetWarnings(snapshot, &out);
  out.set_agent_version(ToUtf8(identity.agent_version));
  return out;
}

v1::AgentServiceRunResponse RunToProto(const RunResult& result) {
  v1::AgentServiceRunResponse out;
  FrameToProto(result, &out);
  CountsToProto(result.push, out.mutable_push());
  CountsToProto(result.pull, out.mutable_pull());
  return out;
}

v1::AgentServicePushResponse PushToProto(const RunResult& result) {
  v1::AgentServicePushResponse out;
  FrameToProto(result, &out);
  CountsToProto(result.push, out.mutable_push());
  return out;
}

v1::AgentServicePullResponse PullToProto(const RunResult& result) {
  v1::AgentServicePullResponse out;
  FrameToProto(result, &out);
  CountsToProto(result.pull, out.mutable_pull());
  return out;
}

void ItemToProto(const QueueItem& item, v1::QueueItem* out) {
  out->set_id(item.id);
  out->set_entity_type(ToUtf8(item.key.type));
  out->set_entity_id(ToUtf8(item.key.id));
  out->set_operation(std::string(OperationName(item.operation)));
  out->set_status(std::string(ItemStatusName(item.status)));
  TimeToProto(item.enqueued_at, out->mutable_enqueued_at());
  out->set_retry_count(static_cast<uint32_t>(std::max(item.retry_count, 0)));
  out->set_max_retries(static_cast<uint32_t>(std::max(item.max_retries, 0)));
  out->set_error_message(ToUtf8(item.error_message));
  if (item.next_attempt_at) TimeToProto(*item.next_attempt_at, out->mutable_next_attempt_at());
  if (item.completed_at) TimeToProto(*item.completed_at, out->mutable_completed_at());
  out->set_held(item.held);
  out->set_initial(item.initial);
}

void ArchiveToProto(const ArchiveEntry& entry, bool with_contents, v1::Conflict* out) {
  out->set_conflict_id(ToUtf8(entry.conflict_id));
  out->set_entity_type(ToUtf8(entry.key.type));
  out->set_entity_id(ToUtf8(entry.key.id));
  out->set_resolution_type(ToUtf8(entry.resolution_type));
  out->set_reason(ToUtf8(entry.reason));
  TimeToProto(entry.detected_at, out->mutable_detected_at());
  if (with_contents) {
    out->set_archived_data_json(ToUtf8(entry.archived_json));
    out->set_chosen_data_json(ToUtf8(entry.chosen_json));
    out->set_base_data_json(ToUtf8(entry.base_json));
  }
  // A row that the service never had, or that has no stamp, has no time.
  if (entry.archived_time > kSmallestTime) {
    TimeNsToProto(entry.archived_time, out->mutable_archived_last_modified_utc());
  }
  if (entry.chosen_time > kSmallestTime) {
    TimeNsToProto(entry.chosen_time, out->mutable_chosen_last_modified_utc());
  }
  out->set_archived_by_user_id(ToUtf8(entry.archived_user));
  out->set_archived_device_id(ToUtf8(entry.archived_device));
  out->set_chosen_by_user_id(ToUtf8(entry.chosen_user));
  out->set_chosen_device_id(ToUtf8(entry.chosen_device));
  out->set_is_resolved(entry.is_resolved);
  if (entry.resolved_at) TimeToProto(*entry.resolved_at, out->mutable_resolved_at());
  out->set_resolved_by_user_id(ToUtf8(entry.resolved_by));
  out->set_resolved_action(ToUtf8(entry.resolved_action));
  out->set_rule(ToUtf8(entry.rule));
}

}  // namespace ptdoc::sync
