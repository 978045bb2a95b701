#include "tests/simulation/sim_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "tests/simulation/virtual_vfs.h"

namespace ptdoc::sync::sim {

SimService::SimService(World& world, std::string path, const Chaos& chaos)
    : world_(world), path_(std::move(path)), chaos_(chaos) {
  RegisterVfs("sim-service", world_.clock());
}

EngineOptions SimService::Options() {
  EngineOptions options;
  TypePolicy manual;
  manual.policy = ConflictPolicy::kManual;
  options.policies.Set("Tag", manual);
  return options;
}

void SimService::Start() {
  if (up()) return;
  SqliteStoreOptions options;
  options.path = path_;
  options.vfs = "sim-service";
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenSqliteStore(options, world_.clock(), world_.rng());
  if (!store.ok())
    return world_.Fail(absl::StrCat("the store does not open: ", store.status().ToString()));
  store_ = std::move(*store);
  engine_ = std::make_unique<Engine>(*store_, world_.clock(), world_.rng(), Options());
  ++life_;
  world_.Trace("service: up");
}

void SimService::Crash() {
  if (!up()) return;
  world_.Trace("service: dies");
  waiting_.clear();
  commit_due_ = false;
  engine_.reset();
  store_.reset();
  for (const auto& watcher : watchers_) watcher();
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(5)), [this] { Start(); });
}

void SimService::Push(PushBatch batch, PushReply reply) {
  waiting_.push_back(Waiting{std::move(batch), std::move(reply)});
  if (commit_due_) return;
  commit_due_ = true;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(3)), [this, life = life_] {
    if (up() && life == life_) Commit();
  });
}

void SimService::Commit() {
  commit_due_ = false;
  if (world_.Chance(chaos_.service_crash / 2)) return Crash();
  std::deque<Waiting> waiting = std::exchange(waiting_, {});
  std::vector<PushBatch> batches;
  for (const Waiting& one : waiting) batches.push_back(one.batch);
  const std::vector<absl::StatusOr<PushAnswer>> answers = engine_->Push(batches);
  bool appended = false;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (!answers[i].ok()) continue;
    Note(batches[i], *answers[i]);
    appended |= answers[i]->appended;
  }
  world_.Trace(absl::StrCat("service: commits ", batches.size(), " batches"));
  if (world_.Chance(chaos_.service_crash / 2)) return Crash();
  for (size_t i = 0; i < batches.size(); ++i) waiting[i].reply(answers[i]);
  if (!appended) return;
  for (const auto& follower : followers_) follower();
}

void SimService::Note(const PushBatch& batch, const PushAnswer& answer) {
  if (answer.voided || answer.results.size() != batch.changes.size() || batch.changes.empty())
    return;
  if (!noted_.insert(absl::StrCat(batch.who.device, "/", batch.batch_id)).second) return;
  for (size_t i = 0; i < answer.results.size(); ++i) {
    const ChangeResult& result = answer.results[i];
    const Change& change = batch.changes[i];
    world_.Trace(absl::StrCat("service: ", batch.who.device, " ", change.key.type, "/",
                              change.key.id, " ", OperationName(change.operation), " on ",
                              change.base_revision, change.reoffer ? " again" : "", " -> ",
                              OutcomeName(result.outcome), " ", ResolutionName(result.resolution),
                              " rule ", result.rule, " r", result.revision, " ",
                              ErrorCodeName(result.error_code)));
    if (!result.conflict_id.empty()) losses[result.conflict_id] = {change.key, result.resolution};
    const bool own = result.outcome == Outcome::kAccepted ||
                     result.resolution == Resolution::kLocalWins ||
                     result.resolution == Resolution::kSignedWins ||
                     result.resolution == Resolution::kLockedWins;
    if (!own) continue;
    ++accepted;
    origins[{change.key, result.revision}] = {change.base_revision, batch.who.device, result.rule};
  }
}

std::unique_ptr<StoreReader> SimService::Read() {
  absl::StatusOr<std::unique_ptr<StoreReader>> reader = store_->BeginRead();
  PT_CHECK(reader.ok());
  return std::move(*reader);
}

}  // namespace ptdoc::sync::sim
