#include "tests/bench/probe.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "tests/bench/database.h"
#include "tests/bench/patients.h"

namespace ptdoc::bench {
namespace {

constexpr int64_t kWarmUps = 20;
constexpr int64_t kRestNsMin = 15'000'000;
constexpr int64_t kRestNsMax = 25'000'000;
// Often enough for a tenth of a millisecond, rarely enough to leave the
// processor to those who are measured.
constexpr int64_t kLookNs = 40'000;
constexpr double kArrivesWithinSeconds = 30;

void Rest(int64_t ns) {
  const timespec pause = {0, ns};
  nanosleep(&pause, nullptr);
}

}  // namespace

Latency LatencyOf(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&times](size_t percent) { return times[(times.size() - 1) * percent / 100]; };
  return {at(50), at(99), times.back()};
}

void PrintLatency(const Latency& latency) {
  std::printf("{\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n", latency.p50, latency.p99,
              latency.max);
}

Latency MeasureLatency(const std::string& from, const std::string& to, int64_t writes,
                       uint64_t seed) {
  prctl(PR_SET_TIMERSLACK, 1000);
  Database source(from);
  Database target(to);
  Statement insert(source, InsertPatientSql());
  Statement find(target, "SELECT 1 FROM Patient WHERE Id = ?");
  PatientMaker maker(seed);
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int64_t> rest(kRestNsMin, kRestNsMax);
  std::vector<double> times;
  Patient patient;
  for (int64_t i = 0; i < kWarmUps + writes; ++i) {
    Rest(rest(random));
    maker.Next(&patient);
    BindPatient(patient, &insert);
    find.Text(1, patient.texts(0));
    source.Exec("BEGIN IMMEDIATE");
    insert.Run();
    const double start = Seconds();
    source.Exec("COMMIT");
    while (!find.Step()) {
      if (Seconds() - start > kArrivesWithinSeconds) Die("a row did not arrive");
      Rest(kLookNs);
    }
    times.push_back((Seconds() - start) * 1000);
    find.Reset();
  }
  times.erase(times.begin(), times.begin() + kWarmUps);
  return LatencyOf(std::move(times));
}

}  // namespace ptdoc::bench
