// What the store does when the disk, another process or the file itself fails.
#include <fcntl.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/store/store_error.h"
#include "tests/sync-service/store/sqlite_harness.h"

namespace ptdoc::sync {
namespace {

std::vector<NewVersion> LargeBatch(const std::string& prefix, int count) {
  std::vector<NewVersion> versions;
  for (int i = 0; i < count; ++i) {
    versions.push_back(Named(Patient(prefix + std::to_string(i)), std::string(4'000, 'x')));
  }
  return versions;
}

int64_t CountRows(SqliteHarness& harness, const std::string& table) {
  sqlite::Database db = harness.Raw();
  return Get(db.QueryInt("SELECT count(*) FROM " + table));
}

TEST(SqliteFaultTest, NothingStaysWhenTheStoreIsFullInTheMiddleOfABatch) {
  SqliteHarness harness;
  SqliteStoreOptions options = harness.Options();
  options.bytes_max = 400'000;
  const std::unique_ptr<Store> store = harness.Open(options);
  ASSERT_EQ(TryCommit(*store, "before", "B"), absl::OkStatus());
  std::vector<NewVersion> versions = LargeBatch("p", 200);
  std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
  ASSERT_EQ(writer->Audit(kClinic, Happened("change")), absl::OkStatus());

  const absl::Status full = writer->Append(kClinic, versions, 1, At(0)).status();

  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(full), "STORE_FULL");
  EXPECT_EQ(writer->Audit(kClinic, Happened("change")), full);
  EXPECT_EQ(writer->Commit(), full);
  writer.reset();
  EXPECT_EQ(CountRows(harness, "Versions"), 1);
  EXPECT_EQ(CountRows(harness, "Heads"), 1);
  EXPECT_EQ(CountRows(harness, "SyncAudit"), 0);
  EXPECT_EQ(Get(Get(store->BeginRead())->Newest(kClinic)).sequence, 1);
  EXPECT_EQ(TryCommit(*store, "after", "A"), absl::OkStatus());
}

// SQLite may end the whole transaction. Then no batch of the group is stored,
// and above all none of the later ones by itself.
TEST(SqliteFaultTest, GroupCommitIsWholeOrNothingWhenTheStoreIsFull) {
  SqliteHarness harness;
  SqliteStoreOptions options = harness.Options();
  options.bytes_max = 400'000;
  const std::unique_ptr<Store> store = harness.Open(options);
  std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
  std::vector<NewVersion> first = {Named(Patient("first"), "F")};
  std::vector<NewVersion> large = LargeBatch("p", 200);
  std::vector<NewVersion> last = {Named(Patient("last"), "L")};
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  Get(writer->Append(kClinic, first, 1, At(0)));
  ASSERT_EQ(writer->ReleaseSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  ASSERT_FALSE(writer->Append(kClinic, large, 2, At(0)).ok());

  const absl::Status rolled_back = writer->RollbackSavepoint();
  const absl::Status appended = writer->Append(kClinic, last, 3, At(0)).status();
  const absl::Status committed = writer->Commit();

  EXPECT_EQ(appended.ok(), rolled_back.ok());
  EXPECT_EQ(committed.ok(), rolled_back.ok());
  if (!committed.ok()) {
    EXPECT_EQ(ReasonOf(committed), "STORE_FULL");
  }
  writer.reset();
  EXPECT_EQ(CountRows(harness, "Versions"), committed.ok() ? 2 : 0);
}

TEST(SqliteFaultTest, CommitThatCannotWriteSaysThatItsFateIsUnknown) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "before", "B"), absl::OkStatus());
  std::vector<NewVersion> versions = {Named(Patient("a"), "A")};
  std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
  Get(writer->Append(kClinic, versions, 1, At(0)));
  // From here on no file can be written: the kernel answers EFBIG.
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit saved = limit;
  limit.rlim_cur = 1;
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);

  const absl::Status status = writer->Commit();

  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &saved), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown) << status;
  EXPECT_EQ(ReasonOf(status), "STORE_AWAY");
  writer.reset();
  EXPECT_EQ(Get(Get(store->BeginRead())->Newest(kClinic)).sequence, 1);
  EXPECT_EQ(TryCommit(*store, "a", "A2"), absl::OkStatus());
  EXPECT_EQ(Get(Get(store->BeginRead())->Newest(kClinic)).sequence, 2);
}

TEST(SqliteFaultTest, BeginWriteIsUnavailableWhileAnotherProcessWrites) {
  SqliteHarness harness;
  SqliteStoreOptions options = harness.Options();
  options.busy_timeout = absl::Milliseconds(1);
  const std::unique_ptr<Store> store = harness.Open(options);
  const std::unique_ptr<Store> other = harness.Open(options);
  std::unique_ptr<StoreWriter> theirs = Get(other->BeginWrite());

  const absl::Status status = store->BeginWrite().status();

  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "STORE_AWAY");
  EXPECT_TRUE(store->BeginRead().ok());
  theirs.reset();
  EXPECT_TRUE(store->BeginWrite().ok());
}

TEST(SqliteFaultTest, BeginWriteIsUnavailableWhileThisProcessWrites) {
  SqliteHarness harness;
  SqliteStoreOptions options = harness.Options();
  options.busy_timeout = absl::Milliseconds(1);
  const std::unique_ptr<Store> store = harness.Open(options);
  std::unique_ptr<StoreWriter> first = Get(store->BeginWrite());

  const absl::Status status = store->BeginWrite().status();

  EXPECT_EQ(ReasonOf(status), "STORE_AWAY");
  first.reset();
  EXPECT_TRUE(store->BeginWrite().ok());
}

TEST(SqliteFaultTest, AnotherProgramsDatabaseIsRefusedAndLeftAsItIs) {
  SqliteHarness harness;
  ASSERT_EQ(sqlite::MustOpen(harness.path(), sqlite::Create()).Exec("CREATE TABLE app(x)"),
            absl::OkStatus());

  const absl::Status status =
      OpenSqliteStore(harness.Options(), harness.clock, harness.rng).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(Get(harness.Raw().QueryInt("SELECT count(*) FROM sqlite_master")), 1);
  EXPECT_EQ(Get(harness.Raw().QueryValue("PRAGMA journal_mode")), Value::Text("delete"));
}

TEST(SqliteFaultTest, NewerStoreIsRefused) {
  SqliteHarness harness;
  harness.Open().reset();
  ASSERT_EQ(harness.Raw().Exec("PRAGMA user_version=99"), absl::OkStatus());

  const absl::Status status =
      OpenSqliteStore(harness.Options(), harness.clock, harness.rng).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST(SqliteFaultTest, MissingStoreIsNotFoundAndNotMadeUnlessAsked) {
  SqliteHarness harness;
  SqliteStoreOptions options = harness.Options();
  options.create = false;

  const absl::Status status = OpenSqliteStore(options, harness.clock, harness.rng).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_TRUE(std::filesystem::is_empty(harness.dir.File("")));
}

TEST(SqliteFaultTest, FilesAreTheirOwnersOnly) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "a", "A"), absl::OkStatus());

  for (const auto& entry : std::filesystem::directory_iterator(harness.dir.File(""))) {
    const auto others = entry.status().permissions() &
                        (std::filesystem::perms::group_all | std::filesystem::perms::others_all);
    EXPECT_EQ(others, std::filesystem::perms::none) << entry.path();
  }
}

TEST(SqliteFaultTest, DamagedContentIsDataLoss) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "a", "A"), absl::OkStatus());
  ASSERT_EQ(harness.Raw().Exec("UPDATE Versions SET Content = x'ffff'"), absl::OkStatus());

  const absl::Status status = Get(store->BeginRead())->Head(kClinic, Patient("a")).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST(SqliteFaultTest, CheckpointMovesWhatWasCommittedIntoTheDatabase) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(store->Checkpoint(), absl::OkStatus());
  const uintmax_t before = std::filesystem::file_size(harness.path());
  std::vector<NewVersion> versions = LargeBatch("p", 50);
  {
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    Get(writer->Append(kClinic, versions, 1, At(0)));
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  ASSERT_EQ(std::filesystem::file_size(harness.path()), before);

  ASSERT_EQ(store->Checkpoint(), absl::OkStatus());

  EXPECT_GT(std::filesystem::file_size(harness.path()), before + 200'000);
}

TEST(SqliteFaultTest, CheckpointDisturbsNoReaderAndNoWriter) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "a", "A"), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Get(store->BeginRead());
  const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());

  EXPECT_EQ(store->Checkpoint(), absl::OkStatus());

  EXPECT_TRUE(Get(reader->Head(kClinic, Patient("a"))).has_value());
  EXPECT_EQ(writer->Commit(), absl::OkStatus());
}

uintmax_t LogBytes(const SqliteHarness& harness) {
  return std::filesystem::file_size(harness.path() + "-wal");
}

absl::Status CommitLarge(Store& store, int number) {
  std::vector<NewVersion> versions = LargeBatch("b" + std::to_string(number) + "-", 250);
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreWriter> writer, store.BeginWrite());
  PT_RETURN_IF_ERROR(writer->Append(kClinic, versions, 1, At(0)).status());
  return writer->Commit();
}

// 20 MiB of commits wait for the background thread: none of them pays for moving
// what others wrote.
TEST(SqliteFaultTest, CommitsMoveNothingIntoTheDatabase) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(store->Checkpoint(), absl::OkStatus());
  const uintmax_t before = std::filesystem::file_size(harness.path());

  for (int i = 0; i < 20; ++i) ASSERT_EQ(CommitLarge(*store, i), absl::OkStatus());

  EXPECT_GT(LogBytes(harness), 20'000'000u);
  EXPECT_EQ(std::filesystem::file_size(harness.path()), before);
}

// A writer that never rests: a checkpoint that only follows it would always be a
// little behind, and the log would never begin anew.
TEST(SqliteFaultTest, CheckpointsBoundTheLogUnderALoadWithoutPauses) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  std::atomic<bool> done = false;
  absl::Status written;
  std::thread writer([&] {
    for (int i = 0; i < 100 && written.ok(); ++i) written = CommitLarge(*store, i);
    done = true;
  });

  while (!done) EXPECT_EQ(store->Checkpoint(), absl::OkStatus());

  writer.join();
  EXPECT_EQ(written, absl::OkStatus());
  EXPECT_GT(std::filesystem::file_size(harness.path()), 100'000'000u);
  EXPECT_LT(LogBytes(harness), 48'000'000u);
}

TEST(SqliteFaultTest, CheckpointGivesUpOnAWriterThatHoldsALargeLog) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(CommitLarge(*store, i), absl::OkStatus());
  const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());

  EXPECT_EQ(store->Checkpoint(), absl::OkStatus());

  EXPECT_EQ(writer->Commit(), absl::OkStatus());
}

// Codes of SQLite that a sick or read-only disk gives; each may be over by the
// next try.
TEST(SqliteFaultTest, ReadOnlyStoreIsAwayAndTellsWhy) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  sqlite::Database readonly = sqlite::MustOpen(harness.path(), {});
  ASSERT_EQ(readonly.Exec("PRAGMA query_only=ON"), absl::OkStatus());
  const absl::Status cause = readonly.Exec("DELETE FROM Meta");
  ASSERT_EQ(sqlite::ExtendedCode(cause) & 0xff, 8) << cause;

  const absl::Status status = StoreError(cause);

  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "STORE_AWAY");
  EXPECT_NE(status.message().find("SQLITE_READONLY"), absl::string_view::npos);
}

struct Tampering {
  const char* sql;
  int64_t first_bad;
};

class AuditTamperingTest : public testing::TestWithParam<Tampering> {};

TEST_P(AuditTamperingTest, IsFoundByTheChain) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  {
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    for (int i = 1; i <= 5; ++i) {
      AuditEvent event = Happened("change");
      event.user = "u" + std::to_string(i);
      ASSERT_EQ(writer->Audit(kClinic, event), absl::OkStatus());
    }
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  ASSERT_TRUE(Get(VerifyAudit(*Get(store->BeginRead()), kClinic)).intact);

  ASSERT_EQ(harness.Raw().Exec(GetParam().sql), absl::OkStatus());

  const AuditVerdict verdict = Get(VerifyAudit(*Get(store->BeginRead()), kClinic));
  EXPECT_FALSE(verdict.intact);
  EXPECT_EQ(verdict.first_bad_sequence, GetParam().first_bad);
}

INSTANTIATE_TEST_SUITE_P(
    All, AuditTamperingTest,
    testing::Values(
        Tampering{"UPDATE SyncAudit SET UserId = 'x' WHERE Sequence = 3", 3},
        Tampering{"UPDATE SyncAudit SET At = '2026-02-17T04:45:00.001Z' WHERE Sequence = 2", 2},
        Tampering{"UPDATE SyncAudit SET Revision = 1 WHERE Sequence = 5", 5},
        Tampering{"DELETE FROM SyncAudit WHERE Sequence = 2", 2},
        Tampering{"DELETE FROM SyncAudit WHERE Sequence = 5", 5},
        Tampering{"DELETE FROM SyncAudit", 1},
        Tampering{"UPDATE SyncAudit SET EntityType = 'u', UserId = '3' WHERE Sequence = 3", 3},
        Tampering{"UPDATE SyncAudit SET Hash = zeroblob(32) WHERE Sequence = 4", 4}));

}  // namespace
}  // namespace ptdoc::sync
