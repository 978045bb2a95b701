#include "sync-service/feed/feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(FeedTest, NotifyReachesTheSubscribersOfThatTenantOnly) {
  Feed feed;
  std::vector<Revision> here;
  std::vector<Revision> there;
  feed.Subscribe("here", [&](Revision newest) { here.push_back(newest); });
  feed.Subscribe("there", [&](Revision newest) { there.push_back(newest); });

  feed.Notify("here", 5);

  EXPECT_THAT(here, ElementsAre(5));
  EXPECT_THAT(there, IsEmpty());
}

TEST(FeedTest, NotifyAllReachesEverybody) {
  Feed feed;
  int calls = 0;
  feed.Subscribe("a", [&](Revision newest) { calls += newest == 0 ? 1 : 0; });
  feed.Subscribe("b", [&](Revision newest) { calls += newest == 0 ? 1 : 0; });

  feed.NotifyAll();

  EXPECT_EQ(calls, 2);
}

TEST(FeedTest, NothingArrivesAfterUnsubscribe) {
  Feed feed;
  int calls = 0;
  const Feed::Token token = feed.Subscribe("a", [&](Revision) { ++calls; });

  feed.Unsubscribe(token);
  feed.Notify("a", 1);

  EXPECT_EQ(calls, 0);
  EXPECT_THAT(feed.Tenants(), IsEmpty());
}

TEST(FeedTest, UnsubscribingTwiceIsHarmless) {
  Feed feed;
  const Feed::Token token = feed.Subscribe("a", [](Revision) {});

  feed.Unsubscribe(token);
  feed.Unsubscribe(token);

  EXPECT_THAT(feed.Tenants(), IsEmpty());
}

TEST(FeedTest, TenantsAreThoseForWhomSomebodyWaits) {
  Feed feed;
  const Feed::Token first = feed.Subscribe("a", [](Revision) {});
  feed.Subscribe("a", [](Revision) {});
  feed.Subscribe("b", [](Revision) {});

  feed.Unsubscribe(first);

  EXPECT_THAT(feed.Tenants(), ElementsAre("a", "b"));
}

TEST(FeedTest, ACallbackNeverRunsOnceUnsubscribeReturned) {
  Feed feed;
  std::atomic<bool> stop = false;
  std::thread notifier([&] {
    while (!stop) {
      feed.Notify("a", 1);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 50; ++round) {
    auto alive = std::make_unique<std::atomic<int>>(0);
    std::atomic<int>* const raw = alive.get();
    const Feed::Token token = feed.Subscribe("a", [raw](Revision) { ++*raw; });

    feed.Unsubscribe(token);
    const int before = *alive;
    std::this_thread::yield();

    ASSERT_EQ(*alive, before);
  }
  stop = true;
  notifier.join();
}

}  // namespace
}  // namespace ptdoc::sync
