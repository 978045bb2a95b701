// The transaction itself, its savepoints, and the hot path: versions and audit.
#include "sync-service/store/sqlite_writer.h"

#include <algorithm>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/model/reason.h"
#include "sync-service/store/codec.h"
#include "sync-service/store/schema.h"

namespace ptdoc::sync {
namespace {

constexpr char kReadTenant[] =
    "SELECT LastRevision, LastTag, LastCommittedAt, AuditSequence, AuditHash FROM Tenants"
    " WHERE TenantId = ?";
constexpr char kWriteAuditHead[] =
    "UPDATE Tenants SET AuditSequence = ?, AuditHash = ? WHERE TenantId = ?";
constexpr char kWriteNewest[] =
    "UPDATE Tenants SET LastRevision = ?, LastTag = ?, LastCommittedAt = ? WHERE TenantId = ?";
constexpr char kInsertHead[] = "INSERT INTO Heads (KeyHash, VersionId) VALUES (?, ?)";
constexpr char kMoveHead[] = "UPDATE Heads SET VersionId = ? WHERE KeyHash = ? AND VersionId = ?";
constexpr char kSupersede[] = "UPDATE Versions SET Superseded = 1 WHERE Id = ?";
constexpr char kInsertVersion[] =
    "INSERT INTO Versions (Id, TypeId, EntityId, Previous, Deleted, Superseded, ModifiedAt,"
    " ClaimedAt, ModifiedBy, TokenUser, Device, RaisedBy, ContentHash, FieldTimes, Notice,"
    " Content, FieldWriters)"
    " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?15, ?11, ?12, ?13, ?14, ?16)";
constexpr char kInsertBatch[] = "INSERT INTO Batches (Id, Tag, CommittedAt) VALUES (?, ?, ?)";
constexpr char kInsertAudit[] =
    "INSERT INTO SyncAudit (Id, At, Event, DeviceId, UserId, ClaimedUserId, EntityType, EntityId,"
    " Outcome, Rule, Revision, Reason, Hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

}  // namespace

SqliteWriter::SqliteWriter(StoreConnection& connection, sqlite::Transaction transaction,
                           absl::AnyInvocable<void()> done)
    : SqliteReads(connection),
      connection_(connection),
      done_(std::move(done)),
      transaction_(std::move(transaction)) {}

SqliteWriter::~SqliteWriter() {
  // Inner savepoints first: a vector destroys from its front.
  while (!savepoints_.empty()) savepoints_.pop_back();
  insert_head_.reset();
  insert_version_.reset();
  insert_audit_.reset();
  queries_.Release();
  // Also if SQLite has ended the transaction already: after `done_` the
  // connection is another writer's.
  transaction_.Rollback();
  if (!committed_) connection_.Forget();
  done_();
}

absl::Status SqliteWriter::Noted(const absl::Status& status) {
  if (status.ok()) return status;
  if (absl::IsNotFound(status) && sqlite::ExtendedCode(status) == 0) return status;
  if (failed_.ok()) failed_ = StoreError(status);
  return failed_;
}

void SqliteWriter::Forget() {
  if (PT_PLANTED("the sequence is not rolled back with its savepoint")) {
    return connection_.Forget();
  }
  tenants_.clear();
  connection_.Forget();
}

absl::Status SqliteWriter::BeginSavepoint() {
  return Write([&]() -> absl::Status {
    PT_RETURN_IF_ERROR(Flush());
    PT_ASSIGN_OR_RETURN(sqlite::Savepoint savepoint, sqlite::Savepoint::Begin(connection_.db));
    savepoints_.push_back(std::move(savepoint));
    return absl::OkStatus();
  });
}

absl::Status SqliteWriter::ReleaseSavepoint() {
  return Write([&]() -> absl::Status {
    PT_CHECK(!savepoints_.empty());
    PT_RETURN_IF_ERROR(savepoints_.back().Release());
    savepoints_.pop_back();
    return absl::OkStatus();
  });
}

absl::Status SqliteWriter::RollbackSavepoint() {
  PT_CHECK(!savepoints_.empty());
  savepoints_.back().Rollback();
  savepoints_.pop_back();
  Forget();
  // A full disk can end the whole transaction, not only this savepoint. Going on
  // would commit each further statement by itself.
  if (!connection_.db.in_transaction()) {
    return Noted(ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                             "The store has rolled the transaction back. Nothing was stored. Try "
                             "again in a moment."));
  }
  failed_ = absl::OkStatus();
  return absl::OkStatus();
}

absl::Status SqliteWriter::Commit() {
  PT_RETURN_IF_ERROR(Write([&] { return Flush(); }));
  PT_CHECK(savepoints_.empty());
  const absl::Status status = transaction_.Commit();
  committed_ = status.ok();
  failed_ = committed_ ? absl::FailedPreconditionError("The transaction has ended.")
                       : CommitError(status);
  return committed_ ? absl::OkStatus() : failed_;
}

absl::StatusOr<SqliteWriter::TenantState*> SqliteWriter::Tenant(absl::string_view tenant) {
  if (const auto it = tenants_.find(tenant); it != tenants_.end()) return &it->second;
  TenantState state;
  PT_ASSIGN_OR_RETURN(state.id, connection_.tenants.FindOrAdd(tenant));
  PT_ASSIGN_OR_RETURN(sqlite::Statement row, Prepare(kReadTenant));
  row.Bind(1, state.id);
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return absl::DataLossError("the row of a tenant is not in the store");
  state.newest = {row.Int(0), static_cast<uint64_t>(row.Int(1))};
  state.committed_at = row.Int(2);
  state.audit = {row.Int(3), std::string(row.Blob(4))};
  return &(tenants_[std::string(tenant)] = std::move(state));
}

absl::Status SqliteWriter::Flush() {
  for (auto& [name, state] : tenants_) {
    if (!state.dirty) continue;
    PT_ASSIGN_OR_RETURN(sqlite::Statement update, Prepare(kWriteAuditHead));
    update.Bind(1, state.audit.sequence).BindBlob(2, state.audit.hash).Bind(3, state.id);
    PT_RETURN_IF_ERROR(update.Run());
    state.dirty = false;
  }
  return absl::OkStatus();
}

absl::StatusOr<AuditHead> SqliteWriter::ReadAuditHead(absl::string_view tenant) {
  if (const auto it = tenants_.find(tenant); it != tenants_.end()) return it->second.audit;
  return SqliteReads::ReadAuditHead(tenant);
}

absl::StatusOr<sqlite::Statement*> SqliteWriter::Hot(std::optional<sqlite::Statement>* slot,
                                                     const char* sql) {
  if (!slot->has_value()) {
    PT_ASSIGN_OR_RETURN(sqlite::Statement statement, Prepare(sql));
    slot->emplace(std::move(statement));
  }
  // A batch that broke off between two binds leaves none of them to the next one.
  (*slot)->Reset();
  return &**slot;
}

// The rows of a transaction mostly have one time, and writing it out costs as
// much as inserting the row.
const std::string& SqliteWriter::TimeText(absl::Time time) {
  if (time_text_.empty() || time != time_) {
    time_ = time;
    time_text_ = FormatUtc(time);
  }
  return time_text_;
}

absl::StatusOr<BatchEnd> SqliteWriter::Append(absl::string_view tenant,
                                              std::span<NewVersion> versions, uint64_t tag,
                                              absl::Time committed_at) {
  return Write([&]() -> absl::StatusOr<BatchEnd> {
    PT_ASSIGN_OR_RETURN(TenantState * state, Tenant(tenant));
    if (versions.empty()) return state->newest;
    return AppendVersions(state, versions, tag, committed_at);
  });
}

absl::StatusOr<BatchEnd> SqliteWriter::AppendVersions(TenantState* state,
                                                      std::span<NewVersion> versions, uint64_t tag,
                                                      absl::Time committed_at) {
  BatchEnd end{.sequence = state->newest.sequence, .tag = tag};
  if (static_cast<int64_t>(versions.size()) > kSequenceMax - end.sequence) {
    return absl::InternalError("the tenant's revisions are used up");
  }
  for (NewVersion& added : versions) {
    StoredVersion& stored = added.stored;
    Version& version = stored.version;
    version.revision = ++end.sequence;
    version.check = VersionCheck(version.key, version.revision, stored.content_hash);
    PT_ASSIGN_OR_RETURN(const int64_t type, connection_.names.FindOrAdd(version.key.type));
    PT_ASSIGN_OR_RETURN(const Revision previous, MoveHead(state->id, type, added));
    PT_RETURN_IF_ERROR(InsertVersion(state->id, type, previous, stored));
  }
  PT_RETURN_IF_ERROR(CloseBatch(state, end, committed_at));
  return end;
}

absl::StatusOr<Revision> SqliteWriter::MoveHead(int64_t tenant, int64_t type,
                                                const NewVersion& added) {
  const std::string& id = added.stored.version.key.id;
  const Revision revision = added.stored.version.revision;
  PT_ASSIGN_OR_RETURN(const int64_t hash, connection_.KeyHash(tenant, type, id));
  Revision previous = 0;
  if (added.previous.has_value()) {
    previous = *added.previous;
  } else {
    PT_ASSIGN_OR_RETURN(previous, queries_.HeadRevision(tenant, type, id, hash));
  }
  if (previous == 0) {
    PT_ASSIGN_OR_RETURN(sqlite::Statement * insert, Hot(&insert_head_, kInsertHead));
    insert->Bind(1, hash).Bind(2, RowId(tenant, revision));
    PT_RETURN_IF_ERROR(insert->Run());
    return 0;
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement move, Prepare(kMoveHead));
  move.Bind(1, RowId(tenant, revision)).Bind(2, hash).Bind(3, RowId(tenant, previous));
  PT_RETURN_IF_ERROR(move.Run());
  if (connection_.db.changes() != 1) {
    return absl::InternalError("the version that another one follows is not the head");
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement supersede, Prepare(kSupersede));
  supersede.Bind(1, RowId(tenant, previous));
  PT_RETURN_IF_ERROR(supersede.Run());
  return previous;
}

absl::Status SqliteWriter::InsertVersion(int64_t tenant, int64_t type, Revision previous,
                                         const StoredVersion& stored) {
  const Version& version = stored.version;
  PT_CHECK(stored.content_hash.size() == 32);
  PT_CHECK(stored.field_times.empty() || stored.field_times.size() == version.fields.size());
  PT_CHECK(stored.field_writers.empty() || stored.field_writers.size() == version.fields.size());
  PT_ASSIGN_OR_RETURN(const int64_t modified_by, connection_.names.FindOrAdd(version.modified_by));
  PT_ASSIGN_OR_RETURN(const int64_t user, connection_.names.FindOrAdd(stored.user));
  PT_ASSIGN_OR_RETURN(const int64_t device, connection_.names.FindOrAdd(stored.device));
  PT_ASSIGN_OR_RETURN(const std::string writers, WritersOf(stored.device, stored.field_writers));
  PT_ASSIGN_OR_RETURN(sqlite::Statement * insert, Hot(&insert_version_, kInsertVersion));
  // What is not bound is NULL, since the last run borrowed, too.
  insert->Bind(1, RowId(tenant, version.revision)).Bind(2, type);
  insert->BindBorrowed(3, version.key.id);
  insert->Bind(4, previous).Bind(5, version.deleted).Bind(6, version.last_modified);
  insert->Bind(8, modified_by).Bind(9, user).Bind(10, device);
  if (stored.claimed_time != version.last_modified) insert->Bind(7, stored.claimed_time);
  insert->BindBorrowedBlob(11, stored.content_hash);
  if (!writers.empty()) insert->BindBorrowedBlob(16, writers);
  const std::string times = EncodeFieldTimes(stored.field_times, version.last_modified);
  if (!times.empty()) insert->BindBorrowedBlob(12, times);
  if (version.conflict.has_value()) insert->BindBlob(13, EncodeNotice(*version.conflict));
  if (!stored.raised_by.empty()) {
    PT_ASSIGN_OR_RETURN(const int64_t raised_by, connection_.names.FindOrAdd(stored.raised_by));
    insert->Bind(15, raised_by);
  }
  const bool has_content = !version.deleted || !version.fields.empty();
  std::string content;
  if (has_content) content = EncodeFields(version.fields);
  if (has_content) insert->BindBorrowedBlob(14, content);
  return insert->Run();
}

absl::StatusOr<std::string> SqliteWriter::WritersOf(absl::string_view device,
                                                    std::span<const std::string> writers) {
  std::vector<int64_t> ids;
  ids.reserve(writers.size());
  for (const std::string& writer : writers) {
    ids.push_back(0);
    if (writer == device) continue;
    PT_ASSIGN_OR_RETURN(ids.back(), connection_.names.FindOrAdd(writer));
  }
  return EncodeFieldWriters(ids);
}

absl::Status SqliteWriter::CloseBatch(TenantState* state, BatchEnd end, absl::Time committed_at) {
  // Never below the one before: a search by time relies on it, and a clock that
  // was set back must not make new versions look old enough to be pruned.
  const int64_t time = std::max(absl::ToUnixNanos(committed_at), state->committed_at);
  PT_ASSIGN_OR_RETURN(sqlite::Statement batch, Prepare(kInsertBatch));
  batch.Bind(1, RowId(state->id, end.sequence)).Bind(2, static_cast<int64_t>(end.tag));
  batch.Bind(3, time);
  PT_RETURN_IF_ERROR(batch.Run());
  PT_ASSIGN_OR_RETURN(sqlite::Statement newest, Prepare(kWriteNewest));
  newest.Bind(1, end.sequence).Bind(2, static_cast<int64_t>(end.tag)).Bind(3, time);
  newest.Bind(4, state->id);
  PT_RETURN_IF_ERROR(newest.Run());
  state->newest = end;
  state->committed_at = time;
  return absl::OkStatus();
}

absl::Status SqliteWriter::Audit(absl::string_view tenant, const AuditEvent& event) {
  return Write([&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(TenantState * state, Tenant(tenant));
    return AppendAudit(state, event);
  });
}

absl::Status SqliteWriter::AppendAudit(TenantState* state, const AuditEvent& event) {
  const int64_t sequence = state->audit.sequence + 1;
  const bool forgets = PT_PLANTED("the audit chain forgets the row before");
  const absl::string_view before = forgets ? absl::string_view() : state->audit.hash;
  std::string hash = AuditHash(before, sequence, event);
  PT_ASSIGN_OR_RETURN(sqlite::Statement * insert, Hot(&insert_audit_, kInsertAudit));
  insert->Bind(1, RowId(state->id, sequence)).Bind(11, event.revision);
  insert->BindBorrowed(2, TimeText(event.at)).BindBorrowed(3, event.event);
  insert->BindBorrowed(4, event.device).BindBorrowed(5, event.user).BindBorrowed(6, event.claimed);
  insert->BindBorrowed(7, event.key.type).BindBorrowed(8, event.key.id);
  insert->BindBorrowed(9, event.outcome).BindBorrowed(10, event.rule);
  insert->BindBorrowed(12, event.reason).BindBorrowedBlob(13, hash);
  PT_RETURN_IF_ERROR(insert->Run());
  state->audit = {sequence, std::move(hash)};
  state->dirty = true;
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
