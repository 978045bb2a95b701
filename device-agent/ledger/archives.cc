// Archives on the device: the losing rows of this device, with content.
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

constexpr char kSelect[] =
    "SELECT Id, ConflictId, EntityType, EntityId, ResolutionType, Rule, Reason, DetectedAt, "
    "ArchivedDataJson, ChosenDataJson, BaseDataJson, ArchivedLastModifiedNs, ChosenLastModifiedNs, "
    "ArchivedByUserId, ArchivedDeviceId, ChosenByUserId, ChosenDeviceId, IsResolved, ResolvedAt, "
    "ResolvedByUserId, ResolvedAction FROM SyncConflictArchives ";

ArchiveEntry ReadEntry(const sqlite::Statement& stmt) {
  ArchiveEntry entry;
  entry.id = stmt.Int(0);
  entry.conflict_id = std::string(stmt.Text(1));
  entry.key = {std::string(stmt.Text(2)), std::string(stmt.Text(3))};
  entry.resolution_type = std::string(stmt.Text(4));
  entry.rule = std::string(stmt.Text(5));
  entry.reason = std::string(stmt.Text(6));
  entry.detected_at = ParseTime(stmt.Text(7)).value_or(absl::UnixEpoch());
  entry.archived_json = std::string(stmt.Text(8));
  entry.chosen_json = std::string(stmt.Text(9));
  entry.base_json = std::string(stmt.Text(10));
  entry.archived_time = stmt.Int(11);
  entry.chosen_time = stmt.Int(12);
  entry.archived_user = std::string(stmt.Text(13));
  entry.archived_device = std::string(stmt.Text(14));
  entry.chosen_user = std::string(stmt.Text(15));
  entry.chosen_device = std::string(stmt.Text(16));
  entry.is_resolved = stmt.Int(17) != 0;
  const absl::StatusOr<absl::Time> resolved_at = ParseTime(stmt.Text(18));
  if (resolved_at.ok()) entry.resolved_at = *resolved_at;
  entry.resolved_by = std::string(stmt.Text(19));
  entry.resolved_action = std::string(stmt.Text(20));
  return entry;
}

void BindEntry(const ArchiveEntry& entry, sqlite::Statement& stmt) {
  stmt.Bind(1, entry.conflict_id).Bind(2, entry.key.type).Bind(3, entry.key.id);
  stmt.Bind(4, entry.resolution_type).Bind(5, entry.rule).Bind(6, entry.reason);
  stmt.Bind(7, FormatUtc(entry.detected_at));
  BindTextOrNull(stmt, 8, entry.archived_json);
  BindTextOrNull(stmt, 9, entry.chosen_json);
  BindTextOrNull(stmt, 10, entry.base_json);
  stmt.Bind(11, FormatUtc(FromTimeNs(entry.archived_time)));
  stmt.Bind(12, FormatUtc(FromTimeNs(entry.chosen_time)));
  stmt.Bind(13, entry.archived_time).Bind(14, entry.chosen_time);
  BindTextOrNull(stmt, 15, entry.archived_user);
  BindTextOrNull(stmt, 16, entry.archived_device);
  BindTextOrNull(stmt, 17, entry.chosen_user);
  BindTextOrNull(stmt, 18, entry.chosen_device);
  stmt.Bind(19, entry.is_resolved);
  if (entry.resolved_at.has_value()) {
    stmt.Bind(20, FormatUtc(*entry.resolved_at));
  } else {
    stmt.BindNull(20);
  }
  BindTextOrNull(stmt, 21, entry.resolved_by);
  BindTextOrNull(stmt, 22, entry.resolved_action);
}

// People name an archive by its ConflictId or by its Id.
int64_t IdOf(absl::string_view conflict_or_id) {
  int64_t id = 0;
  return absl::SimpleAtoi(conflict_or_id, &id) ? id : -1;
}

}  // namespace

absl::StatusOr<int64_t> Ledger::PutArchive(const ArchiveEntry& entry) {
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("INSERT INTO SyncConflictArchives(ConflictId, EntityType, EntityId, "
                  "ResolutionType, Rule, Reason, DetectedAt, ArchivedDataJson, ChosenDataJson, "
                  "BaseDataJson, ArchivedVersionLastModifiedUtc, ChosenVersionLastModifiedUtc, "
                  "ArchivedLastModifiedNs, ChosenLastModifiedNs, ArchivedByUserId, "
                  "ArchivedDeviceId, ChosenByUserId, ChosenDeviceId, IsResolved, ResolvedAt, "
                  "ResolvedByUserId, ResolvedAction) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                  "?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22) "
                  "ON CONFLICT(ConflictId) DO NOTHING"));
  BindEntry(entry, stmt);
  PT_RETURN_IF_ERROR(stmt.Run());
  PT_ASSIGN_OR_RETURN(auto id,
                      db_.Prepare("SELECT Id FROM SyncConflictArchives WHERE ConflictId = ?1"));
  PT_ASSIGN_OR_RETURN(const bool found, id.Bind(1, entry.conflict_id).Step());
  PT_CHECK(found);
  return id.Int(0);
}

absl::StatusOr<std::optional<ArchiveEntry>> Ledger::FindArchive(absl::string_view conflict_or_id) {
  static const std::string& sql =
      *new std::string(absl::StrCat(kSelect, "WHERE ConflictId = ?1 OR Id = ?2"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, conflict_or_id).Bind(2, IdOf(conflict_or_id));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return std::nullopt;
  return ReadEntry(stmt);
}

absl::StatusOr<std::vector<ArchiveEntry>> Ledger::ListArchives(bool include_resolved,
                                                               int64_t after_id, size_t limit) {
  static const std::string& sql = *new std::string(
      absl::StrCat(kSelect, "WHERE Id > ?1 AND (?2 OR IsResolved = 0) ORDER BY Id LIMIT ?3"));
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, after_id).Bind(2, include_resolved).Bind(3, static_cast<int64_t>(limit));
  std::vector<ArchiveEntry> entries;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return entries;
    entries.push_back(ReadEntry(stmt));
  }
}

absl::Status Ledger::ResolveArchive(absl::string_view conflict_or_id, absl::Time at,
                                    absl::string_view by, absl::string_view action) {
  PT_ASSIGN_OR_RETURN(
      auto stmt, db_.Prepare("UPDATE SyncConflictArchives SET IsResolved = 1, ResolvedAt = ?2, "
                             "ResolvedByUserId = ?3, ResolvedAction = ?4 WHERE ConflictId = ?1 OR "
                             "Id = ?5"));
  stmt.Bind(1, conflict_or_id).Bind(2, FormatUtc(at)).Bind(3, by).Bind(4, action);
  return stmt.Bind(5, IdOf(conflict_or_id)).Run();
}

absl::StatusOr<int64_t> Ledger::PruneArchives(absl::Time before) {
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("DELETE FROM SyncConflictArchives WHERE IsResolved = 1 "
                                  "AND DetectedAt < ?1"));
  PT_RETURN_IF_ERROR(stmt.Bind(1, FormatUtc(before)).Run());
  return db_.changes();
}

}  // namespace ptdoc::sync
