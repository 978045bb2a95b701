#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/model/entity_id.h"
#include "common/sqlite/sqlite.h"
#include "gtest/gtest.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {
namespace {

constexpr const char* kDeclaredTypes[] = {"",
                                          "BLOB",
                                          "TEXT",
                                          "varchar(30)",
                                          "CLOB",
                                          "INTEGER",
                                          "int",
                                          "BIGINT",
                                          "NUMERIC",
                                          "DECIMAL(10,5)",
                                          "BOOLEAN",
                                          "DATETIME",
                                          "REAL",
                                          "double precision",
                                          "FLOAT",
                                          "CHARINT",
                                          "FLOATING POINT",
                                          "STRING",
                                          "BLOBTEXT",
                                          "REALBLOB",
                                          "ANY",
                                          "guid",
                                          "TEXTREAL",
                                          "DOUBLOB"};

// Texts whose look decides: numbers to SQLite, or nearly.
std::vector<Value> HandPicked() {
  std::vector<Value> values;
  for (const char* text : {"7",
                           " 7",
                           "7 ",
                           "\t7\r\n",
                           "\v7\f",
                           "+7",
                           "-7",
                           "+-7",
                           "7.",
                           ".7",
                           ".",
                           "-.5",
                           "1e3",
                           "1E+3",
                           "1e-3",
                           "1e",
                           "1e+",
                           "e3",
                           "1e3x",
                           "1.5e3 ",
                           "1.5 e3",
                           "0x10",
                           "inf",
                           "Infinity",
                           "nan",
                           "-0",
                           "-0.0",
                           "007",
                           "9223372036854775807",
                           "9223372036854775808",
                           "99999999999999999999999",
                           "1e999",
                           "1_000",
                           "1,5",
                           "",
                           " ",
                           "-",
                           "a",
                           "7a",
                           "7\xc2\xa0",
                           "1..2",
                           "1.2.3",
                           "--1",
                           "1e5.5"}) {
    values.push_back(Value::Text(text));
    values.push_back(Value::Blob(text));
  }
  values.push_back(Value::Text(std::string("7\0", 2)));
  values.push_back(
      Value::Text(std::string("\0"
                              "7",
                              2)));
  for (const double real :
       {0.0, -0.0, 1.0, -1.0, 1.5, 4503599627370497.0, 9007199254740993.0, 9223372036854774784.0,
        9223372036854775808.0, -9223372036854774784.0, -9223372036854775808.0, 1e300, -1e300,
        5e-324, 281474976710656.0, -140737488355329.0}) {
    values.push_back(Value::Real(real));
  }
  for (const int64_t integer :
       {int64_t{0}, int64_t{1}, int64_t{-1}, INT64_MAX, INT64_MIN, (int64_t{1} << 53) + 1}) {
    values.push_back(Value::Integer(integer));
  }
  values.push_back(Value::Null());
  return values;
}

// Asks SQLite itself what a column does with a value.
class AffinityTest : public ::testing::Test {
 protected:
  AffinityTest() : db_(sqlite::Database::Open(":memory:", {})) {}

  void SetUp() override {
    ASSERT_TRUE(db_.ok()) << db_.status();
    std::string columns;
    for (size_t i = 0; i < std::size(kDeclaredTypes); ++i) {
      absl::StrAppend(&columns, i > 0 ? "," : "", "c", i, " ", kDeclaredTypes[i]);
    }
    ASSERT_TRUE(db_->Exec(absl::StrCat("CREATE TABLE t(", columns, ")")).ok());
  }

  // What is read after `value` was bound to column `index`.
  Value Stored(size_t index, const Value& value) {
    EXPECT_TRUE(db_->Exec("DELETE FROM t").ok());
    absl::StatusOr<sqlite::Statement> insert =
        db_->Prepare(absl::StrCat("INSERT INTO t(c", index, ") VALUES(?)"));
    EXPECT_TRUE(insert.ok()) << insert.status();
    EXPECT_TRUE(insert->Bind(1, value).Run().ok());
    const absl::StatusOr<Value> read = db_->QueryValue(absl::StrCat("SELECT c", index, " FROM t"));
    EXPECT_TRUE(read.ok()) << read.status();
    return *read;
  }

  void ExpectAsSqlite(const Value& value) {
    for (size_t i = 0; i < std::size(kDeclaredTypes); ++i) {
      const bool keeps = AffinityKeeps(AffinityOf(kDeclaredTypes[i]), value);
      EXPECT_EQ(keeps, Stored(i, value) == value)
          << "column type '" << kDeclaredTypes[i] << "', value of type "
          << static_cast<int>(value.type()) << " '" << value.bytes() << "'";
    }
  }

  absl::StatusOr<sqlite::Database> db_;
};

TEST_F(AffinityTest, KeepsWhatSqliteKeepsForHandPickedValues) {
  for (const Value& value : HandPicked()) ExpectAsSqlite(value);
}

TEST_F(AffinityTest, KeepsWhatSqliteKeepsForRandomValues) {
  for (uint64_t seed = 1; seed <= 800; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    ExpectAsSqlite(RandomValue(rng));
  }
}

TEST(AffinityOfTest, FollowsSqlitesOrderOfRules) {
  EXPECT_EQ(AffinityOf("CHARINT"), Affinity::kInteger);
  EXPECT_EQ(AffinityOf("FLOATING POINT"), Affinity::kInteger);
  EXPECT_EQ(AffinityOf("nVarChar(10)"), Affinity::kText);
  EXPECT_EQ(AffinityOf("BLOBTEXT"), Affinity::kText);
  EXPECT_EQ(AffinityOf(""), Affinity::kBlob);
  EXPECT_EQ(AffinityOf("REALBLOB"), Affinity::kBlob);
  EXPECT_EQ(AffinityOf("Double"), Affinity::kReal);
  EXPECT_EQ(AffinityOf("STRING"), Affinity::kNumeric);
  EXPECT_EQ(AffinityOf("DATETIME"), Affinity::kNumeric);
}

}  // namespace
}  // namespace ptdoc::sync
