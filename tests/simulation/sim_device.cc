#include "tests/simulation/sim_device.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "device-agent/replica/replica_impl.h"
#include "tests/simulation/overhear.h"

namespace ptdoc::sync::sim {
namespace {

const char* NameOf(const Action& action) {
  static constexpr const char* kNames[] = {
      "drain",     "list open",  "take",          "finish",      "look at app",
      "apply",     "list fetch", "apply fetched", "rebaseline",  "maintain",
      "open push", "send batch", "send settle",   "report",      "close push",
      "open pull", "close pull", "fetch",         "record sync", "complete"};
  static_assert(std::size(kNames) == std::variant_size_v<Action>);
  return kNames[action.index()];
}

}  // namespace

SimDevice::SimDevice(World& world, SimService& service, const Chaos& chaos, int number)
    : world_(world),
      service_(service),
      chaos_(chaos),
      name_(absl::StrCat("d", number)),
      clock_(world.clock()),
      disk_(world.rng()),
      app_process_(disk_, "sim-app-" + name_, clock_),
      agent_process_(disk_, "sim-agent-" + name_, clock_),
      app_(world, kFile, app_process_.vfs(), name_) {
  service_.OnAppend([this] {
    if (peer_ != nullptr) peer_->Wake();
  });
  service_.OnCrash([this] {
    if (peer_ != nullptr) peer_->Break(false);
  });
  world_.AfterEach([this] {
    if (alive() && agent_process_.dead() && !dying_) Die("inside a disk call");
  });
}

SimDevice::~SimDevice() {
  core_.reset();
  replica_.reset();
  app_.Close();
  for (const auto& [what, times] : disk_.counters()) world_.Count("device disk: " + what, times);
}

ReplicaOptions SimDevice::Options() const {
  ReplicaOptions options;
  options.database = kFile;
  options.device_id = name_;
  options.user = "user of " + name_;
  options.plan = SimApp::Entities(world_, with_tags_);
  options.vfs = agent_process_.vfs();
  options.identity = [this] { return disk_.Identity(kFile); };
  options.take_lock = false;
  options.scan_delay_max = kScanDelayMax;
  options.trim_rows_min = 20;
  options.drain_rows_max = 8;
  return options;
}

void SimDevice::Install() {
  reads_mostly_ = world_.Chance(0.25);
  with_tags_ = !world_.Chance(0.15);
  changes_types_ = world_.Chance(0.3);
  if (chaos_.small_batches) app_.SplitCommits();
  if (!with_tags_) world_.Count("device syncs fewer types");
  app_.Create();
  app_.Open();
  for (uint64_t i = world_.rng().Below(6); i > 0; --i) Remember(app_.Write());
  const absl::StatusOr<int64_t> rows = Replica::Initialise(Options(), clock_, world_.rng());
  if (!rows.ok()) world_.Fail(absl::StrCat(name_, ": init: ", rows.status().ToString()));
}

void SimDevice::Boot() {
  if (alive() || world_.failed()) return;
  ++life_;
  dying_ = false;
  if (life_ > 1) ChangeTypes();
  agent_process_.Start();
  agent_process_.SetErrors(chaos_.disk_errors);
  if (world_.Chance(chaos_.disk_crash)) {
    agent_process_.DieInCall(static_cast<int64_t>(1 + world_.rng().Below(600)));
  }
  absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(Options(), clock_, world_.rng());
  if (!replica.ok()) {
    if (!agent_process_.dead() && chaos_.disk_errors == 0 && !disk_.full()) {
      return world_.Fail(absl::StrCat(name_, ": does not open: ", replica.status().ToString()));
    }
    world_.Trace(absl::StrCat(name_, ": does not start: ", TextOf(replica.status())));
    world_.After(absl::Seconds(1), [this] { Boot(); });
    return;
  }
  replica_ = std::move(*replica);
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  captures_tags_ = with_tags_ && facts.ok() && facts->file == FileState::kReady &&
                   replica_->plan().ByType("Tag") != nullptr && service_.ShowsTags(name_);
  static_cast<ReplicaImpl*>(replica_.get())->SetFailPoint([this](const char* point) {
    if (dying_ || agent_process_.dead()) return true;
    // The app goes on while the agent is in the middle of something.
    if (writing_ && !hushed_ && world_.Chance(chaos_.app_amid)) {
      world_.Count("app wrote amid an action");
      Remember(app_.Write());
    }
    if (!world_.Chance(chaos_.half_crash)) return false;
    Die(absl::StrCat("at ", point));
    return true;
  });
  peer_ = std::make_shared<SimPeer>(world_, service_, chaos_, agent_process_, link_up_, name_);
  CoreOptions options;
  if (chaos_.small_batches) options.session.batch_changes = 4;
  options.before_action = [this](const Action& action) { return MayGoOn(action); };
  core_ = std::make_unique<AgentCore>(*replica_, *peer_, clock_, world_.rng(), options);
  core_->SetObserver([this] { Observe(); });
  peer_->Attach(core_.get());
  world_.Trace(name_ + ": boots");
  armed_ = absl::InfiniteDuration();
  statuses_.clear();
  seen_changes_ = quiet_changes_ = -1;
  core_->Start();
  GatherAtTimes();
  if (world_.changes_rights() && life_ == 1) {
    world_.After(world_.Between(absl::ZeroDuration(), absl::Minutes(5)), [this] {
      if (!healed_) LoseToken();
    });
  }
}

// As while the agent's thread is at work: what arrives waits and is looked at together.
void SimDevice::GatherAtTimes() {
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(20)), [this, life = life_] {
    if (!alive() || dying_ || life != life_) return;
    core_->Gather();
    const absl::Duration busy = world_.Between(absl::ZeroDuration(), absl::Milliseconds(200));
    world_.After(busy, [this, life] {
      if (!alive() || dying_ || life != life_) return;
      core_->Gathered();
      GatherAtTimes();
    });
  });
}

// Somebody changes the configuration between two lives of the agent.
void SimDevice::ChangeTypes() {
  if (!with_tags_ && world_.Chance(0.3)) {
    world_.Count(had_tags_ ? "type joined again" : "type joined");
    world_.Trace(name_ + ": tags are synced from now on");
    with_tags_ = true;
  } else if (with_tags_ && !healed_ && world_.Chance(changes_types_ ? 0.2 : 0)) {
    world_.Count("type left");
    world_.Trace(name_ + ": tags are not synced from now on");
    with_tags_ = false;
    had_tags_ = true;
  }
}

bool SimDevice::MayGoOn(const Action& action) {
  if (dying_ || agent_process_.dead()) return false;
  Watch();
  world_.Step();
  const bool applies = std::holds_alternative<actions::Apply>(action) ||
                       std::holds_alternative<actions::ApplyFetched>(action) ||
                       std::holds_alternative<actions::Finish>(action);
  if (std::exchange(has_applied_, applies)) ForgetCascaded();
  world_.Trace(absl::StrCat(name_, ": ", NameOf(action)));
  if (const auto* const send = std::get_if<actions::SendBatch>(&action); send != nullptr) {
    CheckOpenItems();
    const absl::StatusOr<std::string> cursor = replica_->Cursor();
    peer_->ExpectCursor(cursor.ok() && !cursor->empty());
    if (delete_last_ || world_.Chance(chaos_.ambush)) DeleteWhatIsSent(*send);
  }
  if (!world_.Chance(chaos_.agent_crash)) return true;
  Die(absl::StrCat("before ", NameOf(action)));
  return false;
}

absl::StatusOr<std::map<int64_t, ItemStatus>> SimDevice::StatusesNow() {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      replica_->ledger().db().Prepare("SELECT Id, Status FROM SyncQueueItems"));
  std::map<int64_t, ItemStatus> statuses;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return statuses;
    statuses[rows.Int(0)] = static_cast<ItemStatus>(rows.Int(1));
  }
}

// How items went from status to status since the last look.
void SimDevice::CountTransitions() {
  const int64_t changes = replica_->ledger().db().total_changes();
  if (std::exchange(seen_changes_, changes) == changes) return;
  agent_process_.SetQuiet(true);
  const absl::StatusOr<std::map<int64_t, ItemStatus>> read = StatusesNow();
  agent_process_.SetQuiet(false);
  if (!read.ok()) return;
  for (const auto& [id, status] : *read) {
    const auto before = statuses_.find(id);
    if (before != statuses_.end() && before->second == status) continue;
    const std::string from =
        before == statuses_.end() ? "nothing" : std::string(ItemStatusName(before->second));
    world_.Count(absl::StrCat("item ", from, " -> ", ItemStatusName(status)));
  }
  statuses_ = *read;
}

// While the row is on its way it goes, and no trigger tells: most of all one that
// is made anew, for what is known of it is that it is not there.
void SimDevice::DeleteWhatIsSent(const actions::SendBatch& send) {
  const OutgoingBatch* const batch = replica_->InMemory(send.batch_id);
  if (batch == nullptr) return;
  std::optional<EntityKey> key;
  bool is_anew = false;
  for (const Change& change : batch->changes) {
    if (change.operation == Operation::kDelete || change.key.type == "Transfer" || is_anew)
      continue;
    is_anew = change.operation == Operation::kCreate;
    key = change.key;
  }
  if (!key.has_value() || (delete_last_ && !is_anew)) return;
  const bool is_last = std::exchange(delete_last_, false);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(1)), [=, this, key = *key] {
    if (!(writing_ || is_last) || !app_.is_open()) return;
    world_.Trace(absl::StrCat(name_, ": ", key.type, "/", key.id, " goes unseen while it is sent"));
    const std::vector<SimApp::Edit> edits = app_.DeleteUnseen(key);
    if (edits.empty()) return;
    world_.Count("ambush: deleted unseen while sent");
    ambushed_ = true;
    Remember(edits);
    if (alive() && !dying_) core_->OnCommitSeen();
  });
}

void SimDevice::DeafenFeed() {
  if (peer_ == nullptr) return;
  world_.Trace(name_ + ": hears nothing of the feed");
  peer_->Deafen();
}

// One unanswered item per entity, whatever became of earlier batches.
void SimDevice::CheckOpenItems() {
  agent_process_.SetQuiet(true);
  const absl::StatusOr<int64_t> twice = replica_->ledger().db().QueryInt(
      "SELECT count(*) FROM (SELECT 1 FROM SyncQueueItems WHERE Status = 1 "
      "GROUP BY EntityType, EntityId HAVING count(*) > 1)");
  agent_process_.SetQuiet(false);
  if (twice.ok() && *twice > 0) world_.Fail(name_ + ": two unanswered items of one entity");
}

void SimDevice::Die(const std::string& where) {
  dying_ = true;
  agent_process_.Kill();
  if (core_ != nullptr) core_->Abandon();
  world_.Count("an agent died");
  world_.Trace(absl::StrCat(name_, ": dies ", where));
  world_.After(absl::ZeroDuration(), [this] { Bury(); });
}

void SimDevice::Crash() {
  if (alive() && !dying_) Die("on demand");
}

void SimDevice::Stop() {
  app_.Close();
  app_process_.Kill();
  agent_process_.Kill();
  if (peer_ != nullptr) {
    peer_->Attach(nullptr);
    peer_->Break(false);
  }
  core_.reset();
  replica_.reset();
  app_process_.Start();
  agent_process_.Start();
  // Or the app itself would not start: somebody has made room.
  disk_.SetFull(false);
}

// In what the app wrote before, the new column is NULL from now on.
void SimDevice::GainColumn() {
  if (!app_.has_allergy()) return;
  for (Promise& promise : promises_) {
    if (promise.key.type != "Patient" || !promise.content.has_value()) continue;
    if (promise.content->Find("Allergy") == nullptr) promise.content->Set("Allergy", Value::Null());
  }
}

// Sooner or later every device has the app's new version.
void SimDevice::CatchUpWithApps() {
  column_waits_ = !app_.AddColumn();
  GainColumn();
  if (column_waits_) {
    world_.After(absl::Seconds(5), [this] { CatchUpWithApps(); });
  } else if (alive() && !dying_) {
    core_->OnCommitSeen();
  }
}

// Somebody sees to what was refused, now that it would be taken.
void SimDevice::RetryLater() {
  if (std::exchange(retry_waits_, true)) return;
  world_.After(absl::Seconds(10), [this] {
    retry_waits_ = false;
    if (!alive() || dying_) return;
    Retry();
    core_->OnQueueChanged();
  });
}

void SimDevice::Heal() {
  healed_ = true;
  if (world_.changes_rights() && world_.Chance(0.7)) service_.ShowTags(name_, true);
  // Later ones, and what the app does then, would hide what became of this one.
  delete_last_ = ambushed_ && world_.Chance(0.5);
  if (world_.counters().contains("column added")) CatchUpWithApps();
  disk_.SetFull(false);
  agent_process_.SetErrors(0);
  agent_process_.DieInCall(0);
}

void SimDevice::Bury() {
  if (core_ == nullptr) return;  // Stopped meanwhile.
  peer_->Attach(nullptr);
  peer_->Break(false);
  core_.reset();
  replica_.reset();
  world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(20)), [this] { Boot(); });
}

// After everything that the agent did.
void SimDevice::Observe() {
  if (dying_ || agent_process_.dead()) return;
  Watch();
  CountTransitions();
  if (!deletions_count_) Quiet();
  CheckPairs();
  if (core_->View().link == LinkState::kRefused) {
    world_.Fail(absl::StrCat(name_, " stopped: ", core_->View().reason.ToString()));
  }
  Arm();
}

// Every commit that this device can see holds both halves of a transfer or none.
void SimDevice::CheckPairs() {
  const std::pair file(disk_.StampOf(kFile), disk_.StampOf(absl::StrCat(kFile, "-wal")));
  if (std::exchange(seen_file_, file) == file) return;
  if (app_.BankSum() == 0) return;
  for (const std::string& pair : app_.HalfPairs()) {
    if (world_.broken_pairs().contains(pair)) continue;
    world_.Fail(absl::StrCat(name_, ": half of the transfer ", pair, " was applied (P8)"));
  }
}

void SimDevice::Look(const std::function<void(sqlite::Database&, sqlite::Database&)>& look) {
  agent_process_.SetQuiet(true);
  app_process_.SetQuiet(true);
  look(replica_->ledger().db(), app_.db());
  agent_process_.SetQuiet(false);
  app_process_.SetQuiet(false);
}

// Tells what the device holds of the watched entity, where that changed. Reads a
// copy of its files, so that looking changes nothing.
void SimDevice::Watch() {
  const EntityKey& key = world_.watch();
  if (key.type.empty()) return;
  SeededRng rng(1);
  Disk disk(rng);
  for (const char* const file : {kFile, kLedger}) {
    for (const char* const suffix : {"", "-wal", "-journal"}) {
      const std::string path = absl::StrCat(file, suffix);
      if (auto bytes = disk_.Read(path); bytes.has_value()) disk.Put(path, *std::move(bytes));
    }
  }
  Process process(disk, "sim-watch-" + name_, clock_);
  SimApp app(world_, kFile, process.vfs(), name_);
  app.Open();
  const Rows rows = app.ReadAll();
  app.Close();
  const auto row = rows.find(key);
  std::string now = row == rows.end() ? "null" : FieldsToJson(row->second);
  const absl::StatusOr<std::unique_ptr<Ledger>> copy =
      Ledger::Open(kLedger, /*create=*/false, process.vfs(), rng);
  if (!copy.ok()) return;
  Ledger& ledger = **copy;
  if (const auto state = ledger.FindState(key); state.ok() && state->has_value()) {
    absl::StrAppend(&now, " state r", (*state)->revision, (*state)->row.absent ? " absent" : "",
                    (*state)->unconfirmed ? " unconfirmed" : "");
  }
  if (const auto aside = ledger.FindSetAside(key); aside.ok() && aside->has_value()) {
    absl::StrAppend(&now, " aside r", (*aside)->version.revision, " ", (*aside)->code, " ",
                    (*aside)->constraint);
  }
  if (const auto stale = ledger.FindStale(key); stale.ok() && stale->has_value()) {
    absl::StrAppend(&now, " stale r", (*stale)->revision, (*stale)->put_back ? " put back" : "");
  }
  if (const auto item = ledger.FindWaiting(key); item.ok() && item->has_value()) {
    absl::StrAppend(&now, " ", ItemStatusName((*item)->status));
  }
  if (const auto item = ledger.FindProcessing(key); item.ok() && item->has_value()) {
    absl::StrAppend(&now, " Processing on r", (*item)->sent_base);
  }
  if (now == watched_) return;
  watched_ = now;
  world_.Remark(absl::StrCat(name_, " has ", now));
}

void SimDevice::Arm() {
  const absl::Duration deadline = core_->NextDeadline();
  if (deadline >= armed_) return;
  armed_ = deadline;
  world_.After(deadline - world_.now(), [this, life = life_, deadline] {
    if (!alive() || dying_ || life != life_ || armed_ != deadline) return;
    armed_ = absl::InfiniteDuration();
    core_->Tick();
  });
}

void SimDevice::SetLink(bool up) {
  if (link_up_ == up) return;
  link_up_ = up;
  world_.Trace(absl::StrCat(name_, up ? ": link up" : ": link down"));
  if (peer_ != nullptr && !up) peer_->Break(true);
}

void SimDevice::StartWriting() {
  writing_ = true;
  world_.After(world_.Between(absl::ZeroDuration(), 2 * chaos_.app_pause), [this] {
    if (!writing_) return;
    if (!hushed_ && (!reads_mostly_ || world_.Chance(0.15))) WriteOnce();
    StartWriting();
  });
}

void SimDevice::WriteOnce() {
  if (!app_.is_open()) return;
  if (!app_.in_long() && world_.Chance(0.02) && app_.BeginLong()) {
    world_.After(world_.Between(absl::Milliseconds(10), absl::Minutes(2)), [this] {
      if (app_.is_open()) Remember(app_.EndLong());
    });
  }
  Remember(app_.Write());
  if (!alive() || world_.Chance(chaos_.lost_wake)) return;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(5)), [this] {
    if (alive() && !dying_) core_->OnCommitSeen();
  });
}

void SimDevice::Remember(const std::vector<SimApp::Edit>& edits) {
  for (const SimApp::Edit& edit : edits) {
    // The app saw its own earlier content and went on from it: that promise is
    // this one's past. Otherwise something else came between, and both count.
    std::erase_if(promises_, [&](const Promise& promise) {
      return promise.key == edit.key && promise.content == edit.before;
    });
    promises_.push_back({edit.key, edit.after, KnownToService(edit.key), captures_tags_});
  }
}

bool SimDevice::HasNewerItem(const EntityKey& key, const std::string& batch_id) {
  absl::StatusOr<sqlite::Statement> newer = replica_->ledger().db().Prepare(
      "SELECT 1 FROM SyncQueueItems WHERE EntityType = ?1 AND EntityId = ?2 AND Id > "
      "ifnull((SELECT max(Id) FROM SyncQueueItems WHERE EntityType = ?1 AND EntityId = ?2 AND "
      "BatchId = ?3), 0)");
  PT_CHECK(newer.ok());
  const absl::StatusOr<bool> found =
      newer->Bind(1, key.type).Bind(2, key.id).Bind(3, batch_id).Step();
  PT_CHECK(found.ok());
  return *found;
}

bool SimDevice::WasAnswered(const EntityKey& key) {
  absl::StatusOr<sqlite::Statement> answered = replica_->ledger().db().Prepare(
      "SELECT Status = 2 AND BatchId IS NOT NULL FROM SyncQueueItems WHERE EntityType = ?1 AND "
      "EntityId = ?2 ORDER BY Id DESC LIMIT 1");
  PT_CHECK(answered.ok());
  const absl::StatusOr<bool> found = answered->Bind(1, key.type).Bind(2, key.id).Step();
  PT_CHECK(found.ok());
  return *found && answered->Int(0) != 0;
}

// Only while the agent is alive; else nothing is promised of a deletion. Nor of
// one that is made before a recovery ended: the row reappears.
bool SimDevice::KnownToService(const EntityKey& key) {
  if (!alive() || !deletions_count_) return false;
  const absl::StatusOr<std::optional<RowState>> state = replica_->ledger().FindState(key);
  return state.ok() && state->has_value() && (*state)->revision > 0 && !(*state)->row.absent;
}

bool SimDevice::Quiet() {
  const bool quiet = LooksQuiet();
  deletions_count_ |= quiet;
  return quiet;
}

bool SimDevice::LooksQuiet() {
  if (!alive() || dying_ || !core_->View().in_sync) return false;
  if (!core_->View().local_error.ok()) return false;
  // As it was when it was quiet.
  const int64_t changes = replica_->ledger().db().total_changes();
  if (changes == quiet_changes_) return !column_waits_;
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  if (column_waits_) return false;
  if (healed_ && facts.ok() && facts->queue.failed > 0) RetryLater();
  const bool quiet = facts.ok() && facts->backfill <= facts->queue.set_aside &&
                     facts->queue.pending == WaitsForType("SyncQueueItems WHERE Status = 0 AND") &&
                     facts->queue.processing == 0 && facts->queue.failed == 0 &&
                     facts->stale == WaitsForType("SyncStale WHERE") && !facts->recovering &&
                     !facts->rebaselining;
  quiet_changes_ = quiet ? changes : -1;
  return quiet;
}

// Items of a type that has left, and rows of it that somebody's cancel put back.
uint32_t SimDevice::WaitsForType(const char* what) {
  if (Syncs("Tag")) return 0;
  const absl::StatusOr<int64_t> rows = replica_->ledger().db().QueryInt(
      absl::StrCat("SELECT count(*) FROM ", what, " EntityType = 'Tag'"));
  return rows.ok() ? static_cast<uint32_t>(*rows) : 0;
}

std::string SimDevice::Describe() {
  if (!alive()) return name_ + " is dead";
  const SessionView view = core_->View();
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  if (!facts.ok()) return absl::StrCat(name_, " ", facts.status().ToString());
  return absl::StrCat(name_, " link ", static_cast<int>(view.link), " in_sync ", view.in_sync,
                      " pending ", facts->queue.pending, " processing ", facts->queue.processing,
                      " failed ", facts->queue.failed, " stale ", facts->stale, " held ",
                      facts->held, " set aside ", facts->queue.set_aside, " recovering ",
                      facts->recovering, " rebaselining ", facts->rebaselining, " ",
                      view.reason.ToString(), " ", view.local_error.ToString());
}

void SimDevice::RequestRun(std::function<void(const RunResult&)> done) {
  core_->RequestRun(RunKind::kRun, std::move(done));
}

}  // namespace ptdoc::sync::sim
