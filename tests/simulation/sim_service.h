#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sync-service/engine/engine.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

inline constexpr char kTenant[] = "clinic";

// The service: the real engine over a real SQLite store, with a waiting line
// and a group commit between the network and it. Can die at any commit.
class SimService {
 public:
  using PushReply = std::function<void(const absl::StatusOr<PushAnswer>&)>;

  SimService(World& world, std::string path, const Chaos& chaos);

  bool up() const { return engine_ != nullptr; }
  // Grows with every start: replies to calls of an earlier life never come.
  int life() const { return life_; }
  void Start();
  void Crash();

  // Joins the next group commit. `reply` is not called if the service dies.
  void Push(PushBatch batch, PushReply reply);
  absl::StatusOr<PullPage> Pull(const PullQuery& query, const PullPosition* resume) {
    return engine_->Pull(query, resume);
  }
  absl::StatusOr<FetchPage> Fetch(const Principal& who, const std::vector<EntityKey>& keys) {
    return engine_->Fetch(who, keys);
  }
  // Called after each commit that made the feed longer.
  void OnAppend(std::function<void()> follower) { followers_.push_back(std::move(follower)); }
  // Called when the service dies.
  void OnCrash(std::function<void()> watcher) { watchers_.push_back(std::move(watcher)); }

  std::unique_ptr<StoreReader> Read();
  static EngineOptions Options();

  // From what base each version was made, as its device said.
  struct Origin {
    Revision base = 0;
    std::string device;
    std::string rule;
  };
  std::map<std::pair<EntityKey, Revision>, Origin> origins;
  // Every conflict that was answered, with what lost.
  struct Loss {
    EntityKey key;
    Resolution resolution = Resolution::kNone;
  };
  std::map<std::string, Loss> losses;
  int64_t accepted = 0;

 private:
  struct Waiting {
    PushBatch batch;
    PushReply reply;
  };
  void Commit();
  void Note(const PushBatch& batch, const PushAnswer& answer);

  World& world_;
  const std::string path_;
  const Chaos& chaos_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  int life_ = 0;
  bool commit_due_ = false;
  std::deque<Waiting> waiting_;
  std::set<std::string> noted_;  // batches by device and id
  std::vector<std::function<void()>> followers_;
  std::vector<std::function<void()>> watchers_;
};

}  // namespace ptdoc::sync::sim
