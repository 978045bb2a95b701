#include "device-agent/capture/schema.h"

#include <gmock/gmock.h>

#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<TableInfo> Read(absl::string_view sql) {
  sqlite::Database db = OpenMemory();
  Must(db, sql);
  absl::StatusOr<std::vector<TableInfo>> schema = ReadSchema(db);
  EXPECT_TRUE(schema.ok()) << schema.status();
  return schema.value_or(std::vector<TableInfo>());
}

TableInfo ReadOne(absl::string_view sql) {
  const std::vector<TableInfo> schema = Read(sql);
  EXPECT_EQ(schema.size(), 1u);
  return schema.empty() ? TableInfo() : schema[0];
}

TEST(ReadSchemaTest, ListsTablesInOrderOfCreationWithoutOurs) {
  const std::vector<TableInfo> schema = Read(
      "CREATE TABLE z(a); CREATE TABLE SyncLog(a); CREATE TABLE b(a INTEGER PRIMARY KEY "
      "AUTOINCREMENT); CREATE VIEW v AS SELECT 1; CREATE TABLE SyncLogs(a)");

  std::vector<std::string> names;
  for (const TableInfo& table : schema) names.push_back(table.name);
  EXPECT_THAT(names, ElementsAre("z", "b", "SyncLogs"));
  EXPECT_TRUE(schema[1].autoincrement);
}

TEST(ReadSchemaTest, ReadsColumns) {
  const TableInfo table = ReadOne(
      "CREATE TABLE t(a TEXT NOT NULL DEFAULT 'x', b INTEGER DEFAULT NULL, c AS (a || b), "
      "d REAL AS (b) STORED, \"e \"\"f\" VARCHAR(3), g GUID, h TEXT DEFAULT \"it's\", "
      "i DEFAULT true, j DEFAULT word, k DEFAULT CURRENT_TIMESTAMP)");

  ASSERT_EQ(table.columns.size(), 10u);
  EXPECT_TRUE(table.columns[0].not_null);
  EXPECT_TRUE(table.columns[0].has_default);
  EXPECT_EQ(table.columns[0].default_sql, "'x'");
  EXPECT_EQ(table.columns[1].affinity, Affinity::kInteger);
  EXPECT_FALSE(table.columns[1].has_default);
  EXPECT_TRUE(table.columns[2].generated);
  EXPECT_TRUE(table.columns[3].generated);
  EXPECT_EQ(table.columns[4].name, "e \"f");
  EXPECT_EQ(table.columns[5].affinity, Affinity::kNumeric);
  EXPECT_EQ(table.columns[6].default_sql, "'it''s'");
  EXPECT_EQ(table.columns[7].default_sql, "1");
  EXPECT_EQ(table.columns[8].default_sql, "'word'");
  EXPECT_EQ(table.columns[9].default_sql, "CURRENT_TIMESTAMP");
  EXPECT_EQ(table.Column("E \"F"), &table.columns[4]);
  EXPECT_EQ(table.Column("nothing"), nullptr);
}

TEST(ReadSchemaTest, ReadsKeysInTheirOwnOrder) {
  const TableInfo table =
      ReadOne("CREATE TABLE t(a TEXT, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID");

  EXPECT_THAT(table.primary_key, ElementsAre("b", "a"));
  EXPECT_TRUE(table.without_rowid);
  EXPECT_FALSE(table.rowid_alias);
}

TEST(ReadSchemaTest, TellsRowidAliasesFromIntegerKeys) {
  EXPECT_TRUE(ReadOne("CREATE TABLE t(a INTEGER PRIMARY KEY)").rowid_alias);
  EXPECT_FALSE(ReadOne("CREATE TABLE t(a INT PRIMARY KEY)").rowid_alias);
  EXPECT_FALSE(ReadOne("CREATE TABLE t(a INTEGER PRIMARY KEY) WITHOUT ROWID").rowid_alias);
  EXPECT_FALSE(ReadOne("CREATE TABLE t(a TEXT PRIMARY KEY)").rowid_alias);
  EXPECT_FALSE(ReadOne("CREATE TABLE t(a)").rowid_alias);
}

TEST(ReadSchemaTest, ReadsUniqueIndexes) {
  const TableInfo table = ReadOne(
      "CREATE TABLE t(a TEXT PRIMARY KEY, b TEXT COLLATE NOCASE UNIQUE, c, d);"
      "CREATE INDEX plain ON t(c); CREATE UNIQUE INDEX x1 ON t(lower(c), d);"
      "CREATE UNIQUE INDEX x2 ON t(d, c COLLATE RTRIM) WHERE c > 'where' -- why\n AND d <> '--'");

  ASSERT_EQ(table.uniques.size(), 4u);
  EXPECT_TRUE(table.uniques[0].primary_key);
  EXPECT_THAT(table.uniques[1].columns, ElementsAre("b"));
  EXPECT_THAT(table.uniques[1].collations, ElementsAre("NOCASE"));
  EXPECT_TRUE(table.uniques[2].expression);
  EXPECT_FALSE(table.uniques[2].partial);
  EXPECT_THAT(table.uniques[3].columns, ElementsAre("d", "c"));
  EXPECT_THAT(table.uniques[3].collations, ElementsAre("BINARY", "RTRIM"));
  EXPECT_TRUE(table.uniques[3].partial);
  EXPECT_EQ(table.uniques[3].condition, "c > 'where'   AND d <> '--'");
}

TEST(ReadSchemaTest, ReadsForeignKeys) {
  const std::vector<TableInfo> schema = Read(
      "CREATE TABLE p(a TEXT, b TEXT, PRIMARY KEY (a, b));"
      "CREATE TABLE c(x TEXT, y TEXT, z TEXT REFERENCES p, FOREIGN KEY (x, y) REFERENCES "
      "p(a, b))");

  ASSERT_EQ(schema[1].foreign_keys.size(), 2u);
  EXPECT_THAT(schema[1].foreign_keys[0].columns, ElementsAre("x", "y"));
  EXPECT_THAT(schema[1].foreign_keys[0].parent_columns, ElementsAre("a", "b"));
  EXPECT_EQ(schema[1].foreign_keys[1].parent_table, "p");
  EXPECT_THAT(schema[1].foreign_keys[1].parent_columns, IsEmpty());
}

TEST(ReadSchemaTest, KnowsVirtualTablesAndTheirShadows) {
  const std::vector<TableInfo> schema = Read(
      "CREATE TABLE notes_more(id TEXT PRIMARY KEY); CREATE VIRTUAL TABLE notes USING "
      "fts5(body)");

  EXPECT_FALSE(schema[0].is_shadow);
  EXPECT_TRUE(schema[1].is_virtual);
  ASSERT_GT(schema.size(), 2u);
  for (size_t i = 2; i < schema.size(); ++i) EXPECT_TRUE(schema[i].is_shadow) << schema[i].name;
}

TEST(ReadSchemaTest, ListsTheAppsTriggersAlone) {
  const TableInfo table = ReadOne(
      "CREATE TABLE t(a); CREATE TRIGGER SyncT1_ai AFTER INSERT ON t BEGIN SELECT 1; END;"
      "CREATE TRIGGER SyncTotals AFTER INSERT ON T BEGIN SELECT 1; END;");

  EXPECT_THAT(table.app_triggers, ElementsAre("SyncTotals"));
}

TEST(ReadSchemaTest, KeepsAnyInStrictTablesAsItIs) {
  EXPECT_EQ(ReadOne("CREATE TABLE t(a ANY) STRICT").columns[0].affinity, Affinity::kBlob);
  EXPECT_EQ(ReadOne("CREATE TABLE t(a ANY)").columns[0].affinity, Affinity::kNumeric);
}

TEST(OurNamesTest, AreTakenExactly) {
  EXPECT_EQ(NumberOfTrigger("SyncT12_ai"), 12);
  for (const char* name : {"SyncT_ai", "SyncT0_ai", "SyncT1_", "SyncT1_aix", "SyncT1_AI",
                           "SyncTx1_ai", "SyncT1234567890_ai", "SyncLog", "SyncT1", "syncT1_ai"}) {
    EXPECT_FALSE(IsOurTrigger(name)) << name;
  }
  EXPECT_TRUE(IsOurTable("synclog"));
  EXPECT_FALSE(IsOurTable("SyncQueueItems"));
}

TEST(IndexConditionTest, IsWhatFollowsWhereAfterTheColumns) {
  EXPECT_EQ(IndexCondition("CREATE UNIQUE INDEX \"where (\" ON t(\"where\", [x where], f(')'))"
                           " /* WHERE no */ wHeRe a > 1 "),
            "a > 1");
  EXPECT_EQ(IndexCondition("CREATE INDEX i ON t(a)"), "");
  EXPECT_EQ(IndexCondition("CREATE INDEX i ON t(a"), "");
}

TEST(PortableExpressionTest, HasNoCommentsAndNoTextInDoubleQuotes) {
  const TableInfo table = ReadOne("CREATE TABLE t(\"a \"\"b\" TEXT)");

  EXPECT_EQ(
      PortableExpression("\"A \"\"B\" = \"it's \"\"x\"\"\" /* \" */ OR '\"' > `a` -- end", &table),
      "\"A \"\"B\" = 'it''s \"x\"'   OR '\"' > `a`  ");
}

TEST(ContentTableTest, IsFoundHoweverItIsWritten) {
  constexpr char kName[] = "My (odd, \"Table\"";
  for (const char* option :
       {"content='My (odd, \"Table\"'", "content = \"My (odd, \"\"Table\"\"\"",
        "content_rowid=rowid, CONTENT=[My (odd, \"Table\"]", "content=`My (odd, \"Table\"`"}) {
    const std::string sql =
        std::string("CREATE VIRTUAL TABLE S USING fts5(content, ") + option + ")";
    EXPECT_EQ(ContentTableOf(sql), kName) << sql;
  }
  EXPECT_EQ(ContentTableOf("CREATE VIRTUAL TABLE S USING fts5(a, content=T , b)"), "T");
  for (const char* none : {"fts5(content, body)", "fts5(a, content='')", "fts5(a, content=)",
                           "fts5(a, content_rowid=T)", "fts5(a, content="}) {
    EXPECT_EQ(ContentTableOf(std::string("CREATE VIRTUAL TABLE S USING ") + none), "") << none;
  }
}

}  // namespace
}  // namespace ptdoc::sync
