// What stands beside the log: the store itself, tenants, receipts, devices,
// audit, tokens.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_split.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "sync-service/store/codec.h"
#include "sync-service/store/columns.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/store_queries.h"

namespace ptdoc::sync {
namespace {

constexpr char kReceipt[] =
    "SELECT Voided, EntitiesDigest, LastRevision, Tag, CommittedAt, Results FROM Receipts"
    " WHERE TenantId = ? AND Device = ? AND BatchId = ?";
constexpr char kAudit[] =
    "SELECT Id, At, Event, DeviceId, UserId, ClaimedUserId, EntityType, EntityId, Outcome, Rule,"
    " Revision, Reason, Hash FROM SyncAudit WHERE Id > ? AND Id <= ? ORDER BY Id LIMIT ?";
#define PT_DEVICE_COLUMNS                                                                    \
  "SELECT DeviceId, FirstSeenAt, LastSeenAt, Agent, RevokedAt, Pending, Processing, Failed," \
  " OpenConflicts, SetAside, Initial, OldestPendingAt, LastSyncAt FROM SyncDevices"
constexpr char kDevices[] = PT_DEVICE_COLUMNS " WHERE TenantId = ? ORDER BY DeviceId";
constexpr char kDevice[] = PT_DEVICE_COLUMNS " WHERE TenantId = ? AND DeviceId = ?";
#define PT_TOKEN_COLUMNS                                                                   \
  "SELECT TokenId, Hash, Tenant, DeviceId, UserId, Role, CreatedAt, ExpiresAt, RevokedAt," \
  " Types, ReadOnlyTypes FROM SyncTokens"
constexpr char kTokens[] = PT_TOKEN_COLUMNS " ORDER BY CreatedAt, TokenId";
constexpr char kToken[] = PT_TOKEN_COLUMNS " WHERE Hash = ?";

absl::StatusOr<AuditRow> ReadAuditRow(const sqlite::Statement& row) {
  AuditRow audit;
  audit.sequence = SequenceOf(row.Int(0));
  PT_ASSIGN_OR_RETURN(audit.event.at, TimeColumn(row, 1));
  audit.event.event = TextColumn(row, 2);
  audit.event.device = TextColumn(row, 3);
  audit.event.user = TextColumn(row, 4);
  audit.event.claimed = TextColumn(row, 5);
  audit.event.key = {TextColumn(row, 6), TextColumn(row, 7)};
  audit.event.outcome = TextColumn(row, 8);
  audit.event.rule = TextColumn(row, 9);
  audit.event.revision = row.Int(10);
  audit.event.reason = TextColumn(row, 11);
  audit.hash = std::string(row.Blob(12));
  return audit;
}

absl::StatusOr<QueueHealth> ReadQueue(const sqlite::Statement& row) {
  QueueHealth queue;
  queue.pending = static_cast<uint32_t>(row.Int(5));
  queue.processing = static_cast<uint32_t>(row.Int(6));
  queue.failed = static_cast<uint32_t>(row.Int(7));
  queue.open_conflicts = static_cast<uint32_t>(row.Int(8));
  queue.set_aside = static_cast<uint32_t>(row.Int(9));
  queue.initial = row.Int(10) != 0;
  PT_ASSIGN_OR_RETURN(queue.oldest_pending_at, OptionalTimeColumn(row, 11));
  PT_ASSIGN_OR_RETURN(queue.last_sync_at, OptionalTimeColumn(row, 12));
  return queue;
}

absl::StatusOr<DeviceRow> ReadDevice(const sqlite::Statement& row) {
  DeviceRow device;
  device.device = TextColumn(row, 0);
  PT_ASSIGN_OR_RETURN(device.first_seen_at, TimeColumn(row, 1));
  PT_ASSIGN_OR_RETURN(device.last_seen_at, TimeColumn(row, 2));
  device.agent = TextColumn(row, 3);
  device.revoked = !row.IsNull(4);
  if (row.IsNull(5)) return device;
  PT_ASSIGN_OR_RETURN(device.queue, ReadQueue(row));
  return device;
}

std::set<std::string, std::less<>> TypesColumn(const sqlite::Statement& row, int index) {
  return absl::StrSplit(TextColumn(row, index), '\n', absl::SkipEmpty());
}

absl::StatusOr<TokenRow> ReadToken(const sqlite::Statement& row) {
  TokenRow token;
  token.id = TextColumn(row, 0);
  token.hash = std::string(row.Blob(1));
  token.tenant = TextColumn(row, 2);
  token.device = TextColumn(row, 3);
  token.user = TextColumn(row, 4);
  const std::optional<Role> role = RoleFromName(row.Text(5));
  if (!role.has_value()) return absl::DataLossError("a token has an unknown role");
  token.role = *role;
  PT_ASSIGN_OR_RETURN(token.created_at, TimeColumn(row, 6));
  PT_ASSIGN_OR_RETURN(token.expires_at, TimeColumn(row, 7));
  PT_ASSIGN_OR_RETURN(token.revoked_at, OptionalTimeColumn(row, 8));
  token.rights.types = TypesColumn(row, 9);
  token.rights.read_only = TypesColumn(row, 10);
  return token;
}

int64_t LimitOf(size_t limit) {
  return static_cast<int64_t>(std::min<size_t>(limit, std::numeric_limits<int32_t>::max()));
}

}  // namespace

absl::StatusOr<std::optional<int64_t>> StoreQueries::TenantId(absl::string_view tenant) {
  return connection_.tenants.Find(tenant);
}

absl::StatusOr<int64_t> StoreQueries::TenantColumn(const char* sql, absl::string_view tenant) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(sql));
  row.Bind(1, tenant);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  return found ? row.Int(0) : 0;
}

absl::StatusOr<StoreMeta> StoreQueries::Meta() {
  StoreMeta meta;
  PT_ASSIGN_OR_RETURN(meta.epoch, ReadMeta(connection_.db, kMetaEpoch));
  PT_ASSIGN_OR_RETURN(meta.mac_key, ReadMeta(connection_.db, kMetaMacKey));
  return meta;
}

absl::StatusOr<Revision> StoreQueries::SharedRevision(absl::string_view tenant) {
  return TenantColumn("SELECT coalesce(SharedRevision, 0) FROM Tenants WHERE Name = ?", tenant);
}

absl::StatusOr<Revision> StoreQueries::PrunedUpTo(absl::string_view tenant) {
  return TenantColumn("SELECT PrunedUpTo FROM Tenants WHERE Name = ?", tenant);
}

absl::StatusOr<BatchEnd> StoreQueries::Newest(absl::string_view tenant) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement row,
      connection_.db.Prepare("SELECT LastRevision, LastTag FROM Tenants WHERE Name = ?"));
  row.Bind(1, tenant);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return BatchEnd{};
  return BatchEnd{.sequence = row.Int(0), .tag = static_cast<uint64_t>(row.Int(1))};
}

absl::StatusOr<std::vector<std::string>> StoreQueries::ListTenants() {
  std::vector<std::string> tenants;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      connection_.db.Prepare("SELECT Name FROM Tenants ORDER BY Name"));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return tenants;
    tenants.push_back(TextColumn(rows, 0));
  }
}

absl::StatusOr<std::optional<Receipt>> StoreQueries::FindReceipt(absl::string_view tenant,
                                                                 absl::string_view device,
                                                                 absl::string_view batch_id) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> device_id, connection_.names.Find(device));
  if (!tenant_id.has_value() || !device_id.has_value()) return std::nullopt;
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kReceipt));
  row.Bind(1, *tenant_id).Bind(2, *device_id).Bind(3, batch_id);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  Receipt receipt;
  receipt.voided = row.Int(0) != 0;
  receipt.entities_digest = std::string(row.Blob(1));
  receipt.last_revision = row.Int(2);
  receipt.tag = static_cast<uint64_t>(row.Int(3));
  receipt.committed_at = absl::FromUnixNanos(row.Int(4));
  if (row.IsNull(5)) return receipt;
  PT_ASSIGN_OR_RETURN(receipt.results, DecodeResults(row.Blob(5), receipt.last_revision));
  return receipt;
}

absl::StatusOr<std::vector<DeviceRow>> StoreQueries::ListDevices(absl::string_view tenant) {
  std::vector<DeviceRow> devices;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return devices;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, connection_.db.Prepare(kDevices));
  rows.Bind(1, *tenant_id);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return devices;
    PT_ASSIGN_OR_RETURN(DeviceRow device, ReadDevice(rows));
    devices.push_back(std::move(device));
  }
}

absl::StatusOr<std::optional<DeviceRow>> StoreQueries::FindDevice(absl::string_view tenant,
                                                                  absl::string_view device) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return std::nullopt;
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kDevice));
  row.Bind(1, *tenant_id).Bind(2, device);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  return ReadDevice(row);
}

absl::StatusOr<AuditHead> StoreQueries::ReadAuditHead(absl::string_view tenant) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement row,
      connection_.db.Prepare("SELECT AuditSequence, AuditHash FROM Tenants WHERE Name = ?"));
  row.Bind(1, tenant);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return AuditHead{};
  return AuditHead{.sequence = row.Int(0), .hash = std::string(row.Blob(1))};
}

absl::StatusOr<std::vector<AuditRow>> StoreQueries::ReadAudit(absl::string_view tenant,
                                                              int64_t after_sequence,
                                                              size_t limit) {
  std::vector<AuditRow> audit;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return audit;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, connection_.db.Prepare(kAudit));
  const int64_t after = std::clamp<int64_t>(after_sequence, 0, kSequenceMax);
  rows.Bind(1, RowId(*tenant_id, after)).Bind(2, RowId(*tenant_id, kSequenceMax));
  rows.Bind(3, LimitOf(limit));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return audit;
    PT_ASSIGN_OR_RETURN(AuditRow row, ReadAuditRow(rows));
    audit.push_back(std::move(row));
  }
}

absl::StatusOr<bool> StoreQueries::AnyToken() {
  PT_ASSIGN_OR_RETURN(const int64_t any,
                      connection_.db.QueryInt("SELECT EXISTS (SELECT 1 FROM SyncTokens)"));
  return any != 0;
}

absl::StatusOr<std::optional<TokenRow>> StoreQueries::FindToken(absl::string_view hash) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kToken));
  row.BindBlob(1, hash);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  return ReadToken(row);
}

absl::StatusOr<std::vector<TokenRow>> StoreQueries::ListTokens() {
  std::vector<TokenRow> tokens;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, connection_.db.Prepare(kTokens));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return tokens;
    PT_ASSIGN_OR_RETURN(TokenRow token, ReadToken(rows));
    tokens.push_back(std::move(token));
  }
}

}  // namespace ptdoc::sync
