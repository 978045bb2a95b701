#include "common/base/status.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {
namespace {

void AddTime(const std::optional<absl::Time>& time, bool earliest,
             std::optional<absl::Time>* total) {
  if (!time.has_value()) return;
  if (!total->has_value() || (earliest ? *time < **total : *time > **total)) *total = time;
}

// `initial` stays set while whoever has anything pending is in its first
// upload: that is not counted for health, one late device beside it is.
void AddQueue(const QueueHealth& queue, QueueHealth* total) {
  if (queue.pending > 0) total->initial = queue.initial && (total->initial || total->pending == 0);
  total->pending += queue.pending;
  total->processing += queue.processing;
  total->failed += queue.failed;
  total->set_aside += queue.set_aside;
  AddTime(queue.oldest_pending_at, /*earliest=*/true, &total->oldest_pending_at);
  AddTime(queue.last_sync_at, /*earliest=*/false, &total->last_sync_at);
}

absl::StatusOr<std::vector<DeviceRow>> VisibleDevices(StoreReader& reader, const Principal& who) {
  if (who.role != Role::kDevice) return reader.ListDevices(who.tenant);
  PT_ASSIGN_OR_RETURN(std::optional<DeviceRow> own, reader.FindDevice(who.tenant, who.device));
  std::vector<DeviceRow> devices;
  if (own.has_value()) devices.push_back(*std::move(own));
  return devices;
}

}  // namespace

absl::StatusOr<StatusAnswer> Engine::Status(const Principal& who) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  PT_ASSIGN_OR_RETURN(const std::vector<DeviceRow> devices, VisibleDevices(*reader, who));
  PT_ASSIGN_OR_RETURN(const uint64_t conflicts, reader->CountOpenConflicts(who.tenant));
  StatusAnswer answer;
  for (const DeviceRow& row : devices) {
    if (row.revoked) continue;  // What it held will never come.
    DeviceQueue device{row.device, row.queue.value_or(QueueHealth{}), row.last_seen_at, row.agent};
    AddQueue(device.queue, &answer.total);
    answer.devices.push_back(std::move(device));
  }
  answer.total.open_conflicts = static_cast<uint32_t>(std::min<uint64_t>(conflicts, UINT32_MAX));
  answer.epoch = meta.epoch;
  answer.server_time = clock_.Now();
  return answer;
}

absl::StatusOr<bool> Engine::Prune() {
  std::vector<std::string> tenants;
  {
    PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
    PT_ASSIGN_OR_RETURN(tenants, reader->ListTenants());
  }
  const absl::Time before = clock_.Now() - options_.tombstone_retention;
  bool more = false;
  for (const std::string& tenant : tenants) {
    PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreWriter> writer, store_.BeginWrite());
    PT_ASSIGN_OR_RETURN(const size_t pruned, writer->Prune(tenant, before, kPruneStepVersions));
    PT_RETURN_IF_ERROR(writer->Commit());
    more = more || pruned >= kPruneStepVersions;
  }
  return more;
}

}  // namespace ptdoc::sync
