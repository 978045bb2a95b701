#include "device-agent/rpc/people.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "common/wire/values.h"
#include "device-agent/rpc/control_errors.h"
#include "device-agent/rpc/edit_row.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kListDefault = 100;
constexpr size_t kListMax = 1000;
// The app may write between any two looks at its file.
constexpr int kBlockedTriesMax = 3;
constexpr absl::Duration kPauseMax = absl::Hours(24 * 3650);
constexpr char kPausedUntil[] = "paused_until";
constexpr char kUntilResumed[] = "resumed";
constexpr char kKept[] = "Kept";
constexpr char kRestored[] = "Restored";
constexpr char kEdited[] = "Edited";
constexpr size_t kReasonBytesMax = 200;

size_t ListSize(uint32_t asked) {
  return asked == 0 ? kListDefault : std::min<size_t>(asked, kListMax);
}

absl::StatusOr<QueueItem> FindItem(AgentCore& core, int64_t id) {
  PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, core.replica().ledger().FindItem(id));
  if (!item.has_value()) return ItemUnknown(id);
  return *std::move(item);
}

absl::StatusOr<ArchiveEntry> FindArchive(AgentCore& core, const std::string& conflict_id) {
  PT_ASSIGN_OR_RETURN(std::optional<ArchiveEntry> entry,
                      core.replica().ledger().FindArchive(conflict_id));
  if (!entry.has_value()) return ConflictUnknown();
  return *std::move(entry);
}

// Does `work`, again where the app was in the way for a moment.
template <typename Work>
absl::Status OnFile(AgentCore& core, const Work& work) {
  absl::StatusOr<FileState> state = FileState::kBlockedByApp;
  for (int i = 0; i < kBlockedTriesMax; ++i) {
    state = work();
    if (!state.ok() || *state != FileState::kBlockedByApp) break;
  }
  PT_RETURN_IF_ERROR(state.status());
  PT_ASSIGN_OR_RETURN(const ReplicaFacts facts, core.replica().Facts());
  return FileError(*state, facts.file_problem);
}

absl::Status AlreadyResolved(const ArchiveEntry& entry) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "CONFLICT_RESOLVED",
                     absl::StrCat("This conflict was resolved before (", entry.resolved_action,
                                  "). Nothing was changed. To change the row once more, edit it in "
                                  "the app."));
}

// "Kept"; empty for what is no action.
std::string ActionName(v1::DeviceResolveAction action) {
  switch (action) {
    case v1::DEVICE_RESOLVE_ACTION_KEEP:
      return kKept;
    case v1::DEVICE_RESOLVE_ACTION_RESTORE:
      return kRestored;
    case v1::DEVICE_RESOLVE_ACTION_EDIT:
      return kEdited;
    default:
      return "";
  }
}

// "Kept: REASON" is "Kept", too.
bool WasResolvedBy(const ArchiveEntry& entry, absl::string_view action) {
  absl::string_view done = entry.resolved_action;
  return absl::ConsumePrefix(&done, action) && (done.empty() || absl::StartsWith(done, ": "));
}

absl::Status CheckResolve(const v1::ResolveDeviceConflictRequest& request) {
  if (ActionName(request.action()).empty()) {
    return FieldError("action",
                      "action is none of KEEP, RESTORE, EDIT. Nothing was changed. Name one.");
  }
  const std::string& reason = request.reason();
  const bool plain = std::none_of(reason.begin(), reason.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (plain && reason.size() <= kReasonBytesMax) return absl::OkStatus();
  return FieldError("reason",
                    "The reason is no short code of one line. Nothing was changed. Write at most "
                    "200 bytes without control characters.");
}

// What the action does to the app's row.
absl::Status Resolve(AgentCore& core, const AgentIdentity& identity, const ArchiveEntry& entry,
                     const v1::ResolveDeviceConflictRequest& request) {
  if (request.action() == v1::DEVICE_RESOLVE_ACTION_RESTORE) {
    return OnFile(core, [&] { return core.replica().RestoreArchived(entry.conflict_id); });
  }
  if (request.action() == v1::DEVICE_RESOLVE_ACTION_KEEP) return absl::OkStatus();
  const absl::StatusOr<Fields> fields = FieldsFromJson(request.content_json());
  if (fields.ok()) return EditRow(identity.database, core.replica().plan(), entry.key, *fields);
  return FieldError("content_json",
                    absl::StrCat("The content is no row (", fields.status().message(),
                                 "). Nothing was changed. Write one JSON object as "
                                 "`device-agent conflicts show --json` shows it."));
}

absl::StatusOr<v1::Conflict> ConflictToProto(AgentCore& core, const ArchiveEntry& entry) {
  v1::Conflict out;
  ArchiveToProto(entry, /*with_contents=*/true, &out);
  PT_ASSIGN_OR_RETURN(const std::optional<RowState> state,
                      core.replica().ledger().FindState(entry.key));
  if (state.has_value()) out.set_current_revision(state->revision);
  return out;
}

absl::StatusOr<absl::Duration> DurationOf(const v1::PauseRequest& request) {
  if (!request.has_duration()) return absl::InfiniteDuration();
  const absl::Duration duration =
      absl::Seconds(request.duration().seconds()) + absl::Nanoseconds(request.duration().nanos());
  if (duration > absl::ZeroDuration())
    return duration > kPauseMax ? absl::InfiniteDuration() : duration;
  return FieldError("duration",
                    "A pause is longer than nothing. Nothing was changed. Give a "
                    "duration such as 2h, or none to pause until resume.");
}

}  // namespace

absl::StatusOr<v1::ListQueueResponse> ListQueue(AgentCore& core,
                                                const v1::ListQueueRequest& request) {
  PT_ASSIGN_OR_RETURN(const std::vector<QueueItem> items,
                      core.replica().ledger().ListItems(request.include_done(), request.after_id(),
                                                        ListSize(request.page_size())));
  v1::ListQueueResponse response;
  for (const QueueItem& item : items) ItemToProto(item, response.add_items());
  return response;
}

absl::StatusOr<v1::RetryQueueItemsResponse> RetryItems(AgentCore& core,
                                                       const v1::RetryQueueItemsRequest& request) {
  const std::vector<int64_t> ids(request.ids().begin(), request.ids().end());
  if (ids.empty() && !request.all()) {
    return FieldError("ids", "No item is named. Nothing was changed. Name items, or ask for all.");
  }
  for (const int64_t id : ids) {
    PT_ASSIGN_OR_RETURN(const QueueItem item, FindItem(core, id));
    if (item.status == ItemStatus::kFailed) continue;
    return ItemState(id, absl::StrCat("is ", ItemStatusName(item.status),
                                      ", and only a Failed one can be retried"));
  }
  PT_ASSIGN_OR_RETURN(const int64_t retried, core.replica().RetryItems(ids, request.all()));
  core.OnQueueChanged();
  v1::RetryQueueItemsResponse response;
  response.set_retried(static_cast<uint32_t>(retried));
  return response;
}

absl::StatusOr<v1::CancelQueueItemResponse> CancelItem(AgentCore& core,
                                                       const v1::CancelQueueItemRequest& request) {
  PT_ASSIGN_OR_RETURN(QueueItem item, FindItem(core, request.id()));
  if (item.status == ItemStatus::kProcessing) {
    return ItemState(item.id, "is on its way to the service, which may have taken it");
  }
  if (item.status != ItemStatus::kPending && item.status != ItemStatus::kFailed) {
    return ItemState(item.id, absl::StrCat("is ", ItemStatusName(item.status), " already"));
  }
  PT_RETURN_IF_ERROR(OnFile(core, [&] { return core.replica().CancelItem(item.id); }));
  PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> after,
                      core.replica().ledger().FindItem(item.id));
  core.OnQueueChanged();
  v1::CancelQueueItemResponse response;
  if (after.has_value()) item = *after;
  ItemToProto(item, response.mutable_item());
  return response;
}

absl::StatusOr<v1::ConfirmDeletionsResponse> ConfirmDeletions(AgentCore& core) {
  PT_ASSIGN_OR_RETURN(const int64_t confirmed, core.replica().ConfirmDeletions());
  core.OnQueueChanged();
  v1::ConfirmDeletionsResponse response;
  response.set_confirmed(static_cast<uint32_t>(confirmed));
  return response;
}

absl::StatusOr<v1::ListDeviceConflictsResponse> ListConflicts(
    AgentCore& core, const v1::ListDeviceConflictsRequest& request) {
  const size_t limit = ListSize(request.page_size());
  PT_ASSIGN_OR_RETURN(
      const std::vector<ArchiveEntry> entries,
      core.replica().ledger().ListArchives(request.include_resolved(), request.after_id(), limit));
  v1::ListDeviceConflictsResponse response;
  for (const ArchiveEntry& entry : entries) {
    ArchiveToProto(entry, /*with_contents=*/false, response.add_conflicts());
  }
  if (entries.size() == limit) response.set_next_after_id(entries.back().id);
  return response;
}

absl::StatusOr<v1::GetDeviceConflictResponse> GetConflict(
    AgentCore& core, const v1::GetDeviceConflictRequest& request) {
  PT_ASSIGN_OR_RETURN(const ArchiveEntry entry, FindArchive(core, request.conflict_id()));
  v1::GetDeviceConflictResponse response;
  PT_ASSIGN_OR_RETURN(*response.mutable_conflict(), ConflictToProto(core, entry));
  return response;
}

absl::StatusOr<v1::ResolveDeviceConflictResponse> ResolveConflict(
    AgentCore& core, const AgentIdentity& identity, const Clock& clock,
    const v1::ResolveDeviceConflictRequest& request) {
  PT_RETURN_IF_ERROR(CheckResolve(request));
  std::string action = ActionName(request.action());
  PT_ASSIGN_OR_RETURN(ArchiveEntry entry, FindArchive(core, request.conflict_id()));
  if (entry.is_resolved && !WasResolvedBy(entry, action)) return AlreadyResolved(entry);
  if (!entry.is_resolved) {
    PT_RETURN_IF_ERROR(Resolve(core, identity, entry, request));
    if (!request.reason().empty()) absl::StrAppend(&action, ": ", request.reason());
    PT_RETURN_IF_ERROR(core.replica().ledger().ResolveArchive(entry.conflict_id, clock.Now(),
                                                              identity.user, action));
    // If the app's table was written, that is an edit like the app's own.
    core.OnCommitSeen();
    core.OnQueueChanged();
  }
  PT_ASSIGN_OR_RETURN(entry, FindArchive(core, request.conflict_id()));
  v1::ResolveDeviceConflictResponse response;
  PT_ASSIGN_OR_RETURN(*response.mutable_conflict(), ConflictToProto(core, entry));
  return response;
}

absl::StatusOr<v1::PauseResponse> Pause(AgentCore& core, const Clock& clock,
                                        const v1::PauseRequest& request) {
  PT_ASSIGN_OR_RETURN(const absl::Duration duration, DurationOf(request));
  const bool ends = duration != absl::InfiniteDuration();
  const absl::Time until = clock.Now() + duration;
  PT_RETURN_IF_ERROR(core.replica().ledger().Put(
      kPausedUntil, ends ? FormatUtc(until) : std::string(kUntilResumed)));
  core.Pause(duration);
  v1::PauseResponse response;
  if (ends) TimeToProto(until, response.mutable_paused_until());
  return response;
}

absl::StatusOr<v1::ResumeResponse> Resume(AgentCore& core) {
  PT_RETURN_IF_ERROR(core.replica().ledger().Put(kPausedUntil, ""));
  core.Resume();
  return v1::ResumeResponse();
}

absl::StatusOr<absl::Duration> StoredPause(Ledger& ledger, absl::Time now) {
  PT_ASSIGN_OR_RETURN(const std::string stored, ledger.Get(kPausedUntil));
  if (stored == kUntilResumed) return absl::InfiniteDuration();
  const absl::StatusOr<absl::Time> until = ParseTime(stored);
  if (!until.ok()) return absl::ZeroDuration();
  // A clock that was set back does not make it longer than it can have been.
  return std::clamp(*until - now, absl::ZeroDuration(), kPauseMax);
}

}  // namespace ptdoc::sync
