#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sync-service/engine/engine.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/faults/injection.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::faults {

inline constexpr char kTenant[] = "clinic";

// Hears of every error that a side shows.
using Show = std::function<void(const char* where, const absl::Status& status)>;

// The service: the real engine over a real SQLite store on a disk whose calls
// fail as the injector says. Starts again by itself when it has died or could
// not start.
class FaultyService {
 public:
  FaultyService(sim::World& world, Injector& injector, Show show);
  ~FaultyService();

  void Start();
  void Restart();
  bool up() const { return engine_ != nullptr && !process_.dead(); }

  // `reply` is not called if the service dies meanwhile.
  void Push(PushBatch batch, std::function<void(const absl::StatusOr<PushAnswer>&)> reply);
  absl::StatusOr<PullPage> Pull(const PullQuery& query, const PullPosition* resume);
  absl::StatusOr<FetchPage> Fetch(const Principal& who, const std::vector<EntityKey>& keys,
                                  const std::string& witness);
  void OnAppend(std::function<void()> follower) { followers_.push_back(std::move(follower)); }
  void OnDeath(std::function<void()> watcher) { watchers_.push_back(std::move(watcher)); }

  // What people and its own background do: the open conflict of this entity is
  // resolved by a reviewer, retention, a checkpoint, the status.
  absl::Status Resolve(const EntityKey& key);
  absl::Status Maintain();

  // What it holds, read past the injector.
  struct Held {
    std::map<EntityKey, std::vector<Version>> history;  // oldest first
    std::multimap<EntityKey, std::string> archived;     // row JSON and resolution
    std::string integrity;                              // empty = all is well
  };
  Held Read();

 private:
  void Bury();

  sim::World& world_;
  Injector& injector_;
  const Show show_;
  sim::Disk disk_;
  sim::Process process_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  int life_ = 0;
  std::vector<std::function<void()>> followers_;
  std::vector<std::function<void()>> watchers_;
};

}  // namespace ptdoc::sync::faults
