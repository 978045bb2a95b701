#include <filesystem>
#include <fstream>

#include "common/model/reason.h"
#include "sync-service/store/backup.h"
#include "sync-service/store/files.h"
#include "tests/sync-service/store/sqlite_harness.h"

namespace ptdoc::sync {
namespace {

class SqliteBackupTest : public testing::Test {
 protected:
  SqliteBackupTest() : store_(harness_.Open()) {}

  void CommitSome(int count, const char* tenant = kClinic) {
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(TryCommit(*store_, std::to_string(i), "N", tenant), absl::OkStatus());
    }
  }
  std::string Backup(const std::string& name = "backup.db") {
    EXPECT_EQ(store_->Backup(harness_.dir.File(name)), absl::OkStatus());
    return harness_.dir.File(name);
  }
  // Stops the service, restores and starts it again.
  absl::Status Restore(const std::string& from) {
    store_.reset();
    const absl::Status status = RestoreSqliteStore(from, harness_.path(), harness_.rng);
    store_ = harness_.Open();
    return status;
  }
  StoreMeta Meta() { return Get(Get(store_->BeginRead())->Meta()); }
  Revision Newest(const char* tenant = kClinic) {
    return Get(Get(store_->BeginRead())->Newest(tenant)).sequence;
  }
  Revision Shared(const char* tenant = kClinic) {
    return Get(Get(store_->BeginRead())->SharedRevision(tenant));
  }
  std::vector<std::string> FilesWith(const std::string& part) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(harness_.dir.File(""))) {
      const std::string name = entry.path().filename().string();
      if (name.find(part) != std::string::npos) names.push_back(name);
    }
    return names;
  }

  SqliteHarness harness_;
  std::unique_ptr<Store> store_;
};

TEST_F(SqliteBackupTest, BackupIsOneFileWithWhatWasCommitted) {
  CommitSome(3);
  std::vector<NewVersion> versions = {Named(Patient("open"), "O")};
  const std::unique_ptr<StoreWriter> writer = Get(store_->BeginWrite());
  Get(writer->Append(kClinic, versions, 1, At(0)));

  const std::string path = Backup();

  EXPECT_THAT(FilesWith("backup"), testing::ElementsAre("backup.db"));
  sqlite::Database copy = sqlite::MustOpen(path, {.mode = sqlite::OpenOptions::Mode::kReadOnly});
  EXPECT_EQ(Get(copy.QueryInt("SELECT count(*) FROM Versions")), 3);
  EXPECT_EQ(Get(copy.QueryValue("PRAGMA journal_mode")), Value::Text("delete"));
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(writer->Commit(), absl::OkStatus());
}

TEST_F(SqliteBackupTest, LaterBackupReplacesTheEarlierOne) {
  CommitSome(1);
  Backup();
  CommitSome(2);

  const std::string path = Backup();

  sqlite::Database copy = sqlite::MustOpen(path, {});
  EXPECT_EQ(Get(copy.QueryInt("SELECT count(*) FROM Versions")), 3);
}

TEST_F(SqliteBackupTest, BackupOverTheStoreItselfIsRefused) {
  CommitSome(1);
  std::filesystem::create_symlink(harness_.path(), harness_.dir.File("link.db"));

  EXPECT_TRUE(absl::IsInvalidArgument(store_->Backup(harness_.path())));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Backup(harness_.dir.File("link.db"))));

  EXPECT_EQ(Newest(), 1);
}

TEST_F(SqliteBackupTest, BackupToNowhereLeavesNothingBehind) {
  CommitSome(1);

  EXPECT_FALSE(store_->Backup(harness_.dir.File("no/such/dir/b.db")).ok());

  EXPECT_TRUE(FilesWith(".part").empty());
}

TEST_F(SqliteBackupTest, RestoreGivesANewEpochAndKeepsTheKey) {
  CommitSome(3);
  const StoreMeta before = Meta();
  const std::string backup = Backup();
  CommitSome(2);

  ASSERT_EQ(Restore(backup), absl::OkStatus());

  EXPECT_NE(Meta().epoch, before.epoch);
  EXPECT_EQ(Meta().epoch.size(), 32u);
  EXPECT_EQ(Meta().mac_key, before.mac_key);
  EXPECT_EQ(Newest(), 3);
  EXPECT_THAT(FilesWith("restoring"), testing::IsEmpty());
}

TEST_F(SqliteBackupTest, SharedRevisionIsEachTenantsNewestAtTheRestore) {
  CommitSome(3, kClinic);
  CommitSome(5, kOtherClinic);
  EXPECT_EQ(Shared(kClinic), 0);
  const std::string backup = Backup();
  CommitSome(9, kClinic);

  ASSERT_EQ(Restore(backup), absl::OkStatus());
  CommitSome(2, kClinic);
  CommitSome(2, "tenant after the restore");

  EXPECT_EQ(Shared(kClinic), 3);
  EXPECT_EQ(Shared(kOtherClinic), 5);
  EXPECT_EQ(Shared("tenant after the restore"), 0);
}

// A device of the first epoch may come back after the second restore: it shares
// only what stood in both backups.
TEST_F(SqliteBackupTest, SharedRevisionIsTheLowestOfSeveralRestores) {
  CommitSome(3);
  const std::string first = Backup("first.db");
  CommitSome(2);
  ASSERT_EQ(Restore(first), absl::OkStatus());
  CommitSome(10);
  CommitSome(4, kOtherClinic);
  const std::string second = Backup("second.db");

  ASSERT_EQ(Restore(second), absl::OkStatus());

  EXPECT_EQ(Newest(), 13);
  EXPECT_EQ(Shared(), 3);
  // The other clinic came with the second epoch: a device of the first one may
  // know a lost clinic of that name.
  EXPECT_EQ(Shared(kOtherClinic), 0);
}

TEST_F(SqliteBackupTest, RestoreIsRefusedWhileAServiceUsesTheStore) {
  CommitSome(1);
  const std::string backup = Backup();
  const std::string epoch = Meta().epoch;

  const absl::Status status = RestoreSqliteStore(backup, harness_.path(), harness_.rng);

  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(Meta().epoch, epoch);
}

TEST_F(SqliteBackupTest, RestoreIsRefusedWhileAnotherProgramUsesTheStore) {
  CommitSome(1);
  const std::string backup = Backup();
  const std::string epoch = Meta().epoch;
  store_.reset();
  {
    sqlite::Database shell = harness_.Raw();
    ASSERT_EQ(Get(shell.QueryInt("SELECT count(*) FROM Versions")), 1);

    const absl::Status status = RestoreSqliteStore(backup, harness_.path(), harness_.rng);

    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
  store_ = harness_.Open();
  EXPECT_EQ(Meta().epoch, epoch);
}

TEST_F(SqliteBackupTest, StoreCannotBeOpenedWhileItIsBeingRestored) {
  const absl::StatusOr<FileLock> restoring =
      FileLock::Take(LockPathOf(harness_.dir.File("other.db")), FileLock::Kind::kExclusive);
  ASSERT_TRUE(restoring.ok());
  SqliteStoreOptions options = harness_.Options();
  options.path = harness_.dir.File("other.db");

  const absl::Status status = OpenSqliteStore(options, harness_.clock, harness_.rng).status();

  EXPECT_EQ(ReasonOf(status), "STORE_AWAY");
  EXPECT_FALSE(std::filesystem::exists(options.path));
}

// The process was killed: what it committed last stands in the log only, and
// must not be taken for a part of the restored file.
TEST_F(SqliteBackupTest, LogOfTheOldStoreDoesNotReachTheRestoredOne) {
  CommitSome(2);
  const std::string backup = Backup();
  CommitSome(50);
  const std::string dead = harness_.dir.File("dead.db");
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(harness_.path() + suffix, dead + suffix);
  }

  ASSERT_EQ(RestoreSqliteStore(backup, dead, harness_.rng), absl::OkStatus());

  SqliteStoreOptions options = harness_.Options();
  options.path = dead;
  const std::unique_ptr<Store> restored = harness_.Open(options);
  EXPECT_EQ(Get(Get(restored->BeginRead())->Newest(kClinic)).sequence, 2);
  EXPECT_EQ(Get(sqlite::MustOpen(dead, {}).QueryValue("PRAGMA integrity_check")),
            Value::Text("ok"));
}

TEST_F(SqliteBackupTest, RestoreReplacesAStoreThatIsDestroyed) {
  CommitSome(2);
  const std::string backup = Backup();
  store_.reset();
  std::ofstream(harness_.path()) << std::string(10'000, 'x');

  ASSERT_EQ(RestoreSqliteStore(backup, harness_.path(), harness_.rng), absl::OkStatus());

  store_ = harness_.Open();
  EXPECT_EQ(Newest(), 2);
}

// Whoever removed the file of a broken store forgot what stood beside it.
TEST_F(SqliteBackupTest, LogThatWasLeftBehindDoesNotReachTheRestoredStore) {
  CommitSome(2);
  const std::string backup = Backup();
  CommitSome(50);
  const std::string place = harness_.dir.File("moved.db");
  std::filesystem::copy_file(harness_.path() + "-wal", place + "-wal");

  ASSERT_EQ(RestoreSqliteStore(backup, place, harness_.rng), absl::OkStatus());

  SqliteStoreOptions options = harness_.Options();
  options.path = place;
  const std::unique_ptr<Store> restored = harness_.Open(options);
  EXPECT_EQ(Get(Get(restored->BeginRead())->Newest(kClinic)).sequence, 2);
}

// Somebody has begun to open the store and has not come to SQLite yet.
TEST_F(SqliteBackupTest, RestoreIsRefusedWhileTheStoreIsBeingOpened) {
  CommitSome(1);
  const std::string backup = Backup();
  const std::string epoch = Meta().epoch;
  store_.reset();
  {
    const absl::StatusOr<FileLock> opening =
        FileLock::Take(LockPathOf(harness_.path()), FileLock::Kind::kShared);
    ASSERT_TRUE(opening.ok());

    const absl::Status status = RestoreSqliteStore(backup, harness_.path(), harness_.rng);

    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
  store_ = harness_.Open();
  EXPECT_EQ(Meta().epoch, epoch);
}

TEST_F(SqliteBackupTest, RestoreToANewPlaceMakesTheStore) {
  CommitSome(2);
  const std::string backup = Backup();
  const std::string place = harness_.dir.File("moved.db");

  ASSERT_EQ(RestoreSqliteStore(backup, place, harness_.rng), absl::OkStatus());

  SqliteStoreOptions options = harness_.Options();
  options.path = place;
  options.create = false;
  EXPECT_EQ(Get(Get(harness_.Open(options)->BeginRead())->Newest(kClinic)).sequence, 2);
}

// Also where nothing that a restore reads is damaged.
TEST_F(SqliteBackupTest, DamagedBackupIsRefusedAndTheStoreStays) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(TryCommit(*store_, std::to_string(i), std::string(3'000, 'x')), absl::OkStatus());
  }
  const std::string backup = Backup();
  const std::string epoch = Meta().epoch;
  {
    std::fstream file(backup, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(backup)) - 4096);
    file << std::string(64, '\xff');
  }

  const absl::Status status = Restore(backup);

  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(Meta().epoch, epoch);
  EXPECT_EQ(Newest(), 40);
}

TEST_F(SqliteBackupTest, BackupOfANewerProgramIsRefused) {
  CommitSome(1);
  const std::string backup = Backup();
  ASSERT_EQ(sqlite::MustOpen(backup, {}).Exec("PRAGMA user_version=99"), absl::OkStatus());

  EXPECT_TRUE(absl::IsFailedPrecondition(Restore(backup)));

  EXPECT_EQ(Newest(), 1);
}

TEST_F(SqliteBackupTest, OneStoreAtATimeIsClaimedForAService) {
  CommitSome(1);
  const auto open = [this] {
    return OpenSqliteStore({.path = harness_.path(), .create = false, .vfs = ""}, harness_.clock,
                           harness_.rng);
  };
  {
    const auto served = open();
    ASSERT_TRUE(served.ok()) << served.status();

    EXPECT_EQ((*served)->ClaimForService(), absl::OkStatus());
    EXPECT_EQ((*served)->ClaimForService(), absl::OkStatus());
    EXPECT_EQ(ReasonOf(store_->ClaimForService()), "STORE_IN_USE");
  }

  EXPECT_EQ(store_->ClaimForService(), absl::OkStatus());
}

// An error without a reason tells an operator nothing but its code.
TEST_F(SqliteBackupTest, RefusalsSayWhatIsWrong) {
  CommitSome(1);
  const std::string backup = Backup();
  const std::string text = harness_.dir.File("letter.txt");
  std::ofstream(text) << std::string(2'000, 'x');

  const absl::Status in_use = RestoreSqliteStore(backup, harness_.path(), harness_.rng);

  EXPECT_EQ(ReasonOf(in_use), "STORE_IN_USE");
  EXPECT_EQ(ReasonOf(Restore(harness_.dir.File("none.db"))), "BACKUP_MISSING");
  EXPECT_EQ(ReasonOf(Restore(text)), "BACKUP_UNUSABLE");
  EXPECT_EQ(ReasonOf(Restore(harness_.path())), "USAGE");
  EXPECT_EQ(ReasonOf(store_->Backup(harness_.path())), "USAGE");
  EXPECT_EQ(ReasonOf(store_->Backup(harness_.dir.File("no/such/dir/b.db"))), "FILE");
}

TEST_F(SqliteBackupTest, RestoreFromWhatIsNoStoreIsRefused) {
  CommitSome(1);
  const std::string app = harness_.dir.File("app.db");
  ASSERT_EQ(sqlite::MustOpen(app, sqlite::Create()).Exec("CREATE TABLE app(x)"), absl::OkStatus());

  EXPECT_TRUE(absl::IsFailedPrecondition(Restore(app)));
  EXPECT_FALSE(Restore(harness_.dir.File("none.db")).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Restore(harness_.path())));

  EXPECT_EQ(Newest(), 1);
}

TEST_F(SqliteBackupTest, NewEpochCanBeStartedWhereTheStoreStands) {
  CommitSome(4);
  const StoreMeta before = Meta();
  store_.reset();

  ASSERT_EQ(StartNewEpochOfSqliteStore(harness_.Options(), harness_.rng), absl::OkStatus());

  store_ = harness_.Open();
  EXPECT_NE(Meta().epoch, before.epoch);
  EXPECT_EQ(Shared(), 4);
}

}  // namespace
}  // namespace ptdoc::sync
