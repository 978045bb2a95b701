// What happens to files: replaced, cut, emptied, repaired by their apps.
#include <sqlite3.h>

#include "tests/schemas/mishap_fixture.h"

namespace ptdoc::sync {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(MishapTest, JournalModeMayChangeUnderTheAgent) {
  BeginClinic("PRAGMA journal_mode=DELETE;");
  a_.Sql("PRAGMA journal_mode=WAL; UPDATE Patient SET Name = 'in wal' WHERE Id = 'p001'");
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("in wal"));
  a_.Close();
  a_.Sql("PRAGMA journal_mode=DELETE; UPDATE Patient SET Name = 'rolled' WHERE Id = 'p001'");
  a_.Open();
  SyncBoth();

  EXPECT_THAT(a_.Query("PRAGMA journal_mode"), ElementsAre("delete"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("rolled"));
  ExpectSame();
}

TEST_F(MishapTest, WalThatSomebodyDeletedTakesItsCommitsBackAndNothingElse) {
  BeginClinic();
  a_.Sql("PRAGMA wal_checkpoint(TRUNCATE)");
  a_.Sql("PRAGMA wal_autocheckpoint=0; UPDATE Patient SET Name = 'sent' WHERE Id = 'p001'");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p002'");
  // As after a crash: nobody has checkpointed, and a "clean-up" takes the -wal.
  fs::copy_file(File(a_), dir_ + "/cut.db");
  Shut(a_);
  fs::copy_file(dir_ + "/cut.db", File(a_), fs::copy_options::overwrite_existing);
  fs::remove(File(a_) + "-wal");
  fs::remove(File(a_) + "-shm");
  a_.OpenApp();
  a_.Open();
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient WHERE Id IN ('p001', 'p002') ORDER BY Id"),
              ElementsAre("sent", "Name 2"));
  ExpectSame();
}

TEST_F(MishapTest, FileBehindALinkIsReplacedByAnother) {
  const std::string link = dir_ + "/link.db";
  fs::create_symlink(File(a_), link);
  a_.options().database = link;
  a_.Begin(kTables);
  b_.Begin(kTables);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', 'x')");
  SyncBoth();
  // Save-As: another file with the same tables takes its place.
  a_.CloseApp();
  const std::string other = dir_ + "/other.db";
  {
    sqlite::OpenOptions options;
    options.mode = sqlite::OpenOptions::Mode::kCreate;
    sqlite::Database db = *sqlite::Database::Open(other, options);
    ASSERT_TRUE(db.Exec(kTables).ok());
    ASSERT_TRUE(db.Exec("INSERT INTO Patient VALUES('p2', 'Bea', 'y')").ok());
  }
  fs::remove(link);
  fs::create_symlink(other, link);
  a_.OpenApp();
  SyncBoth();
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
  ExpectSame();
}

TEST_F(MishapTest, EmptiedFileDeletesNothingAnywhere) {
  BeginClinic("");
  Shut(a_);
  fs::resize_file(File(a_), 0);
  a_.OpenApp();
  a_.Open();
  a_.Drain();
  a_.Sql(kTables);  // The app starts and makes its tables anew.
  SyncBoth();
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT count(*) FROM Patient"), ElementsAre("200"));
  ExpectSame();
}

// What `fossil rebuild` does: every table that it does not know is dropped.
TEST_F(MishapTest, AppThatDropsUnknownTablesCanWriteAgainAfterOneCycle) {
  BeginClinic();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p001'");
  a_.Sql("DROP TABLE SyncLog; DROP TABLE SyncControl");
  EXPECT_FALSE(a_.app().Exec("UPDATE Patient SET Name = 'x' WHERE Id = 'p002'").ok());
  a_.Drain();
  a_.CloseApp();  // SQLite compiles a trigger by the schema that a connection has read.
  a_.OpenApp();
  a_.Sql("UPDATE Patient SET Name = 'after' WHERE Id = 'p003'");
  SyncBoth();
  SyncBoth();

  // Of the edit that was lost with the log nobody knows when it was made: it is in
  // the archive of both sides.
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id IN ('p001', 'p003') ORDER BY Id"),
              ElementsAre("Name 1", "after"));
  EXPECT_THAT(Archived(a_), ElementsAre(HasSubstr("unsent")));
  EXPECT_FALSE(ServiceArchives().empty());
  ExpectSame();
}

// What GnuCash does when it saves: all tables are renamed, made anew, copied,
// and the old ones dropped at the end.
TEST_F(MishapTest, AppThatRenamesEveryTableAndDropsTheOldOnesLosesNothing) {
  BeginClinic();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p001'");
  a_.Sql(
      "ALTER TABLE SyncLog RENAME TO SyncLog_back; ALTER TABLE SyncControl RENAME TO "
      "SyncControl_back; ALTER TABLE Patient RENAME TO Patient_back; ALTER TABLE Visit RENAME TO "
      "Visit_back");
  a_.Sql(kTables);
  a_.Sql(
      "INSERT INTO Patient SELECT * FROM Patient_back; INSERT INTO Visit SELECT * FROM Visit_back;"
      "UPDATE Patient SET Name = 'saved' WHERE Id = 'p002'");
  a_.Sql(
      "DROP TABLE Visit_back; DROP TABLE Patient_back; DROP TABLE SyncLog_back; DROP TABLE "
      "SyncControl_back");
  SyncBoth();
  SyncBoth();

  EXPECT_THAT(Archived(a_), ElementsAre(HasSubstr("unsent"), HasSubstr("saved")));
  EXPECT_THAT(ServiceArchives(), testing::SizeIs(2));
  EXPECT_THAT(b_.Query("SELECT count(*) FROM Visit"), ElementsAre("200"));
  ExpectSame();
}

// The same, interrupted: the next start of the app renames everything back.
TEST_F(MishapTest, TablesThatWereRenamedThereAndBackGoOn) {
  BeginClinic();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p001'");
  const std::string there =
      "ALTER TABLE SyncLog RENAME TO SyncLog_back; ALTER TABLE SyncControl RENAME TO "
      "SyncControl_back; ALTER TABLE Patient RENAME TO Patient_back; ALTER TABLE Visit RENAME TO "
      "Visit_back;";
  const std::string back =
      "ALTER TABLE SyncLog_back RENAME TO SyncLog; ALTER TABLE SyncControl_back RENAME TO "
      "SyncControl; ALTER TABLE Patient_back RENAME TO Patient; ALTER TABLE Visit_back RENAME TO "
      "Visit;";
  a_.Sql(there + back + "DELETE FROM Visit WHERE Id = 'vp200'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Name FROM Patient WHERE Id = 'p001'"), ElementsAre("unsent"));
  EXPECT_THAT(b_.Query("SELECT count(*) FROM Visit"), ElementsAre("199"));
  ExpectSame();
}

// What Laravel's migrate:fresh does: the schema is emptied by hand, the file
// vacuumed, the tables made anew, and the schema version starts again.
TEST_F(MishapTest, AppThatWipesItsSchemaByHandGetsItsRowsBack) {
  BeginClinic("");
  a_.Close();
  {
    sqlite3* raw = a_.app().handle();
    ASSERT_EQ(sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr), SQLITE_OK);
  }
  a_.Sql("PRAGMA writable_schema=1; DELETE FROM sqlite_master; PRAGMA writable_schema=0; VACUUM");
  a_.CloseApp();
  a_.OpenApp();
  a_.Sql(kTables);
  a_.Sql("INSERT INTO Patient VALUES('p900', 'fresh', 'x')");
  a_.Open();
  SyncBoth();
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT count(*) FROM Patient"), ElementsAre("201"));
  ExpectSame();
}

TEST_F(MishapTest, OlderTablesOfOursAreReplacedAndNothingIsLost) {
  BeginClinic();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p001'");
  a_.Close();
  a_.Sql(
      "DROP TABLE SyncLog; CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY, Tag INTEGER, "
      "TableNo INTEGER, Op TEXT, Key TEXT); INSERT INTO SyncLog VALUES(1, 2, 0, 'A', NULL)");
  a_.Open();
  SyncBoth();
  SyncBoth();

  EXPECT_THAT(Archived(a_), ElementsAre(HasSubstr("unsent")));
  ExpectSame();
}

TEST_F(MishapTest, RowsOfManyMegabytesAreNotAllReadAtOnce) {
  BeginBoth("CREATE TABLE T(K TEXT PRIMARY KEY, A BLOB)");
  a_.Close();
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) "
      "INSERT INTO T SELECT printf('%03d', i), randomblob(1000000) FROM n");
  a_.Sql("DROP TRIGGER SyncT1_ai");
  a_.Open();
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT count(*) FROM T"), ElementsAre("25"));
  ExpectSame();
}

}  // namespace
}  // namespace ptdoc::sync
