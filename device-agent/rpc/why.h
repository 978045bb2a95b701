#pragma once

#include "absl/status/statusor.h"
#include "common/model/change.h"
#include "device-agent/capture/plan.h"
#include "device-agent/ledger/ledger.h"
#include "ptdoc/sync/v1/agent_service.pb.h"

namespace ptdoc::sync {

// The life of one row in at most 12 lines, without content: what was captured
// and queued, what became of it, what the device holds and waits for, what was
// archived, what happens next. From the ledger alone, on its thread. NOT_FOUND
// (reason TYPE_UNKNOWN) for a type that neither the plan nor the ledger knows.
absl::StatusOr<v1::WhyResponse> Why(Ledger& ledger, const Plan& plan, const EntityKey& key);

}  // namespace ptdoc::sync
