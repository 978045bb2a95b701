#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "tests/common/sqlite/test_db.h"

namespace ptdoc::sqlite {
namespace {

constexpr int64_t kSmallest = std::numeric_limits<int64_t>::min();
constexpr int64_t kBiggest = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class StatementValueTest : public ::testing::TestWithParam<Value> {};

TEST_P(StatementValueTest, ValueComesBackInTypeAndEveryBit) {
  const TestDir dir;
  Database db = MustOpen(dir.File("a.db"), Create());
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x)").ok());
  Statement insert = db.Prepare("INSERT INTO t VALUES (?1)").value();

  ASSERT_TRUE(insert.Bind(1, GetParam()).Run().ok());

  // Another connection: what was stored, not what was bound.
  Database again = MustOpen(dir.File("a.db"), {});
  EXPECT_EQ(again.QueryValue("SELECT x FROM t").value(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    TrapValues, StatementValueTest,
    ::testing::Values(Value::Null(), Value::Integer(0), Value::Integer(-1),
                      Value::Integer(kSmallest), Value::Integer(kBiggest),
                      Value::Integer(9007199254740993), Value::Real(0.0), Value::Real(-0.0),
                      Value::Real(0.1), Value::Real(1.0), Value::Real(kInfinity),
                      Value::Real(-kInfinity), Value::Real(5e-324),
                      Value::Real(9223372036854775808.0), Value::Text(""), Value::Text("7"),
                      Value::Text(std::string("a\0b", 3)), Value::Text("\xff\xfe not UTF-8"),
                      Value::Text("\xed\xa0\x80"), Value::Text(std::string(100'000, 'x')),
                      Value::Blob(""), Value::Blob(std::string("\0\xff\0", 3)),
                      Value::Blob(std::string(100'000, '\0'))));

TEST(StatementTest, NanIsStoredAsNull) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT ?1").value();

  select.Bind(1, std::numeric_limits<double>::quiet_NaN());

  ASSERT_TRUE(select.Step().value());
  EXPECT_TRUE(select.IsNull(0));
}

TEST(StatementTest, BorrowedBytesAreStoredAndNotUsedAgain) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(a, b, c)").ok());
  Statement insert = db.Prepare("INSERT INTO t VALUES (?1, ?2, ?3)").value();
  {
    const std::string text = "a text that does not stand in the string itself";
    insert.Bind(3, 7).BindBorrowed(1, text).BindBorrowedBlob(2, absl::string_view());
    ASSERT_TRUE(insert.Run().ok());
  }

  ASSERT_TRUE(insert.Run().ok());

  EXPECT_EQ(db.QueryValue("SELECT a || hex(b) || c FROM t").value(),
            Value::Text("a text that does not stand in the string itself7"));
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM t WHERE coalesce(a, b, c) IS NULL").value(), 1);
}

TEST(StatementTest, EmptyViewsWithoutAPointerAreNotNull) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT typeof(?1), typeof(?2), typeof(?3)").value();

  select.Bind(1, absl::string_view()).BindBlob(2, absl::string_view()).BindNull(3);

  ASSERT_TRUE(select.Step().value());
  EXPECT_EQ(select.Text(0), "text");
  EXPECT_EQ(select.Text(1), "blob");
  EXPECT_EQ(select.Text(2), "null");
}

TEST(StatementTest, BindsEveryPlainType) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT ?1 AS a, ?2, ?3, ?4, ?5, ?6").value();

  select.Bind(1, int64_t{1}).Bind(2, 2).Bind(3, true).Bind(4, 4.5);
  select.Bind(5, "five").Bind(6, std::string("six"));

  ASSERT_TRUE(select.Step().value());
  EXPECT_EQ(select.column_count(), 6);
  EXPECT_EQ(select.ColumnName(0), "a");
  EXPECT_EQ(select.Int(0), 1);
  EXPECT_EQ(select.Int(1), 2);
  EXPECT_EQ(select.Int(2), 1);
  EXPECT_EQ(select.Real(3), 4.5);
  EXPECT_EQ(select.Text(4), "five");
  EXPECT_EQ(select.Text(5), "six");
  EXPECT_FALSE(select.Step().value());
}

TEST(StatementTest, TextIsCopiedWhenItIsBound) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT ?1, ?2").value();
  std::string text = "first";

  select.Bind(1, text).BindBlob(2, text);
  text = "other";

  ASSERT_TRUE(select.Step().value());
  EXPECT_EQ(select.Text(0), "first");
  EXPECT_EQ(select.Blob(1), "first");
}

TEST(StatementTest, StepReturnsTheErrorOfABindOnce) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT ?1").value();

  select.Bind(2, 1).Bind(1, 5);

  EXPECT_EQ(ExtendedCode(select.Step().status()), 25);  // SQLITE_RANGE
  ASSERT_TRUE(select.Step().ok());
  EXPECT_EQ(select.Int(0), 5);
}

TEST(StatementTest, BindFailsWhenAStepHasNotBeenReset) {
  Database db = InMemory();
  Statement select = db.Prepare("SELECT ?1").value();
  ASSERT_TRUE(select.Bind(1, 1).Step().value());

  select.Bind(1, 2);

  EXPECT_EQ(ExtendedCode(select.Step().status()), 21);  // SQLITE_MISUSE
}

TEST(StatementTest, RunLeavesItReadyForTheNextRow) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x UNIQUE)").ok());
  Statement insert = db.Prepare("INSERT INTO t VALUES (?1)").value();

  EXPECT_TRUE(insert.Bind(1, 1).Run().ok());
  EXPECT_TRUE(insert.Bind(1, 2).Run().ok());
  EXPECT_EQ(insert.Bind(1, 2).Run().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(insert.Bind(1, 3).Run().ok());

  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM t").value(), 3);
}

// What SQLite itself tells of this connection's statements.
int64_t StatementCount(Database& db) {
  return db.QueryInt("SELECT count(*) FROM sqlite_stmt").value();
}

TEST(StatementTest, SecondUseTakesTheStatementFromTheCache) {
  Database db = InMemory();
  for (int i = 0; i < 2; ++i) {
    Statement statement = db.Prepare("SELECT ?1").value();
    ASSERT_TRUE(statement.Run().ok());
  }

  EXPECT_EQ(db.QueryInt("SELECT run FROM sqlite_stmt WHERE sql = 'SELECT ?1'").value(), 2);
  EXPECT_EQ(db.QueryInt("SELECT count(*) FROM sqlite_stmt WHERE sql = 'SELECT ?1'").value(), 1);
}

TEST(StatementTest, CacheGivesStatementsResetAndUnbound) {
  Database db = InMemory();
  {
    Statement first = db.Prepare("SELECT ?1 UNION ALL SELECT 2").value();
    ASSERT_TRUE(first.Bind(1, 1).Step().value());
  }

  Statement second = db.Prepare("SELECT ?1 UNION ALL SELECT 2").value();

  ASSERT_TRUE(second.Step().value());
  EXPECT_TRUE(second.IsNull(0));
}

TEST(StatementTest, TwoOfOneTextDoNotDisturbEachOther) {
  Database db = InMemory();
  Statement first = db.Prepare("SELECT ?1").value();
  Statement second = db.Prepare("SELECT ?1").value();

  ASSERT_TRUE(first.Bind(1, 1).Step().value());
  ASSERT_TRUE(second.Bind(1, 2).Step().value());

  EXPECT_EQ(first.Int(0), 1);
  EXPECT_EQ(second.Int(0), 2);
}

TEST(StatementTest, CacheStaysBoundedWhenTextsAreMany) {
  Database db = InMemory();

  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(db.QueryInt("SELECT " + std::to_string(i)).value(), i);
  }

  EXPECT_LE(StatementCount(db), static_cast<int64_t>(kIdleStatementsMax) + 1);
}

TEST(StatementTest, MoveAssignmentGivesTheOldStatementBack) {
  Database db = InMemory();
  Statement statement = db.Prepare("SELECT 1").value();
  ASSERT_TRUE(statement.Step().value());

  statement = db.Prepare("SELECT 2").value();

  EXPECT_EQ(db.QueryInt("SELECT sum(busy) FROM sqlite_stmt WHERE sql LIKE 'SELECT _'").value(), 0);
  ASSERT_TRUE(statement.Step().value());
  EXPECT_EQ(statement.Int(0), 2);
}

TEST(StatementTest, ReadFollowsASchemaThatChanged) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)").ok());
  ASSERT_EQ(db.QueryInt("SELECT x FROM t").value(), 1);

  ASSERT_TRUE(db.Exec("ALTER TABLE t ADD COLUMN y; CREATE INDEX i ON t(x)").ok());

  EXPECT_EQ(db.QueryInt("SELECT x FROM t").value(), 1);
}

}  // namespace
}  // namespace ptdoc::sqlite
