// queue and conflicts: what a person looks through and decides.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/model/change.h"
#include "common/model/reason.h"
#include "device-agent/cli/call.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

constexpr uint32_t kListMax = 1000;

Json ItemJson(const v1::QueueItem& item) {
  Json object = {{"id", item.id()},
                 {"entityType", item.entity_type()},
                 {"entityId", item.entity_id()},
                 {"operation", item.operation()},
                 {"status", item.status()},
                 {"enqueuedAt", FormatUtc(*TimeOf(true, item.enqueued_at()))},
                 {"retryCount", item.retry_count()},
                 {"maxRetries", item.max_retries()},
                 {"errorMessage", item.error_message()},
                 {"held", item.held()},
                 {"initial", item.initial()}};
  if (item.has_next_attempt_at()) {
    object["nextAttemptAt"] = FormatUtc(*TimeOf(true, item.next_attempt_at()));
  }
  if (item.has_completed_at()) {
    object["completedAt"] = FormatUtc(*TimeOf(true, item.completed_at()));
  }
  return object;
}

std::string Note(const v1::QueueItem& item) {
  if (item.held()) return "held: device-agent queue confirm";
  return item.error_message();
}

Json ConflictJson(const v1::Conflict& conflict, bool content) {
  Json object = {{"conflictId", conflict.conflict_id()},
                 {"entityType", conflict.entity_type()},
                 {"entityId", conflict.entity_id()},
                 {"resolutionType", conflict.resolution_type()},
                 {"rule", conflict.rule()},
                 {"reason", conflict.reason()},
                 {"detectedAt", FormatUtc(*TimeOf(true, conflict.detected_at()))},
                 {"archivedDeviceId", conflict.archived_device_id()},
                 {"archivedByUserId", conflict.archived_by_user_id()},
                 {"chosenDeviceId", conflict.chosen_device_id()},
                 {"chosenByUserId", conflict.chosen_by_user_id()},
                 {"isResolved", conflict.is_resolved()},
                 {"resolvedAction", conflict.resolved_action()}};
  if (!content) return object;
  object["archivedData"] = RowOrNull(conflict.archived_data_json());
  object["chosenData"] = RowOrNull(conflict.chosen_data_json());
  object["baseData"] = RowOrNull(conflict.base_data_json());
  return object;
}

// Why writing the archived row again would only lose again; empty if it helps.
std::string WhyNotRestored(const std::string& resolution_type) {
  if (resolution_type == ResolutionName(Resolution::kKeyCollision)) {
    return "Your row still stands in the app, and the service holds another thing under its key. "
           "Enter it again under a key of its own, then cancel its item (device-agent queue list).";
  }
  if (resolution_type == ResolutionName(Resolution::kRejectedImmutable) ||
      resolution_type == ResolutionName(Resolution::kSignedWins)) {
    return "What stands is signed and immutable. Write an addendum as a row of its own.";
  }
  if (resolution_type == ResolutionName(Resolution::kRejectedLocked) ||
      resolution_type == ResolutionName(Resolution::kLockedWins)) {
    return "What stands is locked. Once an administrator has opened it (sync-service unlock), "
           "--restore writes your row again.";
  }
  return "";
}

// Which version of the other side won, by whom.
std::string Theirs(const v1::Conflict& conflict) {
  const auto at =
      TimeOf(conflict.has_chosen_last_modified_utc(), conflict.chosen_last_modified_utc());
  const bool named = !conflict.chosen_by_user_id().empty() || !conflict.chosen_device_id().empty();
  if (!at.has_value() && !named) return "(not known on this device)";
  const std::string& device = conflict.chosen_device_id();
  return absl::StrCat(
      at.has_value() ? FormatUtc(*at) : "(time not known)", " by ",
      conflict.chosen_by_user_id().empty() ? "(nobody named)" : conflict.chosen_by_user_id(),
      device.empty() ? "" : " on ", device);
}

// The commands that help, each as it can be copied; `flags` as in GivenFlags.
void PrintCommands(const v1::Conflict& conflict, const std::string& flags) {
  const std::string resolve =
      absl::StrCat("device-agent conflicts resolve ", ShellWord(conflict.conflict_id()));
  std::printf("\n%s --keep%s\n", resolve.c_str(), flags.c_str());
  const std::string why_not = WhyNotRestored(conflict.resolution_type());
  if (why_not.empty()) std::printf("%s --restore%s\n", resolve.c_str(), flags.c_str());
  std::printf("device-agent why %s %s%s\n", ShellWord(conflict.entity_type()).c_str(),
              ShellWord(conflict.entity_id()).c_str(), flags.c_str());
  if (!why_not.empty()) std::printf("%s\n", why_not.c_str());
}

void ShowForPeople(const v1::Conflict& conflict, const std::string& flags) {
  const auto time = [](bool has, const google::protobuf::Timestamp& at) {
    const auto value = TimeOf(has, at);
    return value.has_value() ? FormatUtc(*value) : std::string("(time not known)");
  };
  const auto name = [](const std::string& user) {
    return user.empty() ? std::string("(nobody named)") : user;
  };
  std::printf("%s of %s %s%s%s\n", conflict.resolution_type().c_str(),
              conflict.entity_type().c_str(), conflict.entity_id().c_str(),
              conflict.rule().empty() ? "" : ", rule ", conflict.rule().c_str());
  std::printf("%s. Detected %s.\n", conflict.reason().c_str(),
              FormatUtc(*TimeOf(true, conflict.detected_at())).c_str());
  std::printf("yours:  %s by %s on %s\n",
              time(conflict.has_archived_last_modified_utc(), conflict.archived_last_modified_utc())
                  .c_str(),
              name(conflict.archived_by_user_id()).c_str(), conflict.archived_device_id().c_str());
  std::printf("theirs: %s\n\n", Theirs(conflict).c_str());
  std::fputs(ConflictTable(conflict.base_data_json(), conflict.archived_data_json(),
                           conflict.chosen_data_json())
                 .c_str(),
             stdout);
  if (conflict.is_resolved()) {
    std::printf("\nResolved: %s.\n", conflict.resolved_action().c_str());
    return;
  }
  PrintCommands(conflict, flags);
}

absl::Status ReadContent(const std::string& path, std::string* content) {
  std::ifstream in(path, std::ios::binary);
  content->assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  if (in.good() || in.eof()) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kNotFound, "FILE",
      absl::StrCat("Cannot read ", path, ". Nothing was changed. Name a file with row JSON."));
}

}  // namespace

int QueueList(AgentContext& context, const QueueArgs& args) {
  v1::ListQueueRequest request;
  request.set_include_done(args.all);
  request.set_page_size(kListMax);
  const auto response = Call(context, &v1::AgentService::Stub::ListQueue, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const v1::QueueItem& item : response->items()) {
    items.push_back(ItemJson(item));
    rows.push_back({absl::StrCat(item.id()), item.status(), item.operation(), item.entity_type(),
                    item.entity_id(), absl::StrCat(item.retry_count(), "/", item.max_retries()),
                    Note(item)});
  }
  PrintList(context.json, items, {"id", "status", "operation", "type", "entity", "tries", "note"},
            rows, "Nothing waits.");
  return kExitDone;
}

int QueueRetry(AgentContext& context, const QueueArgs& args) {
  if (args.ids.empty() && !args.all) {
    return Fail(ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                            "No item is named. Nothing was changed. Give ids from `device-agent "
                            "queue list`, or --all."),
                context.json);
  }
  v1::RetryQueueItemsRequest request;
  for (const int64_t id : args.ids) request.add_ids(id);
  request.set_all(args.all);
  const auto response = Call(context, &v1::AgentService::Stub::RetryQueueItems, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson({{"retried", response->retried()}});
  } else {
    std::printf("%s sent again.\n", Plural(response->retried(), "item is", "items are").c_str());
  }
  return kExitDone;
}

int QueueCancel(AgentContext& context, const QueueArgs& args) {
  v1::CancelQueueItemRequest request;
  request.set_id(args.ids.front());
  const auto response = Call(context, &v1::AgentService::Stub::CancelQueueItem, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson(ItemJson(response->item()));
  } else {
    std::printf(
        "Cancelled. Your row is in the archive (device-agent conflicts list --all); the "
        "service's version comes back with the next sync.\n");
  }
  return kExitDone;
}

int QueueConfirm(AgentContext& context) {
  const auto response =
      Call(context, &v1::AgentService::Stub::ConfirmDeletions, v1::ConfirmDeletionsRequest());
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson({{"confirmed", response->confirmed()}});
  } else {
    std::printf("%s confirmed and will be sent.\n",
                Plural(response->confirmed(), "deletion is", "deletions are").c_str());
  }
  return kExitDone;
}

int ConflictsList(AgentContext& context, const ConflictArgs& args) {
  v1::ListDeviceConflictsRequest request;
  request.set_include_resolved(args.all);
  request.set_page_size(kListMax);
  const auto response = Call(context, &v1::AgentService::Stub::ListDeviceConflicts, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const v1::Conflict& conflict : response->conflicts()) {
    items.push_back(ConflictJson(conflict, false));
    rows.push_back({conflict.conflict_id(), conflict.entity_type(), conflict.entity_id(),
                    conflict.resolution_type(), FormatUtc(*TimeOf(true, conflict.detected_at())),
                    conflict.is_resolved() ? "resolved" : "open"});
  }
  PrintList(context.json, items, {"conflict", "type", "entity", "resolution", "detected", "state"},
            rows, args.all ? "No conflicts." : "No open conflicts.");
  return kExitDone;
}

int ConflictsShow(AgentContext& context, const ConflictArgs& args) {
  v1::GetDeviceConflictRequest request;
  request.set_conflict_id(args.id);
  const auto response = Call(context, &v1::AgentService::Stub::GetDeviceConflict, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson(ConflictJson(response->conflict(), true));
  } else {
    ShowForPeople(response->conflict(), context.GivenFlags());
  }
  return kExitDone;
}

int ConflictsResolve(AgentContext& context, const ConflictArgs& args) {
  v1::ResolveDeviceConflictRequest request;
  request.set_conflict_id(args.id);
  request.set_reason(args.reason);
  request.set_action(args.keep      ? v1::DEVICE_RESOLVE_ACTION_KEEP
                     : args.restore ? v1::DEVICE_RESOLVE_ACTION_RESTORE
                                    : v1::DEVICE_RESOLVE_ACTION_EDIT);
  if (!args.keep && !args.restore) {
    const absl::Status read = ReadContent(args.content_file, request.mutable_content_json());
    if (!read.ok()) return Fail(read, context.json);
  }
  const auto response = Call(context, &v1::AgentService::Stub::ResolveDeviceConflict, request);
  if (!response.ok()) return Fail(response.status(), context.json);
  if (context.json) {
    PrintJson(ConflictJson(response->conflict(), false));
  } else {
    std::printf("%s\n", args.keep ? "What stands stays; the conflict is resolved."
                        : args.restore
                            ? "Your row stands in the app's table again; it is sent as a new edit."
                            : "The content stands in the app's table; it is sent as a new edit.");
  }
  return kExitDone;
}

}  // namespace ptdoc::sync
