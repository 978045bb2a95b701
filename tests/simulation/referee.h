#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/model/change.h"
#include "sync-service/engine/engine.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Looks at every answer as it leaves the service, and knows nothing of how it
// was found: what docs/CONFLICTS.md says of answers must hold for each.
class Referee {
 public:
  using History = std::map<EntityKey, std::vector<Version>>;

  // `now`: the service's clock when it decided.
  void Judge(World& world, const PushBatch& batch, const PushAnswer& answer, const History& history,
             absl::Time now);
  // The cursor of a page of this epoch left the service.
  void Tell(const std::string& cursor, const std::string& epoch) { epochs_[cursor] = epoch; }
  // What it was told before the store was set back, to this revision.
  void Remember(const Referee& before, Revision set_back_to);
  // Every batch that was answered still has its answer in the store.
  void JudgeReceipts(World& world, StoreReader& reader, const std::string& tenant) const;
  // Receipts live as long as versions: what was answered may be forgotten.
  void ForgetReceipts() { receipts_stay_ = false; }
  // A person asked this device to try again what was refused for good.
  void Forgive(const std::string& device) {
    std::erase_if(refused_, [&](const auto& one) { return one.first.first == device; });
  }
  // A conflict as it stands in the archive.
  void JudgeLoss(World& world, const ArchiveRow& row) const;

 private:
  struct Said {
    static Said Of(const ChangeResult& result) {
      return {result.outcome, result.resolution, result.revision, result.conflict_id};
    }
    Outcome outcome = Outcome::kFailed;
    Resolution resolution = Resolution::kNone;
    Revision revision = 0;
    std::string conflict_id;
    bool operator==(const Said&) const = default;
  };
  struct Writer {
    std::string device;
    TimeNs time = 0;  // as it claimed
  };
  using Batch = std::pair<std::string, std::string>;  // device and id
  const Writer* WriterBefore(const EntityKey& key, Revision revision, const History& history) const;
  void JudgeRepetition(World& world, const Batch& id, const PushAnswer& answer);
  void JudgeChange(World& world, const std::string& device, const Change& change,
                   const ChangeResult& result, const History& history, absl::Time now);

  void JudgeRefusal(World& world, const std::string& device, const Change& change,
                    const ChangeResult& result);
  static void JudgeBase(World& world, const Change& change, const ChangeResult& result,
                        const History& history);
  static void JudgeNeed(World& world, const Change& change, const History& history);
  void JudgeCursor(World& world, const PushBatch& batch, const PushAnswer& answer) const;
  static void JudgeReoffer(World& world, const Change& change, const ChangeResult& result,
                           const History& history);

  bool receipts_stay_ = true;
  std::map<std::string, std::string> epochs_;  // by cursor
  std::map<Batch, std::vector<Said>> said_;
  std::set<Batch> answered_;  // of a store that was set back since
  Revision set_back_to_ = 0;
  std::set<Batch> void_;
  std::map<std::pair<std::string, EntityKey>, Change> refused_;  // for good
  std::set<std::string> clamped_;  // conflicts of a change whose time was
  std::set<std::pair<EntityKey, std::string>> clamped_writers_;
  std::map<std::pair<EntityKey, Revision>, Writer> writers_;  // of what was accepted
};

}  // namespace ptdoc::sync::sim
