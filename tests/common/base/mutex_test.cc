#include "common/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>

namespace ptdoc::sync {
namespace {

TEST(CondVarTest, WaitWithoutALimitEndsWhenItIsNotified) {
  Mutex mutex;
  CondVar changed;
  bool done = false;
  mutex.Lock();
  std::thread notifier([&] {
    const MutexLock lock(mutex);  // Free only once the other thread waits.
    done = true;
    changed.NotifyOne();
  });

  bool notified = true;
  while (!done && notified) notified = changed.WaitFor(mutex, absl::InfiniteDuration());
  mutex.Unlock();
  notifier.join();

  EXPECT_TRUE(notified);
  EXPECT_TRUE(done);
}

TEST(CondVarTest, WaitEndsAfterItsTime) {
  Mutex mutex;
  CondVar never;
  const MutexLock lock(mutex);

  bool notified = true;
  while (notified) notified = never.WaitFor(mutex, absl::ZeroDuration());

  EXPECT_FALSE(notified);
}

}  // namespace
}  // namespace ptdoc::sync
