#include "tests/simulation/sim_device.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "device-agent/replica/replica_impl.h"
#include "tests/simulation/virtual_vfs.h"

namespace ptdoc::sync::sim {
namespace {

const char* NameOf(const Action& action) {
  static constexpr const char* kNames[] = {
      "drain",      "list open",     "take",        "finish",     "apply",
      "list fetch", "apply fetched", "rebaseline",  "maintain",   "open push",
      "send batch", "send settle",   "report",      "close push", "open pull",
      "close pull", "fetch",         "record sync", "complete"};
  static_assert(std::size(kNames) == std::variant_size_v<Action>);
  return kNames[action.index()];
}

}  // namespace

SimDevice::SimDevice(World& world, SimService& service, const Chaos& chaos,
                     const std::string& directory, int number)
    : world_(world),
      service_(service),
      chaos_(chaos),
      directory_(directory),
      name_(absl::StrCat("d", number)),
      clock_(world.clock()),
      app_(world, absl::StrCat(directory, "/", name_, ".db"), "sim-" + name_, name_) {
  RegisterVfs("sim-" + name_, clock_);
  service_.OnAppend([this] {
    if (peer_ != nullptr) peer_->Wake();
  });
  service_.OnCrash([this] {
    if (peer_ != nullptr) peer_->Break(false);
  });
}

ReplicaOptions SimDevice::Options() const {
  ReplicaOptions options;
  options.database = absl::StrCat(directory_, "/", name_, ".db");
  options.device_id = name_;
  options.user = "user of " + name_;
  options.plan = SimApp::Entities();
  options.vfs = "sim-" + name_;
  options.take_lock = false;
  return options;
}

void SimDevice::Install() {
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
  absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(Options(), clock_, world_.rng());
  if (!replica.ok()) {
    return world_.Fail(absl::StrCat(name_, ": does not open: ", replica.status().ToString()));
  }
  replica_ = std::move(*replica);
  static_cast<ReplicaImpl*>(replica_.get())->SetFailPoint([this](const char* point) {
    if (dying_) return true;
    if (!world_.Chance(chaos_.half_crash)) return false;
    Die(absl::StrCat("at ", point));
    return true;
  });
  peer_ = std::make_shared<SimPeer>(world_, service_, chaos_, link_up_, name_);
  CoreOptions options;
  options.before_action = [this](const Action& action) { return MayGoOn(action); };
  core_ = std::make_unique<AgentCore>(*replica_, *peer_, clock_, world_.rng(), options);
  core_->SetObserver([this] { Observe(); });
  peer_->Attach(core_.get());
  world_.Trace(name_ + ": boots");
  armed_ = absl::InfiniteDuration();
  core_->Start();
}

bool SimDevice::MayGoOn(const Action& action) {
  if (dying_) return false;
  Watch();
  world_.Trace(absl::StrCat(name_, ": ", NameOf(action)));
  if (!world_.Chance(chaos_.agent_crash)) return true;
  Die(absl::StrCat("before ", NameOf(action)));
  return false;
}

void SimDevice::Die(const std::string& where) {
  dying_ = true;
  if (core_ != nullptr) core_->Abandon();
  world_.Trace(absl::StrCat(name_, ": dies ", where));
  world_.After(absl::ZeroDuration(), [this] { Bury(); });
}

void SimDevice::Crash() {
  if (alive() && !dying_) Die("on demand");
}

void SimDevice::Bury() {
  peer_->Attach(nullptr);
  peer_->Break(false);
  core_.reset();
  replica_.reset();
  world_.After(world_.Between(absl::Milliseconds(10), absl::Seconds(20)), [this] { Boot(); });
}

// After everything that the agent did.
void SimDevice::Observe() {
  if (dying_) return;
  Watch();
  if (app_.BankSum() != 0) world_.Fail(name_ + ": half a transfer was applied (P8)");
  if (!core_->View().local_error.ok()) {
    world_.Fail(absl::StrCat(name_, ": ", core_->View().local_error.ToString()));
  }
  if (core_->View().link == LinkState::kRefused) {
    world_.Fail(absl::StrCat(name_, " stopped: ", core_->View().reason.ToString()));
  }
  Arm();
}

// Tells what the device holds of the watched entity, where that changed.
void SimDevice::Watch() {
  const EntityKey& key = world_.watch();
  if (key.type.empty()) return;
  const Rows rows = app_.ReadAll();
  const auto row = rows.find(key);
  std::string now = row == rows.end() ? "null" : FieldsToJson(row->second);
  Ledger& ledger = replica_->ledger();
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
    WriteOnce();
    StartWriting();
  });
}

void SimDevice::WriteOnce() {
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
    promises_.push_back({edit.key, edit.after, KnownToService(edit.key)});
  }
}

// Only while the agent is alive; else nothing is promised of a deletion.
bool SimDevice::KnownToService(const EntityKey& key) {
  if (!alive()) return false;
  const absl::StatusOr<std::optional<RowState>> state = replica_->ledger().FindState(key);
  return state.ok() && state->has_value() && (*state)->revision > 0 && !(*state)->row.absent;
}

bool SimDevice::Quiet() {
  if (!alive() || dying_ || !core_->View().in_sync) return false;
  const absl::StatusOr<ReplicaFacts> facts = replica_->Facts();
  return facts.ok() && facts->queue.pending == 0 && facts->queue.processing == 0 &&
         facts->queue.failed == 0 && facts->stale == 0 && !facts->recovering &&
         !facts->rebaselining;
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
                      view.reason.ToString());
}

void SimDevice::RequestRun(std::function<void(const RunResult&)> done) {
  core_->RequestRun(RunKind::kRun, std::move(done));
}

}  // namespace ptdoc::sync::sim
