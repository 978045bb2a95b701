#include "tests/simulation/disk.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/sqlite/sqlite.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync::sim {
namespace {

sqlite::OpenOptions With(const Process& process, bool wal, bool full) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kCreate;
  options.wal = wal;
  options.synchronous_full = full;
  options.busy_timeout = absl::ZeroDuration();
  options.vfs = process.vfs();
  return options;
}

struct Machine {
  explicit Machine(uint64_t seed) : rng(seed) {}
  FakeClock clock;
  SeededRng rng;
  Disk disk{rng};
  Process one{disk, "disk-test-one", clock};
  Process two{disk, "disk-test-two", clock};
};

sqlite::Database MustOpen(const Process& process, bool wal = true, bool full = true) {
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open("/app.db", With(process, wal, full));
  EXPECT_TRUE(db.ok()) << db.status();
  return *std::move(db);
}

TEST(DiskTest, TwoProcessesSeeOneFileAndItsLocks) {
  Machine machine(1);
  sqlite::Database writer = MustOpen(machine.one);
  sqlite::Database reader = MustOpen(machine.two);
  ASSERT_TRUE(writer.Exec("CREATE TABLE T(A); INSERT INTO T VALUES (1)").ok());

  ASSERT_TRUE(writer.Exec("BEGIN IMMEDIATE; INSERT INTO T VALUES (2)").ok());
  const int64_t during = *reader.QueryInt("SELECT count(*) FROM T");
  const absl::Status second = reader.Exec("INSERT INTO T VALUES (3)");
  ASSERT_TRUE(writer.Exec("COMMIT").ok());

  EXPECT_EQ(during, 1);
  EXPECT_TRUE(sqlite::IsBusy(second));
  EXPECT_EQ(*reader.QueryInt("SELECT count(*) FROM T"), 2);
}

TEST(DiskTest, ADeadProcessHoldsNoLockAndChangesNothing) {
  Machine machine(1);
  std::optional<sqlite::Database> dying = MustOpen(machine.one);
  sqlite::Database other = MustOpen(machine.two);
  ASSERT_TRUE(dying->Exec("CREATE TABLE T(A); BEGIN IMMEDIATE; INSERT INTO T VALUES (1)").ok());

  machine.one.Kill();
  const absl::Status after = dying->Exec("COMMIT");
  dying.reset();

  EXPECT_FALSE(after.ok());
  EXPECT_TRUE(other.Exec("INSERT INTO T VALUES (2)").ok());
  EXPECT_EQ(*other.QueryInt("SELECT sum(A) FROM T"), 2);
}

TEST(DiskTest, AFullDiskTakesNoMoreAndRecovers) {
  Machine machine(1);
  sqlite::Database db = MustOpen(machine.one);
  ASSERT_TRUE(db.Exec("CREATE TABLE T(A)").ok());

  machine.disk.SetFull(true);
  const absl::Status full = db.Exec("INSERT INTO T VALUES (zeroblob(100000))");
  machine.disk.SetFull(false);

  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_TRUE(db.Exec("INSERT INTO T VALUES (1)").ok());
  EXPECT_EQ(*db.QueryInt("SELECT count(*) FROM T"), 1);
}

// Commits until it dies in some call; returns how many commits were answered.
int CommitUntilDeath(Machine& machine, sqlite::Database& db, int rows) {
  int committed = 0;
  while (!machine.one.dead() && committed < 200) {
    const std::string row = absl::StrCat("(", ++rows, ", zeroblob(", machine.rng.Below(3000), "))");
    if (db.Exec(absl::StrCat("BEGIN IMMEDIATE; INSERT INTO T VALUES ", row,
                             "; INSERT INTO T VALUES ", row, "; COMMIT"))
            .ok()) {
      ++committed;
    }
  }
  return committed;
}

// What SQLite promises on real disks holds on this one: it is the test of the
// disk, and of the settings that the promises rest on.
void CrashAgainAndAgain(uint64_t seed, bool wal, bool full, bool power) {
  SCOPED_TRACE(absl::StrCat("seed ", seed, wal ? " wal" : " rollback", full ? " full" : " normal",
                            power ? " power cut" : " killed"));
  Machine machine(seed);
  int64_t rows = 0;
  for (int life = 0; life < 6; ++life) {
    std::optional<sqlite::Database> db = MustOpen(machine.one, wal, full);
    ASSERT_TRUE(db->Exec("CREATE TABLE IF NOT EXISTS T(A, B)").ok());
    machine.one.DieInCall(static_cast<int64_t>(1 + machine.rng.Below(60)));
    const int committed = CommitUntilDeath(machine, *db, static_cast<int>(rows));
    if (power) machine.disk.PowerCut();
    db.reset();
    machine.one.Start();
    machine.two.Start();
    sqlite::Database after = MustOpen(machine.two, wal, full);
    ASSERT_EQ(after.QueryValue("PRAGMA integrity_check")->bytes(), "ok");
    // Its creation was not synced either.
    if (power && !full) {
      ASSERT_TRUE(after.Exec("CREATE TABLE IF NOT EXISTS T(A, B)").ok());
    }
    const int64_t found = *after.QueryInt("SELECT count(*) FROM T");
    const int64_t halves =
        *after.QueryInt("SELECT count(*) FROM (SELECT A FROM T GROUP BY A HAVING count(*) <> 2)");
    EXPECT_EQ(halves, 0);
    // The one that was under way may be there or not.
    EXPECT_LE(found, 2 * (rows + committed + 1));
    if (full || !power) {
      EXPECT_GE(found, 2 * (rows + committed));
    }
    rows = found / 2;
  }
}

TEST(DiskTest, WhatSqlitePromisesHolds) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    for (const bool power : {false, true}) {
      CrashAgainAndAgain(seed, /*wal=*/true, /*full=*/true, power);
      CrashAgainAndAgain(seed, /*wal=*/true, /*full=*/false, power);
    }
    CrashAgainAndAgain(seed, /*wal=*/false, /*full=*/true, /*power=*/false);
  }
}

TEST(DiskTest, APowerCutTakesUnsyncedCommits) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Machine machine(seed);
    std::optional<sqlite::Database> db = MustOpen(machine.one, true, /*full=*/false);
    ASSERT_TRUE(db->Exec("CREATE TABLE T(A)").ok());
    ASSERT_TRUE(db->SyncJournal().ok());
    ASSERT_TRUE(db->Exec("INSERT INTO T VALUES (1)").ok());
    machine.disk.PowerCut();
    db.reset();
    machine.one.Start();
    sqlite::Database after = MustOpen(machine.one);
    lost += *after.QueryInt("SELECT count(*) FROM T") == 0 ? 1 : 0;
  }

  EXPECT_GT(lost, 0);
  EXPECT_LT(lost, 20);
}

TEST(DiskTest, TheJournalIsSyncedWhereTheAgentAsksForIt) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const bool wal = seed % 2 == 0;
    Machine machine(seed);
    std::optional<sqlite::Database> app = MustOpen(machine.one, wal, /*full=*/false);
    std::optional<sqlite::Database> agent = MustOpen(machine.two, wal);
    ASSERT_TRUE(app->Exec("CREATE TABLE T(A)").ok());
    ASSERT_TRUE(app->Exec("INSERT INTO T VALUES (1)").ok());
    ASSERT_TRUE(agent->SyncJournal().ok());

    machine.disk.PowerCut();
    app.reset();
    agent.reset();
    machine.one.Start();
    sqlite::Database after = MustOpen(machine.one, wal);

    EXPECT_EQ(*after.QueryInt("SELECT count(*) FROM T"), 1) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ptdoc::sync::sim
