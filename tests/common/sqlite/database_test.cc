#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "tests/common/sqlite/test_db.h"

namespace ptdoc::sqlite {
namespace {

TEST(DatabaseTest, OpenFailsWithNotFoundWhenThereIsNoFile) {
  const TestDir dir;

  const absl::Status status = Database::Open(dir.File("none.db"), {}).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST(DatabaseTest, OpenSaysThatTheFileIsNoDatabaseOrEncrypted) {
  const TestDir dir;
  std::ofstream(dir.File("text.db")) << std::string(4096, 'x');

  const absl::Status status = Database::Open(dir.File("text.db"), {}).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "not an SQLite database or is encrypted"))
      << status;
}

TEST(DatabaseTest, OpenSaysThatThePathIsADirectory) {
  const TestDir dir;
  std::filesystem::create_directory(dir.File("folder.db"));

  const absl::Status status = Database::Open(dir.File("folder.db"), OpenOptions()).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "SQLITE_CANTOPEN_ISDIR: the path is a directory");
}

TEST(DatabaseTest, WriteFailsWhenOpenedReadOnly) {
  const TestDir dir;
  ASSERT_TRUE(MustOpen(dir.File("a.db"), Create()).Exec("CREATE TABLE t(x)").ok());
  Database db = MustOpen(dir.File("a.db"), {.mode = OpenOptions::Mode::kReadOnly});

  const absl::Status status = db.Exec("INSERT INTO t VALUES (1)");

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(ExtendedCode(status), 8);
}

TEST(DatabaseTest, ReadOnlyAsksForNoWalMode) {
  const TestDir dir;
  ASSERT_TRUE(MustOpen(dir.File("a.db"), Create()).Exec("CREATE TABLE t(x)").ok());

  Database db = MustOpen(dir.File("a.db"), {.mode = OpenOptions::Mode::kReadOnly, .wal = true});

  EXPECT_EQ(db.QueryValue("PRAGMA journal_mode").value(), Value::Text("delete"));
}

TEST(DatabaseTest, ConnectionHasTheSettingsAskedFor) {
  const TestDir dir;
  OpenOptions options = CreateWal();
  options.synchronous_full = false;
  options.foreign_keys = true;

  Database db = MustOpen(dir.File("a.db"), options);

  EXPECT_EQ(db.QueryValue("PRAGMA journal_mode").value(), Value::Text("wal"));
  EXPECT_EQ(db.QueryInt("PRAGMA synchronous").value(), 1);
  EXPECT_EQ(db.QueryInt("PRAGMA foreign_keys").value(), 1);
  EXPECT_EQ(db.QueryInt("PRAGMA cell_size_check").value(), 1);
  EXPECT_EQ(db.QueryInt("PRAGMA mmap_size").value(), 0);
  EXPECT_EQ(db.QueryInt("PRAGMA trusted_schema").value(), 0);
  EXPECT_EQ(db.QueryInt("PRAGMA busy_timeout").value(), 250);
}

TEST(DatabaseTest, SynchronousIsFullAndForeignKeysAreOffWithoutAWish) {
  Database db = InMemory();

  EXPECT_EQ(db.QueryInt("PRAGMA synchronous").value(), 2);
  EXPECT_EQ(db.QueryInt("PRAGMA foreign_keys").value(), 0);
}

TEST(DatabaseTest, SchemaTableCannotBeWritten) {
  Database db = InMemory();

  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); PRAGMA writable_schema=ON").ok());

  EXPECT_FALSE(db.Exec("UPDATE sqlite_master SET sql = ''").ok());
}

TEST(DatabaseTest, DoubleQuotedTextIsNoString) {
  Database db = InMemory();

  EXPECT_FALSE(db.QueryValue("SELECT \"text\"").ok());
}

// Written by a program that allows double-quoted strings, as most do.
void WriteLegacyFile(const std::string& path) {
  OpenOptions options = Create();
  options.legacy_schema = true;
  Database db = MustOpen(path, options);
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); CREATE TABLE seen(x);"
                      "CREATE INDEX part ON t(x) WHERE x <> \"no\";"
                      "CREATE TRIGGER tr AFTER INSERT ON t BEGIN"
                      "  INSERT INTO seen VALUES (\"quoted\"); END")
                  .ok());
}

TEST(DatabaseTest, LegacySchemaFiresTriggersThatHoldDoubleQuotedStrings) {
  const TestDir dir;
  WriteLegacyFile(dir.File("app.db"));
  OpenOptions options;
  options.legacy_schema = true;
  Database db = MustOpen(dir.File("app.db"), options);

  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());

  EXPECT_EQ(db.QueryValue("SELECT x FROM seen").value(), Value::Text("quoted"));
}

// The reason why legacy_schema exists; if this fails it can go.
TEST(DatabaseTest, StrictConnectionOpensALegacyFileButItsTriggersFail) {
  const TestDir dir;
  WriteLegacyFile(dir.File("app.db"));
  Database db = MustOpen(dir.File("app.db"), {});

  EXPECT_FALSE(db.Exec("INSERT INTO t VALUES (1)").ok());
}

TEST(DatabaseTest, OpensAFileWhoseTriggersCallUnknownFunctions) {
  const TestDir dir;
  ASSERT_TRUE(MustOpen(dir.File("app.db"), Create())
                  .Exec("CREATE TABLE t(x);"
                        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT app_function(1); END;"
                        "CREATE VIEW v AS SELECT app_function(x) FROM t")
                  .ok());

  EXPECT_TRUE(Database::Open(dir.File("app.db"), {}).ok());
}

TEST(DatabaseTest, ExecRunsEveryStatementOfItsText) {
  Database db = InMemory();

  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); -- a comment\n INSERT INTO t VALUES (1), (2);\n ").ok());

  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM t").value(), 2);
  EXPECT_EQ(db.changes(), 2);
  EXPECT_EQ(db.last_insert_rowid(), 2);
}

TEST(DatabaseTest, ExecStopsAtTheFirstError) {
  Database db = InMemory();

  EXPECT_FALSE(db.Exec("CREATE TABLE t(x); INSERT INTO none VALUES (1); DROP TABLE t").ok());

  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM t").value(), 0);
}

TEST(DatabaseTest, QueryGivesNullWhenThereIsNoRow) {
  Database db = InMemory();

  EXPECT_TRUE(db.QueryValue("SELECT 1 WHERE 0").value().is_null());
  EXPECT_EQ(db.QueryInt("SELECT 1 WHERE 0").value(), 0);
}

TEST(DatabaseTest, QueryIntRefusesOtherTypes) {
  Database db = InMemory();

  EXPECT_EQ(db.QueryInt("SELECT '7'").status().code(), absl::StatusCode::kInternal);
}

TEST(DatabaseTest, PrepareRefusesTextThatIsNotOneStatement) {
  Database db = InMemory();

  EXPECT_FALSE(db.Prepare("").ok());
  EXPECT_FALSE(db.Prepare(absl::string_view()).ok());
  EXPECT_FALSE(db.Prepare("-- nothing").ok());
  EXPECT_FALSE(db.Prepare("SELECT 1; SELECT 2").ok());
  EXPECT_TRUE(db.Prepare("SELECT 1;\n").ok());
}

TEST(DatabaseTest, EnableTriggersOffKeepsPreparedStatementsFromFiringThem) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); CREATE TABLE seen(x);"
                      "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (1); END")
                  .ok());
  Statement insert = db.Prepare("INSERT INTO t VALUES (1)").value();
  ASSERT_TRUE(insert.Run().ok());

  ASSERT_TRUE(db.EnableTriggers(false).ok());
  ASSERT_TRUE(insert.Run().ok());
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM seen").value(), 1);

  ASSERT_TRUE(db.EnableTriggers(true).ok());
  ASSERT_TRUE(insert.Run().ok());
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM seen").value(), 2);
}

TEST(DatabaseTest, SyncJournalSucceedsInEveryJournalMode) {
  for (const char* mode : {"wal", "delete", "truncate", "persist"}) {
    SCOPED_TRACE(mode);
    const TestDir dir;
    Database db = MustOpen(dir.File("a.db"), Create());
    ASSERT_TRUE(db.Exec(absl::string_view("PRAGMA journal_mode=" + std::string(mode))).ok());
    ASSERT_TRUE(db.Exec("CREATE TABLE t(x)").ok());
    Database reader = MustOpen(dir.File("a.db"), {.mode = OpenOptions::Mode::kReadOnly});

    EXPECT_TRUE(db.SyncJournal().ok()) << db.SyncJournal();
    EXPECT_TRUE(reader.SyncJournal().ok()) << reader.SyncJournal();
  }
}

TEST(DatabaseTest, SyncJournalFollowsAModeThatAnotherConnectionChanged) {
  const TestDir dir;
  Database db = MustOpen(dir.File("a.db"), Create());
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x)").ok());
  ASSERT_TRUE(db.SyncJournal().ok());
  Database other = MustOpen(dir.File("a.db"), CreateWal());
  ASSERT_TRUE(other.Exec("INSERT INTO t VALUES (1)").ok());

  EXPECT_TRUE(db.SyncJournal().ok()) << db.SyncJournal();
}

TEST(DatabaseTest, SyncJournalHasNothingToDoInMemory) {
  Database db = InMemory();

  EXPECT_TRUE(db.SyncJournal().ok());
}

TEST(DatabaseTest, BackupHoldsWhatWasCommitted) {
  const TestDir dir;
  Database db = MustOpen(dir.File("a.db"), CreateWal());
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); INSERT INTO t VALUES (7)").ok());

  ASSERT_TRUE(db.BackupTo(dir.File("copy.db")).ok());

  Database copy = MustOpen(dir.File("copy.db"), {});
  EXPECT_EQ(copy.QueryInt("SELECT x FROM t").value(), 7);
}

TEST(DatabaseTest, BackupRefusesAFileThatIsNoDatabase) {
  const TestDir dir;
  std::ofstream(dir.File("text")) << std::string(4096, 'x');
  Database db = InMemory();

  EXPECT_EQ(db.BackupTo(dir.File("text")).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::filesystem::file_size(dir.File("text")), 4096u);
}

TEST(DatabaseTest, StatementsGoOnAfterTheDatabaseIsMoved) {
  Database first = InMemory();
  ASSERT_TRUE(first.Exec("CREATE TABLE t(x)").ok());
  Statement insert = first.Prepare("INSERT INTO t VALUES (1)").value();

  Database second = std::move(first);

  EXPECT_TRUE(insert.Run().ok());
  EXPECT_EQ(second.QueryInt("SELECT count(*) FROM t").value(), 1);
}

TEST(DatabaseTest, StatementMayOutliveTheDatabase) {
  const TestDir dir;
  auto db = std::make_unique<Database>(MustOpen(dir.File("a.db"), CreateWal()));
  ASSERT_TRUE(db->Exec("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2)").ok());
  Statement select = db->Prepare("SELECT x FROM t").value();
  ASSERT_TRUE(select.Step().value());

  db.reset();

  EXPECT_TRUE(select.Step().value());
  EXPECT_EQ(select.Int(0), 2);
}

TEST(DatabaseTest, TransactionMayOutliveTheDatabase) {
  const TestDir dir;
  auto db = std::make_unique<Database>(MustOpen(dir.File("a.db"), Create()));
  Transaction transaction = Transaction::Begin(*db).value();
  ASSERT_TRUE(db->Exec("CREATE TABLE t(x)").ok());

  db.reset();

  EXPECT_TRUE(transaction.Commit().ok());
  EXPECT_TRUE(MustOpen(dir.File("a.db"), {}).Exec("INSERT INTO t VALUES (1)").ok());
}

TEST(DatabaseTest, AssignmentClosesTheOldFile) {
  const TestDir dir;
  Database db = MustOpen(dir.File("a.db"), CreateWal());
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x)").ok());

  db = InMemory();

  // The last connection to close removes the -wal file.
  EXPECT_FALSE(std::filesystem::exists(dir.File("a.db-wal")));
}

}  // namespace
}  // namespace ptdoc::sqlite
