// Versions of one entity: head, by revision, history.
#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/base/status.h"
#include "sync-service/store/codec.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/store_queries.h"
#include "sync-service/store/version_columns.h"

namespace ptdoc::sync {
namespace {

// The version that a head leads to is compared with the key: two entities may
// have one hash.
#define PT_FROM_HEAD                                    \
  " FROM Heads h JOIN Versions v ON v.Id = h.VersionId" \
  " WHERE h.KeyHash = ? AND v.TenantId = ? AND v.TypeId = ? AND v.EntityId = ?"
constexpr char kHead[] = "SELECT " PT_STORED_COLUMNS PT_FROM_HEAD;
constexpr char kHeadRevision[] = "SELECT h.VersionId" PT_FROM_HEAD;
constexpr char kVersion[] = "SELECT " PT_STORED_COLUMNS " FROM Versions v WHERE v.Id = ?";
constexpr char kVersionWithoutContent[] =
    "SELECT " PT_STORED_COLUMNS_NO_CONTENT " FROM Versions v WHERE v.Id = ?";
constexpr char kHashAndPrevious[] = "SELECT ContentHash, Previous FROM Versions WHERE Id = ?";
constexpr char kPrunedHash[] = "SELECT 1 FROM PrunedHashes WHERE KeyHash = ? AND ContentHash = ?";

absl::Status BrokenChain() {
  return absl::DataLossError("a version that another one follows is not in the store");
}

absl::StatusOr<sqlite::Statement*> Kept(sqlite::Database& db,
                                        std::optional<sqlite::Statement>* slot, const char* sql) {
  if (!slot->has_value()) {
    PT_ASSIGN_OR_RETURN(sqlite::Statement statement, db.Prepare(sql));
    slot->emplace(std::move(statement));
  }
  return &**slot;
}

}  // namespace

void StoreQueries::Release() {
  head_.reset();
  head_revision_.reset();
}

absl::StatusOr<Version> StoreQueries::ReadVersion(const sqlite::Statement& row) {
  Version version;
  PT_ASSIGN_OR_RETURN(const absl::string_view type, connection_.names.NameOf(row.Int(kColTypeId)));
  version.key.type = std::string(type);
  version.key.id = std::string(row.Text(kColEntityId));
  version.revision = SequenceOf(row.Int(kColId));
  version.deleted = row.Int(kColDeleted) != 0;
  version.last_modified = row.Int(kColModifiedAt);
  PT_ASSIGN_OR_RETURN(const absl::string_view user,
                      connection_.names.NameOf(row.Int(kColModifiedBy)));
  version.modified_by = std::string(user);
  version.check = VersionCheck(version.key, version.revision, row.Blob(kColContentHash));
  if (!row.IsNull(kColNotice)) {
    PT_ASSIGN_OR_RETURN(version.conflict, DecodeNotice(row.Blob(kColNotice)));
  }
  if (!row.IsNull(kColContent) && !DecodeFields(row.Blob(kColContent), &version.fields)) {
    return absl::DataLossError("the content of a version is damaged");
  }
  return version;
}

absl::StatusOr<StoredVersion> StoreQueries::ReadStoredVersion(const sqlite::Statement& row) {
  StoredVersion stored;
  PT_ASSIGN_OR_RETURN(stored.version, ReadVersion(row));
  const TimeNs time = stored.version.last_modified;
  stored.claimed_time = row.IsNull(kColClaimedAt) ? time : row.Int(kColClaimedAt);
  PT_ASSIGN_OR_RETURN(const absl::string_view user,
                      connection_.names.NameOf(row.Int(kColTokenUser)));
  stored.user = std::string(user);
  PT_ASSIGN_OR_RETURN(const absl::string_view device,
                      connection_.names.NameOf(row.Int(kColDevice)));
  stored.device = std::string(device);
  if (!row.IsNull(kColRaisedBy)) {
    PT_ASSIGN_OR_RETURN(const absl::string_view raised_by,
                        connection_.names.NameOf(row.Int(kColRaisedBy)));
    stored.raised_by = std::string(raised_by);
  }
  stored.content_hash = std::string(row.Blob(kColContentHash));
  if (!row.IsNull(kColContent)) {
    PT_ASSIGN_OR_RETURN(stored.field_times, DecodeFieldTimes(row.Blob(kColFieldTimes), time,
                                                             stored.version.fields.size()));
  }
  if (!row.IsNull(kColContent) && !row.IsNull(kColFieldWriters)) {
    PT_RETURN_IF_ERROR(ReadWriters(row.Blob(kColFieldWriters), &stored));
  }
  return stored;
}

absl::Status StoreQueries::ReadWriters(absl::string_view bytes, StoredVersion* stored) {
  PT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      DecodeFieldWriters(bytes, stored->version.fields.size()));
  stored->field_writers.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id == 0) {
      stored->field_writers.push_back(stored->device);
      continue;
    }
    PT_ASSIGN_OR_RETURN(const absl::string_view writer, connection_.names.NameOf(id));
    stored->field_writers.emplace_back(writer);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<StoredVersion>> StoreQueries::Head(absl::string_view tenant,
                                                                const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> type_id, connection_.names.Find(key.type));
  if (!tenant_id.has_value() || !type_id.has_value()) return std::nullopt;
  PT_ASSIGN_OR_RETURN(const int64_t hash, connection_.KeyHash(*tenant_id, *type_id, key.id));
  PT_ASSIGN_OR_RETURN(sqlite::Statement * head, Kept(connection_.db, &head_, kHead));
  const absl::Cleanup reset = [head] { head->Reset(); };
  head->Bind(1, hash).Bind(2, *tenant_id).Bind(3, *type_id).BindBorrowed(4, key.id);
  PT_ASSIGN_OR_RETURN(const bool found, head->Step());
  if (!found) return std::nullopt;
  return ReadStoredVersion(*head);
}

absl::StatusOr<Revision> StoreQueries::HeadRevision(int64_t tenant, int64_t type,
                                                    const std::string& id, int64_t hash) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement * head,
                      Kept(connection_.db, &head_revision_, kHeadRevision));
  const absl::Cleanup reset = [head] { head->Reset(); };
  head->Bind(1, hash).Bind(2, tenant).Bind(3, type).BindBorrowed(4, id);
  PT_ASSIGN_OR_RETURN(const bool found, head->Step());
  return found ? SequenceOf(head->Int(0)) : 0;
}

absl::StatusOr<std::optional<StoredVersion>> StoreQueries::FindVersion(absl::string_view tenant,
                                                                       const EntityKey& key,
                                                                       Revision revision) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> type_id, connection_.names.Find(key.type));
  // A device can send any number as its base.
  const bool possible = revision > 0 && revision <= kSequenceMax;
  if (!tenant_id.has_value() || !type_id.has_value() || !possible) return std::nullopt;
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kVersion));
  row.Bind(1, RowId(*tenant_id, revision));
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found || row.Int(kColTypeId) != *type_id || row.Text(kColEntityId) != key.id) {
    return std::nullopt;
  }
  return ReadStoredVersion(row);
}

// There is no index of versions by entity: it would cost every insert. A
// version names the one before it, and the chain begins at the head.
absl::StatusOr<bool> StoreQueries::KnowsContent(absl::string_view tenant, const EntityKey& key,
                                                absl::string_view content_hash) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> type_id, connection_.names.Find(key.type));
  if (!tenant_id.has_value() || !type_id.has_value()) return false;
  PT_ASSIGN_OR_RETURN(const int64_t hash, connection_.KeyHash(*tenant_id, *type_id, key.id));
  PT_ASSIGN_OR_RETURN(sqlite::Statement pruned, connection_.db.Prepare(kPrunedHash));
  pruned.Bind(1, hash).BindBlob(2, content_hash);
  PT_ASSIGN_OR_RETURN(const bool is_pruned, pruned.Step());
  if (is_pruned) return true;
  PT_ASSIGN_OR_RETURN(sqlite::Statement link, connection_.db.Prepare(kHashAndPrevious));
  PT_ASSIGN_OR_RETURN(Revision revision, HeadRevision(*tenant_id, *type_id, key.id, hash));
  while (revision != 0) {
    link.Bind(1, RowId(*tenant_id, revision));
    PT_ASSIGN_OR_RETURN(const bool found, link.Step());
    if (!found) return BrokenChain();
    if (link.Blob(0) == content_hash) return true;
    revision = link.Int(1);
    link.Reset();
  }
  return false;
}

absl::StatusOr<std::vector<StoredVersion>> StoreQueries::History(absl::string_view tenant,
                                                                 const EntityKey& key) {
  std::vector<StoredVersion> history;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> type_id, connection_.names.Find(key.type));
  if (!tenant_id.has_value() || !type_id.has_value()) return history;
  PT_ASSIGN_OR_RETURN(const int64_t hash, connection_.KeyHash(*tenant_id, *type_id, key.id));
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kVersionWithoutContent));
  PT_ASSIGN_OR_RETURN(Revision revision, HeadRevision(*tenant_id, *type_id, key.id, hash));
  while (revision != 0) {
    row.Bind(1, RowId(*tenant_id, revision));
    PT_ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) return BrokenChain();
    PT_ASSIGN_OR_RETURN(StoredVersion stored, ReadStoredVersion(row));
    history.push_back(std::move(stored));
    revision = row.Int(kColPrevious);
    row.Reset();
  }
  std::reverse(history.begin(), history.end());
  return history;
}

}  // namespace ptdoc::sync
