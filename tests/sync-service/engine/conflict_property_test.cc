#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/model/row_json.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

constexpr int kDevices = 4;
constexpr int kEntities = 5;
constexpr int kSteps = 250;

// What a device holds of an entity: the version that it last agreed on with
// the service, and its own edit on top.
struct Copy {
  ChangeResult base;        // revision and check
  std::string base_marker;  // "" = nothing
};

struct Sent {
  PushBatch batch;
  EntityKey key;
  std::string marker;  // of the version that was made, unique in the run
};

// Four devices that edit the same few entities, with clocks of their own. Every
// edit writes a marker of its own into the field Marker, so that each version
// can be told from every other.
class ConflictRun {
 public:
  explicit ConflictRun(uint64_t seed) : random_(seed), service_(seed + 1) {}

  void Run() {
    for (int step = 0; step < kSteps; ++step) {
      service_.clock().Advance(absl::Milliseconds(random_.Below(2000)));
      Step();
      if (testing::Test::HasFailure()) return;
    }
    CheckArchives();
    CheckAncestry();
  }

 private:
  EntityKey RandomKey() { return Patient("p" + std::to_string(random_.Below(kEntities))); }

  void Step() {
    const std::string device = "d" + std::to_string(random_.Below(kDevices));
    switch (random_.Below(6)) {
      case 0:
        return Fetch(device, RandomKey());
      case 1:  // The answer was lost: the same batch again.
        if (!sent_.empty()) Resend(sent_[random_.Below(sent_.size())]);
        return;
      default:
        return Edit(device, RandomKey());
    }
  }

  void Fetch(const std::string& device, const EntityKey& key) {
    const std::vector<EntityKey> keys = {key};
    const absl::StatusOr<FetchPage> page = service_.engine().Fetch(DeviceOf(device), keys);
    ASSERT_TRUE(page.ok());
    if (!page->versions.empty()) Adopt(device, page->versions.front());
  }

  void Adopt(const std::string& device, const Version& version) {
    Copy& copy = copies_[{device, version.key}];
    copy.base.revision = version.revision;
    copy.base.check = version.check;
    copy.base_marker = marker_of_[version.revision];
  }

  void Edit(const std::string& device, const EntityKey& key) {
    Copy& copy = copies_[{device, key}];
    const std::string marker = "m" + std::to_string(++last_marker_);
    const bool is_deletion = random_.Below(6) == 0;
    Change change = Delta(key, copy.base, Texts({{"Marker", marker}}));
    if (is_deletion) change = Delete(key, copy.base);
    if (!is_deletion && random_.Below(2) == 0) change.complete = true;
    // Clocks go wrong by up to half a minute, and one is far ahead.
    const int64_t skew_ms = static_cast<int64_t>(random_.Below(60'000)) - 30'000;
    change.last_modified = service_.Now() + skew_ms * 1'000'000;
    if (random_.Below(10) == 0) *change.last_modified += 3'600'000'000'000;
    Sent sent{BatchOf(service_, device, {change}), key, is_deletion ? "" : marker};
    parent_of_[marker] = copy.base_marker;
    const bool was_live = is_deletion && !copy.base_marker.empty();
    if (is_deletion && !was_live) return;  // Nothing there to delete.
    if (is_deletion) deletions_[key].insert(copy.base_marker);
    const PushAnswer answer = MustPush(service_, sent.batch);
    sent_.push_back(sent);
    Learn(sent, answer.results.at(0), device);
  }

  void Learn(const Sent& sent, const ChangeResult& result, const std::string& device) {
    ASSERT_NE(result.outcome, Outcome::kFailed) << result.error_message;
    const bool holds_own = !result.current.has_value();
    if (result.outcome == Outcome::kConflict) {
      conflicts_.insert(result.conflict_id);
      if (!holds_own) ++lost_[sent.marker];
      if (holds_own) ++lost_[marker_of_[HeadBefore(sent.key, result.revision)]];
    }
    if (holds_own && result.outcome != Outcome::kUnchanged) {
      marker_of_[result.revision] = sent.marker;
      heads_[sent.key].push_back(result.revision);
    }
    Copy& copy = copies_[{device, sent.key}];
    copy.base = result;
    copy.base_marker = marker_of_[result.revision];
  }

  Revision HeadBefore(const EntityKey& key, Revision revision) {
    Revision before = 0;
    for (const Revision head : heads_[key]) {
      if (head < revision) before = std::max(before, head);
    }
    return before;
  }

  void Resend(const Sent& sent) {
    const size_t archives = service_.Archives().size();
    const PushAnswer again = MustPush(service_, sent.batch);
    EXPECT_FALSE(again.appended);
    EXPECT_EQ(service_.Archives().size(), archives);
  }

  // P6: one row for each conflict, and every loser in exactly one of them.
  void CheckArchives() {
    std::set<std::string> ids;
    std::map<std::string, int> archived;
    for (const ArchiveRow& row : service_.Archives()) {
      EXPECT_TRUE(ids.insert(row.conflict_id).second);
      const std::string marker = row.archived_json == "null"
                                     ? ""
                                     : FieldsFromJson(row.archived_json)->Find("Marker")->bytes();
      ++archived[marker];
    }
    EXPECT_EQ(ids, conflicts_);
    EXPECT_EQ(archived, lost_);
    for (const auto& [marker, count] : archived) {
      if (marker.empty()) continue;  // Deletions look alike.
      EXPECT_EQ(count, 1) << marker << " was archived more than once";
    }
  }

  // A version may be replaced only by its descendant, or after its archive row
  // stands.
  void CheckAncestry() {
    for (const auto& [key, revisions] : heads_) {
      for (size_t i = 1; i < revisions.size(); ++i) {
        const std::string& before = marker_of_[revisions[i - 1]];
        const std::string& after = marker_of_[revisions[i]];
        if (before.empty()) continue;  // A deletion holds nothing that could be lost.
        const bool descends =
            after.empty() ? deletions_[key].contains(before) : parent_of_[after] == before;
        EXPECT_TRUE(descends || lost_.contains(before)) << before << " was overwritten silently";
      }
    }
  }

  SeededRng random_;
  TestService service_;
  std::map<std::pair<std::string, EntityKey>, Copy> copies_;
  std::map<Revision, std::string> marker_of_;
  std::map<EntityKey, std::vector<Revision>> heads_;
  std::map<EntityKey, std::set<std::string>> deletions_;
  std::map<std::string, std::string> parent_of_;
  std::vector<Sent> sent_;
  std::set<std::string> conflicts_;
  std::map<std::string, int> lost_;
  int last_marker_ = 0;
};

TEST(ConflictPropertyTest, EveryLoserIsArchivedOnceAndNothingIsOverwrittenSilently) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));

    ConflictRun(seed).Run();

    if (HasFailure()) break;
  }
}

// The row that a service ends up with when drafts of one base arrive in this
// order.
Fields WinnerOf(const std::vector<Change>& drafts, const std::vector<size_t>& order) {
  TestService service;
  const EntityKey key = Patient("p1");
  const ChangeResult base =
      PushOne(service, "d0", At(Create(key, Texts({{"Marker", "base"}})), service.Ago(1000)));
  for (const size_t i : order) {
    Change draft = drafts[i];
    draft.base_revision = base.revision;
    draft.base_check = base.check;
    draft.last_modified = service.Ago(*draft.last_modified);
    PushOne(service, "d" + std::to_string(i), draft);
  }
  return service.Head(key)->version.fields;
}

TEST(ConflictPropertyTest, WinnerAmongDraftsDoesNotDependOnTheOrderOfArrival) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRng random(seed);
    std::vector<Change> drafts;
    for (size_t i = 0; i < kDevices; ++i) {
      Change draft = Delta(Patient("p1"), {}, Texts({{"Marker", "m" + std::to_string(i)}}));
      draft.last_modified = static_cast<int64_t>(random.Below(3));  // seconds ago: often equal
      if (i == seed % kDevices) draft.operation = Operation::kDelete;
      drafts.push_back(draft);
    }
    std::vector<size_t> order = {0, 1, 2, 3};
    const Fields winner = WinnerOf(drafts, order);

    while (std::next_permutation(order.begin(), order.end())) {
      EXPECT_EQ(WinnerOf(drafts, order), winner);
    }
  }
}

// Some of the drafts have one content: a content competes with the greatest of
// the ranks that it was written with.
TEST(ConflictPropertyTest, WinnerDoesNotDependOnTheOrderWhenSomeDraftsAreTheSame) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRng random(seed);
    std::vector<Change> drafts;
    for (size_t i = 0; i < kDevices; ++i) {
      const std::string marker = "m" + std::to_string(random.Below(2));
      Change draft = Delta(Patient("p1"), {}, Texts({{"Marker", marker}}));
      draft.last_modified = static_cast<int64_t>(random.Below(2));  // seconds ago
      drafts.push_back(draft);
    }
    std::vector<size_t> order = {0, 1, 2, 3};
    const Fields winner = WinnerOf(drafts, order);

    while (std::next_permutation(order.begin(), order.end())) {
      ASSERT_EQ(WinnerOf(drafts, order), winner);
    }
  }
}

TEST(ConflictPropertyTest, SignatureStandsInEitherOrder) {
  const EntityKey key = {"ClinicalNote", "n1"};
  for (const bool signature_first : {true, false}) {
    TestService service;
    const ChangeResult base =
        PushOne(service, "a", At(Create(key, Texts({{"Text", "t"}})), service.Ago(600)));
    const Change signature =
        At(Delta(key, base, Texts({{"SignatureHash", "s"}})), service.Ago(300));
    const Change draft = At(Delta(key, base, Texts({{"Text", "draft"}})), service.Ago(10));

    PushOne(service, "a", signature_first ? signature : draft);
    PushOne(service, "b", signature_first ? draft : signature);

    EXPECT_EQ(service.Head(key)->version.fields, Texts({{"Text", "t"}, {"SignatureHash", "s"}}));
    EXPECT_EQ(service.Archives().size(), 1u);
  }
}

}  // namespace
}  // namespace ptdoc::sync
