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
  // Receipts live as long as versions: what was answered may be forgotten.
  void ForgetReceipts() { receipts_stay_ = false; }
  // A conflict as it stands in the archive.
  void JudgeLoss(World& world, const ArchiveRow& row) const;

 private:
  struct Said {
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
  const Writer* WriterBefore(const EntityKey& key, Revision revision, const History& history) const;
  void JudgeRepetition(World& world, const std::string& id, const PushAnswer& answer);
  void JudgeChange(World& world, const std::string& device, const Change& change,
                   const ChangeResult& result, const History& history, absl::Time now);

  static void JudgeNeed(World& world, const Change& change, const History& history);
  void JudgeCursor(World& world, const PushBatch& batch, const PushAnswer& answer) const;
  static void JudgeReoffer(World& world, const Change& change, const ChangeResult& result,
                           const History& history);

  bool receipts_stay_ = true;
  std::map<std::string, std::string> epochs_;      // by cursor
  std::map<std::string, std::vector<Said>> said_;  // by device and batch
  std::set<std::string> void_;
  std::set<std::string> clamped_;  // conflicts of a change whose time was
  std::set<std::pair<EntityKey, std::string>> clamped_writers_;
  std::map<std::pair<EntityKey, Revision>, Writer> writers_;  // of what was accepted
};

}  // namespace ptdoc::sync::sim
