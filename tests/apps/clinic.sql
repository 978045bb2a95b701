-- A small clinic's application database: the schema as the application made it.
-- Nothing here knows of the sync agent.
PRAGMA journal_mode = WAL;
PRAGMA foreign_keys = ON;

CREATE TABLE Patient (
  Id TEXT PRIMARY KEY NOT NULL,
  FirstName TEXT NOT NULL,
  LastName TEXT NOT NULL,
  DateOfBirth TEXT NOT NULL,
  Sex TEXT,
  Phone TEXT,
  Email TEXT,
  Street TEXT,
  City TEXT,
  State TEXT,
  Zip TEXT,
  HeightCm REAL,
  LastModifiedUtc TEXT,
  ModifiedByUserId TEXT,
  SyncState TEXT
);
CREATE INDEX Patient_Name ON Patient(LastName, FirstName);
CREATE INDEX Patient_Born ON Patient(DateOfBirth);

CREATE TABLE ClinicalNote (
  Id TEXT PRIMARY KEY NOT NULL,
  PatientId TEXT NOT NULL REFERENCES Patient(Id),
  VisitDate TEXT NOT NULL,
  Kind TEXT NOT NULL CHECK (Kind IN ('Evaluation', 'Progress', 'Discharge', 'Addendum')),
  Subjective TEXT,
  Objective TEXT,
  Assessment TEXT,
  Plan TEXT,
  Minutes INTEGER,
  SignatureHash TEXT,
  SignedBy TEXT,
  LastModifiedUtc TEXT,
  ModifiedByUserId TEXT,
  SyncState TEXT
);
CREATE INDEX ClinicalNote_Patient ON ClinicalNote(PatientId, VisitDate);

CREATE TABLE IntakeForm (
  Id TEXT PRIMARY KEY NOT NULL,
  PatientId TEXT NOT NULL REFERENCES Patient(Id) ON DELETE CASCADE,
  Complaint TEXT,
  PainScale INTEGER CHECK (PainScale BETWEEN 0 AND 10),
  Medications TEXT,
  Allergies TEXT,
  IsLocked INTEGER NOT NULL DEFAULT 0,
  LastModifiedUtc TEXT,
  ModifiedByUserId TEXT,
  SyncState TEXT
);
CREATE INDEX IntakeForm_Patient ON IntakeForm(PatientId);

-- The application searches its notes: an external-content index that its own
-- triggers keep right.
CREATE VIRTUAL TABLE NoteSearch USING fts5(
  Subjective, Objective, Assessment, Plan, content = 'ClinicalNote', content_rowid = 'rowid');
CREATE TRIGGER NoteSearch_insert AFTER INSERT ON ClinicalNote BEGIN
  INSERT INTO NoteSearch(rowid, Subjective, Objective, Assessment, Plan)
  VALUES (new.rowid, new.Subjective, new.Objective, new.Assessment, new.Plan);
END;
CREATE TRIGGER NoteSearch_delete AFTER DELETE ON ClinicalNote BEGIN
  INSERT INTO NoteSearch(NoteSearch, rowid, Subjective, Objective, Assessment, Plan)
  VALUES ('delete', old.rowid, old.Subjective, old.Objective, old.Assessment, old.Plan);
END;
CREATE TRIGGER NoteSearch_update AFTER UPDATE ON ClinicalNote BEGIN
  INSERT INTO NoteSearch(NoteSearch, rowid, Subjective, Objective, Assessment, Plan)
  VALUES ('delete', old.rowid, old.Subjective, old.Objective, old.Assessment, old.Plan);
  INSERT INTO NoteSearch(rowid, Subjective, Objective, Assessment, Plan)
  VALUES (new.rowid, new.Subjective, new.Objective, new.Assessment, new.Plan);
END;
