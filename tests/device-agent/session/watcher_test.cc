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

std::vector<int> TriesMs(RecheckSchedule* schedule, int change_at_try) {
  std::vector<int> tries;
  while (schedule->next() != absl::InfiniteDuration()) {
    const absl::Duration now = schedule->next();
    tries.push_back(static_cast<int>(absl::ToInt64Milliseconds(now)));
    schedule->Tried(now, static_cast<int>(tries.size()) == change_at_try);
  }
  return tries;
}

TEST(RecheckScheduleTest, AsksAtOnceThenEachMillisecondThenEachFiveAndEnds) {
  RecheckSchedule schedule;

  schedule.Triggered(absl::ZeroDuration());
  const std::vector<int> tries = TriesMs(&schedule, 0);

  EXPECT_THAT(tries, ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 35,
                                            40, 45, 50, 55, 60));
}

TEST(RecheckScheduleTest, GoesOnAfterAChangeBecauseAnotherMayBeOnItsWay) {
  RecheckSchedule schedule;

  schedule.Triggered(absl::ZeroDuration());
  const std::vector<int> tries = TriesMs(&schedule, 3);

  EXPECT_EQ(tries.size(), 24u);
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
