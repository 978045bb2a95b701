// The store, and an agent's own file, when their machine fails between two lives.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "device-agent/ledger/ledger.h"
#include "sync-service/store/sqlite_store.h"
#include "sync-service/store/store.h"
#include "tests/simulation/disk.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync::sim {
namespace {

class RestartTest : public testing::Test {
 protected:
  std::unique_ptr<Store> Open() {
    SqliteStoreOptions options;
    options.path = "/service.db";
    options.vfs = process_.vfs();
    auto store = OpenSqliteStore(options, clock_, rng_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  // Whether the commit said that it is done.
  static bool PutToken(Store& store) {
    TokenRow token;
    token.id = "t1";
    token.hash = std::string(32, 'h');
    token.tenant = "clinic";
    token.device = "d1";
    auto writer = store.BeginWrite();
    return writer.ok() && (*writer)->PutToken(token).ok() && (*writer)->Commit().ok();
  }

  static bool HasToken(Store& store) {
    const auto reader = store.BeginRead();
    EXPECT_TRUE(reader.ok()) << reader.status();
    const auto any = (*reader)->AnyToken();
    EXPECT_TRUE(any.ok()) << any.status();
    return any.ok() && *any;
  }

  // A new life after the old one died, or after the power failed.
  void Restart(std::unique_ptr<Store>* store, bool power_cut) {
    if (power_cut) disk_.PowerCut();
    process_.Kill();
    store->reset();
    process_.Start();
    *store = Open();
  }

  FakeClock clock_;
  SeededRng rng_{5};
  Disk disk_{rng_};
  Process process_{disk_, "restart-test", clock_};
};

// The service dies in each call of a commit in turn. What its next life shows is
// what any later one shows, whatever the power does.
TEST_F(RestartTest, WhatWasShownAfterADeathSurvivesAPowerCut) {
  int shown = 0;
  for (int call = 1; call <= 12; ++call) {
    for (const char* const suffix : {"", "-wal", "-shm", "-journal"}) {
      disk_.Remove(std::string("/service.db") + suffix);
    }
    std::unique_ptr<Store> store = Open();
    ASSERT_NE(store, nullptr);
    process_.DieInCall(call);
    const bool done = PutToken(*store);
    Restart(&store, /*power_cut=*/false);
    ASSERT_NE(store, nullptr);
    const bool before = HasToken(*store);
    Restart(&store, /*power_cut=*/true);
    ASSERT_NE(store, nullptr);

    EXPECT_EQ(HasToken(*store), before) << "died in call " << call;
    EXPECT_TRUE(before || !done) << "died in call " << call;
    shown += before && !done ? 1 : 0;
    process_.Kill();
    store.reset();
    process_.Start();
  }
  EXPECT_GT(shown, 0);
}

class LedgerRestartTest : public testing::Test {
 protected:
  void Open() {
    auto ledger = Ledger::Open("/app.db.sync", /*create=*/true, process_.vfs(), rng_);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    ledger_ = *std::move(ledger);
  }

  void Restart(bool power_cut) {
    if (power_cut) disk_.PowerCut();
    process_.Kill();
    ledger_.reset();
    process_.Start();
    Open();
  }

  FakeClock clock_;
  SeededRng rng_{5};
  Disk disk_{rng_};
  Process process_{disk_, "ledger-restart-test", clock_};
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(LedgerRestartTest, WhatWasSeenAfterADeathSurvivesAPowerCut) {
  int seen = 0;
  for (int call = 1; call <= 12; ++call) {
    for (const char* const suffix : {"", "-wal", "-shm", "-journal"}) {
      disk_.Remove(std::string("/app.db.sync") + suffix);
    }
    Open();
    process_.DieInCall(call);
    const bool done = ledger_->Put("cursor", "here").ok();
    Restart(/*power_cut=*/false);
    const std::string before = *ledger_->Get("cursor");
    Restart(/*power_cut=*/true);

    EXPECT_EQ(*ledger_->Get("cursor"), before) << "died in call " << call;
    EXPECT_TRUE(!before.empty() || !done) << "died in call " << call;
    seen += !before.empty() && !done ? 1 : 0;
    process_.Kill();
    ledger_.reset();
    process_.Start();
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace ptdoc::sync::sim
