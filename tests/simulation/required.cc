#include "tests/simulation/required.h"

#include <algorithm>

#include "common/base/reached.h"

namespace ptdoc::sync::sim {
namespace {

constexpr uint64_t kFewRuns = 100;
constexpr uint64_t kSeveralRuns = 400;
constexpr uint64_t kManyRuns = 1000;
constexpr uint64_t kVeryManyRuns = 10'000;

// Met in every hundred runs.
constexpr const char* kCommon[] = {
    "app held the lock",
    "app wrote amid an action",
    "app wrote rows that it numbers by itself",
    "app wrote with triggers off",
    "app's file set back",
    "archived row restored",
    "audit rows verified",
    "batch answered again",
    "both files set back",
    "client sent a batch again",
    "client was answered",
    "clock set by hours",
    "clock set by years",
    "column added",
    "content in SyncConflictArchives.ArchivedDataJson",
    "content in SyncSetAside.Content",
    "content in Versions.Content",
    "device disk: died in shm lock",
    "device disk: died in write",
    "device disk: disk full",
    "device disk: power cut",
    "device syncs fewer types",
    "files copied to another device",
    "files moved",
    "halves of transfers looked for to the end",
    "item cancelled",
    "item Failed -> Processing",
    "item Pending -> Cancelled",
    "item Pending -> Completed",
    "item Pending -> Processing",
    "item Processing -> Completed",
    "item Processing -> Failed",
    "item nothing -> Pending",
    "ledger lost",
    "ledger set back",
    "lines logged",
    "old content offered again",
    "losers of merges looked for",
    "merged row judged",
    "merged what both had changed",
    "own loss looked for",
    "page of heads judged",
    "page of the log judged",
    "receipts looked for",
    "refused TYPE_FORBIDDEN",
    "refused for good",
    "retention ran",
    "rule 10 Conflict Manual",
    "rule 2 Failed ",
    "rule 3 Unchanged ",
    "rule 4 Conflict RejectedImmutable",
    "rule 5 Conflict RejectedLocked",
    "rule 6 Accepted ",
    "rule 7 Conflict SignedWins",
    "rule 8 Conflict LocalWins",
    "rule 8 Conflict ServerWins",
    "rule 9 Conflict Merged",
    "rule reoffer Unchanged ",
    "service disk: died in write",
    "service disk: disk full",
    "service disk: power cut",
    "service restored",
    "service rolled back",
    "table rebuilt",
    "time clamped",
    "token expired",
    "told DRAINING",
    "told EPOCH_CHANGED",
    "told HISTORY_FORKED",
    "told OVERLOADED",
    "told SCOPE_CHANGED",
    "told TOKEN_EXPIRED",
    "trigger dropped",
    "type left",
};

// Met in every four hundred.
constexpr const char* kLessCommon[] = {
    "conflict resolved",           "device disk: died in sync",
    "device disk: unsynced kept",  "device disk: unsynced lost",
    "device disk: unsynced torn",  "refused ROW_TOO_LARGE",
    "rule 6b Conflict ServerWins", "rule 7 Conflict LockedWins",
    "two drafts of one time",      "type joined",
};

// Met in every thousand.
constexpr const char* kRare[] = {
    "item Failed -> Pending",
    "item Failed -> Cancelled",
    "form unlocked",
    "device disk: names lost",
    "device disk: error in read",
    "device disk: error in write",
    "item Processing -> Pending",
    "merged what was changed and changed back",
    "refused BASE_UNKNOWN",
    "rule 9 Accepted ",
    "rule base Failed ",
    "type joined again",
    "edit of a type that left looked for",
    "ambush: deleted unseen while sent",
    "ambush: restored behind a fetch",
    "ambush: rolled back behind an answer",
    "ambush: rolled back behind one away",
    "ambush: rolled back behind one that was not answered",
    "ambush: written, fetched and set back",
    "client wrote on a base that is lost",
    "merged by the field's time against the row's",
};

// Met in every ten thousand.
constexpr const char* kRarest[] = {
    "base of another history",
    "a fetch was answered late",
    "a row that the service may have lost was in the way of a cascade",
    "an edit was in the way of a cascade in a recovery",
};

// Places in the product that a hundred runs need not reach.
constexpr const char* kRarePlaces[] = {
    "a type was synced again",
    "an edit that no trigger saw was in the way of a cascade",
    "columns were gained under an edit that was undone",
    "the cut log is drained again",
    "unique values were parked",
};

bool IsIn(const auto& names, const std::string& name) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char* one) { return name == one; });
}

}  // namespace

std::vector<std::string> NeverHappened(const std::map<std::string, int64_t>& counters,
                                       uint64_t runs) {
  std::vector<std::string> missing;
  if (runs < kFewRuns) return missing;
  const auto ask = [&](const std::string& what) {
    const auto counter = counters.find(what);
    if (counter == counters.end() || counter->second == 0) missing.push_back(what);
  };
  for (const char* what : kCommon) ask(what);
  for (const char* what : kLessCommon) {
    if (runs >= kSeveralRuns) ask(what);
  }
  for (const char* what : kRare) {
    if (runs >= kManyRuns) ask(what);
  }
  for (const char* what : kRarest) {
    if (runs >= kVeryManyRuns) ask(what);
  }
  for (const auto& [place, times] : ReachedPlaces()) {
    if (IsIn(kRarest, place)) continue;
    if (runs >= kManyRuns || !IsIn(kRarePlaces, place)) ask(place);
  }
  return missing;
}

}  // namespace ptdoc::sync::sim
