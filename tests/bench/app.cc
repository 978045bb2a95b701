#include "tests/bench/app.h"

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "tests/bench/database.h"
#include "tests/bench/patients.h"
#include "tests/bench/probe.h"

namespace ptdoc::bench {
namespace {

constexpr timespec kRest = {0, 1'000'000};
// Between what is read and what is written.
constexpr timespec kThinking = {0, 1'000'000};

bool InputEnded() {
  pollfd poll_fd = {STDIN_FILENO, POLLIN, 0};
  char byte = 0;
  return poll(&poll_fd, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

class App {
 public:
  explicit App(const AppOptions& options)
      : options_(options),
        db_(options.db),
        insert_(db_, InsertPatientSql()),
        newest_(db_, "SELECT max(rowid) FROM Patient"),
        maker_(options.seed) {
    sqlite3_busy_timeout(db_.get(), options.timeout_ms);
  }

  // False if SQLite refused it.
  bool Write() {
    maker_.Next(&patient_);
    BindPatient(patient_, &insert_);
    if (!Try(options_.reads_first ? "BEGIN" : "BEGIN IMMEDIATE")) return false;
    if (options_.reads_first) {
      newest_.Run();
      nanosleep(&kThinking, nullptr);
    }
    if (insert_.TryRun() && Try("COMMIT")) return true;
    if (sqlite3_get_autocommit(db_.get()) == 0) db_.Exec("ROLLBACK");
    return false;
  }

 private:
  bool Try(const char* sql) {
    const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) Die(sqlite3_errmsg(db_.get()));
    return code == SQLITE_OK;
  }

  const AppOptions options_;
  Database db_;
  Statement insert_;
  Statement newest_;
  PatientMaker maker_;
  Patient patient_;
};

}  // namespace

int RunApp(const AppOptions& options) {
  prctl(PR_SET_TIMERSLACK, 1000);
  App app(options);
  std::vector<double> times;
  int64_t refused = 0;
  for (int64_t i = 0; i < options.writes_max && !InputEnded(); ++i) {
    const double start = Seconds();
    if (!app.Write()) ++refused;
    times.push_back((Seconds() - start) * 1000);
    nanosleep(&kRest, nullptr);
  }
  if (times.empty()) Die("the app committed nothing");
  const size_t count = times.size();
  const Latency latency = LatencyOf(std::move(times));
  std::printf(
      "{\"writes\": %zu, \"refused\": %lld, \"p50_ms\": %.4f, \"p99_ms\": %.4f, "
      "\"max_ms\": %.4f}\n",
      count, static_cast<long long>(refused), latency.p50, latency.p99, latency.max);
  return 0;
}

}  // namespace ptdoc::bench
