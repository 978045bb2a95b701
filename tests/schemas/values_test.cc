// A million random values from one app's file to the other's.
#include <cstdlib>
#include <random>

#include "tests/schemas/schema_fixture.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {
namespace {

constexpr int kColumns = 200;
constexpr int kRows = 5000;  // kColumns * kRows = a million
constexpr const char* kTypes[] = {"", "TEXT", "NUMERIC", "INTEGER", "REAL", "BLOB", "ANY", "DATE"};

uint64_t Seed() {
  if (const char* given = std::getenv("PTDOC_SEED")) return std::strtoull(given, nullptr, 10);
  return std::random_device()();
}

class ValuesTest : public SchemaTest {
 protected:
  void SetUp() override {
    std::string schema = "PRAGMA journal_mode=WAL; CREATE TABLE V(K TEXT PRIMARY KEY";
    for (int i = 0; i < kColumns; ++i) {
      absl::StrAppend(&schema, ", c", i, " ", kTypes[static_cast<size_t>(i) % std::size(kTypes)]);
    }
    BeginBoth(schema + ")");
    for (TestDevice* device : {&a_, &b_}) device->Sql("PRAGMA synchronous=OFF");
  }

  // Writes random values through the app, as an ORM would bind them.
  void WriteRows(Rng& rng, const std::string& prefix, int rows) {
    std::vector<std::string> marks(kColumns, "?");
    auto insert = a_.app().Prepare(
        absl::StrCat("INSERT OR REPLACE INTO V VALUES(?, ", absl::StrJoin(marks, ", "), ")"));
    ASSERT_TRUE(insert.ok()) << insert.status();
    a_.Sql("BEGIN");
    for (int row = 0; row < rows; ++row) {
      insert->Bind(1, absl::StrCat(prefix, row));
      for (int i = 0; i < kColumns; ++i) {
        // Now and then a big one.
        const bool big = rng.Below(50'000) == 0;
        insert->Bind(i + 2, big ? Value::Blob(rng.Bytes(100'000)) : RandomValue(rng));
      }
      ASSERT_TRUE(insert->Run().ok());
    }
    a_.Sql("COMMIT");
  }
};

TEST_F(ValuesTest, AMillionArriveIdenticalToTheBit) {
  const uint64_t seed = Seed();
  std::printf("PTDOC_SEED=%llu\n", static_cast<unsigned long long>(seed));
  SeededRng rng(seed);

  WriteRows(rng, "r", kRows);
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT count(*) FROM V"), testing::ElementsAre(absl::StrCat(kRows)));
  // Not one by one: a difference of these sizes is not to be printed.
  EXPECT_TRUE(ContentOf(a_) == ContentOf(b_)) << "seed " << seed;
  EXPECT_THAT(b_.OpenQueue(), testing::IsEmpty()) << "seed " << seed;
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"), testing::IsEmpty())
      << "seed " << seed;
}

TEST_F(ValuesTest, EditsOfRandomFieldsArriveIdenticalToTheBit) {
  const uint64_t seed = Seed();
  std::printf("PTDOC_SEED=%llu\n", static_cast<unsigned long long>(seed));
  SeededRng rng(seed);
  WriteRows(rng, "r", 50);
  SyncBoth();

  for (int round = 0; round < 10; ++round) {
    for (TestDevice* device : {&a_, &b_}) {
      for (int edit = 0; edit < 50; ++edit) {
        auto update = device->app().Prepare(
            absl::StrCat("UPDATE V SET c", rng.Below(kColumns), " = ?1, c", rng.Below(kColumns / 2),
                         " = ?2 ", "WHERE K = 'r", rng.Below(50), "'"));
        if (!update.ok()) continue;  // One column twice.
        update->Bind(1, RandomValue(rng)).Bind(2, RandomValue(rng));
        ASSERT_TRUE(update->Run().ok());
      }
      Sync(*device);
    }
    SyncBoth();
    EXPECT_TRUE(ContentOf(a_) == ContentOf(b_)) << "seed " << seed << " round " << round;
  }
  EXPECT_THAT(b_.OpenQueue(), testing::IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
