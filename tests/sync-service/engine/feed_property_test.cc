#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

constexpr int kGroups = 6;
const std::vector<std::string> kTypes = {"A", "B", "C"};

// Entities that are always written together: at every batch end each of them
// must show the same value, or the reader saw half of a batch.
struct Group {
  std::vector<EntityKey> keys;
  std::vector<ChangeResult> bases;  // of the last write
  int value = 0;
  bool deleted = false;
};

// Somebody who pulls in pages of a random size, keeps what he has at batch
// ends, and now and then starts again from a cursor alone.
struct Puller {
  std::string device;
  std::vector<std::string> types;
  size_t page_size = 1;
  std::string cursor;
  std::optional<PullPosition> next;  // inside a stream
  std::map<EntityKey, Version> buffered;
  std::map<EntityKey, Version> applied;
  bool caught_up = false;
};

class FeedRun {
 public:
  explicit FeedRun(uint64_t seed) : random_(seed), service_(seed + 1) {
    for (int i = 0; i < kGroups; ++i) groups_.push_back(MakeGroup(i));
    for (int i = 0; i < 4; ++i) pullers_.push_back(MakePuller(i));
  }

  void Run() {
    for (int step = 0; step < 150; ++step) {
      if (random_.Below(3) == 0) {
        Write();
      } else {
        PullOnce(pullers_[random_.Below(pullers_.size())]);
      }
      if (testing::Test::HasFailure()) return;
    }
    for (Puller& puller : pullers_) ExpectConverges(puller);
  }

 private:
  Group MakeGroup(int number) {
    Group group;
    const size_t size = 1 + random_.Below(12);
    for (size_t i = 0; i < size; ++i) {
      group.keys.push_back({kTypes[random_.Below(kTypes.size())],
                            "g" + std::to_string(number) + "-" + std::to_string(i)});
    }
    group.bases.resize(size);
    return group;
  }

  Puller MakePuller(int number) {
    Puller puller;
    puller.device = "reader" + std::to_string(number);
    if (number % 2 == 1) puller.types = {"A", "C"};
    puller.page_size = 1 + random_.Below(7);
    return puller;
  }

  // One or two groups in one batch, in a mixed order.
  void Write() {
    std::set<size_t> chosen = {random_.Below(kGroups)};
    if (random_.Below(2) == 0) chosen.insert(random_.Below(kGroups));
    PushBatch batch = BatchOf(service_, "writer", {});
    for (const size_t number : chosen) {
      Group& group = groups_[number];
      group.value = ++last_value_;
      group.deleted = random_.Below(5) == 0;
      for (size_t i = 0; i < group.keys.size(); ++i) {
        const Fields fields = Texts({{"Value", std::to_string(group.value)}});
        Change change = group.deleted ? Delete(group.keys[i], group.bases[i])
                                      : Delta(group.keys[i], group.bases[i], fields);
        batch.changes.insert(batch.changes.begin() + random_.Below(batch.changes.size() + 1),
                             change);
      }
    }
    const PushAnswer answer = MustPush(service_, batch);
    std::map<EntityKey, ChangeResult> results;
    for (const ChangeResult& result : answer.results) results[result.key] = result;
    for (const size_t number : chosen) {
      Group& group = groups_[number];
      for (size_t i = 0; i < group.keys.size(); ++i) group.bases[i] = results[group.keys[i]];
    }
  }

  void PullOnce(Puller& puller) {
    PullQuery query = PullFrom(puller.device, puller.cursor);
    query.types = puller.types;
    query.page_size = puller.page_size;
    // The stream may break at any moment: what is buffered is forgotten.
    if (random_.Below(4) == 0) {
      puller.next.reset();
      puller.buffered.clear();
    }
    const absl::StatusOr<PullPage> page =
        service_.engine().Pull(query, puller.next.has_value() ? &*puller.next : nullptr);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LE(page->versions.size(), puller.page_size);
    EXPECT_EQ(page->batch_end, !page->cursor.empty());
    for (const Version& version : page->versions) puller.buffered[version.key] = version;
    puller.next = page->next;
    puller.caught_up = page->caught_up;
    if (!page->batch_end) return;
    puller.cursor = page->cursor;
    for (auto& [key, version] : puller.buffered) {
      if (version.deleted) {
        puller.applied.erase(key);
      } else {
        puller.applied[key] = version;
      }
    }
    puller.buffered.clear();
    ExpectNoHalfBatch(puller);
  }

  static bool Wants(const Puller& puller, const EntityKey& key) {
    if (puller.types.empty()) return true;
    return std::find(puller.types.begin(), puller.types.end(), key.type) != puller.types.end();
  }

  void ExpectNoHalfBatch(const Puller& puller) {
    for (const Group& group : groups_) {
      std::set<std::string> values;
      for (const EntityKey& key : group.keys) {
        if (!Wants(puller, key)) continue;
        const auto found = puller.applied.find(key);
        values.insert(found == puller.applied.end() ? "absent"
                                                    : found->second.fields.Find("Value")->bytes());
      }
      EXPECT_LE(values.size(), 1u) << puller.device << " sees half of a batch";
    }
  }

  void ExpectConverges(Puller& puller) {
    for (int i = 0; i < 10'000; ++i) {
      PullOnce(puller);
      if (puller.caught_up || testing::Test::HasFailure()) break;
    }
    ASSERT_TRUE(puller.caught_up);
    std::map<EntityKey, std::string> expected;
    for (const Group& group : groups_) {
      for (const EntityKey& key : group.keys) {
        if (group.value > 0 && !group.deleted && Wants(puller, key)) {
          expected[key] = std::to_string(group.value);
        }
      }
    }
    std::map<EntityKey, std::string> held;
    for (const auto& [key, version] : puller.applied) {
      held[key] = version.fields.Find("Value")->bytes();
    }
    EXPECT_EQ(held, expected) << puller.device << " skipped something";
  }

  SeededRng random_;
  TestService service_;
  std::vector<Group> groups_;
  std::vector<Puller> pullers_;
  int last_value_ = 0;
};

TEST(FeedPropertyTest, NobodySkipsAChangeOrSeesHalfABatchWhateverTheInterleaving) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));

    FeedRun(seed).Run();

    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace ptdoc::sync
