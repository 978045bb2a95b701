// The archive of conflicts.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "sync-service/store/columns.h"
#include "sync-service/store/store_queries.h"

namespace ptdoc::sync {
namespace {

#define PT_CONFLICT_COLUMNS                                                                \
  "SELECT Id, ConflictId, EntityType, EntityId, ResolutionType, Rule, Reason, DetectedAt," \
  " ArchivedVersionLastModifiedUtc, ChosenVersionLastModifiedUtc, ArchivedByUserId,"       \
  " ArchivedDeviceId, ChosenByUserId, ChosenDeviceId, IsResolved, ResolvedAt,"             \
  " ResolvedByUserId, ResolvedAction"
constexpr char kConflict[] = PT_CONFLICT_COLUMNS
    ", ArchivedDataJson, ChosenDataJson, BaseDataJson FROM SyncConflictArchives"
    " WHERE TenantId = ? AND ConflictId = ?";
constexpr char kOpenConflicts[] =
    "SELECT count(*) FROM SyncConflictArchives WHERE IsResolved = 0 AND TenantId = ?";
constexpr int kColArchivedJson = 18;

absl::StatusOr<TimeNs> TimeNsColumn(const sqlite::Statement& row, int index) {
  PT_ASSIGN_OR_RETURN(const absl::Time time, TimeColumn(row, index));
  return ToTimeNs(time);
}

// kNone for the two types that are no resolution.
Resolution ResolutionOf(absl::string_view type) {
  for (int i = 0; i <= static_cast<int>(Resolution::kKeyCollision); ++i) {
    const auto resolution = static_cast<Resolution>(i);
    if (ResolutionName(resolution) == type) return resolution;
  }
  return Resolution::kNone;
}

absl::StatusOr<ArchiveRow> ReadConflict(const sqlite::Statement& row) {
  ArchiveRow archive;
  archive.id = row.Int(0);
  archive.conflict_id = TextColumn(row, 1);
  archive.key = {TextColumn(row, 2), TextColumn(row, 3)};
  archive.resolution_type = TextColumn(row, 4);
  archive.resolution = ResolutionOf(archive.resolution_type);
  archive.rule = TextColumn(row, 5);
  archive.reason = TextColumn(row, 6);
  PT_ASSIGN_OR_RETURN(archive.detected_at, TimeColumn(row, 7));
  PT_ASSIGN_OR_RETURN(archive.archived_time, TimeNsColumn(row, 8));
  PT_ASSIGN_OR_RETURN(archive.chosen_time, TimeNsColumn(row, 9));
  archive.archived_user = TextColumn(row, 10);
  archive.archived_device = TextColumn(row, 11);
  archive.chosen_user = TextColumn(row, 12);
  archive.chosen_device = TextColumn(row, 13);
  archive.is_resolved = row.Int(14) != 0;
  PT_ASSIGN_OR_RETURN(archive.resolved_at, OptionalTimeColumn(row, 15));
  archive.resolved_by = TextColumn(row, 16);
  archive.resolved_action = TextColumn(row, 17);
  return archive;
}

// Only what is asked for stands in the text, so that SQLite can choose the
// index that fits it; there are eight texts at most.
std::string ListSql(const StoreReader::ConflictFilter& filter) {
  std::string sql =
      PT_CONFLICT_COLUMNS " FROM SyncConflictArchives WHERE TenantId = ?1 AND Id > ?2";
  if (!filter.include_resolved) absl::StrAppend(&sql, " AND IsResolved = 0");
  if (!filter.key.type.empty()) absl::StrAppend(&sql, " AND EntityType = ?4");
  if (!filter.key.id.empty()) absl::StrAppend(&sql, " AND EntityId = ?5");
  absl::StrAppend(&sql, " ORDER BY Id LIMIT ?3");
  return sql;
}

}  // namespace

absl::StatusOr<std::vector<ArchiveRow>> StoreQueries::ListConflicts(
    absl::string_view tenant, const StoreReader::ConflictFilter& filter) {
  std::vector<ArchiveRow> conflicts;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return conflicts;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, connection_.db.Prepare(ListSql(filter)));
  constexpr size_t kLimitMax = std::numeric_limits<int32_t>::max();
  rows.Bind(1, *tenant_id).Bind(2, filter.after_id);
  rows.Bind(3, static_cast<int64_t>(std::min(filter.limit, kLimitMax)));
  if (!filter.key.type.empty()) rows.Bind(4, filter.key.type);
  if (!filter.key.id.empty()) rows.Bind(5, filter.key.id);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return conflicts;
    PT_ASSIGN_OR_RETURN(ArchiveRow row, ReadConflict(rows));
    conflicts.push_back(std::move(row));
  }
}

absl::StatusOr<std::optional<ArchiveRow>> StoreQueries::FindConflict(
    absl::string_view tenant, absl::string_view conflict_id) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return std::nullopt;
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, connection_.db.Prepare(kConflict));
  row.Bind(1, *tenant_id).Bind(2, conflict_id);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  PT_ASSIGN_OR_RETURN(ArchiveRow archive, ReadConflict(row));
  archive.archived_json = TextColumn(row, kColArchivedJson);
  archive.chosen_json = TextColumn(row, kColArchivedJson + 1);
  archive.base_json = TextColumn(row, kColArchivedJson + 2);
  return archive;
}

absl::StatusOr<uint64_t> StoreQueries::CountOpenConflicts(absl::string_view tenant) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return 0;
  PT_ASSIGN_OR_RETURN(sqlite::Statement count, connection_.db.Prepare(kOpenConflicts));
  count.Bind(1, *tenant_id);
  PT_ASSIGN_OR_RETURN(const bool found, count.Step());
  return found ? static_cast<uint64_t>(count.Int(0)) : 0;
}

}  // namespace ptdoc::sync
