// Integers of a device in keys and foreign keys: what a plan makes of them.
#include "device-agent/capture/references.h"

#include <string>
#include <utility>
#include <vector>

#include "device-agent/capture/capture.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/propose.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As many applications have it: integers for the app, uuids beside them.
constexpr char kShelf[] = R"sql(
CREATE TABLE author(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT);
CREATE TABLE book(id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, title TEXT,
  author_id INTEGER REFERENCES author(id), sequel_of INTEGER REFERENCES book);
CREATE TABLE tag(id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE);
CREATE TABLE book_tags(id INTEGER PRIMARY KEY, book_id INTEGER NOT NULL REFERENCES book(id),
  tag_id INTEGER NOT NULL REFERENCES tag(id), UNIQUE(book_id, tag_id));
)sql";

EntityConfig Keyed(const std::string& table, std::vector<std::string> key) {
  EntityConfig config;
  config.table = table;
  config.key = std::move(key);
  return config;
}

PlanRequest ShelfRequest() {
  PlanRequest request;
  request.entities = {Keyed("author", {"uuid"}), Keyed("book", {"uuid"}), Keyed("tag", {"slug"}),
                      Keyed("book_tags", {"book_id", "tag_id"})};
  request.all_tables = true;
  return request;
}

Plan PlanFor(const std::string& schema, const PlanRequest& request) {
  sqlite::Database db = OpenMemory();
  Must(db, schema);
  return MustPlan(db, request);
}

std::string ReasonFor(const std::string& schema, const PlanRequest& request,
                      const std::string& table) {
  for (const Refusal& refusal : PlanFor(schema, request).refusals) {
    if (refusal.table == table) return refusal.reason;
  }
  return std::string();
}

std::string RemedyFor(const std::string& schema, const PlanRequest& request,
                      const std::string& table) {
  for (const Refusal& refusal : PlanFor(schema, request).refusals) {
    if (refusal.table == table) return refusal.remedy;
  }
  return std::string();
}

TEST(ReferencesTest, IntegersThatMeanRowsBecomeTheirIds) {
  const Plan plan = PlanFor(kShelf, ShelfRequest());

  ASSERT_THAT(plan.refusals, IsEmpty());
  const TablePlan& book = *plan.ByType("book");
  EXPECT_EQ(book.local_key, "id");
  EXPECT_THAT(book.columns, ElementsAre("author_id", "sequel_of", "title", "uuid"));
  EXPECT_THAT(book.translations,
              ElementsAre(Translation{"author_id", TranslationKind::kRow, "author"},
                          Translation{"sequel_of", TranslationKind::kRow, "book"}));
  EXPECT_THAT(book.affinities,
              ElementsAre(Affinity::kText, Affinity::kText, Affinity::kText, Affinity::kText));
}

TEST(ReferencesTest, AKeyOfReferencesIsNoIntegerKey) {
  const Plan plan = PlanFor(kShelf, ShelfRequest());

  const TablePlan& link = *plan.ByType("book_tags");
  EXPECT_FALSE(link.integer_key);
  EXPECT_THAT(link.key_affinities, ElementsAre(Affinity::kText, Affinity::kText));
  EXPECT_THAT(link.columns, ElementsAre("book_id", "tag_id"));
  // What the integers in its log rows meant is logged with those rows.
  EXPECT_TRUE(plan.ByType("book")->logs_local_key);
  EXPECT_TRUE(plan.ByType("tag")->logs_local_key);
  EXPECT_FALSE(plan.ByType("author")->logs_local_key);
}

TEST(ReferencesTest, ATableThatExtendsAnotherIsKnownByItsRow) {
  constexpr char kPlaces[] =
      "CREATE TABLE place(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);"
      "CREATE TABLE inn(place_id INTEGER PRIMARY KEY REFERENCES place(id), beds INT);"
      "CREATE TABLE guest(k TEXT PRIMARY KEY NOT NULL, inn INTEGER REFERENCES inn(place_id))";
  PlanRequest request;
  request.entities = {Keyed("place", {"uuid"})};
  request.all_tables = true;

  const Plan plan = PlanFor(kPlaces, request);

  ASSERT_THAT(plan.refusals, IsEmpty());
  EXPECT_THAT(plan.ByType("inn")->translations,
              ElementsAre(Translation{"place_id", TranslationKind::kRow, "place"}));
  EXPECT_THAT(plan.ByType("guest")->translations,
              ElementsAre(Translation{"inn", TranslationKind::kRow, "place"}));
  EXPECT_FALSE(plan.ByType("inn")->integer_key);
}

TEST(ReferencesTest, OfACompositeForeignKeyTheIntegerAloneIsTranslated) {
  PlanRequest request;
  request.entities = {Keyed("p", {"uuid"})};
  request.all_tables = true;

  const Plan plan = PlanFor(
      "CREATE TABLE p(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, site TEXT,"
      " UNIQUE(site, id));"
      "CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL, s TEXT, p INTEGER,"
      " FOREIGN KEY (s, p) REFERENCES p(site, id))",
      request);

  EXPECT_THAT(plan.ByType("c")->translations,
              ElementsAre(Translation{"p", TranslationKind::kRow, "p"}));
}

TEST(ReferencesTest, TheConfigurationDeclaresWhatTheSchemaDoesNot) {
  constexpr char kLoose[] =
      "CREATE TABLE p(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);"
      "CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL, p INTEGER)";
  PlanRequest request;
  request.entities = {Keyed("p", {"uuid"}), Keyed("c", {})};
  EXPECT_THAT(PlanFor(kLoose, request).ByType("c")->translations, IsEmpty());

  request.entities[1].references = {{"P", "p"}};

  EXPECT_THAT(PlanFor(kLoose, request).ByType("c")->translations,
              ElementsAre(Translation{"p", TranslationKind::kRow, "p"}));
}

TEST(ReferencesTest, IntegersOfATableThatIsNotSyncedAreRefused) {
  constexpr char kCountries[] =
      "CREATE TABLE country(id INTEGER PRIMARY KEY, name TEXT);"
      "CREATE TABLE person(k TEXT PRIMARY KEY NOT NULL, country INTEGER REFERENCES country)";
  PlanRequest request;
  request.entities = {Keyed("person", {})};

  EXPECT_EQ(ReasonFor(kCountries, request, "person"), "INTEGER_REFERENCE");
  EXPECT_THAT(RemedyFor(kCountries, request, "person"),
              AllOf(HasSubstr("sync \"country\", too"), HasSubstr("exclude_columns"),
                    HasSubstr("references = { country = \"\" }")));

  request.entities[0].references = {{"country", ""}};
  EXPECT_EQ(ReasonFor(kCountries, request, "person"), "");
  request.entities[0].references = {{"country", "nobody"}};
  EXPECT_EQ(ReasonFor(kCountries, request, "person"), "INTEGER_REFERENCE");
  request.entities[0].references.clear();
  request.entities[0].exclude_columns = {"country"};
  EXPECT_EQ(ReasonFor(kCountries, request, "person"), "");
}

TEST(ReferencesTest, WithATableGoThoseThatReferToItsIntegers) {
  PlanRequest request = ShelfRequest();
  request.entities.erase(request.entities.begin() + 1);  // book: refused

  const Plan plan = PlanFor(kShelf, request);

  EXPECT_THAT(ReasonFor(kShelf, request, "book"), "INTEGER_KEY");
  // Without `book` half of its key is a mere number.
  EXPECT_NE(ReasonFor(kShelf, request, "book_tags"), "");
  EXPECT_NE(plan.ByType("author"), nullptr);
  EXPECT_NE(plan.ByType("tag"), nullptr);
}

TEST(ReferencesTest, ARefusalNamesTheConfigurationThatWouldDo) {
  PlanRequest request;
  request.all_tables = true;

  EXPECT_THAT(RemedyFor(kShelf, request, "book"),
              HasSubstr("key = \"uuid\" in the [[entity]] of \"book\""));
  request.entities = {Keyed("book", {"uuid"}), Keyed("author", {"uuid"}), Keyed("tag", {"slug"})};
  EXPECT_THAT(RemedyFor(kShelf, request, "book_tags"), HasSubstr("key = \"book_id, tag_id\""));
  EXPECT_THAT(
      RemedyFor(
          "CREATE TABLE t(id INTEGER PRIMARY KEY, g BLOB NOT NULL UNIQUE)",
          PlanRequest{
              .entities = {}, .all_tables = true, .types = {}, .count_rows = false, .numbers = {}},
          "t"),
      HasSubstr("key = \"g\""));
}

TEST(ReferencesTest, InitProposesWhatTheTablesCanBeNamedBy) {
  sqlite::Database db = OpenMemory();
  Must(db, kShelf);
  Must(db,
       "CREATE TABLE lone(id INTEGER PRIMARY KEY, a);"
       "CREATE TABLE word(id INTEGER PRIMARY KEY, w TEXT NOT NULL UNIQUE COLLATE NOCASE)");
  const auto proposed = ProposeEntities(db, AllTables());

  ASSERT_TRUE(proposed.ok());
  std::vector<std::string> lines;
  for (const EntityConfig& entity : *proposed) {
    lines.push_back(absl::StrCat(entity.table, ": ", absl::StrJoin(entity.key, ", ")));
  }
  EXPECT_THAT(lines, testing::UnorderedElementsAre("author: uuid", "book: uuid", "tag: slug",
                                                   "word: w", "book_tags: book_id, tag_id"));
}

TEST(ReferencesTest, ARangeNeedsAKeyThatSqliteCounts) {
  EntityConfig config = Keyed("t", {});
  config.integer_key = IntegerKey::kRange;
  config.id_range = IdRange{1'000, 1'999};
  PlanRequest request;
  request.entities = {config};

  EXPECT_EQ(ReasonFor("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", request, "t"), "INTEGER_RANGE");
  const Plan plan = PlanFor(
      "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, up INTEGER REFERENCES t)", request);
  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_TRUE(plan.tables[0].integer_key);
  EXPECT_THAT(plan.tables[0].translations,
              ElementsAre(Translation{"id", TranslationKind::kNumber, "t"},
                          Translation{"up", TranslationKind::kNumber, "t"}));
}

TEST(ReferencesTest, OneSideTakesIntegersAsTheyAre) {
  EntityConfig config = Keyed("t", {});
  config.integer_key = IntegerKey::kOneSide;
  PlanRequest request;
  request.entities = {config};

  const Plan plan = PlanFor(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a);"
      "CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL, t INTEGER REFERENCES t)",
      request);

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_TRUE(plan.tables[0].integer_key);
  EXPECT_THAT(plan.tables[0].translations, IsEmpty());
}

TEST(ReferencesTest, WhatContradictsItselfIsAnError) {
  sqlite::Database db = OpenMemory();
  Must(db,
       "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a);"
       "CREATE TABLE u(k TEXT PRIMARY KEY NOT NULL)");
  EntityConfig no_range = Keyed("t", {});
  no_range.integer_key = IntegerKey::kRange;
  EntityConfig no_integer = Keyed("u", {});
  no_integer.integer_key = IntegerKey::kOneSide;
  EntityConfig stray = Keyed("t", {});
  stray.id_range = IdRange{1, 2};
  EntityConfig no_column = Keyed("u", {});
  no_column.references = {{"nothing", "t"}};

  for (const EntityConfig& config : {no_range, no_integer, stray, no_column}) {
    PlanRequest request;
    request.entities = {config};
    EXPECT_FALSE(MakePlan(db, request).ok());
  }
}

TEST(ReferencesTest, AKeyThatLeadsBackToItselfIsRefused) {
  PlanRequest request;
  request.entities = {Keyed("a", {"b"}), Keyed("b", {"a"})};

  constexpr char kCycle[] =
      "CREATE TABLE a(id INTEGER PRIMARY KEY, b INTEGER NOT NULL UNIQUE REFERENCES b);"
      "CREATE TABLE b(id INTEGER PRIMARY KEY, a INTEGER NOT NULL UNIQUE REFERENCES a)";
  EXPECT_EQ(ReasonFor(kCycle, request, "a"), "INTEGER_KEY");
  EXPECT_NE(ReasonFor(kCycle, request, "b"), "");
}

// --- The triggers.

std::vector<std::string> Log(sqlite::Database& db, const Plan& plan) {
  std::vector<std::string> lines;
  const auto log = ReadLog(db, plan, 0, 100);
  EXPECT_TRUE(log.ok());
  for (const LogRow& row : *log) {
    const TablePlan* table = plan.ByNumber(row.table);
    if (table == nullptr) continue;
    std::string line = absl::StrCat(table->type, " ", std::string(1, row.op));
    for (const Value& value : row.key) {
      absl::StrAppend(
          &line, " ",
          value.type() == Value::Type::kInteger ? absl::StrCat(value.integer()) : value.bytes());
    }
    if (row.local_key.type() == Value::Type::kInteger) {
      absl::StrAppend(&line, " (", row.local_key.integer(), ")");
    }
    lines.push_back(line);
  }
  return lines;
}

class ReferencesLogTest : public testing::Test {
 protected:
  ReferencesLogTest() : db_(OpenMemory()) {
    Must(db_,
         "PRAGMA foreign_keys = ON;"
         "CREATE TABLE book(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);"
         "CREATE TABLE tag(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);"
         "CREATE TABLE link(b INTEGER REFERENCES book ON DELETE CASCADE ON UPDATE CASCADE,"
         " t INTEGER REFERENCES tag, PRIMARY KEY (b, t)) WITHOUT ROWID;"
         "INSERT INTO book VALUES (5, 'B5'), (9, 'B9'); INSERT INTO tag VALUES (7, 'T7');"
         "INSERT INTO link VALUES (5, 7), (9, 7);");
    PlanRequest request;
    request.entities = {Keyed("book", {"uuid"}), Keyed("tag", {"uuid"}), Keyed("link", {})};
    plan_ = MustPlan(db_, request);
    SeededRng rng(1);
    Must(db_, "BEGIN");
    EXPECT_TRUE(Install(db_, plan_, rng).ok());
    Must(db_, "COMMIT");
  }

  sqlite::Database db_;
  Plan plan_;
};

TEST_F(ReferencesLogTest, ADeletedRowIsNamedBeforeWhatGoesWithIt) {
  Must(db_, "DELETE FROM book WHERE id = 5");

  EXPECT_THAT(Log(db_, plan_), ElementsAre("book D B5 (5)", "link D 5 7"));
}

TEST_F(ReferencesLogTest, ARenumberedRowIsNamedUnderItsOldNumberFirst) {
  Must(db_, "UPDATE book SET id = 3 WHERE id = 9");

  const std::vector<std::string> log = Log(db_, plan_);
  ASSERT_GE(log.size(), 3u);
  EXPECT_EQ(log[0], "book U B9 (9)");
  EXPECT_THAT(log, testing::UnorderedElementsAre("book U B9 (9)", "link D 9 7", "link I 3 7",
                                                 "book U B9 (3)"));
}

TEST_F(ReferencesLogTest, AnotherTableCanBeMadeAnewAndRenamed) {
  // With a trigger on `link` that looks into `book` SQLite would refuse the last line.
  Must(db_,
       "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = OFF; BEGIN;"
       "CREATE TABLE new_book(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, extra);"
       "INSERT INTO new_book SELECT id, uuid, NULL FROM book; DROP TABLE book;"
       "ALTER TABLE new_book RENAME TO book; COMMIT");

  EXPECT_EQ(*db_.QueryInt("SELECT count(*) FROM book"), 2);
}

// --- Numbers under a range.

TEST(LocalKeyTest, ANumberAboveTheRangeIsKeptWithAMinus) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)");
  EntityConfig config = Keyed("t", {});
  config.integer_key = IntegerKey::kRange;
  config.id_range = IdRange{1'000, 1'999};
  PlanRequest request;
  request.entities = {config};
  const Plan plan = MustPlan(db, request);
  const auto local = [&](int64_t shared) {
    const auto key = LocalKey(db, plan, plan.tables[0], std::vector<Value>{Value::Integer(shared)});
    EXPECT_TRUE(key.ok() && key->has_value());
    return (**key)[0].integer();
  };

  EXPECT_EQ(local(17), 17);
  EXPECT_EQ(local(1'500), 1'500);
  EXPECT_EQ(local(2'000), -2'000);
  EXPECT_EQ(SharedNumber(Value::Integer(-2'000)), Value::Integer(2'000));
  // Rows that another range has put somewhere stay there.
  Must(db, "INSERT INTO t VALUES (-1200, 1), (3000, 1)");
  EXPECT_EQ(local(1'200), -1'200);
  EXPECT_EQ(local(3'000), 3'000);
}

}  // namespace
}  // namespace ptdoc::sync
