#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "floor.pb.h"
#include "tests/bench/database.h"

namespace ptdoc::bench {

inline constexpr char kPatientColumns[] =
    "Id, RecordNumber, FirstName, LastName, DateOfBirth, Phone, Email, Street, City, Insurance, "
    "Alert, HeightCm";
inline constexpr int kTextColumns = 11;

// Makes realistic rows. One seed always gives the same rows.
class PatientMaker {
 public:
  explicit PatientMaker(uint64_t seed) : random_(seed) {}

  void Next(Patient* patient);

 private:
  std::string Uuid();
  uint64_t Below(uint64_t end) { return random_() % end; }

  std::mt19937_64 random_;
};

// INSERT INTO Patient, with all columns as parameters.
std::string InsertPatientSql();
void BindPatient(const Patient& patient, Statement* insert);
// Reads the columns of kPatientColumns from `first` on.
void ReadPatient(Statement& select, int first, Patient* patient);

// Inserts `rows` rows in transactions of `per_transaction`; returns the seconds,
// without those that it took to think the rows up.
double InsertPatients(Database& db, uint64_t seed, int64_t rows, int64_t per_transaction);

// Bytes of a row as protobuf, on average over `rows` of them.
double AverageBytes(uint64_t seed, int64_t rows);

// Of a steady clock.
double Seconds();

}  // namespace ptdoc::bench
