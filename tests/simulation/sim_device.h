#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device-agent/loop/agent_core.h"
#include "device-agent/replica/replica.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/sim_app.h"
#include "tests/simulation/sim_peer.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// On the device's disk: the app's file, and the agent's beside it.
inline constexpr char kFile[] = "/app.db";
inline constexpr char kLedger[] = "/app.db.sync";

// One device: an app that writes, and an agent that can die between any two
// actions and inside of them.
class SimDevice {
 public:
  SimDevice(World& world, SimService& service, const Chaos& chaos, int number);
  ~SimDevice();

  // The longest time until an app's commit without log rows is looked for.
  static constexpr absl::Duration kScanDelayMax = absl::Minutes(10);

  void Install();  // the app's file with some rows, and init
  void Boot();     // the agent's process
  void Crash();
  // The whole machine; the app comes back with the agent.
  void PowerCut();
  // No disk fails any more.
  void Heal();
  Disk& disk() { return disk_; }
  void SetLink(bool up);
  // Pushes are answered, but nothing comes from the feed.
  void DeafenFeed();

  // What happens to files. A copy of both is taken; either, both or none of
  // them is put back later, in the old file's place or as another file; or
  // both become those of another device.
  void TakeCopy();
  void PutBack();
  void BecomeCopyOf(SimDevice& other);
  // What people do on a device: cancel, retry, restore from the archive.
  void Meddle();
  // The last thing that befalls a row: nothing that comes after it hides whether the
  // service's version was put back.
  void CancelLast();
  void Migrate();
  void FillDisk();
  // The service is to be set back: forgets promises that it has kept (`kept`).
  // Only what it holds now (`held`) and stands here, too, is to be offered again;
  // the successor of anything else may be on its way.
  using Judgement = std::function<bool(const EntityKey&, const std::optional<Fields>&)>;
  void ForgetKept(const Judgement& kept, const Judgement& held);
  void SetSkew(absl::Duration skew) { clock_.skew = skew; }
  // A commit of the app that concerns no synced table.
  void WriteSilently();
  // The app goes on writing by itself until it is told to stop.
  void StartWriting();
  void StopWriting() { writing_ = false; }
  // It reads for a while, and writes nothing.
  void Hush(bool hushed) { hushed_ = hushed; }

  const std::string& name() const { return name_; }
  // Whether this device syncs rows of this type.
  bool Syncs(const std::string& type) const {
    return type != "Tag" || (with_tags_ && service_.ShowsTags(name_));
  }
  // It was synced once and then no more, for a while or for good.
  bool HasLeft(const std::string& type) const { return had_tags_ && type == "Tag"; }
  bool alive() const { return core_ != nullptr; }
  bool link_up() const { return link_up_; }
  // Nothing waits, nothing is under way, the feed is read to its end.
  bool Quiet();
  std::string Describe();
  void RequestRun(std::function<void(const RunResult&)> done);

  SimApp& app() { return app_; }
  Replica& replica() { return *replica_; }
  // For the simulation's own eyes: the ledger and the app's file, while no disk
  // fails. The agent is alive.
  void Look(const std::function<void(sqlite::Database& ledger, sqlite::Database& app)>& look);

  // What the app last wrote into a row and nobody has overwritten here since:
  // it must be known to the service or stand in an archive in the end.
  struct Promise {
    EntityKey key;
    std::optional<Fields> content;  // absent = deleted
    bool known = false;             // the row before was one that the service knew
    bool captured = false;          // made while the triggers of the tags stood
    bool alone = false;             // the service held it, and was set back
  };
  const std::vector<Promise>& promises() const { return promises_; }
  // Its files were never set back, lost, moved or another device's.
  bool has_own_files() const { return has_own_files_; }
  // Whether another item of the entity came after that batch's.
  bool HasNewerItem(const EntityKey& key, const std::string& batch_id);
  // Whether the entity's last item was sent, and answered.
  bool WasAnswered(const EntityKey& key);

 private:
  void WriteOnce();
  void Remember(const std::vector<SimApp::Edit>& edits);
  bool LooksQuiet();
  bool KnownToService(const EntityKey& key);
  void Observe();
  void Watch();
  void ForgetCascaded();
  void Arm();
  void GatherAtTimes();
  bool MayGoOn(const Action& action);
  void DeleteWhatIsSent(const actions::SendBatch& send);
  void ChangeTypes();
  uint32_t WaitsForType(const char* what);
  void Die(const std::string& where);
  void Bury();
  void Cancel();
  void Retry();
  void RestoreOne();
  void LoseToken();
  void ChangeRights();
  void CatchUpWithApps();
  void GainColumn();
  void RetryLater();
  void CheckOpenItems();
  void CheckPairs();
  void CountTransitions();
  absl::StatusOr<std::map<int64_t, ItemStatus>> StatusesNow();
  void Stop();
  void ForgetWhatIsGone(bool all);
  void SetFile(const std::string& path, const std::map<std::string, std::string>& files,
               bool in_place);
  ReplicaOptions Options() const;

  World& world_;
  SimService& service_;
  const Chaos& chaos_;
  const std::string name_;
  SkewedClock clock_;
  Disk disk_;
  Process app_process_;
  Process agent_process_;
  SimApp app_;
  bool link_up_ = true;
  bool writing_ = false;
  bool hushed_ = false;
  bool ambushed_ = false;     // a row went unseen while it was sent
  bool delete_last_ = false;  // and shall once more, when all else is over
  bool dying_ = false;
  // False from when files were set back until all is in step again.
  bool deletions_count_ = true;
  int life_ = 0;
  absl::Duration armed_ = absl::InfiniteDuration();
  std::unique_ptr<Replica> replica_;
  std::shared_ptr<SimPeer> peer_;
  std::unique_ptr<AgentCore> core_;
  std::vector<Promise> promises_;
  bool has_own_files_ = true;
  bool with_tags_ = true;
  bool had_tags_ = false;       // and left
  bool captures_tags_ = false;  // by its triggers: since the last start of the agent
  bool changes_types_ = false;  // now and then
  bool reads_mostly_ = false;
  bool healed_ = false;
  bool column_waits_ = false;  // the app is to have the column that others have
  bool retry_waits_ = false;
  bool has_applied_ = false;                // its last action
  std::map<int64_t, ItemStatus> statuses_;  // of the items, as last seen
  int64_t seen_changes_ = -1;
  int64_t quiet_changes_ = -1;                     // of the ledger, when nothing waited in it
  std::pair<Disk::Stamp, Disk::Stamp> seen_file_;  // when pairs were last looked at
  std::map<std::string, std::string> copy_;        // the machine's files, by path
  std::string watched_;                            // what was last said of the watched entity
};

}  // namespace ptdoc::sync::sim
