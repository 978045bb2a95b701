#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "device-agent/loop/agent_core.h"
#include "device-agent/replica/replica.h"

namespace ptdoc::sync {

// What AgentService answers when it cannot do what was asked. Each says what
// happened, what it means for the data, and what to do.

absl::Status StoppingError();    // CANCELLED, STOPPING
absl::Status OverloadedError();  // RESOURCE_EXHAUSTED, OVERLOADED

// Why a run did not come to its end. An error with a reason of ours stands as
// it is; any other one of the network is UNAVAILABLE, SERVICE_UNREACHABLE, and
// one of this device LOCAL_STORE or DISK_FULL.
absl::Status RunError(AgentCore& core, const absl::Status& error);

// OK for kReady. UNAVAILABLE (BLOCKED_BY_APP), FAILED_PRECONDITION (FILE_AWAY,
// RECOVERING): nothing was changed.
// `problem` is ReplicaFacts::file_problem.
absl::Status FileError(FileState state, absl::string_view problem = "");

// An error of the agent's own file gets its reason, LOCAL_STORE or DISK_FULL;
// others stand as they are.
absl::Status LocalError(const absl::Status& status);

absl::Status ItemUnknown(int64_t id);                       // NOT_FOUND, ITEM_UNKNOWN
absl::Status ItemState(int64_t id, absl::string_view why);  // FAILED_PRECONDITION, ITEM_STATE
absl::Status ConflictUnknown();                             // NOT_FOUND, CONFLICT_UNKNOWN

}  // namespace ptdoc::sync
