#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/match.h"
#include "tests/common/sqlite/test_db.h"

namespace ptdoc::sqlite {
namespace {

TEST(SqliteErrorTest, WriterIsAbortedWhenAnotherConnectionWrites) {
  const TestDir dir;
  Database first = MustOpen(dir.File("a.db"), CreateWal());
  Database second = MustOpen(dir.File("a.db"), NoWait(CreateWal()));
  const Transaction held = Transaction::Begin(first).value();

  const absl::Status status = Transaction::Begin(second).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_EQ(ExtendedCode(status), 5);
  EXPECT_TRUE(IsBusy(status));
}

TEST(SqliteErrorTest, OldSnapshotCannotWrite) {
  const TestDir dir;
  Database first = MustOpen(dir.File("a.db"), CreateWal());
  ASSERT_TRUE(first.Exec("CREATE TABLE t(x)").ok());
  Database second = MustOpen(dir.File("a.db"), CreateWal());
  const Transaction read = Transaction::Begin(second, Transaction::Kind::kRead).value();
  ASSERT_TRUE(first.Exec("INSERT INTO t VALUES (1)").ok());

  const absl::Status status = second.Exec("INSERT INTO t VALUES (2)");

  EXPECT_TRUE(IsBusy(status)) << status;
  EXPECT_EQ(ExtendedCode(status), 517);  // SQLITE_BUSY_SNAPSHOT
}

TEST(SqliteErrorTest, AbortedOfOthersIsNotBusy) {
  EXPECT_FALSE(IsBusy(absl::AbortedError("another reason")));
  EXPECT_EQ(ExtendedCode(absl::AbortedError("another reason")), 0);
  EXPECT_FALSE(IsBusy(absl::OkStatus()));
}

TEST(SqliteErrorTest, FullDiskIsResourceExhausted) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); PRAGMA max_page_count=10").ok());

  const absl::Status status = db.Exec("INSERT INTO t VALUES (zeroblob(1000000))");

  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(ExtendedCode(status), 13);
}

TEST(SqliteErrorTest, CorruptFileIsDataLoss) {
  const TestDir dir;
  int64_t head_of_t = 0;
  {
    Database db = MustOpen(dir.File("a.db"), Create());
    ASSERT_TRUE(db.Exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)").ok());
    head_of_t = (db.QueryInt("SELECT rootpage FROM sqlite_master").value() - 1) *
                db.QueryInt("PRAGMA page_size").value();
  }
  std::fstream file(dir.File("a.db"));
  file.seekp(head_of_t);
  file << "not the head of a b-tree page" << std::flush;
  ASSERT_TRUE(file.good());
  file.close();
  Database again = MustOpen(dir.File("a.db"), {});

  const absl::Status status = again.QueryInt("SELECT count(*) FROM t").status();

  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

struct ConstraintCase {
  const char* sql;
  const char* name;
  int extended_code;
};

TEST(SqliteErrorTest, ConstraintIsNamedButNotItsValues) {
  OpenOptions options = Create();
  options.foreign_keys = true;
  Database db = MustOpen(":memory:", options);
  ASSERT_TRUE(db.Exec("CREATE TABLE T(id INTEGER PRIMARY KEY, c TEXT, d TEXT NOT NULL DEFAULT '',"
                      "  n INT CONSTRAINT small CHECK (n < 10), p REFERENCES T(id), UNIQUE(c, d));"
                      "CREATE UNIQUE INDEX folded ON T(lower(c)) WHERE d = 'f';"
                      "CREATE TABLE S(a INTEGER) STRICT;"
                      "INSERT INTO T(id, c, d) VALUES (1, 'secret', 'f')")
                  .ok());
  const ConstraintCase cases[] = {
      {"INSERT INTO T(c, d) VALUES ('secret', 'f')", "index 'folded'", 2067},
      {"UPDATE T SET d = 'g'; INSERT INTO T(c, d) VALUES ('secret', 'g')", "T.c, T.d", 2067},
      {"INSERT INTO T(id) VALUES (1)", "T.id", 1555},
      {"INSERT INTO T(d) VALUES (NULL)", "T.d", 1299},
      {"INSERT INTO T(n) VALUES (77)", "small", 275},
      {"INSERT INTO T(p) VALUES (99)", "", 787},
      {"INSERT INTO S VALUES ('secret')", "S.a", 3091},
  };
  for (const ConstraintCase& c : cases) {
    SCOPED_TRACE(c.sql);

    const absl::Status status = db.Exec(c.sql);

    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_EQ(ConstraintName(status), c.name);
    EXPECT_EQ(ExtendedCode(status), c.extended_code);
    EXPECT_FALSE(absl::StrContains(status.ToString(), "secret")) << status;
  }
}

TEST(SqliteErrorTest, TextOfATriggersRaiseStaysInside) {
  Database db = InMemory();
  ASSERT_TRUE(db.Exec("CREATE TABLE t(x); CREATE TRIGGER tr BEFORE INSERT ON t BEGIN"
                      "  SELECT RAISE(ABORT, 'constraint failed: secret text'); END")
                  .ok());

  const absl::Status status = db.Exec("INSERT INTO t VALUES (1)");

  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ExtendedCode(status), 1811);  // SQLITE_CONSTRAINT_TRIGGER
  EXPECT_EQ(ConstraintName(status), "");
  EXPECT_FALSE(absl::StrContains(status.ToString(), "secret")) << status;
}

TEST(SqliteErrorTest, ErrorOfARunningStatementSaysNoValue) {
  Database db = InMemory();
  Statement statement = db.Prepare("SELECT json_extract('{}', ?1)").value();
  statement.Bind(1, "secret path");

  const absl::Status status = statement.Run();

  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "SQLITE_ERROR");
}

TEST(SqliteErrorTest, SqlThatDoesNotCompileSaysWhatIsMissing) {
  Database db = InMemory();

  const absl::Status status = db.Prepare("SELECT x FROM gone").status();

  EXPECT_EQ(status.message(), "SQLITE_ERROR: no such table: gone");
}

TEST(SqliteErrorTest, SqlThatNeedsACollationOfTheAppSaysWhichOne) {
  Database db = InMemory();

  const absl::Status status = db.Prepare("SELECT 1 WHERE 'a' = 'b' COLLATE app_order").status();

  EXPECT_EQ(status.message(),
            "SQLITE_ERROR_MISSING_COLLSEQ: no such collation sequence: app_order");
  EXPECT_EQ(ExtendedCode(status) & 0xff, 1);
}

}  // namespace
}  // namespace ptdoc::sqlite
