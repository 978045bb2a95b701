#include "tests/faults/device.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"

namespace ptdoc::sync::faults {
namespace {

constexpr char kFile[] = "/app.db";
constexpr char kLedger[] = "/app.db.sync";
constexpr size_t kAll = 100'000;

constexpr char kSchema[] = R"sql(
CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Code TEXT UNIQUE, Weight REAL);
CREATE TABLE Note(Id TEXT PRIMARY KEY,
    PatientId TEXT NOT NULL REFERENCES Patient(Id) ON DELETE CASCADE,
    Body TEXT, Picture BLOB, SignatureHash TEXT);
CREATE TABLE Tag(PatientId TEXT, Name TEXT, Remark, PRIMARY KEY(PatientId, Name)) WITHOUT ROWID;
CREATE TABLE Remembered(Id TEXT PRIMARY KEY, Times INTEGER);
CREATE TRIGGER PatientTouched AFTER UPDATE OF Name ON Patient
  BEGIN UPDATE Patient SET Weight = ifnull(new.Weight, 0) + 1 WHERE Id = new.Id; END;
)sql";

const std::map<std::string, std::vector<std::string>>& Tables() {
  static const auto* tables = new std::map<std::string, std::vector<std::string>>{
      {"Patient", {"Id"}}, {"Note", {"Id"}}, {"Tag", {"PatientId", "Name"}}};
  return *tables;
}

}  // namespace

FaultyDevice::FaultyDevice(sim::World& world, FaultyService& service, Injector* injector, Show show,
                           std::string name)
    : world_(world),
      service_(service),
      injector_(injector),
      show_(std::move(show)),
      name_(std::move(name)),
      disk_(world.rng()),
      app_process_(disk_, "faulty-app-" + name_, world.clock()),
      agent_process_(disk_, "faulty-agent-" + name_, world.clock()) {
  if (injector_ != nullptr) agent_process_.SetFault(injector_->Disk(Side::kAgent));
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kCreate;
  options.wal = true;
  options.foreign_keys = true;
  options.legacy_schema = true;
  options.busy_timeout = absl::ZeroDuration();
  options.vfs = app_process_.vfs();
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(kFile, options);
  PT_CHECK(db.ok());
  app_ = std::move(*db);
  PT_CHECK(app_->Exec(kSchema).ok());
  service_.OnAppend([this] {
    if (peer_ != nullptr) peer_->Wake();
  });
  service_.OnDeath([this] {
    if (peer_ != nullptr) peer_->Break();
  });
  world_.AfterEach([this] {
    if (!agent_process_.dead() || core_ == nullptr) return;
    world_.Trace(name_ + ": dies");
    core_->Abandon();
    Bury();
    world_.After(absl::Seconds(1), [this] { Boot(); });
  });
}

FaultyDevice::~FaultyDevice() {
  core_.reset();
  replica_.reset();
  app_.reset();
}

const MemoryFault* FaultyDevice::Memory() const {
  return injector_ == nullptr ? nullptr : injector_->Memory(Side::kAgent);
}

ReplicaOptions FaultyDevice::Options() const {
  ReplicaOptions options;
  options.database = kFile;
  options.device_id = name_;
  options.user = "user of " + name_;
  for (const auto& [table, key] : Tables()) {
    EntityConfig config;
    config.table = table;
    if (table == "Patient") {
      config.after_apply = {"INSERT OR IGNORE INTO Remembered VALUES('applied', 0)",
                            "UPDATE Remembered SET Times = Times + 1 WHERE Id = 'applied'"};
    }
    options.plan.entities.push_back(config);
  }
  options.vfs = agent_process_.vfs();
  options.identity = [this] { return disk_.Identity(kFile); };
  options.take_lock = false;
  return options;
}

void FaultyDevice::Write(const std::string& sql) {
  world_.Trace(name_ + " app: " + sql.substr(0, 60));
  const absl::Status status = app_->Exec("BEGIN IMMEDIATE; " + sql + "; COMMIT");
  if (!status.ok()) {
    world_.Fail(absl::StrCat(name_, ": the app cannot write: ", status.ToString()));
    if (app_->in_transaction()) PT_CHECK(app_->Exec("ROLLBACK").ok());
    return;
  }
  world_.After(absl::Milliseconds(1),
               [this] { Call([](AgentCore& core) { core.OnCommitSeen(); }); });
}

absl::Status FaultyDevice::Install() {
  const MemoryScope scope(Memory());
  if (agent_process_.dead()) {
    agent_process_.Start();
    if (injector_ != nullptr) injector_->Reborn(Side::kAgent);
  }
  const absl::Status status = Replica::Initialise(Options(), world_.clock(), world_.rng()).status();
  return agent_process_.dead() ? absl::UnavailableError("died") : status;
}

void FaultyDevice::Boot() {
  if (alive()) return;
  const MemoryScope scope(Memory());
  ++life_;
  if (agent_process_.dead()) {
    agent_process_.Start();
    if (injector_ != nullptr) injector_->Reborn(Side::kAgent);
  }
  absl::StatusOr<std::unique_ptr<Replica>> replica =
      Replica::Open(Options(), world_.clock(), world_.rng());
  boot_error_ = replica.status();
  if (!replica.ok()) {
    if (!agent_process_.dead()) show_("start", boot_error_);
    world_.Trace(absl::StrCat(name_, ": does not start: ", boot_error_.ToString()));
    world_.After(absl::Seconds(1), [this] { Boot(); });
    return;
  }
  replica_ = std::move(*replica);
  peer_ = std::make_shared<LocalPeer>(world_, service_, link_up_, name_);
  CoreOptions options;
  options.before_action = [this](const Action&) { return !agent_process_.dead(); };
  core_ = std::make_unique<AgentCore>(*replica_, *peer_, world_.clock(), world_.rng(), options);
  core_->SetObserver([this] { Observe(); });
  peer_->Attach(this);
  world_.Trace(name_ + ": boots");
  armed_ = absl::InfiniteDuration();
  if (paused_) core_->Pause();
  core_->Start();
}

void FaultyDevice::Bury() {
  if (peer_ != nullptr) peer_->Attach(nullptr);
  const MemoryScope scope(Memory());
  core_.reset();
  replica_.reset();
  peer_.reset();
}

void FaultyDevice::Restart() {
  if (!alive()) return;
  world_.Trace(name_ + ": stops");
  Bury();
  agent_process_.Kill();
  world_.After(absl::Seconds(1), [this] { Boot(); });
}

void FaultyDevice::SetLink(bool up) {
  link_up_ = up;
  world_.Trace(name_ + (up ? ": link up" : ": link down"));
  if (!up && peer_ != nullptr) peer_->Break();
  if (up) Call([](AgentCore& core) { core.OnReconnected(); });
}

void FaultyDevice::SetPaused(bool paused) {
  paused_ = paused;
  Call([&](AgentCore& core) { paused ? core.Pause() : core.Resume(); });
}

absl::Status FaultyDevice::Do(const Act& act) {
  if (!alive() || agent_process_.dead()) return absl::UnavailableError("the agent is down");
  absl::Status status;
  Call([&](AgentCore& core) {
    status = act(*replica_, core);
    if (!agent_process_.dead()) core.OnQueueChanged();
  });
  return agent_process_.dead() ? absl::UnavailableError("died") : status;
}

void FaultyDevice::Call(const std::function<void(AgentCore&)>& what) {
  if (core_ == nullptr || agent_process_.dead()) return;
  const MemoryScope scope(Memory());
  what(*core_);
}

void FaultyDevice::OnPushAnswer(IncomingAnswer answer) {
  Call([&](AgentCore& core) { core.OnPushAnswer(std::move(answer)); });
}
void FaultyDevice::OnPushClosed(const absl::Status& status) {
  Call([&](AgentCore& core) { core.OnPushClosed(status); });
}
void FaultyDevice::OnPullPage(IncomingPage page) {
  Call([&](AgentCore& core) { core.OnPullPage(std::move(page)); });
}
void FaultyDevice::OnPullClosed(const absl::Status& status) {
  Call([&](AgentCore& core) { core.OnPullClosed(status); });
}
void FaultyDevice::OnFetched(IncomingFetch fetch) {
  Call([&](AgentCore& core) { core.OnFetched(std::move(fetch)); });
}
void FaultyDevice::OnFetchFailed(const absl::Status& status) {
  Call([&](AgentCore& core) { core.OnFetchFailed(status); });
}

void FaultyDevice::Observe() {
  if (agent_process_.dead()) return;
  const SessionView view = core_->View();
  if (!view.local_error.ok()) show_("cycle", view.local_error);
  if (view.link == LinkState::kRefused) {
    world_.Fail(absl::StrCat(name_, " stopped: ", view.reason.ToString()));
  }
  if (view.link == LinkState::kOffline && link_up_ && service_.up()) show_("link", view.reason);
  Arm();
}

void FaultyDevice::Arm() {
  const absl::Duration deadline = core_->NextDeadline();
  if (deadline >= armed_) return;
  armed_ = deadline;
  world_.After(deadline - world_.now(), [this, life = life_, deadline] {
    if (!alive() || life != life_ || armed_ != deadline) return;
    armed_ = absl::InfiniteDuration();
    Call([](AgentCore& core) { core.Tick(); });
  });
}

bool FaultyDevice::Quiet() {
  if (!alive() || agent_process_.dead()) return false;
  const SessionView view = core_->View();
  if (!view.in_sync || !view.local_error.ok()) return false;
  const MemoryScope scope(nullptr);
  agent_process_.SetQuiet(true);
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  agent_process_.SetQuiet(false);
  return facts.ok() && facts->queue.pending == 0 && facts->queue.processing == 0 &&
         facts->queue.failed == 0 && facts->stale == 0 && !facts->recovering &&
         !facts->rebaselining;
}

bool FaultyDevice::shows_error() const {
  if (core_ == nullptr) return !boot_error_.ok();
  const SessionView view = core_->View();
  return !view.local_error.ok() || view.blocked_by_app || view.link == LinkState::kOffline;
}

std::string FaultyDevice::Describe() {
  if (!alive()) return name_ + " is down: " + boot_error_.ToString();
  const MemoryScope scope(nullptr);
  const SessionView view = core_->View();
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  if (!facts.ok()) return absl::StrCat(name_, " ", facts.status().ToString());
  return absl::StrCat(name_, " link ", static_cast<int>(view.link), " in_sync ", view.in_sync,
                      " blocked ", view.blocked_by_app, " pending ", facts->queue.pending,
                      " processing ", facts->queue.processing, " failed ", facts->queue.failed,
                      " stale ", facts->stale, " set aside ", facts->queue.set_aside,
                      " recovering ", facts->recovering, " ", facts->file_problem, " ",
                      view.reason.ToString(), " ", view.local_error.ToString());
}

FaultyDevice::Holds FaultyDevice::Read() {
  const MemoryScope scope(nullptr);
  Holds holds;
  for (const auto& [table, key_columns] : Tables()) {
    sqlite::Statement select = *app_->Prepare("SELECT * FROM " + table);
    while (*select.Step()) {
      Fields fields;
      for (int i = 0; i < select.column_count(); ++i) {
        fields.Set(select.ColumnName(i), select.ColumnValue(i));
      }
      std::vector<Value> key;
      for (const std::string& column : key_columns) key.push_back(*fields.Find(column));
      const std::vector<Affinity> affinities(key.size(), Affinity::kText);
      holds.rows[{table, *EncodeEntityId(key, affinities)}] = std::move(fields);
    }
  }
  const absl::StatusOr<Value> app = app_->QueryValue("PRAGMA integrity_check");
  if (!app.ok() || app->bytes() != "ok") holds.trouble = "the app's file: integrity_check";
  const absl::StatusOr<Value> keys = app_->QueryValue("PRAGMA foreign_key_check");
  if (!keys.ok() || !keys->is_null()) holds.trouble = "the app's file: foreign_key_check";
  if (*app_->QueryInt("SELECT Applying FROM SyncControl") != 0) holds.trouble = "still applying";
  sqlite::OpenOptions options;
  options.vfs = app_process_.vfs();
  sqlite::Database ledger = *sqlite::Database::Open(kLedger, options);
  const absl::StatusOr<Value> check = ledger.QueryValue("PRAGMA integrity_check");
  if (!check.ok() || check->bytes() != "ok") holds.trouble = "the ledger: integrity_check";
  agent_process_.SetQuiet(true);
  const absl::Cleanup loud = [this] { agent_process_.SetQuiet(false); };
  Ledger& own = replica_->ledger();
  if ((*own.OpenIntent()).has_value()) holds.trouble = "an intent is left";
  holds.set_aside = static_cast<uint32_t>((*own.ListSetAside(kAll)).size());
  const std::vector<ArchiveEntry> archives = *own.ListArchives(true, 0, kAll);
  for (const ArchiveEntry& entry : archives) {
    const auto whole = own.FindArchive(absl::StrCat(entry.id));
    PT_CHECK(whole.ok() && whole->has_value());
    holds.archived.emplace(entry.key,
                           absl::StrCat(entry.resolution_type, " ", (*whole)->archived_json));
  }
  return holds;
}

}  // namespace ptdoc::sync::faults
