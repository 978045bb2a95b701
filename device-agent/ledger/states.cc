// Row states, stale notes, set-aside versions and intents.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

// SyncStale.PutBack: 0 = newer only, 1 = put back, 2 = backfill.
constexpr int64_t kBackfill = 2;

// Columns: EntityId, Revision, CheckBytes, LastModifiedNs, RowHashes, Unconfirmed.
absl::StatusOr<RowState> ReadState(absl::string_view type, const sqlite::Statement& stmt) {
  RowState state;
  state.key = {std::string(type), std::string(stmt.Text(0))};
  state.revision = stmt.Int(1);
  state.check = std::string(stmt.Blob(2));
  state.time = stmt.Int(3);
  PT_ASSIGN_OR_RETURN(state.row, DecodeRowHashes(stmt.Blob(4)));
  state.unconfirmed = stmt.Int(5) != 0;
  return state;
}

SetAside ReadSetAside(const sqlite::Statement& stmt) {
  SetAside entry;
  entry.version.key = {std::string(stmt.Text(0)), std::string(stmt.Text(1))};
  entry.version.revision = stmt.Int(2);
  entry.code = std::string(stmt.Text(3));
  entry.constraint = std::string(stmt.Text(4));
  entry.attempts = static_cast<int>(stmt.Int(5));
  entry.version.check = std::string(stmt.Blob(6));
  entry.version.deleted = stmt.Int(7) != 0;
  entry.version.last_modified = stmt.Int(8);
  entry.version.modified_by = std::string(stmt.Text(9));
  return entry;
}

// Mostly there are none, and one look does for all rows.
constexpr char kAnyStale[] = "SELECT EXISTS(SELECT 1 FROM SyncStale)";
constexpr char kAnySetAside[] = "SELECT EXISTS(SELECT 1 FROM SyncSetAside)";

constexpr char kSetAsideColumns[] =
    "SELECT EntityType, EntityId, Revision, Code, ConstraintName, Attempts, CheckBytes, Deleted, "
    "LastModifiedNs, ModifiedByUserId, Content FROM SyncSetAside ";

absl::StatusOr<std::vector<SetAside>> ReadAllSetAside(sqlite::Statement stmt) {
  std::vector<SetAside> entries;
  size_t bytes = 0;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found || bytes > kSetAsideBytesMax) return entries;
    bytes += stmt.Blob(10).size();
    SetAside entry = ReadSetAside(stmt);
    if (!DecodeFields(stmt.Blob(10), &entry.version.fields)) {
      return absl::DataLossError("a set-aside version in the ledger is malformed");
    }
    entries.push_back(std::move(entry));
  }
}

}  // namespace

absl::StatusOr<std::optional<RowState>> Ledger::FindState(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const int64_t type, TypeId(key.type));
  PT_ASSIGN_OR_RETURN(
      auto stmt, db_.Prepare("SELECT EntityId, Revision, CheckBytes, LastModifiedNs, RowHashes, "
                             "Unconfirmed FROM SyncRowStates WHERE TypeId = ?1 AND EntityId = ?2"));
  stmt.Bind(1, type).BindBorrowed(2, key.id);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return std::nullopt;
  PT_ASSIGN_OR_RETURN(RowState state, ReadState(key.type, stmt));
  return state;
}

absl::Status Ledger::PutState(const RowState& state) {
  PT_ASSIGN_OR_RETURN(const int64_t type, TypeId(state.key.type));
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("INSERT INTO SyncRowStates(TypeId, EntityId, Revision, CheckBytes, "
                  "LastModifiedNs, RowHashes, Unconfirmed) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                  "ON CONFLICT(TypeId, EntityId) DO UPDATE SET Revision = excluded.Revision, "
                  "CheckBytes = excluded.CheckBytes, LastModifiedNs = excluded.LastModifiedNs, "
                  "RowHashes = excluded.RowHashes, Unconfirmed = excluded.Unconfirmed"));
  const std::string hashes = EncodeRowHashes(state.row);
  stmt.Bind(1, type).BindBorrowed(2, state.key.id).Bind(3, state.revision);
  stmt.BindBorrowedBlob(4, state.check).Bind(5, state.time).BindBorrowedBlob(6, hashes);
  stmt.Bind(7, state.unconfirmed);
  return stmt.Run();
}

absl::StatusOr<bool> Ledger::InsertState(const RowState& state) {
  PT_ASSIGN_OR_RETURN(const int64_t type, TypeId(state.key.type));
  PT_ASSIGN_OR_RETURN(
      auto stmt, db_.Prepare("INSERT INTO SyncRowStates(TypeId, EntityId, Revision, CheckBytes, "
                             "LastModifiedNs, RowHashes, Unconfirmed) VALUES(?1, ?2, ?3, ?4, ?5, "
                             "?6, ?7) ON CONFLICT DO NOTHING"));
  const std::string hashes = EncodeRowHashes(state.row);
  stmt.Bind(1, type).BindBorrowed(2, state.key.id).Bind(3, state.revision);
  stmt.BindBorrowedBlob(4, state.check).Bind(5, state.time).BindBorrowedBlob(6, hashes);
  stmt.Bind(7, state.unconfirmed);
  PT_RETURN_IF_ERROR(stmt.Run());
  return db_.changes() > 0;
}

absl::Status Ledger::DeleteState(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const int64_t type, TypeId(key.type));
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("DELETE FROM SyncRowStates WHERE TypeId = ?1 AND EntityId = ?2"));
  return stmt.Bind(1, type).Bind(2, key.id).Run();
}

absl::StatusOr<std::vector<RowState>> Ledger::ListStates(absl::string_view type,
                                                         absl::string_view after_id, size_t limit) {
  PT_ASSIGN_OR_RETURN(const int64_t type_id, TypeId(type));
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("SELECT EntityId, Revision, CheckBytes, LastModifiedNs, RowHashes, Unconfirmed "
                  "FROM SyncRowStates WHERE TypeId = ?1 AND EntityId > ?2 ORDER BY EntityId LIMIT "
                  "?3"));
  stmt.Bind(1, type_id).Bind(2, after_id).Bind(3, static_cast<int64_t>(limit));
  std::vector<RowState> states;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return states;
    PT_ASSIGN_OR_RETURN(RowState state, ReadState(type, stmt));
    states.push_back(std::move(state));
  }
}

absl::StatusOr<int64_t> Ledger::CountLive(absl::string_view type) {
  PT_ASSIGN_OR_RETURN(const int64_t type_id, TypeId(type));
  // The first byte of RowHashes tells whether the row is absent (EncodeRowHashes).
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT count(*) FROM SyncRowStates WHERE TypeId = ?1 AND "
                                  "Revision > 0 AND substr(RowHashes, 1, 1) = x'00'"));
  stmt.Bind(1, type_id);
  PT_RETURN_IF_ERROR(stmt.Step().status());
  return stmt.Int(0);
}

absl::Status Ledger::MarkAllUnconfirmed() {
  return db_.Exec(
      "UPDATE SyncRowStates SET Unconfirmed = 1 WHERE Revision > 0;"
      "UPDATE SyncStale SET Revision = 0;"
      "UPDATE SyncSetAside SET Revision = -1");
}

absl::StatusOr<bool> Ledger::HasUnconfirmed() {
  PT_ASSIGN_OR_RETURN(const int64_t any, db_.QueryInt("SELECT EXISTS (SELECT 1 FROM SyncRowStates "
                                                      "WHERE Unconfirmed = 1)"));
  return any != 0;
}

absl::Status Ledger::DropVoidSetAside() {
  constexpr absl::string_view kVoid =
      "FROM SyncSetAside WHERE Revision = -1 AND NOT EXISTS (SELECT 1 FROM SyncQueueItems q "
      "WHERE q.EntityType = SyncSetAside.EntityType AND q.EntityId = SyncSetAside.EntityId AND "
      "q.CompletedAt IS NULL AND +q.Status IN (0, 1, 3))";
  has_stale_.reset();
  has_set_aside_.reset();
  // What stands there by then, and is not what is known now, is an edit.
  static const std::string& sql = *new std::string(absl::StrCat(
      "INSERT INTO SyncStale(EntityType, EntityId, Revision, PutBack, RowHashes) "
      "SELECT EntityType, EntityId, 0, 1, ifnull((SELECT s.RowHashes FROM SyncRowStates s "
      "JOIN SyncTypes t ON t.Id = s.TypeId WHERE t.Name = SyncSetAside.EntityType AND "
      "s.EntityId = SyncSetAside.EntityId), ?1) ",
      kVoid,
      " ON CONFLICT(EntityType, EntityId) DO UPDATE SET Revision = 0, PutBack = 1, RowHashes = "
      "iif(PutBack = 1, ifnull(RowHashes, excluded.RowHashes), excluded.RowHashes)"));
  RowHashes absent;
  absent.absent = true;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  PT_RETURN_IF_ERROR(stmt.BindBlob(1, EncodeRowHashes(absent)).Run());
  return db_.Exec(absl::StrCat("DELETE ", kVoid));
}

absl::StatusOr<std::vector<RowState>> Ledger::ListUnconfirmed(size_t limit) {
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("SELECT s.EntityId, s.Revision, s.CheckBytes, s.LastModifiedNs, s.RowHashes, "
                  "s.Unconfirmed, t.Name FROM SyncRowStates s JOIN SyncTypes t ON t.Id = s.TypeId "
                  "WHERE s.Unconfirmed = 1 AND NOT EXISTS (SELECT 1 FROM SyncQueueItems q "
                  "WHERE q.EntityType = t.Name AND q.EntityId = s.EntityId AND "
                  "q.CompletedAt IS NULL AND +q.Status IN (0, 1, 3)) AND NOT EXISTS (SELECT 1 FROM "
                  "SyncSetAside a WHERE "
                  "a.EntityType = t.Name AND a.EntityId = s.EntityId AND a.Revision != -1) "
                  "LIMIT ?1"));
  stmt.Bind(1, static_cast<int64_t>(limit));
  std::vector<RowState> states;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return states;
    PT_ASSIGN_OR_RETURN(RowState state, ReadState(stmt.Text(6), stmt));
    states.push_back(std::move(state));
  }
}

absl::Status Ledger::NoteStale(const StaleNote& note) {
  has_stale_.reset();
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("INSERT INTO SyncStale(EntityType, EntityId, Revision, PutBack, RowHashes) "
                  "VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(EntityType, EntityId) DO UPDATE SET "
                  "Revision = max(Revision, excluded.Revision), "
                  "RowHashes = ifnull(excluded.RowHashes, RowHashes), "
                  "PutBack = CASE WHEN 1 IN (PutBack, excluded.PutBack) THEN 1 "
                  "ELSE max(PutBack, excluded.PutBack) END"));
  stmt.Bind(1, note.key.type).Bind(2, note.key.id).Bind(3, note.revision);
  stmt.Bind(4, note.backfill ? kBackfill : static_cast<int64_t>(note.put_back));
  if (note.expected.has_value()) {
    stmt.BindBlob(5, EncodeRowHashes(*note.expected));
  } else {
    stmt.BindNull(5);
  }
  return stmt.Run();
}

absl::StatusOr<std::optional<StaleNote>> Ledger::FindStale(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_stale_, kAnyStale));
  if (!any) return std::nullopt;
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT Revision, PutBack, RowHashes FROM SyncStale WHERE "
                                  "EntityType = ?1 AND EntityId = ?2"));
  stmt.Bind(1, key.type).Bind(2, key.id);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return std::nullopt;
  StaleNote note{key, stmt.Int(0), stmt.Int(1) != 0, stmt.Int(1) == kBackfill};
  if (!stmt.IsNull(2)) {
    PT_ASSIGN_OR_RETURN(note.expected, DecodeRowHashes(stmt.Blob(2)));
  }
  return note;
}

absl::Status Ledger::ClearStale(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_stale_, kAnyStale));
  if (!any) return absl::OkStatus();
  has_stale_.reset();
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("DELETE FROM SyncStale WHERE EntityType = ?1 AND EntityId = ?2"));
  return stmt.Bind(1, key.type).Bind(2, key.id).Run();
}

absl::StatusOr<std::vector<StaleNote>> Ledger::ListFetchable(size_t limit) {
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare(
          "SELECT EntityType, EntityId, Revision, PutBack FROM SyncStale s WHERE NOT "
          "EXISTS (SELECT 1 FROM SyncQueueItems q WHERE q.EntityType = s.EntityType AND "
          "q.EntityId = s.EntityId AND q.CompletedAt IS NULL AND +q.Status IN (0, 1, 3) AND "
          "(q.Status = 1 OR s.PutBack != 2 OR s.RowHashes IS NOT NULL)) LIMIT ?1"));
  stmt.Bind(1, static_cast<int64_t>(limit));
  std::vector<StaleNote> notes;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return notes;
    StaleNote& note = notes.emplace_back();
    note.key = {std::string(stmt.Text(0)), std::string(stmt.Text(1))};
    note.revision = stmt.Int(2);
    note.put_back = stmt.Int(3) != 0;
    note.backfill = stmt.Int(3) == kBackfill;
  }
}

absl::StatusOr<uint32_t> Ledger::CountStale() {
  PT_ASSIGN_OR_RETURN(const int64_t count,
                      db_.QueryInt("SELECT count(*) FROM SyncStale WHERE PutBack != 2"));
  return static_cast<uint32_t>(count);
}

absl::StatusOr<uint32_t> Ledger::CountBackfill() {
  PT_ASSIGN_OR_RETURN(const int64_t count,
                      db_.QueryInt("SELECT count(*) FROM SyncStale WHERE PutBack = 2"));
  return static_cast<uint32_t>(count);
}

absl::Status Ledger::PutSetAside(const SetAside& entry) {
  has_set_aside_.reset();
  PT_ASSIGN_OR_RETURN(
      auto stmt,
      db_.Prepare("INSERT INTO SyncSetAside(EntityType, EntityId, Revision, Code, ConstraintName, "
                  "Attempts, CheckBytes, Deleted, LastModifiedNs, ModifiedByUserId, Content) "
                  "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
                  "ON CONFLICT(EntityType, EntityId) DO UPDATE SET Revision = excluded.Revision, "
                  "Code = excluded.Code, ConstraintName = excluded.ConstraintName, "
                  "Attempts = Attempts + 1, CheckBytes = excluded.CheckBytes, "
                  "Deleted = excluded.Deleted, LastModifiedNs = excluded.LastModifiedNs, "
                  "ModifiedByUserId = excluded.ModifiedByUserId, Content = excluded.Content "
                  "WHERE excluded.Revision >= Revision"));
  const Version& version = entry.version;
  stmt.Bind(1, version.key.type).Bind(2, version.key.id).Bind(3, version.revision);
  stmt.Bind(4, entry.code).Bind(5, entry.constraint).Bind(6, entry.attempts);
  stmt.BindBlob(7, version.check).Bind(8, version.deleted).Bind(9, version.last_modified);
  stmt.Bind(10, version.modified_by).BindBlob(11, EncodeFields(version.fields));
  return stmt.Run();
}

absl::Status Ledger::ClearSetAside(const EntityKey& key, Revision up_to) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_set_aside_, kAnySetAside));
  if (!any) return absl::OkStatus();
  has_set_aside_.reset();
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("DELETE FROM SyncSetAside WHERE EntityType = ?1 AND "
                                             "EntityId = ?2 AND Revision <= ?3"));
  return stmt.Bind(1, key.type).Bind(2, key.id).Bind(3, up_to).Run();
}

absl::StatusOr<std::optional<SetAside>> Ledger::FindSetAside(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_set_aside_, kAnySetAside));
  if (!any) return std::nullopt;
  static const std::string& sql =
      *new std::string(std::string(kSetAsideColumns) + "WHERE EntityType = ?1 AND EntityId = ?2");
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, key.type).Bind(2, key.id);
  PT_ASSIGN_OR_RETURN(std::vector<SetAside> found, ReadAllSetAside(std::move(stmt)));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

absl::StatusOr<uint32_t> Ledger::CountSetAside() {
  PT_ASSIGN_OR_RETURN(const int64_t count, db_.QueryInt("SELECT count(*) FROM SyncSetAside"));
  return static_cast<uint32_t>(count);
}

absl::StatusOr<bool> Ledger::HasRefusedDeletion() {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_set_aside_, kAnySetAside));
  if (!any) return false;
  PT_ASSIGN_OR_RETURN(const int64_t found,
                      db_.QueryInt("SELECT EXISTS (SELECT 1 FROM SyncSetAside WHERE Deleted = 1 "
                                   "AND Code <> 'TOUCHES_EDIT')"));
  return found != 0;
}

absl::StatusOr<std::vector<SetAside>> Ledger::ListSetAside(size_t limit) {
  static const std::string& sql =
      *new std::string(std::string(kSetAsideColumns) + "ORDER BY Attempts, Revision LIMIT ?1");
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare(sql));
  stmt.Bind(1, static_cast<int64_t>(limit));
  return ReadAllSetAside(std::move(stmt));
}

absl::StatusOr<std::optional<Intent>> Ledger::OpenIntent() {
  ForgetRolledBack();
  if (no_intent_) return std::nullopt;
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT PageNumber, PageTag, Kind, Payload FROM SyncIntents "
                                  "ORDER BY PageNumber DESC LIMIT 1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  no_intent_ = !found;
  if (!found) return std::nullopt;
  return Intent{stmt.Int(0), stmt.Int(1), std::string(stmt.Text(2)), std::string(stmt.Blob(3))};
}

absl::Status Ledger::PutIntent(const Intent& intent) {
  no_intent_ = false;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("INSERT INTO SyncIntents(PageNumber, PageTag, Kind, "
                                             "Payload) VALUES(?1, ?2, ?3, ?4)"));
  stmt.Bind(1, intent.page_number).Bind(2, intent.page_tag).Bind(3, intent.kind);
  return stmt.BindBlob(4, intent.payload).Run();
}

absl::Status Ledger::FinishIntent(const Intent& intent) {
  PT_RETURN_IF_ERROR(PutInt("page_number", intent.page_number));
  PT_RETURN_IF_ERROR(PutInt("page_tag", intent.page_tag));
  return DropIntent(intent);
}

absl::Status Ledger::DropIntent(const Intent& intent) {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("DELETE FROM SyncIntents WHERE PageNumber = ?1"));
  return stmt.Bind(1, intent.page_number).Run();
}

}  // namespace ptdoc::sync
