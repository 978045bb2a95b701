#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/model/change.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Judges rows that were merged (docs/CONFLICTS.md, row 9) field by field, by a
// history of fields of its own: when and by whom each was last changed, as far as
// the answers that left the service tell. What it cannot know (an answer that was
// lost with the service, a reviewer's version) it does not judge.
class MergeReferee {
 public:
  using History = std::map<EntityKey, std::vector<Version>>;

  // A change of a merged type was decided, as told by the service for the first
  // time. `newest`: the newest revision before that commit.
  void Hear(const std::string& device, const Change& change, const ChangeResult& result,
            absl::Time now, Revision newest);
  // Judges what was heard since, now that its versions are in the history.
  void Judge(World& world, const History& history);
  // The service died, perhaps with decisions that nobody heard of.
  void Forget();

  // Rows that must stand in the archive, in row JSON (P6).
  const std::vector<std::pair<EntityKey, std::string>>& losers() const { return losers_; }

 private:
  struct Heard {
    std::string device;
    Change change;
    ChangeResult result;
    absl::Time now;
    Revision newest = 0;
  };
  // When a field was last changed, and where; unknown without a time.
  struct Mark {
    std::optional<TimeNs> time;
    std::string writer;
    bool operator==(const Mark&) const = default;
  };
  using Marks = std::map<std::string, Mark>;
  using Place = std::pair<EntityKey, Revision>;
  // One field of the three versions, null where a version does not know it.
  struct Trio {
    const Value* base;
    const Value* stood;
    const Value* sent;
  };
  enum class Verdict { kStood, kSent, kEither };

  void JudgeOne(World& world, const History& history, const Heard& heard);
  void JudgeMerged(World& world, const Heard& heard, const Version& base, const Version& stood,
                   const Version& stands, const Mark& sent_mark);
  Verdict VerdictOf(World& world, const Heard& heard, const std::string& name, const Trio& trio,
                    const Version& base, const Version& stood, const Mark& sent_mark) const;
  Verdict Compare(World& world, const Mark& stood, const Mark& sent, const Trio& trio,
                  const Version& whole) const;
  void Raise(const Heard& heard, const Version& head, const Version* source, const Mark& mark);
  void Put(const Version& version, const Version* source, const Mark& mark);
  Mark MarkOf(const Version& version, const std::string& name) const;
  Mark MarkOfChange(const Heard& heard, const Version* base) const;
  std::optional<TimeNs> TimeOf(const Version& version) const;

  std::vector<Heard> heard_;
  std::map<Place, Marks> marks_;
  std::map<Place, TimeNs> times_;  // of whole versions, raised ones too
  std::vector<std::pair<EntityKey, std::string>> losers_;
};

}  // namespace ptdoc::sync::sim
