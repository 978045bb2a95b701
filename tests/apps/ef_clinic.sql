-- As EF Core writes it for PTDoc's in-process engine: GUIDs and times are TEXT,
-- enums INTEGER, GUIDs of rows in upper case and those of its queue in lower.
CREATE TABLE "Patients" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_Patients" PRIMARY KEY,
    "FirstName" TEXT NOT NULL,
    "LastName" TEXT NOT NULL,
    "LastModifiedUtc" TEXT NOT NULL,
    "ModifiedByUserId" TEXT NULL,
    "SyncState" INTEGER NOT NULL
);
CREATE TABLE "ClinicalNotes" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_ClinicalNotes" PRIMARY KEY,
    "PatientId" TEXT NOT NULL,
    "Content" TEXT NULL,
    "SignatureHash" TEXT NULL,
    "LastModifiedUtc" TEXT NOT NULL,
    "ModifiedByUserId" TEXT NULL,
    "SyncState" INTEGER NOT NULL,
    CONSTRAINT "FK_ClinicalNotes_Patients_PatientId" FOREIGN KEY ("PatientId")
        REFERENCES "Patients" ("Id") ON DELETE CASCADE
);
CREATE TABLE "SyncQueueItems" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_SyncQueueItems" PRIMARY KEY,
    "EntityType" TEXT NOT NULL,
    "EntityId" TEXT NOT NULL,
    "Operation" INTEGER NOT NULL,
    "EnqueuedAt" TEXT NOT NULL,
    "LastAttemptAt" TEXT NULL,
    "Status" INTEGER NOT NULL,
    "RetryCount" INTEGER NOT NULL,
    "MaxRetries" INTEGER NOT NULL,
    "ErrorMessage" TEXT NULL
);
CREATE INDEX "IX_SyncQueueItems_Status_EnqueuedAt" ON "SyncQueueItems" ("Status", "EnqueuedAt");
CREATE TABLE "SyncConflictArchives" (
    "Id" TEXT NOT NULL CONSTRAINT "PK_SyncConflictArchives" PRIMARY KEY,
    "EntityType" TEXT NOT NULL,
    "EntityId" TEXT NOT NULL,
    "DetectedAt" TEXT NOT NULL,
    "ResolutionType" TEXT NOT NULL,
    "Reason" TEXT NOT NULL,
    "ArchivedDataJson" TEXT NOT NULL,
    "IsResolved" INTEGER NOT NULL
);
CREATE TABLE "__EFMigrationsHistory" (
    "MigrationId" TEXT NOT NULL CONSTRAINT "PK___EFMigrationsHistory" PRIMARY KEY,
    "ProductVersion" TEXT NOT NULL
);
