#include "sync-service/rpc/answers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

static_assert(kWireChangesMax == kBatchChangesMax);

// One message's worth from the front of `versions`.
std::vector<Version> TakeChunk(std::deque<Version>* versions) {
  std::vector<Version> chunk;
  size_t bytes = 0;
  while (!versions->empty()) {
    bytes += WireSizeOf(versions->front());
    if (!chunk.empty() && bytes > kPageBytesMax) break;
    chunk.push_back(std::move(versions->front()));
    versions->pop_front();
  }
  return chunk;
}

void AddVersions(std::vector<Version> versions, std::optional<RowForm> packed,
                 v1::PullResponse* out) {
  if (packed.has_value()) {
    PackVersions(std::move(versions), out->mutable_tables(), *packed);
    return;
  }
  for (Version& version : versions) VersionToProto(std::move(version), out->add_versions());
}

void ScopeToProto(std::vector<std::string> refused, v1::Scope* out) {
  for (std::string& type : refused) out->add_refused_types(ToUtf8(std::move(type)));
}

uint32_t Saturate(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, std::numeric_limits<uint32_t>::max()));
}

void CountPush(const std::vector<ChangeResult>& results, v1::PushSummary* out) {
  uint32_t success = 0;
  uint32_t failed = 0;
  uint32_t conflicts = 0;
  for (const ChangeResult& result : results) {
    if (result.outcome == Outcome::kFailed) {
      ++failed;
    } else if (result.outcome == Outcome::kConflict) {
      ++conflicts;
    } else {
      ++success;
    }
  }
  out->set_total(success + failed + conflicts);
  out->set_success(success);
  out->set_failed(failed);
  out->set_conflicts(conflicts);
}

void AddConflicts(const std::vector<ChangeResult>& results, v1::RunResponse* out) {
  for (const ChangeResult& result : results) {
    if (result.outcome != Outcome::kConflict) continue;
    v1::ConflictSummary* const conflict = out->add_conflicts();
    conflict->set_entity_type(ToUtf8(result.key.type));
    conflict->set_entity_id(ToUtf8(result.key.id));
    conflict->set_resolution(std::string(ResolutionName(result.resolution)));
    conflict->set_reason(std::string(ResolutionReason(result.resolution)));
  }
}

void SetLimits(size_t row_bytes_max, v1::Limits* out) {
  out->set_batch_changes_max(kBatchChangesMax);
  out->set_message_bytes_max(kMessageBytesMax);
  out->set_row_bytes_max(Saturate(row_bytes_max));
  out->set_entity_id_bytes_max(kEntityIdBytesMax);
  out->set_entity_type_bytes_max(kEntityTypeBytesMax);
  out->set_page_versions_max(kPageVersionsMax);
  out->set_unanswered_batches_max(kUnansweredBatchesMax);
}

}  // namespace

void PushAnswerToProto(PushAnswer answer, v1::PushResponse* out) {
  out->set_batch_id(ToUtf8(std::move(answer.batch_id)));
  for (ChangeResult& result : answer.results) ResultToProto(std::move(result), out->add_results());
  out->set_commit_cursor(std::move(answer.commit_cursor));
  out->set_epoch(std::move(answer.epoch));
  TimeToProto(answer.server_time, out->mutable_server_time());
  out->set_voided(answer.voided);
  out->set_witness(std::move(answer.witness));
}

void RunAnswerToProto(RunAnswer answer, absl::Time completed_at, absl::Duration took,
                      v1::RunResponse* out) {
  out->set_success(true);
  TimeToProto(completed_at, out->mutable_completed_at());
  out->set_duration_ms(
      Saturate(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Milliseconds(took)))));
  CountPush(answer.push.results, out->mutable_push());
  AddConflicts(answer.push.results, out);
  const uint32_t pulled = Saturate(answer.page.versions.size());
  v1::PullSummary* const pull = out->mutable_pull();
  pull->set_total(pulled);
  pull->set_applied(pulled);
  pull->set_skipped(0);
  pull->set_conflicts(0);
  out->set_batch_id(ToUtf8(std::move(answer.push.batch_id)));
  for (ChangeResult& result : answer.push.results) {
    ResultToProto(std::move(result), out->add_results());
  }
  for (Version& version : answer.page.versions) {
    VersionToProto(std::move(version), out->add_versions());
  }
  out->set_cursor(std::move(answer.page.cursor));
  out->set_has_more(answer.has_more);
  ScopeToProto(std::move(answer.page.refused_types), out->mutable_scope());
}

void StatusAnswerToProto(const StatusAnswer& answer, size_t row_bytes_max,
                         v1::StatusResponse* out) {
  v1::QueueHealth total;
  QueueHealthToProto(answer.total, &total);
  out->set_pending(total.pending());
  out->set_processing(total.processing());
  out->set_failed(total.failed());
  if (total.has_oldest_pending_at()) {
    *out->mutable_oldest_pending_at() = total.oldest_pending_at();
  }
  if (total.has_last_sync_at()) *out->mutable_last_sync_at() = total.last_sync_at();
  out->set_health(total.health());
  out->set_open_conflicts(total.open_conflicts());
  out->set_set_aside(total.set_aside());
  for (const DeviceQueue& device : answer.devices) {
    v1::DeviceStatus* const row = out->add_devices();
    row->set_device_id(ToUtf8(device.device));
    QueueHealthToProto(device.queue, row->mutable_queue());
    TimeToProto(device.last_seen_at, row->mutable_last_seen_at());
    row->set_agent_version(ToUtf8(device.agent));
  }
  v1::ServerInfo* const server = out->mutable_server();
  server->set_version(PTDOC_VERSION);
  server->set_epoch(answer.epoch);
  SetLimits(row_bytes_max, server->mutable_limits());
  TimeToProto(answer.server_time, server->mutable_server_time());
}

std::deque<v1::PullResponse> PageToProto(PullPage page, std::optional<RowForm> packed) {
  std::deque<Version> versions(std::make_move_iterator(page.versions.begin()),
                               std::make_move_iterator(page.versions.end()));
  std::deque<v1::PullResponse> messages;
  do {
    v1::PullResponse& message = messages.emplace_back();
    AddVersions(TakeChunk(&versions), packed, &message);
    message.set_remaining(page.remaining + versions.size());
    TimeToProto(page.server_time, message.mutable_server_time());
    message.set_epoch(page.epoch);
  } while (!versions.empty());
  ScopeToProto(std::move(page.refused_types), messages.front().mutable_scope());
  messages.back().set_cursor(std::move(page.cursor));
  messages.back().set_batch_end(page.batch_end);
  messages.back().set_caught_up(page.caught_up);
  return messages;
}

std::deque<v1::PullResponse> FetchPageToProto(FetchPage page, std::optional<RowForm> packed,
                                              bool last) {
  PullPage versions;
  versions.versions = std::move(page.versions);
  versions.server_time = page.server_time;
  versions.epoch = std::move(page.epoch);
  versions.caught_up = last;
  versions.refused_types = std::move(page.refused_types);
  std::deque<v1::PullResponse> messages = PageToProto(std::move(versions), packed);
  for (v1::PullResponse& message : messages) message.clear_remaining();
  size_t bytes = messages.back().ByteSizeLong();
  for (EntityKey& key : page.missing) {
    bytes += key.type.size() + key.id.size();
    if (bytes > kPageBytesMax) {
      v1::PullResponse& message = messages.emplace_back();
      message.set_epoch(messages.front().epoch());
      *message.mutable_server_time() = messages.front().server_time();
      message.set_caught_up(last);
      messages[messages.size() - 2].clear_caught_up();
      bytes = key.type.size() + key.id.size();
    }
    v1::EntityRef* const missing = messages.back().add_missing();
    missing->set_entity_type(ToUtf8(std::move(key.type)));
    missing->set_entity_id(ToUtf8(std::move(key.id)));
  }
  if (last) messages.back().set_witness(std::move(page.witness));
  return messages;
}

void ArchiveRowToProto(const ArchiveRow& row, Revision current_revision, v1::Conflict* out) {
  out->set_conflict_id(ToUtf8(row.conflict_id));
  out->set_entity_type(ToUtf8(row.key.type));
  out->set_entity_id(ToUtf8(row.key.id));
  out->set_resolution_type(ToUtf8(row.resolution_type));
  out->set_reason(ToUtf8(row.reason));
  TimeToProto(row.detected_at, out->mutable_detected_at());
  out->set_archived_data_json(ToUtf8(row.archived_json));
  out->set_chosen_data_json(ToUtf8(row.chosen_json));
  out->set_base_data_json(ToUtf8(row.base_json));
  TimeNsToProto(row.archived_time, out->mutable_archived_last_modified_utc());
  TimeNsToProto(row.chosen_time, out->mutable_chosen_last_modified_utc());
  out->set_archived_by_user_id(ToUtf8(row.archived_user));
  out->set_archived_device_id(ToUtf8(row.archived_device));
  out->set_chosen_by_user_id(ToUtf8(row.chosen_user));
  out->set_chosen_device_id(ToUtf8(row.chosen_device));
  out->set_is_resolved(row.is_resolved);
  if (row.resolved_at) TimeToProto(*row.resolved_at, out->mutable_resolved_at());
  out->set_resolved_by_user_id(ToUtf8(row.resolved_by));
  out->set_resolved_action(ToUtf8(row.resolved_action));
  out->set_rule(ToUtf8(row.rule));
  out->set_current_revision(current_revision);
}

void DeviceRowToProto(const DeviceRow& row, v1::Device* out) {
  out->set_device_id(ToUtf8(row.device));
  TimeToProto(row.first_seen_at, out->mutable_first_seen_at());
  TimeToProto(row.last_seen_at, out->mutable_last_seen_at());
  out->set_agent_version(ToUtf8(row.agent));
  out->set_revoked(row.revoked);
  if (row.queue) QueueHealthToProto(*row.queue, out->mutable_queue());
}

void AuditRowToProto(const AuditRow& row, v1::AuditEntry* out) {
  out->set_sequence(row.sequence);
  TimeToProto(row.event.at, out->mutable_recorded_at());
  out->set_event(ToUtf8(row.event.event));
  out->set_device_id(ToUtf8(row.event.device));
  out->set_user_id(ToUtf8(row.event.user));
  out->set_claimed_user_id(ToUtf8(row.event.claimed));
  out->set_entity_type(ToUtf8(row.event.key.type));
  out->set_entity_id(ToUtf8(row.event.key.id));
  out->set_outcome(ToUtf8(row.event.outcome));
  out->set_rule(ToUtf8(row.event.rule));
  out->set_revision(row.event.revision);
  out->set_reason_code(ToUtf8(row.event.reason));
  out->set_hash(absl::BytesToHexString(row.hash));
}

}  // namespace ptdoc::sync
