-- The application's table that every speed is measured on: 12 fields, about 350
-- bytes as JSON, random UUID text keys, two secondary indexes.
PRAGMA journal_mode = WAL;

CREATE TABLE Patient (
  Id TEXT PRIMARY KEY NOT NULL,
  RecordNumber TEXT NOT NULL,
  FirstName TEXT NOT NULL,
  LastName TEXT NOT NULL,
  DateOfBirth TEXT NOT NULL,
  Phone TEXT,
  Email TEXT,
  Street TEXT,
  City TEXT,
  Insurance TEXT,
  Alert TEXT,
  HeightCm REAL
);
CREATE INDEX Patient_Name ON Patient(LastName, FirstName);
CREATE INDEX Patient_Born ON Patient(DateOfBirth);
