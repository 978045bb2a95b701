#include "tests/simulation/referee.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/change.h"

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
  const Batch id(batch.who.device, batch.batch_id);
  if (answer.voided) {
    void_.insert(id);
    if (receipts_stay_ && said_.contains(id))
      world.Fail("a batch that was answered was taken for void (P3): " + id.first);
    return;
  }
  if (receipts_stay_ && void_.contains(id))
    world.Fail("a batch that was void took effect (P3): " + id.first);
  const bool repeated = said_.contains(id);
  JudgeRepetition(world, id, answer);
  if (repeated || answer.results.size() != batch.changes.size()) return;
  JudgeCursor(world, batch, answer);
  for (size_t i = 0; i < batch.changes.size(); ++i) {
    JudgeChange(world, batch.who.device, batch.changes[i], answer.results[i], history, now);
    // A client without an agent may send what it likes.
    if (batch.who.agent.empty()) continue;
    JudgeNeed(world, batch.changes[i], history);
    JudgeBase(world, batch.changes[i], answer.results[i], history);
    JudgeRefusal(world, batch.who.device, batch.changes[i], answer.results[i]);
  }
}

void Referee::Remember(const Referee& before, Revision set_back_to) {
  set_back_to_ = set_back_to;
  epochs_.insert(before.epochs_.begin(), before.epochs_.end());
  answered_ = before.answered_;
  for (const auto& [id, said] : before.said_) answered_.insert(id);
  // Who was asked to try again meanwhile has no refusal to keep to.
  std::erase_if(refused_, [&](const auto& one) { return !before.refused_.contains(one.first); });
}

// Sent ten times, a batch gets one answer.
void Referee::JudgeRepetition(World& world, const Batch& id, const PushAnswer& answer) {
  std::vector<Said> said;
  for (const ChangeResult& result : answer.results) said.push_back(Said::Of(result));
  const auto [before, is_new] = said_.emplace(id, said);
  if (is_new) return;
  world.Count("batch answered again");
  if (receipts_stay_ && before->second != said) {
    world.Fail("one batch got two answers (P3): " + id.first);
  }
}

void Referee::JudgeReceipts(World& world, StoreReader& reader, const std::string& tenant) const {
  if (!receipts_stay_) return;
  for (const auto& [id, said] : said_) {
    const auto receipt = reader.FindReceipt(tenant, id.first, id.second);
    PT_CHECK(receipt.ok());
    std::vector<Said> kept;
    if (receipt->has_value()) {
      for (const ChangeResult& result : (*receipt)->results) kept.push_back(Said::Of(result));
    }
    if (!receipt->has_value() || kept != said) {
      world.Fail(absl::StrCat("a batch of ", id.first, " was answered and has no receipt (P3)"));
    }
  }
  world.Count("receipts looked for", static_cast<int64_t>(said_.size()));
}

// Who stands in another history reads this one before anything of his is taken.
void Referee::JudgeCursor(World& world, const PushBatch& batch, const PushAnswer& answer) const {
  const auto epoch = epochs_.find(batch.cursor);
  if (batch.cursor.empty() || epoch == epochs_.end() || epoch->second == answer.epoch) return;
  // The service may have died of its first answer, and the store that was set back
  // holds the receipt.
  if (answered_.contains({batch.who.device, batch.batch_id})) return;
  // Or of the commit, before it said anything.
  const bool is_old =
      std::all_of(answer.results.begin(), answer.results.end(),
                  [&](const ChangeResult& result) { return result.revision <= set_back_to_; });
  if (is_old) return;
  world.Fail("a push from another epoch was taken: " + batch.who.device);
}

// Who wrote what this revision replaced; null if that is not known for sure.
const Referee::Writer* Referee::WriterBefore(const EntityKey& key, Revision revision,
                                             const History& history) const {
  const auto versions = history.find(key);
  auto writer = writers_.lower_bound({key, revision});
  if (versions == history.end() || writer == writers_.begin()) return nullptr;
  --writer;
  const bool is_head = writer->first == std::pair(key, versions->second.back().revision);
  return is_head ? &writer->second : nullptr;
}

// What the service ever held of an entity is no news to it.
void Referee::JudgeReoffer(World& world, const Change& change, const ChangeResult& result,
                           const History& history) {
  const auto versions = history.find(change.key);
  if (versions == history.end() || change.operation == Operation::kDelete) return;
  for (const Version& version : versions->second) {
    if (version.deleted || version.fields != change.fields) continue;
    // The answer may be one of before, of which the service died.
    if (version.revision >= result.revision) continue;
    world.Count("old content offered again");
    if (result.outcome != Outcome::kUnchanged) {
      world.Fail(absl::StrCat("old content was taken for new: ", NameOfKey(change.key), " of r",
                              version.revision, " ", OutcomeName(result.outcome)));
    }
    return;
  }
}

void Referee::JudgeChange(World& world, const std::string& device, const Change& change,
                          const ChangeResult& result, const History& history, absl::Time now) {
  const bool is_late =
      change.last_modified.has_value() && *change.last_modified > ToTimeNs(now + absl::Minutes(1));
  if (is_late && result.rule == "8" && result.resolution == Resolution::kLocalWins) {
    world.Fail("a time beyond the service's clock won (P5): " + NameOfKey(change.key));
  }
  if (is_late) {
    world.Count("time clamped");
    clamped_.insert(result.conflict_id);
    clamped_writers_.insert({change.key, device});
  }
  const Writer* const before = WriterBefore(change.key, result.revision, history);
  if (before != nullptr && !is_late && result.resolution == Resolution::kLocalWins &&
      change.last_modified == before->time) {
    world.Count("two drafts of one time");
    if (device < before->device && !clamped_writers_.contains({change.key, before->device})) {
      world.Fail("of two drafts of one time the wrong one won (P5): " + NameOfKey(change.key));
    }
  }
  const bool appended =
      result.outcome == Outcome::kAccepted || result.resolution == Resolution::kLocalWins;
  if (appended && change.last_modified.has_value()) {
    writers_[{change.key, result.revision}] = {device, *change.last_modified};
  }
  if (change.reoffer) return JudgeReoffer(world, change, result, history);
  if (change.base_revision == 0) return;
  const Version* const base = Find(history, change.key, change.base_revision);
  if (base != nullptr && !change.base_check.empty() && base->check != change.base_check) {
    world.Count("base of another history");
    if (result.rule == "6") {
      world.Fail("a base of another history was taken for this one's: " + NameOfKey(change.key));
    }
  }
}

// An agent sends only what was changed.
void Referee::JudgeNeed(World& world, const Change& change, const History& history) {
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

// An agent whose base is of a history that is gone is told so before anything of
// it is decided.
void Referee::JudgeBase(World& world, const Change& change, const ChangeResult& result,
                        const History& history) {
  if (change.reoffer || change.base_revision == 0) return;
  // A deletion that is offered again says what it deleted.
  if (change.operation == Operation::kDelete) return;
  const Version* const base = Find(history, change.key, change.base_revision);
  if (base != nullptr && (change.base_check.empty() || base->check == change.base_check)) return;
  world.Fail(
      absl::StrCat("an edit on a base of another history was decided: ", NameOfKey(change.key),
                   " on r", change.base_revision, " rule ", result.rule));
}

// What was refused for good is tried again when somebody edited it, or asked.
void Referee::JudgeRefusal(World& world, const std::string& device, const Change& change,
                           const ChangeResult& result) {
  const std::pair who(device, change.key);
  const auto refused = refused_.find(who);
  // By a clock that was set back a newer edit may have the time of the older one.
  const bool clocks_jump = world.counters().contains("clock set by hours") ||
                           world.counters().contains("clock set by years");
  // And who has the files of before knows of no refusal; of a type that left and
  // came back every item has another turn.
  bool files_change = false;
  for (const char* what : {"both files set back", "ledger set back", "ledger lost",
                           "app's file set back", "files copied to another device",
                           "device syncs fewer types", "type left", "token without tags"}) {
    files_change |= world.counters().contains(what);
  }
  if (receipts_stay_ && !clocks_jump && !files_change && !change.reoffer &&
      refused != refused_.end() && refused->second.last_modified == change.last_modified &&
      refused->second.fields == change.fields) {
    world.Fail("what was refused for good was sent again: " + NameOfKey(change.key));
  }
  if (result.outcome == Outcome::kFailed && !result.retryable) {
    world.Count("refused for good");
    refused_[who] = change;
  } else if (refused != refused_.end()) {
    refused_.erase(refused);
  }
}

void Referee::JudgeLoss(World& world, const ArchiveRow& row) const {
  if (clamped_.contains(row.conflict_id)) return;  // It loses whatever its time counts as.
  if (row.rule == "8" && row.archived_time > row.chosen_time) {
    world.Fail("the earlier of two drafts won (P5): " + NameOfKey(row.key));
  }
}

}  // namespace ptdoc::sync::sim
