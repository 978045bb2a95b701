#include <gtest/gtest.h>

#include <utility>

#include "tests/common/sqlite/test_db.h"

namespace ptdoc::sqlite {
namespace {

int64_t RowsOf(Database& db) {
  return db.QueryInt("SELECT count(*) FROM t").value();
}

Database WithTable(const std::string& path = ":memory:") {
  Database db = MustOpen(path, NoWait(CreateWal()));
  EXPECT_TRUE(db.Exec("CREATE TABLE t(x)").ok());
  return db;
}

TEST(TransactionTest, KeepsItsChangesWhenCommitted) {
  Database db = WithTable();

  Transaction transaction = Transaction::Begin(db).value();
  EXPECT_TRUE(db.in_transaction());
  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
  ASSERT_TRUE(transaction.Commit().ok());

  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(RowsOf(db), 1);
}

TEST(TransactionTest, RollsBackWhenItIsDropped) {
  Database db = WithTable();
  {
    const Transaction transaction = Transaction::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
  }

  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(RowsOf(db), 0);
}

TEST(TransactionTest, RollbacksAreCounted) {
  Database db = WithTable();
  const int64_t before = db.rollbacks();
  {
    Transaction transaction = Transaction::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
    {
      const Savepoint dropped = Savepoint::Begin(db).value();
    }
    ASSERT_TRUE(transaction.Commit().ok());
  }
  EXPECT_EQ(db.rollbacks(), before + 1);
  {
    const Transaction transaction = Transaction::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
  }
  EXPECT_EQ(db.rollbacks(), before + 2);
}

TEST(TransactionTest, RollsBackOnlyOnceWhenMoved) {
  Database db = WithTable();
  Transaction outer = [&db] {
    Transaction inner = Transaction::Begin(db).value();
    return Transaction(std::move(inner));
  }();

  EXPECT_TRUE(db.in_transaction());
  ASSERT_TRUE(outer.Commit().ok());
}

TEST(TransactionTest, FailedCommitRollsBack) {
  OpenOptions options = Create();
  options.foreign_keys = true;
  Database db = MustOpen(":memory:", options);
  ASSERT_TRUE(db.Exec("CREATE TABLE p(id INTEGER PRIMARY KEY);"
                      "CREATE TABLE t(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)")
                  .ok());
  Transaction transaction = Transaction::Begin(db).value();
  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());

  EXPECT_EQ(transaction.Commit().code(), absl::StatusCode::kAlreadyExists);

  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(RowsOf(db), 0);
}

TEST(TransactionTest, ReadSeesOneStateFromItsBeginning) {
  const TestDir dir;
  Database writer = WithTable(dir.File("a.db"));
  Database reader = MustOpen(dir.File("a.db"), {});
  Transaction read = Transaction::Begin(reader, Transaction::Kind::kRead).value();

  ASSERT_TRUE(writer.Exec("INSERT INTO t VALUES (1)").ok());
  EXPECT_EQ(RowsOf(reader), 0);
  read.Rollback();

  EXPECT_EQ(RowsOf(reader), 1);
}

TEST(TransactionTest, WriteWithinAnotherIsRefused) {
  Database db = WithTable();
  const Transaction first = Transaction::Begin(db).value();

  EXPECT_FALSE(Transaction::Begin(db).ok());
  EXPECT_TRUE(db.in_transaction());
}

TEST(SavepointTest, RollbackUndoesOnlyItsOwnChanges) {
  Database db = WithTable();
  Transaction transaction = Transaction::Begin(db).value();
  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());

  Savepoint savepoint = Savepoint::Begin(db).value();
  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (2)").ok());
  savepoint.Rollback();
  ASSERT_TRUE(transaction.Commit().ok());

  EXPECT_EQ(RowsOf(db), 1);
}

TEST(SavepointTest, RollsBackWhenItIsDropped) {
  Database db = WithTable();
  Transaction transaction = Transaction::Begin(db).value();
  {
    const Savepoint savepoint = Savepoint::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (2)").ok());
  }
  ASSERT_TRUE(transaction.Commit().ok());

  EXPECT_EQ(RowsOf(db), 0);
}

TEST(SavepointTest, OuterRollbackUndoesAReleasedInnerOne) {
  Database db = WithTable();
  Transaction transaction = Transaction::Begin(db).value();
  ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
  {
    const Savepoint outer = Savepoint::Begin(db).value();
    Savepoint inner = Savepoint::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (2)").ok());
    ASSERT_TRUE(inner.Release().ok());
    EXPECT_EQ(RowsOf(db), 2);
  }
  ASSERT_TRUE(transaction.Commit().ok());

  EXPECT_EQ(RowsOf(db), 1);
}

TEST(SavepointTest, OuterRollbackReachesItsOwnBeginningAfterAnInnerOne) {
  Database db = WithTable();
  Transaction transaction = Transaction::Begin(db).value();
  {
    const Savepoint outer = Savepoint::Begin(db).value();
    ASSERT_TRUE(db.Exec("INSERT INTO t VALUES (1)").ok());
    Savepoint inner = Savepoint::Begin(db).value();
    inner.Rollback();
  }
  ASSERT_TRUE(transaction.Commit().ok());

  EXPECT_EQ(RowsOf(db), 0);
}

TEST(SavepointTest, IsRefusedOutsideATransaction) {
  Database db = WithTable();

  EXPECT_EQ(Savepoint::Begin(db).status().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(db.in_transaction());
}

TEST(SavepointTest, ReleaseFailsWhenSqliteEndedTheTransaction) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x NOT NULL)").ok());
  Transaction transaction = Transaction::Begin(db).value();
  Savepoint savepoint = Savepoint::Begin(db).value();
  ASSERT_FALSE(db.Exec("INSERT OR ROLLBACK INTO t VALUES (NULL)").ok());
  ASSERT_FALSE(db.in_transaction());

  EXPECT_FALSE(savepoint.Release().ok());
  EXPECT_FALSE(transaction.Commit().ok());
}

TEST(MigrateTest, RunsEveryStepOnAFreshFile) {
  Database db = InMemory();

  ASSERT_TRUE(Migrate(db, {"CREATE TABLE t(x)", "ALTER TABLE t ADD COLUMN y"}).ok());

  EXPECT_EQ(db.QueryInt("PRAGMA user_version").value(), 2);
  EXPECT_TRUE(db.Exec("INSERT INTO t(x, y) VALUES (1, 2)").ok());
}

TEST(MigrateTest, RunsOnlyTheStepsThatAreMissing) {
  Database db = InMemory();
  ASSERT_TRUE(Migrate(db, {"CREATE TABLE t(x)"}).ok());

  ASSERT_TRUE(Migrate(db, {"CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"}).ok());
  ASSERT_TRUE(Migrate(db, {"CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"}).ok());

  EXPECT_EQ(RowsOf(db), 1);
}

TEST(MigrateTest, RefusesAFileOfANewerProgram) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("PRAGMA user_version=3").ok());

  const absl::Status status = Migrate(db, {"CREATE TABLE t(x)", "CREATE TABLE u(x)"});

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM sqlite_master").value(), 0);
}

TEST(MigrateTest, FailedStepLeavesTheVersionBefore) {
  Database db = InMemory();

  EXPECT_FALSE(Migrate(db, {"CREATE TABLE t(x)", "CREATE TABLE u(x); DROP TABLE none"}).ok());

  EXPECT_EQ(db.QueryInt("PRAGMA user_version").value(), 1);
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM sqlite_master").value(), 1);
}

TEST(QuoteTest, DoublesQuotesInside) {
  Database db = InMemory();

  EXPECT_EQ(QuoteName("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(QuoteText("a'b"), "'a''b'");
  EXPECT_EQ(db.QueryValue("SELECT " + QuoteText("it's \"so\"")).value(),
            Value::Text("it's \"so\""));
}

}  // namespace
}  // namespace ptdoc::sqlite
