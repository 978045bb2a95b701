#include "device-agent/loop/watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ptdoc::sync {
namespace {

std::vector<int> TriesUs(RecheckSchedule* schedule, int change_at_try) {
  std::vector<int> tries;
  while (schedule->next() != absl::InfiniteDuration()) {
    const absl::Duration now = schedule->next();
    tries.push_back(static_cast<int>(absl::ToInt64Microseconds(now)));
    schedule->Tried(now, static_cast<int>(tries.size()) == change_at_try);
  }
  return tries;
}

TEST(RecheckScheduleTest, AsksOftenThenEachMillisecondThenEachFiveAndEnds) {
  RecheckSchedule schedule;

  schedule.Triggered(absl::ZeroDuration());
  const std::vector<int> tries = TriesUs(&schedule, 0);

  std::vector<int> expected;
  for (int us = 0; us < 2'000; us += 100) expected.push_back(us);
  for (int us = 2'000; us < 12'000; us += 1'000) expected.push_back(us);
  for (int us = 12'000; us <= 62'000; us += 5'000) expected.push_back(us);
  EXPECT_EQ(tries, expected);
}

TEST(RecheckScheduleTest, GoesOnAfterAChangeBecauseAnotherMayBeOnItsWay) {
  RecheckSchedule schedule;

  schedule.Triggered(absl::ZeroDuration());
  const std::vector<int> tries = TriesUs(&schedule, 3);

  EXPECT_EQ(tries.size(), 24u);
  EXPECT_EQ(tries[3] - tries[2], 1'000);
}

TEST(RecheckScheduleTest, AsksOftenAgainAfterAnEventBehindAChange) {
  RecheckSchedule schedule;
  schedule.Triggered(absl::ZeroDuration());
  schedule.Tried(absl::ZeroDuration(), /*changed=*/true);

  schedule.Triggered(absl::Microseconds(300));
  EXPECT_TRUE(schedule.Due(absl::Microseconds(300)));
  schedule.Tried(absl::Microseconds(300), /*changed=*/false);

  EXPECT_EQ(schedule.next(), absl::Microseconds(400));
}

TEST(RecheckScheduleTest, ManyEventsOfOneTransactionCostATryPerMillisecond) {
  RecheckSchedule schedule;
  int tries = 0;

  for (int us = 0; us < 100'000; us += 10) {
    const absl::Duration now = absl::Microseconds(us);
    schedule.Triggered(now);
    if (!schedule.Due(now)) continue;
    ++tries;
    schedule.Tried(now, /*changed=*/false);
  }

  EXPECT_LE(tries, RecheckSchedule::kEagerTries + 100);
}

class WatcherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "watcher-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    Touch("app.db");
    watcher_ = std::move(*Watcher::Create((directory_ / "app.db").string()));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Touch(const std::string& name) { std::ofstream(directory_ / name, std::ios::app) << "x"; }

  std::filesystem::path directory_;
  std::unique_ptr<Watcher> watcher_;
};

TEST_F(WatcherTest, SeesTheFileItsWalAndItsJournal) {
  for (const char* name : {"app.db", "app.db-wal", "app.db-journal"}) {
    Touch(name);
    EXPECT_TRUE(watcher_->Take()) << name;
  }
}

TEST_F(WatcherTest, SeesAJournalThatIsDeleted) {
  Touch("app.db-journal");
  watcher_->Take();

  std::filesystem::remove(directory_ / "app.db-journal");

  EXPECT_TRUE(watcher_->Take());
}

TEST_F(WatcherTest, IgnoresOtherFilesAndTheAgentsOwn) {
  for (const char* name : {"other.db", "app.db.sync", "app.db.sync-wal", "app.db-shm"}) {
    Touch(name);
  }

  EXPECT_FALSE(watcher_->Take());
}

TEST_F(WatcherTest, FollowsALinkToTheFilesRealPlace) {
  const std::filesystem::path link = directory_ / "link";
  std::filesystem::create_directory(link);
  std::filesystem::create_symlink(directory_ / "app.db", link / "linked.db");
  absl::StatusOr<std::unique_ptr<Watcher>> watcher = Watcher::Create((link / "linked.db").string());
  ASSERT_TRUE(watcher.ok());

  Touch("app.db-wal");

  EXPECT_TRUE((*watcher)->Take());
}

}  // namespace
}  // namespace ptdoc::sync
