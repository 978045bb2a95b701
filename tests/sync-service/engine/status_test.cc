#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

QueueHealth Queue(uint32_t pending, uint32_t processing, uint32_t failed, bool initial = false) {
  QueueHealth queue;
  queue.pending = pending;
  queue.processing = processing;
  queue.failed = failed;
  queue.initial = initial;
  return queue;
}

void Report(TestService& service, const std::string& device, const QueueHealth& queue) {
  PushBatch report;
  report.who = DeviceOf(device);
  report.queue = queue;
  MustPush(service, report);
}

StatusAnswer MustStatus(TestService& service, const Principal& who) {
  absl::StatusOr<StatusAnswer> status = service.engine().Status(who);
  EXPECT_TRUE(status.ok()) << status.status();
  return status.ok() ? *std::move(status) : StatusAnswer();
}

TEST(StatusTest, DeviceSeesItselfAlone) {
  TestService service;
  Report(service, "a", Queue(5, 1, 2));
  Report(service, "b", Queue(50, 10, 20));

  const StatusAnswer status = MustStatus(service, DeviceOf("a"));

  EXPECT_EQ(status.total.pending, 5u);
  ASSERT_EQ(status.devices.size(), 1u);
  EXPECT_EQ(status.devices[0].device, "a");
  EXPECT_EQ(status.devices[0].agent, "test");
}

TEST(StatusTest, OthersSeeTheSumOfTheTenant) {
  TestService service;
  QueueHealth early = Queue(5, 1, 2);
  early.oldest_pending_at = service.clock().Now() - absl::Hours(2);
  early.last_sync_at = service.clock().Now() - absl::Hours(3);
  QueueHealth late = Queue(50, 10, 20);
  late.oldest_pending_at = service.clock().Now() - absl::Hours(1);
  late.last_sync_at = service.clock().Now() - absl::Hours(1);
  late.set_aside = 4;
  Report(service, "a", early);
  Report(service, "b", late);
  PushBatch stranger;
  stranger.who = DeviceOf("s", "other-clinic");
  stranger.queue = Queue(1000, 0, 0);
  MustPush(service, stranger);

  const StatusAnswer status = MustStatus(service, Admin());

  EXPECT_EQ(status.total.pending, 55u);
  EXPECT_EQ(status.total.processing, 11u);
  EXPECT_EQ(status.total.failed, 22u);
  EXPECT_EQ(status.total.set_aside, 4u);
  EXPECT_EQ(status.total.oldest_pending_at, early.oldest_pending_at);
  EXPECT_EQ(status.total.last_sync_at, late.last_sync_at);
  EXPECT_EQ(status.devices.size(), 2u);
}

TEST(StatusTest, FirstUploadIsNotCountedForHealthUnlessAnotherDeviceIsLate) {
  TestService service;
  Report(service, "a", Queue(5000, 0, 0, /*initial=*/true));
  Report(service, "b", Queue(0, 0, 0));

  EXPECT_EQ(HealthOf(MustStatus(service, Admin()).total), HealthLevel::kOk);

  Report(service, "b", Queue(600, 0, 0));
  EXPECT_EQ(HealthOf(MustStatus(service, Admin()).total), HealthLevel::kCritical);
}

TEST(StatusTest, RevokedDevicesAreLeftOut) {
  TestService service;
  Report(service, "a", Queue(5, 0, 0));
  Report(service, "b", Queue(7, 0, 0));
  absl::StatusOr<std::unique_ptr<StoreWriter>> writer = service.store().BeginWrite();
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->RevokeDevice(kTenant, "b", service.clock().Now()).ok());
  ASSERT_TRUE((*writer)->Commit().ok());
  writer->reset();

  EXPECT_EQ(MustStatus(service, Admin()).total.pending, 5u);
}

TEST(StatusTest, OpenConflictsAreTheTenants) {
  TestService service;
  PushOne(service, "a", At(Create(Patient("p1"), Texts({{"Name", "x"}})), service.Ago(10)));
  PushOne(service, "b", At(Create(Patient("p1"), Texts({{"Name", "y"}})), service.Ago(20)));

  EXPECT_EQ(MustStatus(service, Admin()).total.open_conflicts, 1u);
}

TEST(StatusTest, UnknownDeviceHasAnEmptyStatus) {
  TestService service;

  const StatusAnswer status = MustStatus(service, DeviceOf("never-seen"));

  EXPECT_TRUE(status.devices.empty());
  EXPECT_EQ(status.total.pending, 0u);
  EXPECT_FALSE(status.epoch.empty());
}

TEST(PruneTest, StepsAreBoundedAndSayWhetherThereIsMore) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {});
  for (size_t i = 0; i < kPruneStepVersions + 10; ++i) {
    batch.changes.push_back(Create(Patient("p" + std::to_string(i)), Texts({{"Name", "x"}})));
  }
  const PushAnswer created = MustPush(service, batch);
  batch.batch_id = service.NextBatchId();
  for (size_t i = 0; i < batch.changes.size(); ++i) {
    batch.changes[i] = Delete(batch.changes[i].key, created.results[i]);
  }
  MustPush(service, batch);
  service.clock().Advance(absl::Hours(24 * 200));

  const absl::StatusOr<bool> first = service.engine().Prune();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(*first);
  for (int i = 0; i < 20; ++i) {
    const absl::StatusOr<bool> more = service.engine().Prune();
    ASSERT_TRUE(more.ok()) << more.status();
    if (!*more) break;
  }

  EXPECT_FALSE(service.Head(Patient("p0")).has_value());
  EXPECT_FALSE(service.Head(Patient("p1009")).has_value());
}

TEST(PruneTest, NothingGoesBeforeItsTime) {
  TestService service;
  const ChangeResult base = PushOne(service, "a", Create(Patient("p1"), Texts({{"Name", "x"}})));
  PushOne(service, "a", Delete(Patient("p1"), base));
  service.clock().Advance(absl::Hours(24 * 89));

  const absl::StatusOr<bool> more = service.engine().Prune();

  ASSERT_TRUE(more.ok());
  EXPECT_FALSE(*more);
  EXPECT_TRUE(service.Head(Patient("p1")).has_value());
}

}  // namespace
}  // namespace ptdoc::sync
