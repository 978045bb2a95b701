#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/model/change.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync::sim {

// A machine's clock: the world's, with an error of its own.
class SkewedClock final : public Clock {
 public:
  explicit SkewedClock(const Clock& world) : world_(world) {}
  absl::Time Now() const override { return world_.Now() + skew; }
  absl::Duration Monotonic() const override { return world_.Monotonic(); }
  absl::Duration skew;

 private:
  const Clock& world_;
};

// Virtual time, what is to happen in it, chance, and the trace of what did.
class World {
 public:
  World(uint64_t seed, bool trace, EntityKey watch)
      : rng_(seed), seed_(seed), print_(trace), watch_(std::move(watch)) {}

  // In every third run patients and notes are merged by field. Not drawn: what is
  // drawn in the other runs stays as it was.
  bool merges_fields() const { return seed_ % 3 == 2; }
  // In every fourth run the apps number some of their rows by themselves.
  bool has_numbers() const { return seed_ % 4 == 1; }

  // In every fifth run new tokens include the tags, or do not.
  bool changes_rights() const { return seed_ % 5 == 3; }

  FakeClock& clock() { return clock_; }
  Rng& rng() { return rng_; }
  absl::Duration now() const { return clock_.Monotonic(); }

  void After(absl::Duration delay, std::function<void()> what) {
    queue_[{now() + std::max(delay, absl::ZeroDuration()), ++sequence_}] = std::move(what);
  }
  void Every(absl::Duration period, const std::function<void()>& what) {
    After(period, [this, period, what] {
      what();
      Every(period, what);
    });
  }
  // Runs everything up to `until`, then stands there.
  void RunUntil(absl::Duration until) {
    while (!queue_.empty() && queue_.begin()->first.first <= until) {
      auto node = queue_.extract(queue_.begin());
      clock_.Advance(node.key().first - now());
      node.mapped()();
      for (const auto& look : after_each_) look();
    }
    if (until > now()) clock_.Advance(until - now());
  }

  // Called after everything that happened.
  void AfterEach(std::function<void()> look) { after_each_.push_back(std::move(look)); }

  // Somebody did one thing: an app's transaction, an agent's action, a commit of the
  // service, a mishap.
  void Step() { ++steps_; }
  int64_t steps() const { return steps_; }

  // A kind of fault or event that happened. Over all runs none may be at 0.
  void Count(const std::string& what, int64_t times = 1) { counters_[what] += times; }
  const std::map<std::string, int64_t>& counters() const { return counters_; }

  // Somebody did something to one half of a transfer that an app had committed as
  // one (key of either half): from here on half of this one proves nothing. Other
  // entities are ignored.
  void PairMayBreak(const EntityKey& half) {
    if (half.type == "Transfer") broken_pairs_.insert(half.id.substr(0, half.id.size() - 1));
  }
  const std::set<std::string>& broken_pairs() const { return broken_pairs_; }

  bool Chance(double probability) {
    return static_cast<double>(rng_.Below(1'000'000)) < probability * 1e6;
  }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    const int64_t range = absl::ToInt64Microseconds(high - low);
    return low + absl::Microseconds(static_cast<int64_t>(
                     rng_.Below(static_cast<uint64_t>(std::max<int64_t>(range, 1)))));
  }

  // Everything that happens is told here: two runs of one seed are the same if
  // their traces are.
  void Trace(const std::string& line);
  uint64_t trace_hash() const { return trace_hash_; }
  // Printed, but no part of the trace.
  void Remark(const std::string& line) const;
  // An entity whose every step on the devices is remarked upon, if named.
  const EntityKey& watch() const { return watch_; }
  // A broken promise. The first one ends the run.
  void Fail(const std::string& what);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

 private:
  FakeClock clock_;
  SeededRng rng_;
  const uint64_t seed_;
  const bool print_;
  const EntityKey watch_;
  std::map<std::pair<absl::Duration, uint64_t>, std::function<void()>> queue_;
  std::vector<std::function<void()>> after_each_;
  std::map<std::string, int64_t> counters_;
  int64_t steps_ = 0;
  uint64_t sequence_ = 0;
  std::set<std::string> broken_pairs_;
  uint64_t trace_hash_ = 0;
  std::string failure_;
};

// The same text in every process: a status's own prints its payloads in any order.
std::string TextOf(const absl::Status& status);

// How bad it gets; drawn from the seed. All zero in the liveness phase.
struct Chaos {
  double cut = 0;              // a message takes its stream with it, before or after it arrived
  double doubled = 0;          // a pushed message arrives a second time, later
  double blackhole = 0;        // a stream that stays silent for ever
  double refused = 0;          // a pushed message is answered by a status that ends the stream
  double slow = 0;             // a message takes seconds
  double agent_crash = 0;      // for each action
  double half_crash = 0;       // for each fail point inside an action
  double service_crash = 0;    // for each group commit
  double lost_wake = 0;        // nobody hears of an app's commit
  double app_amid = 0;         // for each fail point: the app writes there
  double disk_crash = 0;       // a life of an agent or the service that ends inside of a disk call
  uint64_t disk_errors = 0;    // each disk call of either, in 1/1,000,000
  double ambush = 0;           // two rare things at once, where only both do harm
  bool small_batches = false;  // what an app commits together is sent in several
  absl::Duration app_pause = absl::Seconds(2);  // between two transactions of an app
};

}  // namespace ptdoc::sync::sim
