// What a refusal says would make it possible.
#include "device-agent/capture/remedy.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "device-agent/capture/plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

Refusal RefusalOf(const std::string& schema, const std::string& table) {
  sqlite::Database db = OpenMemory();
  Must(db, schema);
  for (const Refusal& refusal : MustPlan(db, AllTables()).refusals) {
    if (refusal.table == table) return refusal;
  }
  return Refusal();
}

TEST(RemedyTest, AKeyThatMayHoldNullIsNamedLast) {
  const Refusal refusal = RefusalOf(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT NOT NULL, c TEXT NOT NULL,"
      " UNIQUE(b, c))",
      "t");
  EXPECT_THAT(refusal.useful_key, ElementsAre("b", "c"));
  EXPECT_THAT(refusal.remedy, Not(HasSubstr("NULL there")));

  const Refusal nullable = RefusalOf("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE)", "t");
  EXPECT_THAT(nullable.useful_key, ElementsAre("a"));
  EXPECT_THAT(nullable.remedy, HasSubstr("rows with a NULL there are not synced"));
}

TEST(RemedyTest, AUuidThatNothingKeepsUniqueIsNamedWithItsIndex) {
  const Refusal refusal =
      RefusalOf("CREATE TABLE books(id INTEGER PRIMARY KEY, title TEXT, uuid TEXT)", "books");

  EXPECT_THAT(refusal.remedy,
              HasSubstr("CREATE UNIQUE INDEX \"books_uuid\" ON \"books\"(\"uuid\")"));
  EXPECT_THAT(refusal.remedy, HasSubstr("key = \"uuid\""));
  EXPECT_THAT(refusal.sql, IsEmpty());
}

TEST(RemedyTest, LinksWithoutForeignKeysAreToldToNameThem) {
  const Refusal refusal = RefusalOf(
      "CREATE TABLE link(id INTEGER PRIMARY KEY, book INTEGER NOT NULL, kind TEXT,"
      " UNIQUE(book, kind))",
      "link");

  EXPECT_THAT(refusal.remedy, HasSubstr("key = \"book, kind\""));
  EXPECT_THAT(refusal.remedy, HasSubstr("if book holds numbers"));
  EXPECT_THAT(refusal.remedy, HasSubstr("references = { book = \"TYPE\" }"));
  const Refusal guessed = RefusalOf(
      "CREATE TABLE Books(id INTEGER PRIMARY KEY); CREATE TABLE tag(id INTEGER PRIMARY KEY);"
      "CREATE TABLE link(id INTEGER PRIMARY KEY, book INTEGER, tag_id INTEGER, UNIQUE(book, "
      "tag_id))",
      "link");
  EXPECT_THAT(guessed.remedy, HasSubstr("references = { book = \"Books\", tag_id = \"tag\" }"));
  // One that the key does not hold, and one that is called as its own table.
  EXPECT_THAT(
      RefusalOf("CREATE TABLE tag(id INTEGER PRIMARY KEY);"
                "CREATE TABLE link(id INTEGER PRIMARY KEY, link INTEGER UNIQUE, tag INTEGER)",
                "link")
          .remedy,
      HasSubstr("references = { link = \"TYPE\", tag = \"tag\" }"));
}

// The statement that a remedy holds in brackets.
std::string StatementIn(const std::string& remedy) {
  const size_t begin = remedy.find("CREATE UNIQUE INDEX");
  const size_t end = remedy.find("))", begin);
  return begin == std::string::npos || end == std::string::npos
             ? std::string()
             : remedy.substr(begin, end + 1 - begin);
}

// In either order of the two collations, the key beside an integer or instead of one.
TEST(RemedyTest, AnIndexThatComparesOtherwiseThanItsColumnIsGivenASecondOne) {
  for (const std::string& id : {std::string("id INTEGER PRIMARY KEY, "), std::string()}) {
    for (const auto& [column, index] :
         {std::pair("", " COLLATE NOCASE"), std::pair(" COLLATE NOCASE", " COLLATE BINARY"),
          std::pair("", " COLLATE RTRIM")}) {
      const std::string schema =
          absl::StrCat("CREATE TABLE \"my tags\"(", id, "\"na me\" TEXT", column, " NOT NULL);",
                       "CREATE UNIQUE INDEX u ON \"my tags\"(\"na me\"", index, ")");
      SCOPED_TRACE(schema);
      PlanRequest request = AllTables();
      EntityConfig& entity = request.entities.emplace_back();
      entity.table = "my tags";
      const bool asked_for_key = id.empty();
      if (asked_for_key) entity.key = {"na me"};
      sqlite::Database db = OpenMemory();
      Must(db, schema);

      const Plan plan = MustPlan(db, request);
      ASSERT_THAT(plan.refusals, SizeIs(1));
      const Refusal& refusal = plan.refusals[0];
      EXPECT_EQ(refusal.reason, asked_for_key ? "KEY_COLLATION" : "INTEGER_KEY");
      EXPECT_THAT(refusal.useful_key, IsEmpty());
      EXPECT_THAT(refusal.remedy, HasSubstr("key = \"na me\""));
      const std::string sql = StatementIn(refusal.remedy);
      ASSERT_THAT(sql, HasSubstr("CREATE UNIQUE INDEX")) << refusal.remedy;
      Must(db, sql);
      entity.key = {"na me"};
      const Plan mended = MustPlan(db, request);
      EXPECT_THAT(mended.refusals, IsEmpty());
      ASSERT_THAT(mended.tables, SizeIs(1));
      EXPECT_EQ(mended.tables[0].IgnoresCase(), *column != '\0');
    }
  }
}

// Every statement is run, and what it promises is tried.
TEST(RemedyTest, TheSqlOfARefusalGivesEveryRowAKey) {
  constexpr char kSchema[] =
      "CREATE TABLE \"my \"\"albums\"(id INTEGER PRIMARY KEY, name TEXT);"
      "INSERT INTO \"my \"\"albums\"(name) VALUES ('one'), ('two')";
  const std::string table = "my \"albums";
  const Refusal refusal = RefusalOf(kSchema, table);
  ASSERT_THAT(refusal.sql, SizeIs(4));
  EXPECT_THAT(refusal.remedy, HasSubstr("prints SQL that adds one"));
  sqlite::Database db = OpenMemory();
  Must(db, kSchema);
  for (const std::string& sql : refusal.sql) Must(db, sql);
  Must(db, "INSERT INTO \"my \"\"albums\"(name) VALUES ('three')");

  EXPECT_EQ(*db.QueryInt("SELECT count(DISTINCT sync_id) FROM \"my \"\"albums\""), 3);
  PlanRequest request;
  EntityConfig& entity = request.entities.emplace_back();
  entity.table = table;
  entity.key = {kKeyColumnName};
  const Plan plan = MustPlan(db, request);
  ASSERT_THAT(plan.tables, SizeIs(1));
  EXPECT_EQ(plan.tables[0].apply_mode, ApplyMode::kTriggersOn);
  EXPECT_EQ(plan.tables[0].local_key, "id");
}

TEST(RemedyTest, ATableWithoutAnyKeyGetsOneByTheSameSql) {
  const Refusal refusal = RefusalOf("CREATE TABLE event(type TEXT, at REAL)", "event");
  EXPECT_EQ(refusal.reason, "NO_KEY");
  EXPECT_THAT(refusal.sql, SizeIs(4));
  // Without a rowid there is nothing to find a row by.
  EXPECT_THAT(RefusalOf("CREATE TABLE t(id INTEGER PRIMARY KEY, a) WITHOUT ROWID", "t").sql,
              IsEmpty());
  EXPECT_THAT(RefusalOf("CREATE TABLE t(id INTEGER PRIMARY KEY, sync_id INT)", "t").sql, IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
