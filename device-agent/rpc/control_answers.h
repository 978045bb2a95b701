#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "device-agent/ledger/ledger.h"
#include "device-agent/loop/agent_core.h"
#include "ptdoc/sync/v1/agent_service.pb.h"

namespace ptdoc::sync {

// What status shows of an agent beside its figures.
struct AgentIdentity {
  std::string device_id;
  std::string user;             // who resolves conflicts here
  std::string database;         // absolute path
  std::string service_address;  // as configured
  std::string agent_version;
};

// The core's thread only. Health is the queue's level, and worse where the
// agent cannot work: CRITICAL when the service refuses the device or the app's
// file is away, at least WARNING when it waits for a token, for room on the
// disk, or for a person to confirm deletions.
absl::StatusOr<v1::AgentServiceStatusResponse> StatusOf(AgentCore& core,
                                                        const AgentIdentity& identity);

v1::AgentServiceRunResponse RunToProto(const RunResult& result);
v1::AgentServicePushResponse PushToProto(const RunResult& result);
v1::AgentServicePullResponse PullToProto(const RunResult& result);

void ItemToProto(const QueueItem& item, v1::QueueItem* out);
void ArchiveToProto(const ArchiveEntry& entry, bool with_contents, v1::Conflict* out);

}  // namespace ptdoc::sync
