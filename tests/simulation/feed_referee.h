#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/model/change.h"
#include "common/model/cursor.h"
#include "sync-service/engine/engine.h"
#include "tests/simulation/referee.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Looks at every page of the feed as it leaves the service: nothing that was
// wanted is skipped, a page that says so ends where a batch ended, and every
// version is as it was committed (P8).
class FeedReferee {
 public:
  using History = Referee::History;

  // The next entry of the log, read without any filter.
  void Append(World& world, const FeedVersion& entry);
  // Everything that was committed has been appended. `resume`: the position that
  // the page was read from, null: the query's cursor.
  void Judge(World& world, const PullQuery& query, const PullPosition* resume, const PullPage& page,
             const History& history);
  // What was told before the store was set back.
  void Remember(const FeedReferee& before) {
    told_.insert(before.told_.begin(), before.told_.end());
  }
  Revision newest() const { return log_.empty() ? 0 : log_.rbegin()->first; }

 private:
  struct Logged {
    EntityKey key;
    bool batch_end = false;
  };
  // What the page should hold: heads in a snapshot, the log behind it.
  std::vector<Revision> Wanted(const PullQuery& query, const Cursor& from, Revision up_to,
                               const History& history) const;
  void JudgeEnd(World& world, const Cursor& from, const PullPage& page) const;

  std::map<Revision, Logged> log_;
  std::map<std::string, Cursor> told_;  // by what the device got
};

}  // namespace ptdoc::sync::sim
