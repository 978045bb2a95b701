// Agents as they run, each on its own thread beside an app that writes, against
// the service's executor: everything but the network. PTDOC_WRITES=5000
// threads_test for more of it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/loop/runner.h"
#include "device-agent/replica/replica.h"
#include "tests/support/scratch_dir.h"
#include "tests/threads/peer.h"
#include "tests/threads/service.h"

namespace ptdoc::sync::threads {
namespace {

constexpr int kDevices = 3;
constexpr int kPassesMax = 10;

constexpr char kSchema[] =
    "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Visits INTEGER);"
    "CREATE TABLE Note(Id TEXT PRIMARY KEY,"
    " PatientId TEXT NOT NULL REFERENCES Patient(Id) ON DELETE CASCADE, Body TEXT);"
    "CREATE TABLE Transfer(Id TEXT PRIMARY KEY, Amount INTEGER)";

int Writes() {
  const char* const text = std::getenv("PTDOC_WRITES");
  return text == nullptr ? 150 : std::atoi(text);
}

// What one thread waits for from another.
class Event {
 public:
  void Happen() {
    MutexLock lock(mutex_);
    happened_ = true;
    changed_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!happened_) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool happened_ ABSL_GUARDED_BY(mutex_) = false;
};

class Device {
 public:
  Device(Service& service, const std::string& path, int number)
      : service_(service), path_(path), name_(absl::StrCat("d", number)) {
    sqlite::Database app = OpenApp(sqlite::OpenOptions::Mode::kCreate);
    EXPECT_EQ(app.Exec(kSchema), absl::OkStatus());
    ReplicaOptions options;
    options.database = path_;
    options.device_id = name_;
    options.plan.all_tables = true;
    EXPECT_TRUE(Replica::Initialise(options, clock_, rng_).ok());
    absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(options, clock_, rng_);
    EXPECT_TRUE(replica.ok()) << replica.status();
    runner_ = std::make_unique<Runner>(
        path_, *std::move(replica),
        [this](Runner& runner) {
          auto peer = std::make_unique<QueuePeer>(service_, runner, name_);
          peer_ = peer.get();
          return peer;
        },
        clock_, rng_, CoreOptions());
    runner_->Start();
  }

  sqlite::Database OpenApp(
      sqlite::OpenOptions::Mode mode = sqlite::OpenOptions::Mode::kReadWrite) const {
    sqlite::OpenOptions options;
    options.mode = mode;
    options.wal = true;
    options.foreign_keys = true;
    options.busy_timeout = absl::Seconds(60);
    return *sqlite::Database::Open(path_, options);
  }

  // On the app's own thread.
  void WriteAll(int writes) {
    sqlite::Database app = OpenApp();
    for (int i = 0; i < writes; ++i) {
      EXPECT_EQ(app.Exec(absl::StrCat("BEGIN IMMEDIATE;", Statements(i), "COMMIT")),
                absl::OkStatus());
      // Whoever looks sees whole transactions, his own and those of others.
      EXPECT_EQ(*app.QueryInt("SELECT sum(Amount) FROM Transfer"), 0);
    }
  }

  // A push and a pull, joined by whoever asks meanwhile.
  absl::Status Run() {
    absl::Status result;
    Event ended;
    const bool posted = runner_->Post([&](AgentCore& core) {
      core.RequestRun(RunKind::kRun, [&](const RunResult& run) {
        result = run.error;
        ended.Happen();
      });
    });
    if (!posted) return absl::CancelledError("");
    ended.Wait();
    return result;
  }

  void CutLink() {
    runner_->Post([this](AgentCore&) { peer_->Cut(); });
  }
  // What status does, from a thread of its own.
  void Look() {
    Event seen;
    if (!runner_->Post([&](AgentCore& core) {
          EXPECT_TRUE(core.Snapshot().ok());
          seen.Happen();
        })) {
      return;
    }
    seen.Wait();
  }
  void Stop() { runner_.reset(); }

  std::string Content() const {
    sqlite::Database app = OpenApp();
    std::string all;
    for (const char* const table : {"Patient", "Note", "Transfer"}) {
      sqlite::Statement rows = *app.Prepare(absl::StrCat("SELECT * FROM ", table, " ORDER BY Id"));
      while (*rows.Step()) {
        absl::StrAppend(&all, table);
        for (int i = 0; i < rows.column_count(); ++i) absl::StrAppend(&all, "|", rows.Text(i));
        absl::StrAppend(&all, "\n");
      }
    }
    return all;
  }
  int64_t Open() {
    sqlite::OpenOptions options;
    sqlite::Database ledger = *sqlite::Database::Open(path_ + ".sync", options);
    return *ledger.QueryInt("SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 1, 3)");
  }

 private:
  std::string Statements(int i) const {
    const std::string patient = absl::StrCat("'p", i % 7, "'");
    const std::string own = absl::StrCat("'", name_, "-", i);
    switch (i % 6) {
      case 0:
        return absl::StrCat("INSERT OR IGNORE INTO Patient VALUES(", patient, ", '", name_,
                            "', 0);INSERT INTO Note VALUES(", own, "', ", patient, ", 'text');");
      case 1:
        return absl::StrCat("INSERT INTO Transfer VALUES(", own, "a', ", i, "), (", own, "b', -", i,
                            ");");
      case 2:
        return absl::StrCat("UPDATE Patient SET Name = '", name_, " ", i, "' WHERE Id = ", patient,
                            ";");
      case 3:
        return absl::StrCat("UPDATE Patient SET Visits = Visits + 1 WHERE Id = ", patient, ";");
      case 4:
        return absl::StrCat("UPDATE Note SET Body = Body || '.' WHERE PatientId = ", patient, ";");
      default:
        return absl::StrCat("DELETE FROM Note WHERE Id IN (SELECT Id FROM Note WHERE PatientId = ",
                            patient, " LIMIT 1);");
    }
  }

  Service& service_;
  const std::string path_;
  const std::string name_;
  SystemClock clock_;
  SystemRng rng_;
  QueuePeer* peer_ = nullptr;  // the runner's
  std::unique_ptr<Runner> runner_;
};

bool AllEqual(const std::vector<std::unique_ptr<Device>>& devices) {
  for (const auto& device : devices) {
    if (device->Open() > 0 || device->Content() != devices[0]->Content()) return false;
  }
  return true;
}

TEST(AgentsTest, AllHoldTheSameInTheEndWhateverTheThreadsDo) {
  const ScratchDir dir;
  Service service(dir.File("service.db"));
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < kDevices; ++i) {
    devices.push_back(
        std::make_unique<Device>(service, dir.File(absl::StrCat("app", i, ".db")), i));
  }

  std::atomic<bool> done = false;
  std::thread trouble([&] {
    for (int i = 0; !done; ++i) {
      Device& device = *devices[static_cast<size_t>(i) % devices.size()];
      device.Look();
      if (i % 20 == 0) device.CutLink();
      if (i % 9 == 0) device.Run().IgnoreError();
    }
  });
  std::vector<std::thread> apps;
  for (const auto& device : devices) {
    apps.emplace_back([&device] { device->WriteAll(Writes()); });
  }
  for (std::thread& app : apps) app.join();
  done = true;
  trouble.join();

  // Each pass brings what one device still had to all others.
  int passes = 0;
  do {
    for (const auto& device : devices) EXPECT_EQ(device->Run(), absl::OkStatus());
  } while (++passes < kPassesMax && !AllEqual(devices));

  for (const auto& device : devices) {
    EXPECT_EQ(device->Open(), 0);
    EXPECT_EQ(device->Content(), devices[0]->Content());
    device->Stop();
  }
}

}  // namespace
}  // namespace ptdoc::sync::threads
