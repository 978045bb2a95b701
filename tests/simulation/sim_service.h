#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/sqlite/sqlite.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/feed_referee.h"
#include "tests/simulation/merge_referee.h"
#include "tests/simulation/referee.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

inline constexpr char kTenant[] = "clinic";

// The service: the real engine over a real SQLite store, with a waiting line
// and a group commit between the network and it. Can die at any commit.
class SimService {
 public:
  using PushReply = std::function<void(const absl::StatusOr<PushAnswer>&)>;

  SimService(World& world, const Chaos& chaos);
  ~SimService();

  bool up() const { return engine_ != nullptr && !process_.dead(); }
  // Grows with every start: replies to calls of an earlier life never come.
  int life() const { return life_; }
  void Start();
  void Crash();

  // Joins the next group commit. `reply` is not called if the service dies.
  void Push(PushBatch batch, PushReply reply);
  absl::StatusOr<PullPage> Pull(const PullQuery& query, const PullPosition* resume);
  absl::StatusOr<FetchPage> Fetch(const Principal& who, const std::vector<EntityKey>& keys,
                                  const std::string& witness);
  // Tokens: OK, or what a device is told whose token has ended.
  absl::Status Admit(const std::string& device) const;
  void ExpireToken(const std::string& device) { expired_.insert(device); }
  void RenewToken(const std::string& device) { expired_.erase(device); }
  // What the device's token includes.
  void ShowTags(const std::string& device, bool shown);
  bool ShowsTags(const std::string& device) const { return !without_tags_.contains(device); }
  std::shared_ptr<const TypeRights> RightsOf(const std::string& device) const;
  // What was refused for good may be sent again by this device.
  void Forgive(const std::string& device) { record_.referee.Forgive(device); }

  // Called after each commit that made the feed longer.
  void OnAppend(std::function<void()> follower) { followers_.push_back(std::move(follower)); }
  // Called when the service dies.
  void OnCrash(std::function<void()> watcher) { watchers_.push_back(std::move(watcher)); }

  std::unique_ptr<StoreReader> Read();
  // For the simulation's own eyes: the store's file, while no disk fails.
  void Look(const std::function<void(sqlite::Database&)>& look);
  // Every version that it said it had taken stands, and the newest is the head.
  void CheckAcknowledged();
  static EngineOptions Options();
  // Before it starts. Shorter than a run: receipts go, too.
  void SetRetention(absl::Duration retention) {
    retention_ = retention;
    record_.referee.ForgetReceipts();
  }
  Disk& disk() { return disk_; }
  void PowerCut();
  void FillDisk();
  void Heal();  // no disk fails any more

  // From what base each version was made, as its device said.
  struct Origin {
    Revision base = 0;
    std::string device;
    std::string rule;
  };
  // A conflict that was answered, with what lost.
  struct Loss {
    EntityKey key;
    Resolution resolution = Resolution::kNone;
    std::string sender;     // whose change it was
    bool sent_lost = true;  // that one, or what the service had held
    std::string batch_id;
  };
  // What the service has said and done, kept outside of it. A restore sets it
  // back with the store.
  struct Record {
    std::map<EntityKey, std::vector<Version>> history;  // oldest first
    Revision newest = 0;
    std::map<std::pair<EntityKey, Revision>, Origin> origins;
    std::map<std::string, Loss> losses;
    std::set<std::string> noted;  // batches by device and id
    Referee referee;
    FeedReferee feed;
    MergeReferee merges;
    uint64_t audited = 0;  // results that one row of the audit tells of
  };
  const Record& record() const { return record_; }
  // Every archived row's JSON, by entity ("null" = a deletion).
  std::multimap<EntityKey, std::string> Archived();
  int64_t accepted = 0;

  // A copy of the store's files, as a backup takes it, and the copy put back:
  // with a new epoch, as `restore` does, or behind the service's back.
  void Backup();
  bool has_backup() const { return backup_.has_value(); }
  void Restore(bool new_epoch);
  // Who sets it back when others ask for it: whoever knows of all devices.
  void OnSetBack(std::function<void(bool new_epoch)> setter) { setter_ = std::move(setter); }
  void SetBack(bool new_epoch) {
    if (setter_) setter_(new_epoch);
  }
  // Versions that it held before it was set back.
  const std::vector<Version>& lost() const { return lost_; }

  // One of the things that administrators and reviewers do.
  void Administrate();

 private:
  struct Waiting {
    PushBatch batch;
    PushReply reply;
  };
  void Commit();
  void Bury();
  bool Mirror();
  void CheckTaken();
  void Configure();
  void Restrict();
  absl::StatusOr<Revision> Resolve(const Principal& who);
  void RememberPairs(const Record& lost);
  void RememberVersions(const Record& lost);
  void Prune();
  void Tell();
  void CheckReoffer(const Change& change, Revision revision);
  void Note(const PushBatch& batch, const PushAnswer& answer);

  // A status of the store as the wire would carry it.
  absl::Status Wire(const absl::Status& status);

  World& world_;
  const Chaos& chaos_;
  Disk disk_;
  Process process_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
  int life_ = 0;
  bool commit_due_ = false;
  std::deque<Waiting> waiting_;
  Record record_;
  std::set<std::string> expired_;       // devices
  std::set<std::string> without_tags_;  // devices
  bool refuses_long_ = false;
  std::string refused_type_;  // empty = none
  bool unread_ = false;       // something may stand in the store that was not read yet
  struct Taken {
    Change change;
    Revision revision = 0;
  };
  std::vector<Taken> taken_;  // acknowledged, and not read yet
  struct Copy {
    std::map<std::string, std::string> files;
    Record record;
  };
  std::optional<Copy> backup_;
  std::function<void(bool)> setter_;
  std::vector<Version> lost_;
  absl::Duration retention_ = absl::Hours(24 * 90);
  std::vector<std::function<void()>> followers_;
  std::vector<std::function<void()>> watchers_;
};

}  // namespace ptdoc::sync::sim
