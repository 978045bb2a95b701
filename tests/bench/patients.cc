#include "tests/bench/patients.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <vector>

namespace ptdoc::bench {
namespace {

constexpr std::array<const char*, 8> kFirst = {"Ana",   "Benjamin", "Chiara", "Daniel",
                                               "Elena", "Farid",    "Grace",  "Hiroshi"};
constexpr std::array<const char*, 8> kLast = {"Alvarez", "Bergstrom", "Chen",   "Dubois",
                                              "Eriksen", "Fontaine",  "Garcia", "Hashimoto"};
constexpr std::array<const char*, 8> kStreet = {"Maple Avenue", "Oak Street",    "Lake Drive",
                                                "Hill Road",    "Station Road",  "Park Lane",
                                                "River Walk",   "Church Terrace"};
constexpr std::array<const char*, 8> kCity = {"Portland", "Madison",  "Boulder",    "Richmond",
                                              "Spokane",  "Savannah", "Sacramento", "Burlington"};
constexpr std::array<const char*, 4> kInsurance = {"Blue Shield PPO", "Medicare Part B",
                                                   "Aetna Open Access", "Self-pay"};
constexpr std::array<const char*, 4> kAlert = {"Allergic to latex", "Fall risk: walks with a cane",
                                               "None",
                                               "Post-operative, left knee, no weight bearing"};

// So that a million rows do not stand in memory.
constexpr int64_t kPatientsAtOnce = 20'000;

template <typename... Args>
std::string Format(const char* format, Args... args) {
  char buffer[128];
  const int size = std::snprintf(buffer, sizeof(buffer), format, args...);
  return std::string(buffer, static_cast<size_t>(size));
}

}  // namespace

std::string PatientMaker::Uuid() {
  const uint64_t high = (random_() & ~0xf000ULL) | 0x4000ULL;
  const uint64_t low = (random_() & 0x3fffffffffffffffULL) | 0x8000000000000000ULL;
  return Format("%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                static_cast<unsigned>(high >> 16 & 0xffff), static_cast<unsigned>(high & 0xffff),
                static_cast<unsigned>(low >> 48),
                static_cast<unsigned long long>(low & 0xffffffffffffULL));
}

void PatientMaker::Next(Patient* patient) {
  const auto pick = [this](const auto& from) { return from[Below(from.size())]; };
  const unsigned number = static_cast<unsigned>(Below(1'000'000'000));
  const std::string first = pick(kFirst);
  // Names repeat in a clinic, but not by the thousand.
  const std::string last = Format("%s-%03u", pick(kLast), static_cast<unsigned>(Below(1000)));
  patient->clear_texts();
  const auto add = [patient](const std::string& text) { patient->add_texts(text); };
  add(Uuid());
  // Unique: a UNIQUE index is laid on it.
  add(Format("MR-%012llx", static_cast<unsigned long long>(random_() >> 16)));
  add(first);
  add(last);
  add(Format("%04u-%02u-%02u", static_cast<unsigned>(1930 + Below(90)),
             static_cast<unsigned>(1 + Below(12)), static_cast<unsigned>(1 + Below(28))));
  add(Format("+1 %03u %03u %03u", number / 1'000'000, number / 1000 % 1000, number % 1000));
  add(Format("%s.%s%02u@example.org", first.c_str(), last.c_str(), number % 100));
  add(Format("%u %s", static_cast<unsigned>(1 + Below(999)), pick(kStreet)));
  add(pick(kCity));
  add(pick(kInsurance));
  add(pick(kAlert));
  patient->set_height_cm(150.0 + static_cast<double>(Below(500)) / 10.0);
}

std::string InsertPatientSql() {
  return std::string("INSERT INTO Patient(") + kPatientColumns +
         ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
}

void BindPatient(const Patient& patient, Statement* insert) {
  for (int i = 0; i < kTextColumns; ++i) insert->Text(i + 1, patient.texts(i));
  insert->Real(kTextColumns + 1, patient.height_cm());
}

void ReadPatient(Statement& select, int first, Patient* patient) {
  patient->clear_texts();
  for (int i = 0; i < kTextColumns; ++i) select.Copy(first + i, patient->add_texts());
  patient->set_height_cm(select.ColumnReal(first + kTextColumns));
}

double InsertPatients(Database& db, uint64_t seed, int64_t rows, int64_t per_transaction) {
  Statement insert(db, InsertPatientSql());
  PatientMaker maker(seed);
  std::vector<Patient> patients(static_cast<size_t>(std::min(rows, kPatientsAtOnce)));
  double seconds = 0;
  for (int64_t done = 0; done < rows;) {
    const int64_t end = std::min(rows, done + kPatientsAtOnce);
    for (Patient& patient : patients) maker.Next(&patient);
    const double start = Seconds();
    for (const int64_t first = done; done < end; ++done) {
      if (done % per_transaction == 0) db.Exec("BEGIN IMMEDIATE");
      BindPatient(patients[static_cast<size_t>(done - first)], &insert);
      insert.Run();
      if ((done + 1) % per_transaction == 0 || done + 1 == rows) db.Exec("COMMIT");
    }
    seconds += Seconds() - start;
  }
  return seconds;
}

double AverageBytes(uint64_t seed, int64_t rows) {
  PatientMaker maker(seed);
  Patient patient;
  size_t bytes = 0;
  for (int64_t i = 0; i < rows; ++i) {
    maker.Next(&patient);
    bytes += patient.ByteSizeLong();
  }
  return static_cast<double>(bytes) / static_cast<double>(rows);
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace ptdoc::bench
