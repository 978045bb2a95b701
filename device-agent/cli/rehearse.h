#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device-agent/cli/agent_context.h"

namespace ptdoc::sync {

// What became of one table on the copy.
struct Rehearsed {
  std::string table;
  std::string how;  // "two-way", "captured only", "refused"
  std::string why;  // of what is not two-way; else how far it could be tried
  bool two_way = false;
};

// `init` and `uninstall` on a copy of the app's file, with a row of every table
// written as the app would and applied as a version of another device. The app's
// file is only read. FAILED_PRECONDITION (NO_ROOM) if the copy would not fit
// beside it, (SCHEMA_CHANGED) if uninstall does not leave the schema byte for
// byte; nothing of the copy is left in any case.
absl::StatusOr<std::vector<Rehearsed>> Rehearse(AgentContext& context, const PlanRequest& request);

}  // namespace ptdoc::sync
