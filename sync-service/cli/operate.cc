// status, devices, audit, backup, restore, config check.
#include <cstdio>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/model/reason.h"
#include "sync-service/cli/health.h"
#include "sync-service/cli/verbs.h"
#include "sync-service/store/sqlite_store.h"

namespace ptdoc::sync {
namespace {

CheckState CheckStateOf(HealthLevel level) {
  switch (level) {
    case HealthLevel::kOk:
      return CheckState::kOk;
    case HealthLevel::kWarning:
      return CheckState::kWarning;
    case HealthLevel::kCritical:
      return CheckState::kCritical;
  }
  return CheckState::kUnknown;
}

const char* HealthName(HealthLevel level) {
  return CheckStateName(CheckStateOf(level));
}

Json QueueJson(const QueueHealth& queue) {
  Json object = {
      {"pending", queue.pending}, {"processing", queue.processing}, {"failed", queue.failed}};
  if (queue.oldest_pending_at.has_value()) {
    object["oldestPendingAt"] = FormatUtc(*queue.oldest_pending_at);
  }
  if (queue.last_sync_at.has_value()) object["lastSyncAt"] = FormatUtc(*queue.last_sync_at);
  object["health"] = HealthName(HealthOf(queue));
  object["openConflicts"] = queue.open_conflicts;
  object["setAside"] = queue.set_aside;
  return object;
}

absl::StatusOr<StatusAnswer> ReadStatus(Context& context) {
  PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
  PT_ASSIGN_OR_RETURN(const Principal who, context.Operator());
  return context.engine->Status(who);
}

void ShowStatusForPeople(const StatusAnswer& status, absl::Time now) {
  const HealthLevel level = HealthOf(status.total);
  const Colour colour = ColourOf(CheckStateOf(level));
  std::printf("%s: %s, %u pending, %u failed, %s\n", Paint(colour, HealthName(level)).c_str(),
              Plural(static_cast<int64_t>(status.devices.size()), "device").c_str(),
              status.total.pending, status.total.failed,
              Plural(status.total.open_conflicts, "open conflict").c_str());
  std::vector<std::vector<std::string>> rows;
  rows.reserve(status.devices.size());
  for (const DeviceQueue& device : status.devices) {
    rows.push_back({device.device, HealthName(HealthOf(device.queue)),
                    absl::StrCat(device.queue.pending), absl::StrCat(device.queue.failed),
                    Ago(device.queue.last_sync_at, now), Ago(device.last_seen_at, now)});
  }
  if (rows.empty()) return;
  std::fputs(
      TextTable({"device", "health", "pending", "failed", "last sync", "last seen"}, rows).c_str(),
      stdout);
}

Json AuditJson(const AuditRow& row) {
  return {{"sequence", row.sequence},
          {"at", FormatUtc(row.event.at)},
          {"event", row.event.event},
          {"deviceId", row.event.device},
          {"userId", row.event.user},
          {"claimedUserId", row.event.claimed},
          {"entityType", row.event.key.type},
          {"entityId", row.event.key.id},
          {"outcome", row.event.outcome},
          {"rule", row.event.rule},
          {"revision", row.event.revision},
          {"reason", row.event.reason},
          {"hash", absl::BytesToHexString(row.hash)}};
}

}  // namespace

int CheckService(Context& context) {
  const auto status = ReadStatus(context);
  if (!status.ok()) return PrintCheck(CheckState::kUnknown, status.status());
  const absl::Status answers = AskHealth(context.config.server.listen);
  if (!answers.ok()) {
    const bool asked = absl::IsUnavailable(answers);
    return PrintCheck(asked ? CheckState::kCritical : CheckState::kUnknown, answers);
  }
  const QueueHealth& total = status->total;
  return PrintCheck(CheckStateOf(HealthOf(total)),
                    absl::StrCat(total.pending, " pending, ", total.failed, " failed, ",
                                 total.open_conflicts, " open conflicts, ", status->devices.size(),
                                 " devices | pending=", total.pending, " failed=", total.failed,
                                 " conflicts=", total.open_conflicts));
}

int ShowStatus(Context& context) {
  const auto status = ReadStatus(context);
  if (!status.ok()) return Fail(status.status(), context.json);
  if (context.json) {
    Json object = QueueJson(status->total);
    Json devices = Json::array();
    for (const DeviceQueue& device : status->devices) {
      Json entry = {{"deviceId", device.device}, {"lastSeenAt", FormatUtc(device.last_seen_at)}};
      entry["queue"] = QueueJson(device.queue);
      devices.push_back(std::move(entry));
    }
    object["devices"] = std::move(devices);
    object["server"] = {{"version", PTDOC_VERSION}, {"epoch", status->epoch}};
    PrintJson(object);
  } else {
    ShowStatusForPeople(*status, context.clock.Now());
  }
  const bool waits = status->total.failed > 0 || status->total.open_conflicts > 0;
  return waits ? kExitWaits : kExitDone;
}

int DevicesList(Context& context) {
  const auto list = [&]() -> absl::StatusOr<std::vector<DeviceRow>> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
    PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
    return reader->ListDevices(tenant);
  };
  const auto devices = list();
  if (!devices.ok()) return Fail(devices.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> rows;
  rows.reserve(devices->size());
  for (const DeviceRow& device : *devices) {
    items.push_back({{"deviceId", device.device},
                     {"firstSeenAt", FormatUtc(device.first_seen_at)},
                     {"lastSeenAt", FormatUtc(device.last_seen_at)},
                     {"agent", device.agent},
                     {"revoked", device.revoked}});
    rows.push_back({device.device, Ago(device.last_seen_at, context.clock.Now()), device.agent,
                    device.revoked ? "revoked" : "allowed"});
  }
  PrintList(context.json, items, {"device", "last seen", "agent", "state"}, rows,
            "No device has called yet.");
  return kExitDone;
}

int DevicesRevoke(Context& context, const std::string& device) {
  const auto revoke = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const Principal who, context.Operator());
    PT_ASSIGN_OR_RETURN(auto writer, context.store->BeginWrite());
    PT_ASSIGN_OR_RETURN(const auto known, writer->FindDevice(who.tenant, device));
    if (!known.has_value()) {
      return ReasonError(absl::StatusCode::kNotFound, "DEVICE_UNKNOWN",
                         "No device of this name has called. Nothing was changed. See "
                         "`sync-service devices list`; a token is ended by `token revoke`.");
    }
    PT_RETURN_IF_ERROR(writer->RevokeDevice(who.tenant, device, context.clock.Now()));
    AuditEvent event;
    event.at = context.clock.Now();
    event.event = "device.revoke";
    event.device = device;
    event.user = who.user;
    PT_RETURN_IF_ERROR(writer->Audit(who.tenant, event));
    return writer->Commit();
  };
  const absl::Status status = revoke();
  if (!status.ok()) return Fail(status, context.json);
  if (context.json) {
    PrintJson({{"revoked", device}});
  } else {
    std::printf("%s is shut out within 5 seconds. Its unsent changes stay on the device.\n",
                device.c_str());
  }
  return kExitDone;
}

int AuditList(Context& context, int64_t after, int64_t limit) {
  const auto list = [&]() -> absl::StatusOr<std::vector<AuditRow>> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
    PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
    return reader->ReadAudit(tenant, after, static_cast<size_t>(limit));
  };
  const auto rows = list();
  if (!rows.ok()) return Fail(rows.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> table;
  table.reserve(rows->size());
  for (const AuditRow& row : *rows) {
    items.push_back(AuditJson(row));
    table.push_back({absl::StrCat(row.sequence), FormatUtc(row.event.at), row.event.event,
                     row.event.device, row.event.user, row.event.key.type, row.event.key.id,
                     row.event.outcome, row.event.rule, absl::StrCat(row.event.revision)});
  }
  PrintList(
      context.json, items,
      {"no", "at", "event", "device", "user", "type", "entity", "outcome", "rule", "revision"},
      table, "No audit rows.");
  return kExitDone;
}

int AuditVerify(Context& context) {
  const auto verify = [&]() -> absl::StatusOr<AuditVerdict> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
    PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
    return VerifyAudit(*reader, tenant);
  };
  const auto verdict = verify();
  if (!verdict.ok()) return Fail(verdict.status(), context.json);
  if (context.json) {
    PrintJson({{"intact", verdict->intact},
               {"entries", verdict->entries},
               {"firstBadSequence", verdict->first_bad_sequence},
               {"headHash", absl::BytesToHexString(verdict->head_hash)}});
  } else if (verdict->intact) {
    std::printf("The audit chain is intact: %s, head %s\n",
                Plural(static_cast<int64_t>(verdict->entries), "row").c_str(),
                absl::BytesToHexString(verdict->head_hash).c_str());
  } else {
    std::printf(
        "The audit chain is BROKEN at row %lld: it, or one before it, was changed or "
        "removed. Compare the store with a backup.\n",
        static_cast<long long>(verdict->first_bad_sequence));
  }
  return verdict->intact ? kExitDone : kExitFailed;
}

int BackupStore(Context& context, const std::string& path) {
  absl::Status status = context.Open(/*create=*/false);
  if (status.ok()) status = context.store->Backup(path);
  if (!status.ok()) return Fail(status, context.json);
  if (context.json) {
    PrintJson({{"backup", path}});
  } else {
    std::printf("Backed up to %s. Restore it with `sync-service restore %s`.\n", path.c_str(),
                path.c_str());
  }
  return kExitDone;
}

int RestoreStore(Context& context, const std::string& path) {
  const auto restore = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(context.LoadConfig());
    PT_ASSIGN_OR_RETURN(const std::string to, SqlitePath(context.config.store_url));
    return RestoreSqliteStore(path, to, context.rng);
  };
  const absl::Status status = restore();
  if (!status.ok()) return Fail(status, context.json);
  if (context.json) {
    PrintJson({{"restored", path}});
  } else {
    std::printf(
        "Restored from %s with a new epoch. Devices will offer again what the backup does "
        "not have.\n",
        path.c_str());
  }
  return kExitDone;
}

int ConfigCheck(Context& context) {
  const absl::Status status = context.LoadConfig();
  if (!status.ok()) return Fail(status, context.json);
  const std::string file = context.config.file.empty() ? "(no file)" : context.config.file;
  if (context.json) {
    PrintJson({{"ok", true},
               {"file", context.config.file},
               {"listen", context.config.server.listen},
               {"store", context.config.store_url}});
  } else {
    std::printf("The configuration is in order: %s, listen %s, store %s\n", file.c_str(),
                context.config.server.listen.c_str(), context.config.store_url.c_str());
  }
  return kExitDone;
}

}  // namespace ptdoc::sync
