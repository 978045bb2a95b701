// A damaged file of the app, and its -wal file beside it, from the damage to the mending.
#include <sqlite3.h>

#include <fstream>
#include <iterator>

#include "tests/schemas/mishap_fixture.h"

namespace ptdoc::sync {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class DamageTest : public MishapTest {
 protected:
  static std::string BytesOf(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Over a page of the file that no connection has open.
  void Overwrite(int64_t page, char with) {
    std::fstream file(File(a_), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((page - 1) * 4096);
    const std::string noise(4096, with);
    file.write(noise.data(), 4096);
  }
  // As after a crash of the app: an edit stands in the -wal file alone, and nobody has
  // the file open.
  void LeaveAnEditInTheWal() {
    BeginClinic("PRAGMA page_size=4096; PRAGMA journal_mode=WAL;");
    a_.Sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint=0");
    visits_ = *a_.app().QueryInt("SELECT rootpage FROM sqlite_master WHERE name = 'Visit'");
    a_.Sql("UPDATE Patient SET Name = 'in the wal' WHERE Id = 'p001'");
    a_.Close();
    fs::copy_file(File(a_), dir_ + "/good.db");
    fs::copy_file(File(a_) + "-wal", dir_ + "/good.db-wal");
    a_.CloseApp();
    PutBack();
    fs::copy_file(dir_ + "/good.db-wal", File(a_) + "-wal", fs::copy_options::overwrite_existing);
  }
  void PutBack() {
    fs::copy_file(dir_ + "/good.db", File(a_), fs::copy_options::overwrite_existing);
  }
  // A cycle of the agent, which reads every row.
  FileState Look() {
    EXPECT_TRUE(a_.ledger().PutInt("compare", 1).ok());
    a_.Drain();
    return a_.Drain().file;
  }

  int64_t visits_ = 0;  // their root page
};

// Once SQLite has called the file corrupt, what can still be read of it is not
// to be trusted: nothing is sent before integrity_check passes.
TEST_F(DamageTest, FileThatWasCalledCorruptSendsNothingBeforeItIsMended) {
  BeginClinic("PRAGMA page_size=4096;");
  const int64_t root =
      *a_.app().QueryInt("SELECT rootpage FROM sqlite_master WHERE name = 'Visit'");
  a_.Sql("UPDATE Patient SET Name = 'sound' WHERE Id = 'p001'");
  Shut(a_);
  fs::copy_file(File(a_), dir_ + "/good.db");
  Overwrite(root, '\x5a');
  a_.OpenApp();
  a_.Open();
  ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());  // Reads all rows.

  const DrainReport drained = a_.Drain();
  Taken taken = a_.Take();
  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_EQ(taken.file, FileState::kUnreadable);
  // The damaged page is not read for this one.
  ASSERT_TRUE(a_.ledger().PutInt("compare", 0).ok());
  taken = a_.Take();
  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_EQ(taken.file, FileState::kUnreadable);
  EXPECT_THAT(a_.replica().Facts()->file_problem, HasSubstr("integrity_check"));

  Shut(a_);
  fs::copy_file(dir_ + "/good.db", File(a_), fs::copy_options::overwrite_existing);
  a_.OpenApp();
  a_.Open();
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("sound"));
  ExpectSame();
}

// Whoever mends the file needs what stands beside it: a -wal file that was moved into a
// damaged one is lost with it.
TEST_F(DamageTest, WalStaysForWhoeverMendsTheFile) {
  LeaveAnEditInTheWal();
  const std::string wal = BytesOf(File(a_) + "-wal");
  Overwrite(visits_, '\x5a');

  a_.Open();
  const FileState first = Look();
  clock_.Advance(absl::Minutes(1));
  const FileState second = Look();
  const Taken taken = a_.Take();
  const std::string while_it_runs = BytesOf(File(a_) + "-wal");
  a_.Close();
  const std::string after_its_end = BytesOf(File(a_) + "-wal");
  PutBack();
  a_.Open();
  SyncBoth();

  EXPECT_EQ(first, FileState::kUnreadable);
  EXPECT_EQ(second, FileState::kUnreadable);
  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_FALSE(wal.empty());
  EXPECT_TRUE(while_it_runs == wal);
  EXPECT_TRUE(after_its_end == wal);
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("in the wal"));
  a_.OpenApp();
  ExpectSame();
}

TEST_F(DamageTest, WalStaysBesideAFileThatIsNoDatabaseAnyMore) {
  LeaveAnEditInTheWal();
  // The first page stands in it, too: it goes.
  fs::remove(File(a_) + "-wal");
  std::ofstream(File(a_) + "-wal", std::ios::binary)
      << BytesOf(dir_ + "/good.db-wal").substr(0, 32);
  const std::string wal = BytesOf(File(a_) + "-wal");
  Overwrite(1, '\x5a');

  a_.Open();
  const FileState state = a_.Drain().file;
  a_.Close();

  EXPECT_EQ(state, FileState::kUnreadable);
  EXPECT_TRUE(BytesOf(File(a_) + "-wal") == wal);
  PutBack();
  fs::copy_file(dir_ + "/good.db-wal", File(a_) + "-wal", fs::copy_options::overwrite_existing);
  a_.OpenApp();
  a_.Open();
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("in the wal"));
  ExpectSame();
}

// An agent that starts beside a file which was found damaged before waits as the one did
// that found it.
TEST_F(DamageTest, AgentStartsBesideADamagedFileAndGoesOnWhenItIsMended) {
  LeaveAnEditInTheWal();
  Overwrite(visits_, '\x5a');
  a_.Open();
  Look();
  a_.Close();

  a_.Open();
  const DrainReport drained = a_.Drain();
  const std::string said = a_.replica().Facts()->file_problem;
  PutBack();
  clock_.Advance(absl::Minutes(1));
  SyncBoth();

  EXPECT_EQ(drained.file, FileState::kUnreadable);
  EXPECT_THAT(said, HasSubstr("integrity_check"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("in the wal"));
  a_.OpenApp();
  ExpectSame();
}

TEST_F(DamageTest, LastToCloseASoundFileMovesTheWalIntoIt) {
  LeaveAnEditInTheWal();
  a_.Open();
  SyncBoth();

  a_.Close();

  EXPECT_FALSE(fs::exists(File(a_) + "-wal"));
  a_.OpenApp();
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("in the wal"));
}

// --- Checks of a sound file.

// In the order of the last letter first: SQLite's own NOCASE finds an index out of order.
int FromTheEnd(void* /*unused*/, int size_a, const void* a, int size_b, const void* b) {
  const std::string left(static_cast<const char*>(a), static_cast<size_t>(size_a));
  const std::string right(static_cast<const char*>(b), static_cast<size_t>(size_b));
  return std::string(left.rbegin(), left.rend()).compare(std::string(right.rbegin(), right.rend()));
}

class CheckTest : public DamageTest {
 protected:
  // An edit that no trigger sees is found by comparing, and the file checked before it is
  // sent.
  void EditSilently() {
    ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
    a_.Sql("UPDATE Visit SET Note = 'silent' WHERE Id = 'vp007'");
    ASSERT_TRUE(a_.app().EnableTriggers(true).ok());
    ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());
    while (*a_.replica().Maintain()) continue;
  }
  Lines NoteOfB() { return b_.Query("SELECT Note FROM Visit WHERE Id = 'vp007'"); }
};

TEST_F(CheckTest, AnAppsOwnNocaseIsNoDamage) {
  BeginClinic();
  sqlite3_create_collation(a_.app().handle(), "NOCASE", SQLITE_UTF8, nullptr, &FromTheEnd);
  a_.Sql("CREATE INDEX by_name ON Patient(Name COLLATE NOCASE)");
  SyncBoth();
  EditSilently();
  SyncBoth();

  EXPECT_EQ(a_.Drain().file, FileState::kReady);
  EXPECT_THAT(NoteOfB(), ElementsAre("silent"));
}

// By it rows are looked up: one that is not found would be taken for deleted.
TEST_F(CheckTest, AnAppsOwnNocaseOfAKeyStopsTheFile) {
  for (TestDevice* device : {&a_, &b_}) device->options().plan.all_tables = true;
  BeginClinic();
  sqlite3_create_collation(a_.app().handle(), "NOCASE", SQLITE_UTF8, nullptr, &FromTheEnd);
  a_.Sql("CREATE INDEX by_id ON Patient(Id COLLATE NOCASE)");
  SyncBoth();
  EditSilently();

  EXPECT_EQ(a_.Take().file, FileState::kUnreadable);
  EXPECT_THAT(NoteOfB(), ElementsAre("note"));
}

// The app, in a rollback-journal mode, cannot commit while it is read.
TEST_F(CheckTest, GivesWayToAnAppThatWantsToWrite) {
  a_.options().check_patience = absl::ZeroDuration();
  BeginClinic("PRAGMA journal_mode=DELETE;");
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
      "INSERT INTO Visit SELECT 'w' || i, NULL, 'note' FROM n");
  SyncBoth();
  EditSilently();

  a_.Sql("BEGIN IMMEDIATE; UPDATE Patient SET Name = 'new' WHERE Id = 'p001'");
  const Taken waits = a_.Take();
  a_.Sql("COMMIT");
  SyncBoth();

  EXPECT_FALSE(waits.batch.has_value());
  EXPECT_EQ(waits.file, FileState::kBlockedByApp);
  EXPECT_THAT(NoteOfB(), ElementsAre("silent"));
  ExpectSame();
}

// However often the app writes, one of them comes to its end.
TEST_F(CheckTest, GivesWayForTwiceAsLongEachTime) {
  a_.options().check_patience = absl::ZeroDuration();
  BeginClinic("PRAGMA journal_mode=DELETE;");
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
      "INSERT INTO Visit SELECT 'w' || i, NULL, 'note' FROM n");
  SyncBoth();
  EditSilently();

  a_.Sql("BEGIN IMMEDIATE");
  int tries = 0;
  for (; tries < 30; ++tries) {
    a_.Take();  // Blocked in any case: it would write.
    if (*a_.ledger().GetInt("unproven", 0) == 0) break;
  }
  a_.Sql("COMMIT");

  EXPECT_GT(tries, 0);
  EXPECT_LT(tries, 30);
}

}  // namespace
}  // namespace ptdoc::sync
