#include "tests/simulation/referee.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace ptdoc::sync::sim {
namespace {

std::string NameOfKey(const EntityKey& key) {
  return absl::StrCat(key.type, "/", key.id);
}

const Version* Find(const Referee::History& history, const EntityKey& key, Revision revision) {
  const auto versions = history.find(key);
  if (versions == history.end()) return nullptr;
  for (const Version& version : versions->second) {
    if (version.revision == revision) return &version;
  }
  return nullptr;
}

// The row is as its base was: nothing was to be sent.
bool ChangesNothing(const Change& change, const Version& base) {
  // A deletion may be told anew while a re-baseline asks what stands.
  if (change.operation == Operation::kDelete || base.deleted) return false;
  for (const Field& field : change.fields) {
    const Value* const before = base.fields.Find(field.name);
    if (before == nullptr || *before != field.value) return false;
  }
  return true;
}

}  // namespace

void Referee::Judge(World& world, const PushBatch& batch, const PushAnswer& answer,
                    const History& history, absl::Time now) {
  if (batch.batch_id.empty()) return;
  const std::string id = absl::StrCat(batch.who.device, "/", batch.batch_id);
  if (answer.voided) {
    void_.insert(id);
    if (receipts_stay_ && said_.contains(id))
      world.Fail("a batch that was answered was taken for void (P3): " + id);
    return;
  }
  if (receipts_stay_ && void_.contains(id))
    world.Fail("a batch that was void took effect (P3): " + id);
  const bool repeated = said_.contains(id);
  JudgeRepetition(world, id, answer);
  if (repeated || answer.results.size() != batch.changes.size()) return;
  for (size_t i = 0; i < batch.changes.size(); ++i) {
    JudgeChange(world, batch.changes[i], answer.results[i], history, now);
  }
}

// Sent ten times, a batch gets one answer.
void Referee::JudgeRepetition(World& world, const std::string& id, const PushAnswer& answer) {
  std::vector<Said> said;
  for (const ChangeResult& result : answer.results) {
    said.push_back({result.outcome, result.resolution, result.revision, result.conflict_id});
  }
  const auto [before, is_new] = said_.emplace(id, said);
  if (is_new) return;
  world.Count("batch answered again");
  if (receipts_stay_ && before->second != said) world.Fail("one batch got two answers (P3): " + id);
}

void Referee::JudgeChange(World& world, const Change& change, const ChangeResult& result,
                          const History& history, absl::Time now) {
  const bool is_late =
      change.last_modified.has_value() && *change.last_modified > ToTimeNs(now + absl::Minutes(1));
  if (is_late && result.rule == "8" && result.resolution == Resolution::kLocalWins) {
    world.Fail("a time beyond the service's clock won (P5): " + NameOfKey(change.key));
  }
  if (is_late) {
    world.Count("time clamped");
    clamped_.insert(result.conflict_id);
  }
  if (change.reoffer || change.base_revision == 0) return;
  if (change.operation == Operation::kCreate) return;  // Made anew, if it looks the same.
  const Version* const base = Find(history, change.key, change.base_revision);
  // Over an older base stands a winner, which the device may have set aside: its
  // row is as it was sent then, not as its base was.
  const bool is_current = base != nullptr && base == &history.at(change.key).back();
  if (is_current && ChangesNothing(change, *base)) {
    world.Fail(absl::StrCat("a row that was not changed was sent: ", NameOfKey(change.key), " on r",
                            change.base_revision));
  }
}

void Referee::JudgeLoss(World& world, const ArchiveRow& row) const {
  if (clamped_.contains(row.conflict_id)) return;  // It loses whatever its time counts as.
  if (row.rule == "8" && row.archived_time > row.chosen_time) {
    world.Fail("the earlier of two drafts won (P5): " + NameOfKey(row.key));
  }
}

}  // namespace ptdoc::sync::sim
