#pragma once

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "device-agent/loop/agent_core.h"
#include "device-agent/rpc/control_answers.h"
#include "ptdoc/sync/v1/agent_service.pb.h"

namespace ptdoc::sync {

// What people ask of the queue, the conflicts and the cycle of this device. All
// run on the core's thread; an error means that nothing was changed.

absl::StatusOr<v1::ListQueueResponse> ListQueue(AgentCore& core,
                                                const v1::ListQueueRequest& request);
// Names items that are Failed, or all of those.
absl::StatusOr<v1::RetryQueueItemsResponse> RetryItems(AgentCore& core,
                                                       const v1::RetryQueueItemsRequest& request);
absl::StatusOr<v1::CancelQueueItemResponse> CancelItem(AgentCore& core,
                                                       const v1::CancelQueueItemRequest& request);
absl::StatusOr<v1::ConfirmDeletionsResponse> ConfirmDeletions(AgentCore& core);

// Without contents.
absl::StatusOr<v1::ListDeviceConflictsResponse> ListConflicts(
    AgentCore& core, const v1::ListDeviceConflictsRequest& request);
absl::StatusOr<v1::GetDeviceConflictResponse> GetConflict(
    AgentCore& core, const v1::GetDeviceConflictRequest& request);
// Repeating what was done before is no error; the other action is one
// (FAILED_PRECONDITION, CONFLICT_RESOLVED).
absl::StatusOr<v1::ResolveDeviceConflictResponse> ResolveConflict(
    AgentCore& core, const AgentIdentity& identity, const Clock& clock,
    const v1::ResolveDeviceConflictRequest& request);

// A pause outlives the process: its end stands in the ledger.
absl::StatusOr<v1::PauseResponse> Pause(AgentCore& core, const Clock& clock,
                                        const v1::PauseRequest& request);
absl::StatusOr<v1::ResumeResponse> Resume(AgentCore& core);
// What is left of the pause that stands in the ledger; zero = none.
absl::StatusOr<absl::Duration> StoredPause(Ledger& ledger, absl::Time now);

}  // namespace ptdoc::sync
