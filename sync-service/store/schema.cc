#include "sync-service/store/schema.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kApplicationId = 0x50544453;  // "PTDS", in the file's header
constexpr size_t kEpochBytes = 16;
constexpr size_t kMacKeyBytes = 32;

// Every column is explained in docs/SCHEMA.md. Columns that are not looked at
// while a log is skipped over stand last: SQLite stops reading a row there.
constexpr char kVersion1[] = R"sql(
PRAGMA application_id = 1347699795;

CREATE TABLE Meta (
  Key TEXT NOT NULL PRIMARY KEY,
  Value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE Tenants (
  TenantId INTEGER PRIMARY KEY,
  Name TEXT NOT NULL UNIQUE,
  LastRevision INTEGER NOT NULL DEFAULT 0,
  LastTag INTEGER NOT NULL DEFAULT 0,
  LastCommittedAt INTEGER NOT NULL DEFAULT 0,
  SharedRevision INTEGER,
  PrunedUpTo INTEGER NOT NULL DEFAULT 0,
  PruneScannedTo INTEGER NOT NULL DEFAULT 0,
  AuditSequence INTEGER NOT NULL DEFAULT 0,
  AuditHash BLOB NOT NULL DEFAULT x''
);

CREATE TABLE Names (
  NameId INTEGER PRIMARY KEY,
  Name TEXT NOT NULL UNIQUE
);

CREATE TABLE Versions (
  Id INTEGER PRIMARY KEY,
  TypeId INTEGER NOT NULL,
  EntityId TEXT NOT NULL,
  Previous INTEGER NOT NULL,
  Deleted INTEGER NOT NULL,
  Superseded INTEGER NOT NULL,
  ModifiedAt INTEGER NOT NULL,
  ClaimedAt INTEGER,
  ModifiedBy INTEGER NOT NULL,
  TokenUser INTEGER NOT NULL,
  Device INTEGER NOT NULL,
  RaisedBy INTEGER,
  ContentHash BLOB NOT NULL,
  FieldTimes BLOB,
  Notice BLOB,
  Content BLOB,
  TenantId INTEGER GENERATED ALWAYS AS (Id >> 40) VIRTUAL,
  Revision INTEGER GENERATED ALWAYS AS (Id & 1099511627775) VIRTUAL
);
CREATE INDEX VersionsToPrune ON Versions (Id) WHERE Previous > 0 OR Deleted = 1;

CREATE TABLE Batches (
  Id INTEGER PRIMARY KEY,
  Tag INTEGER NOT NULL,
  CommittedAt INTEGER NOT NULL,
  TenantId INTEGER GENERATED ALWAYS AS (Id >> 40) VIRTUAL,
  LastRevision INTEGER GENERATED ALWAYS AS (Id & 1099511627775) VIRTUAL
);

CREATE TABLE Heads (
  KeyHash INTEGER NOT NULL,
  VersionId INTEGER NOT NULL,
  PRIMARY KEY (KeyHash, VersionId)
) WITHOUT ROWID;

CREATE TABLE PrunedHashes (
  KeyHash INTEGER NOT NULL,
  ContentHash BLOB NOT NULL,
  PRIMARY KEY (KeyHash, ContentHash)
) WITHOUT ROWID;

CREATE TABLE Receipts (
  Id INTEGER PRIMARY KEY,
  TenantId INTEGER NOT NULL,
  Device INTEGER NOT NULL,
  BatchId TEXT NOT NULL,
  CommittedAt INTEGER NOT NULL,
  Voided INTEGER NOT NULL,
  EntitiesDigest BLOB NOT NULL,
  LastRevision INTEGER NOT NULL,
  Tag INTEGER NOT NULL,
  Results BLOB
);
CREATE UNIQUE INDEX ReceiptsByBatch ON Receipts (TenantId, Device, BatchId);

CREATE TABLE SyncConflictArchives (
  Id INTEGER PRIMARY KEY,
  TenantId INTEGER NOT NULL,
  ConflictId TEXT NOT NULL,
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  ResolutionType TEXT NOT NULL,
  Rule TEXT NOT NULL,
  Reason TEXT NOT NULL,
  DetectedAt TEXT NOT NULL,
  ArchivedDataJson TEXT NOT NULL,
  ChosenDataJson TEXT NOT NULL,
  BaseDataJson TEXT,
  ArchivedVersionLastModifiedUtc TEXT NOT NULL,
  ChosenVersionLastModifiedUtc TEXT NOT NULL,
  ArchivedByUserId TEXT NOT NULL,
  ArchivedDeviceId TEXT NOT NULL,
  ChosenByUserId TEXT NOT NULL,
  ChosenDeviceId TEXT NOT NULL,
  IsResolved INTEGER NOT NULL DEFAULT 0,
  ResolvedAt TEXT,
  ResolvedByUserId TEXT NOT NULL DEFAULT '',
  ResolvedAction TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX SyncConflictArchivesByConflict
  ON SyncConflictArchives (TenantId, ConflictId);
CREATE INDEX SyncConflictArchivesByEntity ON SyncConflictArchives (EntityType, EntityId);
CREATE INDEX SyncConflictArchivesByState ON SyncConflictArchives (IsResolved, TenantId);

CREATE TABLE SyncAudit (
  Id INTEGER PRIMARY KEY,
  At TEXT NOT NULL,
  Event TEXT NOT NULL,
  DeviceId TEXT NOT NULL,
  UserId TEXT NOT NULL,
  ClaimedUserId TEXT NOT NULL,
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  Outcome TEXT NOT NULL,
  Rule TEXT NOT NULL,
  Revision INTEGER NOT NULL,
  Reason TEXT NOT NULL,
  Hash BLOB NOT NULL,
  TenantId INTEGER GENERATED ALWAYS AS (Id >> 40) VIRTUAL,
  Sequence INTEGER GENERATED ALWAYS AS (Id & 1099511627775) VIRTUAL
);

CREATE TABLE SyncDevices (
  TenantId INTEGER NOT NULL,
  DeviceId TEXT NOT NULL,
  FirstSeenAt TEXT NOT NULL,
  LastSeenAt TEXT NOT NULL,
  Agent TEXT NOT NULL,
  RevokedAt TEXT,
  Pending INTEGER,
  Processing INTEGER,
  Failed INTEGER,
  OpenConflicts INTEGER,
  SetAside INTEGER,
  Initial INTEGER,
  OldestPendingAt TEXT,
  LastSyncAt TEXT,
  PRIMARY KEY (TenantId, DeviceId)
) WITHOUT ROWID;

CREATE TABLE SyncTokens (
  TokenId TEXT NOT NULL PRIMARY KEY,
  Hash BLOB NOT NULL UNIQUE,
  Tenant TEXT NOT NULL,
  DeviceId TEXT NOT NULL,
  UserId TEXT NOT NULL,
  Role TEXT NOT NULL,
  CreatedAt TEXT NOT NULL,
  ExpiresAt TEXT NOT NULL,
  RevokedAt TEXT
) WITHOUT ROWID;
)sql";

// Behind Content, so that versions of before need not be written anew: of what is
// NULL no byte is read.
constexpr char kVersion2[] = "ALTER TABLE Versions ADD COLUMN FieldWriters BLOB;";

// Types by line; both NULL = every type.
constexpr char kVersion3[] =
    "ALTER TABLE SyncTokens ADD COLUMN Types TEXT;"
    "ALTER TABLE SyncTokens ADD COLUMN ReadOnlyTypes TEXT;";

std::string NewEpoch(Rng& rng) {
  return absl::BytesToHexString(rng.Bytes(kEpochBytes));
}

absl::Status PutMeta(sqlite::Database& db, absl::string_view sql, absl::string_view key,
                     absl::string_view value) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement put, db.Prepare(sql));
  put.Bind(1, key).BindBlob(2, value);
  return put.Run();
}

// An empty file is nobody's yet.
absl::Status CheckIsOursOrEmpty(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const int64_t objects, db.QueryInt("SELECT count(*) FROM sqlite_master"));
  return objects == 0 ? absl::OkStatus() : CheckIsStore(db);
}

}  // namespace

absl::StatusOr<std::string> ReadMeta(sqlite::Database& db, const char* key) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement meta, db.Prepare("SELECT Value FROM Meta WHERE Key = ?"));
  meta.Bind(1, key);
  PT_ASSIGN_OR_RETURN(const bool found, meta.Step());
  if (!found) return absl::DataLossError("the store has lost its epoch or its key");
  return std::string(meta.Blob(0));
}

absl::Status CheckIsStore(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const int64_t id, db.QueryInt("PRAGMA application_id"));
  if (id == kApplicationId) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the file is another program's database, not a store of sync-service; nothing was changed; "
      "give the path of a store");
}

absl::Status MigrateSchema(sqlite::Database& db) {
  return sqlite::Migrate(db, {kVersion1, kVersion2, kVersion3});
}

absl::Status PrepareSchema(sqlite::Database& db, absl::Time now, Rng& rng) {
  constexpr char kPutIfAbsent[] =
      "INSERT INTO Meta (Key, Value) VALUES (?, ?) ON CONFLICT DO NOTHING";
  PT_RETURN_IF_ERROR(CheckIsOursOrEmpty(db));
  PT_ASSIGN_OR_RETURN(const Value mode, db.QueryValue("PRAGMA journal_mode=WAL"));
  if (mode != Value::Text("wal") && mode != Value::Text("memory")) {
    return absl::FailedPreconditionError(
        "the store cannot be put into WAL mode; is it on a network file system?");
  }
  PT_RETURN_IF_ERROR(MigrateSchema(db));
  PT_ASSIGN_OR_RETURN(const int64_t known, db.QueryInt("SELECT count(*) FROM Meta"));
  if (known > 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(sqlite::Transaction transaction, sqlite::Transaction::Begin(db));
  // Another process may have been faster; then its values stay.
  PT_RETURN_IF_ERROR(PutMeta(db, kPutIfAbsent, kMetaEpoch, NewEpoch(rng)));
  PT_RETURN_IF_ERROR(PutMeta(db, kPutIfAbsent, kMetaMacKey, rng.Bytes(kMacKeyBytes)));
  PT_RETURN_IF_ERROR(PutMeta(db, kPutIfAbsent, kMetaCreatedAt, FormatUtc(now)));
  return transaction.Commit();
}

absl::Status StartNewEpoch(sqlite::Database& db, Rng& rng) {
  constexpr char kReplace[] =
      "INSERT INTO Meta (Key, Value) VALUES (?, ?) ON CONFLICT DO UPDATE SET Value = "
      "excluded.Value";
  // A second restore may go back behind the first one: what all epochs share is
  // the lowest of the revisions restored to.
  constexpr char kShare[] =
      "UPDATE Tenants SET SharedRevision = min(coalesce(SharedRevision, LastRevision), "
      "LastRevision)";
  PT_ASSIGN_OR_RETURN(sqlite::Transaction transaction, sqlite::Transaction::Begin(db));
  PT_RETURN_IF_ERROR(PutMeta(db, kReplace, kMetaEpoch, NewEpoch(rng)));
  PT_RETURN_IF_ERROR(PutMeta(db, kReplace, kMetaRestored, "1"));
  PT_RETURN_IF_ERROR(db.Exec(kShare));
  return transaction.Commit();
}

}  // namespace ptdoc::sync
