#include "device-agent/rpc/control_errors.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kRetryAfterMs = 1'000;

absl::Status Unreachable(AgentCore& core) {
  const absl::StatusOr<QueueHealth> queue = core.replica().ledger().Health();
  const uint32_t waiting = queue.ok() ? queue->pending + queue->processing + queue->failed : 0;
  const std::string count = waiting == 0 ? "none" : absl::StrCat(waiting);
  return ReasonError(
      absl::StatusCode::kUnavailable, "SERVICE_UNREACHABLE",
      absl::StrCat("The service does not answer. Your changes are safe on this device: ", count,
                   waiting == 0 || waiting == 1 ? " waits" : " wait",
                   ". They are sent as soon as it answers."),
      {{"waiting", absl::StrCat(waiting)}});
}

}  // namespace

absl::Status StoppingError() {
  return ReasonError(absl::StatusCode::kCancelled, "STOPPING",
                     "The agent is stopping. Nothing is lost: what waits stays in the queue. "
                     "Start it again, and repeat this.");
}

absl::Status OverloadedError() {
  return WithRetryAfterMs(
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED",
                  "Too many calls to this agent are under way. Nothing was changed. Try again "
                  "when some of them have ended."),
      kRetryAfterMs);
}

absl::Status RunError(AgentCore& core, const absl::Status& error) {
  if (ReasonOf(error) == "FILE_AWAY") {
    const absl::StatusOr<ReplicaFacts> facts = core.replica().Facts();
    const absl::Status why =
        facts.ok() ? FileError(facts->file, facts->file_problem) : absl::OkStatus();
    if (ReasonOf(why) == "FILE_AWAY") return why;
  }
  if (!ReasonOf(error).empty()) return error;
  if (absl::IsCancelled(error)) return StoppingError();
  if (error == core.View().local_error) return LocalError(error);
  return Unreachable(core);
}

absl::Status FileError(FileState state, absl::string_view problem) {
  switch (state) {
    case FileState::kReady:
      return absl::OkStatus();
    case FileState::kBlockedByApp:
      return WithRetryAfterMs(
          ReasonError(absl::StatusCode::kUnavailable, "BLOCKED_BY_APP",
                      "The app holds its file at this moment. Nothing was changed. Try again."),
          kRetryAfterMs);
    case FileState::kRecovering:
      return ReasonError(absl::StatusCode::kFailedPrecondition, "RECOVERING",
                         "The app's file was set back or replaced, and the agent compares it with "
                         "the service. Nothing was changed. Try again when `device-agent status` "
                         "says that this has ended.");
    case FileState::kMissing:
    case FileState::kUnreadable:
      break;
  }
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "FILE_AWAY",
      absl::StrCat("The app's file ",
                   state == FileState::kMissing ? "or a table of it is missing"
                                                : "cannot be read or written",
                   problem.empty() ? "" : absl::StrCat(" (", problem, ")"),
                   ". What waits stays in the queue, and nothing was changed. Put the file or its "
                   "rights right; the agent goes on by itself."));
}

absl::Status LocalError(const absl::Status& status) {
  if (status.ok() || !ReasonOf(status).empty()) return status;
  if (absl::IsResourceExhausted(status)) {
    return ReasonError(status.code(), "DISK_FULL",
                       "The disk of this device is full. Nothing was changed, and nothing is lost. "
                       "Make room; the agent goes on by itself.");
  }
  const std::string file = sqlite::FileOf(status);
  return ReasonError(
      status.code(), "LOCAL_STORE",
      absl::StrCat("The agent cannot work on ", file.empty() ? "its files" : file, " (",
                   status.message(),
                   "). Nothing was changed; what the app writes is kept in its own file. "
                   "`device-agent status` says whether it lasts; look at the file's rights and "
                   "disk, and for a damaged one at LOCAL_STORE in docs/TROUBLESHOOTING.md."));
}

absl::Status ItemUnknown(int64_t id) {
  return ReasonError(absl::StatusCode::kNotFound, "ITEM_UNKNOWN",
                     absl::StrCat("Item ", id,
                                  " is not in the queue. Nothing was changed. `device-agent queue "
                                  "list` shows what is there."));
}

absl::Status ItemState(int64_t id, absl::string_view why) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "ITEM_STATE",
                     absl::StrCat("Item ", id, " ", why,
                                  ". Nothing was changed. `device-agent queue list` shows how it "
                                  "stands now."));
}

absl::Status ConflictUnknown() {
  return ReasonError(absl::StatusCode::kNotFound, "CONFLICT_UNKNOWN",
                     "This device has no such conflict. Nothing was changed. `device-agent "
                     "conflicts list` shows those that it has.");
}

}  // namespace ptdoc::sync
