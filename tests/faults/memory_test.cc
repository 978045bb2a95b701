// What our SQLite wrapper does when SQLite finds no memory.
#include "tests/faults/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync::faults {
namespace {

class MemoryTest : public ::testing::Test {
 protected:
  static sqlite::Database Open() {
    WatchMemory();
    sqlite::OpenOptions options;
    options.mode = sqlite::OpenOptions::Mode::kCreate;
    sqlite::Database db = *sqlite::Database::Open(":memory:", options);
    EXPECT_EQ(db.Exec("CREATE TABLE t(x)"), absl::OkStatus());
    return db;
  }
  static int64_t Count(sqlite::Database& db) { return *db.QueryInt("SELECT count(*) FROM t"); }

  // From now on, or from the allocation of that number, SQLite finds none.
  void Exhaust(int64_t after = 0) {
    left_ = after;
    fault_ = [this] { return left_-- <= 0; };
  }

  MemoryFault fault_;
  int64_t left_ = 0;
};

TEST_F(MemoryTest, LongTextIsNeverReadAsAnEmptyOne) {
  sqlite::Database db = Open();
  for (int size = 5'000; size < 5'032; ++size) {
    const std::string text(static_cast<size_t>(size), 'x');
    ASSERT_EQ(db.Exec(absl::StrCat("DELETE FROM t; INSERT INTO t VALUES('", text, "')")),
              absl::OkStatus());
    sqlite::Statement select = *db.Prepare("SELECT x FROM t");
    ASSERT_TRUE(*select.Step());
    Exhaust();
    const MemoryScope scope(&fault_);

    EXPECT_EQ(select.ColumnValue(0), Value::Text(text)) << size;
  }
}

TEST_F(MemoryTest, SavepointThatCannotBeRolledBackTakesTheTransactionWithIt) {
  for (int64_t after = 0; after < 200; ++after) {
    sqlite::Database db = Open();
    absl::Status committed;
    {
      sqlite::Transaction transaction = *sqlite::Transaction::Begin(db);
      ASSERT_EQ(db.Exec("INSERT INTO t VALUES('outside')"), absl::OkStatus());
      sqlite::Savepoint savepoint = *sqlite::Savepoint::Begin(db);
      ASSERT_EQ(db.Exec("INSERT INTO t VALUES('to be taken back')"), absl::OkStatus());
      Exhaust(after);
      {
        const MemoryScope scope(&fault_);
        savepoint.Rollback();
      }
      committed = transaction.Commit();
    }

    // All that was to stay, or nothing; and the connection goes on.
    EXPECT_EQ(Count(db), committed.ok() ? 1 : 0) << after;
    EXPECT_EQ(db.Exec("INSERT INTO t VALUES('later')"), absl::OkStatus());
    EXPECT_FALSE(db.in_transaction());
    if (left_ > 0) return;
  }
  FAIL() << "it always runs out of memory";
}

TEST_F(MemoryTest, NothingIsWrittenByItselfAfterSqliteHasEndedTheTransaction) {
  sqlite::Database db = Open();
  bool ended_early = false;
  for (int64_t after = 0; after < 200; ++after) {
    ASSERT_EQ(db.Exec("DELETE FROM t"), absl::OkStatus());
    absl::StatusOr<sqlite::Transaction> transaction = sqlite::Transaction::Begin(db);
    ASSERT_TRUE(transaction.ok());
    ASSERT_EQ(db.Exec("INSERT INTO t VALUES('first')"), absl::OkStatus());
    Exhaust(after);
    {
      const MemoryScope scope(&fault_);
      db.Exec("INSERT INTO t SELECT zeroblob(20000) FROM t").IgnoreError();
    }
    ended_early |= !db.in_transaction();
    // Code that does not look at the error goes on.
    db.Exec("INSERT INTO t VALUES('last')").IgnoreError();
    const bool committed = transaction->Commit().ok();

    const int64_t rows = Count(db);
    EXPECT_TRUE(committed ? rows >= 2 : rows == 0) << rows << " rows, " << after;
  }
  EXPECT_TRUE(ended_early) << "SQLite never did: this test shows nothing";
}

}  // namespace
}  // namespace ptdoc::sync::faults
