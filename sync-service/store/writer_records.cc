// The writes beside the log: archives, receipts, times, devices, tokens.
#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "sync-service/store/codec.h"
#include "sync-service/store/columns.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/sqlite_writer.h"

namespace ptdoc::sync {
namespace {

constexpr char kInsertArchive[] =
    "INSERT INTO SyncConflictArchives (TenantId, ConflictId, EntityType, EntityId, ResolutionType,"
    " Rule, Reason, DetectedAt, ArchivedDataJson, ChosenDataJson, BaseDataJson,"
    " ArchivedVersionLastModifiedUtc, ChosenVersionLastModifiedUtc, ArchivedByUserId,"
    " ArchivedDeviceId, ChosenByUserId, ChosenDeviceId, IsResolved, ResolvedAt, ResolvedByUserId,"
    " ResolvedAction)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr char kResolve[] =
    "UPDATE SyncConflictArchives SET IsResolved = 1, ResolvedAt = ?, ResolvedByUserId = ?,"
    " ResolvedAction = ? WHERE TenantId = ? AND ConflictId = ?";
constexpr char kLastReceipt[] = "SELECT max(Id) FROM Receipts WHERE Id > ? AND Id <= ?";
constexpr char kInsertReceipt[] =
    "INSERT INTO Receipts (Id, TenantId, Device, BatchId, CommittedAt, Voided, EntitiesDigest,"
    " LastRevision, Tag, Results) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
// Both right sides see the row as it was.
constexpr char kRaiseTime[] =
    "UPDATE Versions SET ModifiedAt = ?, ClaimedAt = coalesce(ClaimedAt, ModifiedAt),"
    " FieldTimes = ?, RaisedBy = coalesce(?, RaisedBy), FieldWriters = ? WHERE Id = ?";
constexpr char kTouchDevice[] =
    "INSERT INTO SyncDevices (TenantId, DeviceId, FirstSeenAt, LastSeenAt, Agent)"
    " VALUES (?1, ?2, ?3, ?3, ?4)"
    " ON CONFLICT DO UPDATE SET LastSeenAt = excluded.LastSeenAt,"
    " Agent = CASE WHEN excluded.Agent = '' THEN Agent ELSE excluded.Agent END";
constexpr char kTouchQueue[] =
    "UPDATE SyncDevices SET Pending = ?, Processing = ?, Failed = ?, OpenConflicts = ?,"
    " SetAside = ?, Initial = ?, OldestPendingAt = ?, LastSyncAt = ?"
    " WHERE TenantId = ? AND DeviceId = ?";
constexpr char kRevokeDevice[] =
    "UPDATE SyncDevices SET RevokedAt = coalesce(RevokedAt, ?) WHERE TenantId = ? AND DeviceId = ?";
constexpr char kInsertToken[] =
    "INSERT INTO SyncTokens (TokenId, Hash, Tenant, DeviceId, UserId, Role, CreatedAt, ExpiresAt,"
    " RevokedAt, Types, ReadOnlyTypes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
// What a revoked device had before must not come back with its new token.
constexpr char kEndOlderTokens[] =
    "UPDATE SyncTokens SET RevokedAt = d.RevokedAt FROM SyncDevices AS d, Tenants AS t"
    " WHERE SyncTokens.Tenant = ?1 AND SyncTokens.DeviceId = ?2 AND SyncTokens.RevokedAt IS NULL"
    " AND t.Name = ?1 AND d.TenantId = t.TenantId AND d.DeviceId = ?2 AND d.RevokedAt IS NOT NULL";
constexpr char kAdmitDevice[] =
    "UPDATE SyncDevices SET RevokedAt = NULL WHERE DeviceId = ?2 AND RevokedAt IS NOT NULL"
    " AND TenantId = (SELECT TenantId FROM Tenants WHERE Name = ?1)";
constexpr char kRevokeToken[] =
    "UPDATE SyncTokens SET RevokedAt = coalesce(RevokedAt, ?) WHERE TokenId = ?";

void BindTypes(sqlite::Statement* statement, int index,
               const std::set<std::string, std::less<>>& types) {
  if (types.empty()) {
    statement->BindNull(index);
  } else {
    statement->Bind(index, absl::StrJoin(types, "\n"));
  }
}
}  // namespace

absl::Status SqliteWriter::UpdateOne(sqlite::Statement* update, const char* missing) {
  PT_RETURN_IF_ERROR(update->Run());
  return connection_.db.changes() == 0 ? absl::NotFoundError(missing) : absl::OkStatus();
}

absl::Status SqliteWriter::Archive(absl::string_view tenant, const ArchiveRow& row) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(sqlite::Statement insert, Prepare(kInsertArchive));
    insert.Bind(1, state->id).Bind(2, row.conflict_id);
    insert.Bind(3, row.key.type).Bind(4, row.key.id).Bind(5, row.resolution_type);
    insert.Bind(6, row.rule).Bind(7, row.reason).Bind(8, FormatUtc(row.detected_at));
    insert.Bind(9, row.archived_json).Bind(10, row.chosen_json).BindNull(11);
    if (!row.base_json.empty()) insert.Bind(11, row.base_json);
    insert.Bind(12, FormatUtc(FromTimeNs(row.archived_time)));
    insert.Bind(13, FormatUtc(FromTimeNs(row.chosen_time)));
    insert.Bind(14, row.archived_user).Bind(15, row.archived_device);
    insert.Bind(16, row.chosen_user).Bind(17, row.chosen_device).Bind(18, row.is_resolved);
    BindTime(&insert, 19, row.resolved_at);
    insert.Bind(20, row.resolved_by).Bind(21, row.resolved_action);
    return insert.Run();
  });
}

absl::Status SqliteWriter::MarkConflictResolved(absl::string_view tenant,
                                                absl::string_view conflict_id, absl::Time at,
                                                absl::string_view by, absl::string_view action) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(kResolve));
    update.Bind(1, FormatUtc(at)).Bind(2, by).Bind(3, action);
    update.Bind(4, state->id).Bind(5, conflict_id);
    return UpdateOne(&update, "There is no such conflict.");
  });
}

absl::Status SqliteWriter::PutReceipt(absl::string_view tenant, absl::string_view device,
                                      absl::string_view batch_id, const Receipt& receipt) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(const int64_t device_id, connection_.names.FindOrAdd(device));
    PT_ASSIGN_OR_RETURN(sqlite::Statement last, Prepare(kLastReceipt));
    last.Bind(1, RowId(state->id, 0)).Bind(2, RowId(state->id, kSequenceMax));
    PT_ASSIGN_OR_RETURN(const bool found, last.Step());
    const int64_t id = found && !last.IsNull(0) ? last.Int(0) + 1 : RowId(state->id, 1);
    PT_ASSIGN_OR_RETURN(sqlite::Statement insert, Prepare(kInsertReceipt));
    insert.Bind(1, id).Bind(2, state->id).Bind(3, device_id).Bind(4, batch_id);
    insert.Bind(5, absl::ToUnixNanos(receipt.committed_at)).Bind(6, receipt.voided);
    insert.BindBlob(7, receipt.entities_digest).Bind(8, receipt.last_revision);
    insert.Bind(9, static_cast<int64_t>(receipt.tag)).BindNull(10);
    if (!receipt.results.empty()) {
      insert.BindBlob(10, EncodeResults(receipt.results, receipt.last_revision));
    }
    return insert.Run();
  });
}

absl::Status SqliteWriter::RaiseTime(absl::string_view tenant, const EntityKey& key,
                                     Revision revision, TimeNs time, absl::string_view device,
                                     std::span<const TimeNs> field_times,
                                     std::span<const std::string> field_writers) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> stored,
                        queries_.FindVersion(tenant, key, revision));
    if (!stored.has_value()) return absl::NotFoundError("There is no such version.");
    // Stored as differences to the version's time: they are written anew even if
    // they stay.
    if (field_times.empty()) field_times = stored->field_times;
    PT_CHECK(field_times.size() == stored->field_times.size());
    if (field_writers.empty()) field_writers = stored->field_writers;
    const std::string times = EncodeFieldTimes(field_times, time);
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(sqlite::Statement raise, Prepare(kRaiseTime));
    PT_ASSIGN_OR_RETURN(const std::string writers, WritersOf(stored->device, field_writers));
    raise.Bind(1, time).BindNull(2).BindNull(3).BindNull(4).Bind(5, RowId(state->id, revision));
    if (!writers.empty()) raise.BindBlob(4, writers);
    if (!times.empty()) raise.BindBlob(2, times);
    if (!device.empty()) {
      PT_ASSIGN_OR_RETURN(const int64_t raised_by, connection_.names.FindOrAdd(device));
      raise.Bind(3, raised_by);
    }
    return raise.Run();
  });
}

absl::Status SqliteWriter::TouchDevice(absl::string_view tenant, absl::string_view device,
                                       absl::Time at, absl::string_view agent,
                                       const std::optional<QueueHealth>& queue) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(sqlite::Statement touch, Prepare(kTouchDevice));
    touch.Bind(1, state->id).Bind(2, device).Bind(3, TimeText(at)).Bind(4, agent);
    PT_RETURN_IF_ERROR(touch.Run());
    if (!queue.has_value()) return absl::OkStatus();
    PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(kTouchQueue));
    update.Bind(1, int64_t{queue->pending}).Bind(2, int64_t{queue->processing});
    update.Bind(3, int64_t{queue->failed}).Bind(4, int64_t{queue->open_conflicts});
    update.Bind(5, int64_t{queue->set_aside}).Bind(6, queue->initial);
    BindTime(&update, 7, queue->oldest_pending_at);
    BindTime(&update, 8, queue->last_sync_at);
    update.Bind(9, state->id).Bind(10, device);
    return update.Run();
  });
}

absl::Status SqliteWriter::RevokeDevice(absl::string_view tenant, absl::string_view device,
                                        absl::Time at) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(const TenantState* state, Tenant(tenant));
    PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(kRevokeDevice));
    update.Bind(1, FormatUtc(at)).Bind(2, state->id).Bind(3, device);
    return UpdateOne(&update, "There is no such device.");
  });
}

absl::Status SqliteWriter::PutToken(const TokenRow& token) {
  return Write([&]() -> absl::Status {
    for (const char* sql : {kEndOlderTokens, kAdmitDevice}) {
      PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(sql));
      update.Bind(1, token.tenant).Bind(2, token.device);
      PT_RETURN_IF_ERROR(update.Run());
    }
    PT_ASSIGN_OR_RETURN(sqlite::Statement insert, Prepare(kInsertToken));
    insert.Bind(1, token.id).BindBlob(2, token.hash).Bind(3, token.tenant).Bind(4, token.device);
    insert.Bind(5, token.user).Bind(6, RoleName(token.role)).Bind(7, FormatUtc(token.created_at));
    insert.Bind(8, FormatUtc(token.expires_at));
    BindTime(&insert, 9, token.revoked_at);
    BindTypes(&insert, 10, token.rights.types);
    BindTypes(&insert, 11, token.rights.read_only);
    return insert.Run();
  });
}

absl::Status SqliteWriter::RevokeToken(absl::string_view id, absl::Time at) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(kRevokeToken));
    update.Bind(1, FormatUtc(at)).Bind(2, id);
    return UpdateOne(&update, "There is no such token.");
  });
}

}  // namespace ptdoc::sync
