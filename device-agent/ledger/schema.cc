#include "device-agent/ledger/schema.h"

namespace ptdoc::sync {

const std::vector<std::string>& LedgerMigrations() {
  static const std::vector<std::string>* const kSteps = new std::vector<std::string>{
      // The seed prints SQL on SyncQueueItems and SyncConflictArchives: their
      // names, columns and numbers are an interface. No UNIQUE constraint may
      // stand on the queue, for the seed's UPDATE must not fail half-way.
      R"sql(
CREATE TABLE SyncMeta(
  Name TEXT PRIMARY KEY NOT NULL,
  Value
) WITHOUT ROWID;
CREATE TABLE SyncColumnSets(
  Id INTEGER PRIMARY KEY,
  Columns BLOB NOT NULL UNIQUE
);
CREATE TABLE SyncTypes(
  Id INTEGER PRIMARY KEY,
  Name TEXT NOT NULL UNIQUE
);
CREATE TABLE SyncQueueItems(
  Id INTEGER PRIMARY KEY AUTOINCREMENT,
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  Operation INTEGER NOT NULL,
  EnqueuedAt TEXT NOT NULL,
  Status INTEGER NOT NULL DEFAULT 0,
  RetryCount INTEGER NOT NULL DEFAULT 0,
  MaxRetries INTEGER NOT NULL DEFAULT 3,
  ErrorMessage TEXT,
  BatchId TEXT,
  NextAttemptAt TEXT,
  CompletedAt TEXT,
  LastModifiedNs INTEGER NOT NULL DEFAULT 0,
  Flags INTEGER NOT NULL DEFAULT 0,
  DrainNo INTEGER NOT NULL DEFAULT 0,
  SentHashes BLOB,
  SentBase INTEGER
);
CREATE INDEX SyncQueueItems_Status_EnqueuedAt ON SyncQueueItems(Status, EnqueuedAt);
CREATE INDEX SyncQueueItems_Entity ON SyncQueueItems(EntityType, EntityId);
CREATE INDEX SyncQueueItems_Open ON SyncQueueItems(Status) WHERE Status IN (0, 1, 3);
CREATE TABLE SyncRowStates(
  TypeId INTEGER NOT NULL,
  EntityId TEXT NOT NULL,
  Revision INTEGER NOT NULL,
  CheckBytes BLOB,
  LastModifiedNs INTEGER NOT NULL,
  RowHashes BLOB NOT NULL,
  Unconfirmed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (TypeId, EntityId)
) WITHOUT ROWID;
CREATE INDEX SyncRowStates_Unconfirmed ON SyncRowStates(Unconfirmed) WHERE Unconfirmed = 1;
CREATE TABLE SyncConflictArchives(
  Id INTEGER PRIMARY KEY AUTOINCREMENT,
  ConflictId TEXT NOT NULL UNIQUE,
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  ResolutionType TEXT NOT NULL,
  Rule TEXT NOT NULL DEFAULT '',
  Reason TEXT NOT NULL,
  DetectedAt TEXT NOT NULL,
  ArchivedDataJson TEXT,
  ChosenDataJson TEXT,
  BaseDataJson TEXT,
  ArchivedVersionLastModifiedUtc TEXT,
  ChosenVersionLastModifiedUtc TEXT,
  ArchivedLastModifiedNs INTEGER NOT NULL DEFAULT 0,
  ChosenLastModifiedNs INTEGER NOT NULL DEFAULT 0,
  ArchivedByUserId TEXT,
  ArchivedDeviceId TEXT,
  ChosenByUserId TEXT,
  ChosenDeviceId TEXT,
  IsResolved INTEGER NOT NULL DEFAULT 0,
  ResolvedAt TEXT,
  ResolvedByUserId TEXT,
  ResolvedAction TEXT
);
CREATE INDEX SyncConflictArchives_Entity ON SyncConflictArchives(EntityType, EntityId);
CREATE INDEX SyncConflictArchives_IsResolved ON SyncConflictArchives(IsResolved);
CREATE TABLE SyncStale(
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  Revision INTEGER NOT NULL,
  PutBack INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (EntityType, EntityId)
) WITHOUT ROWID;
CREATE TABLE SyncSetAside(
  EntityType TEXT NOT NULL,
  EntityId TEXT NOT NULL,
  Revision INTEGER NOT NULL,
  Code TEXT NOT NULL,
  ConstraintName TEXT NOT NULL,
  Attempts INTEGER NOT NULL DEFAULT 0,
  CheckBytes BLOB,
  Deleted INTEGER NOT NULL,
  LastModifiedNs INTEGER NOT NULL,
  ModifiedByUserId TEXT NOT NULL,
  Content BLOB NOT NULL,
  PRIMARY KEY (EntityType, EntityId)
);
CREATE TABLE SyncIntents(
  PageNumber INTEGER PRIMARY KEY,
  PageTag INTEGER NOT NULL,
  Kind TEXT NOT NULL,
  Payload BLOB NOT NULL
);
)sql",
      // Of the open items alone: an entity's past is not read for each version.
      R"sql(
DROP INDEX SyncQueueItems_Entity;
CREATE INDEX SyncQueueItems_Entity ON SyncQueueItems(EntityType, EntityId)
  WHERE Status IN (0, 1, 3);
CREATE INDEX SyncQueueItems_Initial ON SyncQueueItems(Status)
  WHERE Status IN (0, 1, 3) AND (Flags & 8) != 0;
CREATE INDEX SyncQueueItems_Held ON SyncQueueItems(Status)
  WHERE Status IN (0, 1, 3) AND (Flags & 16) != 0;
ALTER TABLE SyncStale ADD COLUMN RowHashes BLOB;
)sql",
      // For IN with more than two values SQLite builds a table, and a partial index
      // is asked about the old and the new row of every write: that took more than
      // half of all the work of sending.
      R"sql(
DROP INDEX SyncQueueItems_Entity;
DROP INDEX SyncQueueItems_Open;
DROP INDEX SyncQueueItems_Initial;
DROP INDEX SyncQueueItems_Held;
CREATE INDEX SyncQueueItems_Entity ON SyncQueueItems(EntityType, EntityId)
  WHERE Status = 0 OR Status = 1 OR Status = 3;
CREATE INDEX SyncQueueItems_Open ON SyncQueueItems(Status)
  WHERE Status = 0 OR Status = 1 OR Status = 3;
CREATE INDEX SyncQueueItems_Initial ON SyncQueueItems(Status)
  WHERE (Status = 0 OR Status = 1 OR Status = 3) AND (Flags & 8) != 0;
CREATE INDEX SyncQueueItems_Held ON SyncQueueItems(Status)
  WHERE (Status = 0 OR Status = 1 OR Status = 3) AND (Flags & 16) != 0;
)sql",
      // A row in a batch is written twice, as Processing and when it is answered:
      // each index that such a write moves costs as much as the row itself. So what
      // was sent stands once for a whole batch, an index that is not of waiting items
      // says CompletedAt IS NULL in the place of their statuses, and one of waiting
      // items lets them go. BindItem and Ledger::Mend keep CompletedAt so.
      R"sql(
DROP INDEX SyncQueueItems_Status_EnqueuedAt;
DROP INDEX SyncQueueItems_Entity;
DROP INDEX SyncQueueItems_Open;
DROP INDEX SyncQueueItems_Initial;
DROP INDEX SyncQueueItems_Held;
CREATE TABLE SyncBatches(
  Id INTEGER PRIMARY KEY AUTOINCREMENT,
  BatchId TEXT NOT NULL UNIQUE,
  Items BLOB NOT NULL
);
INSERT INTO SyncBatches(BatchId, Items)
  SELECT BatchId, x'' FROM SyncQueueItems WHERE Status = 1 AND BatchId IS NOT NULL
  GROUP BY BatchId ORDER BY min(Id);
UPDATE SyncQueueItems SET CompletedAt = NULL
  WHERE (Status = 0 OR Status = 1 OR Status = 3) AND CompletedAt IS NOT NULL;
UPDATE SyncQueueItems SET CompletedAt = EnqueuedAt
  WHERE (Status = 2 OR Status = 4) AND CompletedAt IS NULL;
CREATE INDEX SyncQueueItems_Status_EnqueuedAt ON SyncQueueItems(Status, EnqueuedAt)
  WHERE Status = 0 OR Status = 3;
CREATE INDEX SyncQueueItems_Waiting ON SyncQueueItems(Status)
  WHERE Status = 0 OR Status = 3;
CREATE INDEX SyncQueueItems_Entity ON SyncQueueItems(EntityType, EntityId)
  WHERE CompletedAt IS NULL;
CREATE INDEX SyncQueueItems_Initial ON SyncQueueItems(Flags)
  WHERE (Flags & 8) != 0 AND CompletedAt IS NULL;
CREATE INDEX SyncQueueItems_Held ON SyncQueueItems(Flags)
  WHERE (Flags & 16) != 0 AND CompletedAt IS NULL;
)sql",
      // Local integers of rows that are gone, by which rows that stayed behind are known.
      R"sql(
CREATE TABLE SyncGoneNumbers(
  EntityType TEXT NOT NULL,
  LocalId INTEGER NOT NULL,
  EntityId TEXT NOT NULL,
  PRIMARY KEY (EntityType, LocalId)
) WITHOUT ROWID;
CREATE INDEX SyncGoneNumbers_Entity ON SyncGoneNumbers(EntityType, EntityId);
)sql"};
  return *kSteps;
}

}  // namespace ptdoc::sync
