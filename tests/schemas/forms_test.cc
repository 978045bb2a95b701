// Every form that a schema can have, two-way between two app files.
#include "absl/strings/ascii.h"
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;

// `first` is written on a, `second` on b when it has it, `third` on a again.
// Then `query` says `expected` on both, and every table holds the same.
struct Form {
  std::string name;
  std::string schema;
  std::string first;
  std::string second;
  std::string third;
  std::string query;
  Lines expected;
};

std::vector<Form> Forms() {
  return {
      {"CompositeKeys",
       "CREATE TABLE T(A TEXT, B INTEGER, C BLOB, V, PRIMARY KEY(B, C, A))",
       "INSERT INTO T VALUES('a', 1, x'00', 'one'), ('a', 2, x'00', 'two'), ('b', 1, x'', 'three')",
       "UPDATE T SET V = 'TWO' WHERE B = 2; DELETE FROM T WHERE A = 'b'",
       "UPDATE T SET B = 3 WHERE B = 1",
       "SELECT A, B, hex(C), V FROM T ORDER BY B",
       {"a|2|00|TWO", "a|3|00|one"}},
      {"BlobKeys",
       "CREATE TABLE T(K BLOB PRIMARY KEY NOT NULL, V)",
       "INSERT INTO T VALUES(x'', 'empty'), (x'00', 'zero'), (x'0000', 'two zeros'), (x'ff', 'f')",
       "UPDATE T SET V = 'FF' WHERE K = x'ff'",
       "DELETE FROM T WHERE K = x'00'",
       "SELECT hex(K), V FROM T ORDER BY K",
       {"|empty", "0000|two zeros", "FF|FF"}},
      {"WithoutRowid",
       "CREATE TABLE T(K TEXT, L TEXT, V, PRIMARY KEY(K, L)) WITHOUT ROWID",
       "INSERT INTO T VALUES('a', 'b', 1), ('a', 'c', 2)",
       "UPDATE T SET L = 'd' WHERE L = 'c'",
       "INSERT OR REPLACE INTO T VALUES('a', 'd', 3)",
       "SELECT * FROM T ORDER BY L",
       {"a|b|1", "a|d|3"}},
      {"GeneratedColumns",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A INTEGER, S INTEGER AS (A * 2) STORED,"
       " V TEXT AS (K || '-' || A) VIRTUAL, H TEXT GENERATED ALWAYS AS (lower(K)));"
       "CREATE UNIQUE INDEX U ON T(S); CREATE INDEX X ON T(V)",
       "INSERT INTO T(K, A) VALUES('X', 1), ('Y', 2)",
       "UPDATE T SET A = 5 WHERE K = 'X'",
       "INSERT OR REPLACE INTO T(K, A) VALUES('Z', 2)",  // Pushes Y out by S.
       "SELECT K, A, S, V, H FROM T ORDER BY K",
       {"X|5|10|X-5|x", "Z|2|4|Z-2|z"}},
      {"Strict",
       "CREATE TABLE T(K TEXT PRIMARY KEY NOT NULL, I INT, R REAL, X ANY, B BLOB) STRICT",
       "INSERT INTO T VALUES('a', 1, 2, '3', x'04'), ('b', 9223372036854775807, 1e300, 5, NULL)",
       "UPDATE T SET X = '007' WHERE K = 'b'",
       "UPDATE T SET R = 3 WHERE K = 'a'",
       "SELECT K, I, typeof(R), typeof(X), X FROM T ORDER BY K",
       {"a|1|real|text|3", "b|9223372036854775807|real|text|007"}},
      {"Checks",
       "CREATE TABLE T(K TEXT PRIMARY KEY CHECK(length(K) = 2), A INT CHECK(A BETWEEN 1 AND 9),"
       " B INT, CHECK(A < B))",
       "INSERT INTO T VALUES('aa', 1, 2), ('bb', 3, 4)",
       "UPDATE T SET A = 8, B = 9 WHERE K = 'aa'",
       "UPDATE T SET A = 5, B = 6 WHERE K = 'bb'",
       "SELECT * FROM T ORDER BY K",
       {"aa|8|9", "bb|5|6"}},
      {"CyclicForeignKeys",
       "CREATE TABLE Team(Id TEXT PRIMARY KEY, Head TEXT REFERENCES Member(Id)"
       " DEFERRABLE INITIALLY DEFERRED);"
       "CREATE TABLE Member(Id TEXT PRIMARY KEY, TeamId TEXT NOT NULL REFERENCES Team(Id),"
       " Boss TEXT REFERENCES Member(Id))",
       "PRAGMA foreign_keys=ON; BEGIN; INSERT INTO Team VALUES('t', 'm1');"
       "INSERT INTO Member VALUES('m1', 't', NULL), ('m2', 't', 'm1'), ('m3', 't', 'm3'); COMMIT",
       "PRAGMA foreign_keys=ON; BEGIN; UPDATE Team SET Head = 'm4';"
       "INSERT INTO Member VALUES('m4', 't', 'm2'); COMMIT",
       "PRAGMA foreign_keys=ON; DELETE FROM Member WHERE Id = 'm3'",
       "SELECT Head, (SELECT group_concat(Id) FROM (SELECT Id FROM Member ORDER BY Id)) FROM Team",
       {"m4|m1,m2,m4"}},
      {"Cascades",
       "CREATE TABLE P(Id TEXT PRIMARY KEY, Code TEXT UNIQUE);"
       "CREATE TABLE C(Id TEXT PRIMARY KEY, P TEXT REFERENCES P(Id) ON DELETE CASCADE ON UPDATE "
       "CASCADE);"
       "CREATE TABLE D(Id TEXT PRIMARY KEY, P TEXT REFERENCES P(Code) ON DELETE SET NULL"
       " ON UPDATE CASCADE);"
       "CREATE TABLE E(Id TEXT PRIMARY KEY, P TEXT DEFAULT 'p0' REFERENCES P(Id)"
       " ON DELETE SET DEFAULT)",
       "PRAGMA foreign_keys=ON;"
       "INSERT INTO P VALUES('p0', 'c0'), ('p1', 'c1'), ('p2', 'c2');"
       "INSERT INTO C VALUES('x', 'p1'), ('y', 'p2');"
       "INSERT INTO D VALUES('x', 'c1'), ('y', 'c2');"
       "INSERT INTO E VALUES('x', 'p1'), ('y', 'p2')",
       "PRAGMA foreign_keys=ON; DELETE FROM P WHERE Id = 'p1'",
       "PRAGMA foreign_keys=ON; UPDATE P SET Code = 'c9' WHERE Id = 'p2'",
       "SELECT (SELECT group_concat(Id || P) FROM C), (SELECT group_concat(Id || ifnull(P, '-')) "
       "FROM D), (SELECT group_concat(Id || P) FROM E)",
       {"yp2|x-,yc9|xp0,yp2"}},
      {"PartialAndExpressionIndexes",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, Gone INT DEFAULT 0);"
       "CREATE UNIQUE INDEX P ON T(A) WHERE Gone = 0; CREATE UNIQUE INDEX E ON T(lower(A), Gone)",
       "INSERT INTO T VALUES('1', 'x', 0), ('2', 'X', 1), ('3', 'y', 0)",
       // Two values change places, then a third one's comes free, and is taken.
       "BEGIN; UPDATE T SET A = 'z' WHERE K = '1'; UPDATE T SET A = 'x' WHERE K = '3';"
       "UPDATE T SET A = 'y' WHERE K = '1'; COMMIT",
       "BEGIN; UPDATE T SET A = 'w' WHERE K = '2'; UPDATE T SET Gone = 1, A = 'X' WHERE K = '1';"
       "INSERT INTO T VALUES('4', 'y', 0); COMMIT",
       "SELECT * FROM T ORDER BY K",
       {"1|X|1", "2|w|1", "3|x|0", "4|y|0"}},
      {"ConflictClausesOfTheSchema",
       "CREATE TABLE T(K TEXT PRIMARY KEY ON CONFLICT REPLACE, A TEXT UNIQUE ON CONFLICT REPLACE,"
       " B TEXT NOT NULL ON CONFLICT IGNORE)",
       "INSERT INTO T VALUES('1', 'x', 'b'), ('2', 'y', 'b')",
       "INSERT INTO T VALUES('3', 'x', 'b')",  // Pushes 1 out.
       "INSERT INTO T VALUES('2', 'z', 'c')",
       "SELECT * FROM T ORDER BY K",
       {"2|z|c", "3|x|b"}},
      {"OddNames",
       "CREATE TABLE \"order \"\"by\"\" 'x' ]größe\"(\"select\" TEXT PRIMARY KEY, \"a b\" TEXT,"
       " \"quo\"\"te\" TEXT UNIQUE, [from] TEXT, `日本語` TEXT, \"new.x\" TEXT, \"?1\" TEXT,"
       " \"rowid\" TEXT, \"%s\" TEXT, \"$\" TEXT)",
       "INSERT INTO \"order \"\"by\"\" 'x' ]größe\" VALUES('1', 'a', 'b', 'c', 'd', 'e', 'f', 'g',"
       " 'h', 'i'), ('2', 'a', 'B', 'c', 'd', 'e', 'f', 'g', 'h', 'i')",
       "UPDATE \"order \"\"by\"\" 'x' ]größe\" SET \"quo\"\"te\" = 'Q', `日本語` = '語' WHERE "
       "\"select\" = '2'",
       "INSERT OR REPLACE INTO \"order \"\"by\"\" 'x' ]größe\"(\"select\", \"quo\"\"te\") "
       "VALUES('3', 'b')",
       "SELECT \"select\", \"quo\"\"te\", `日本語` FROM \"order \"\"by\"\" 'x' ]größe\" ORDER BY 1",
       {"2|Q|語", "3|b|-"}},
      {"ViewsWithInsteadOfTriggers",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, B TEXT);"
       "CREATE VIEW V AS SELECT K, A || '/' || B AS AB FROM T;"
       "CREATE TRIGGER VI INSTEAD OF INSERT ON V BEGIN"
       " INSERT INTO T VALUES(NEW.K, substr(NEW.AB, 1, 1), substr(NEW.AB, 3)); END;"
       "CREATE TRIGGER VU INSTEAD OF UPDATE ON V BEGIN"
       " UPDATE T SET B = substr(NEW.AB, 3) WHERE K = OLD.K; END;"
       "CREATE TRIGGER VD INSTEAD OF DELETE ON V BEGIN DELETE FROM T WHERE K = OLD.K; END",
       "INSERT INTO V VALUES('1', 'a/b'), ('2', 'c/d')",
       "UPDATE V SET AB = 'a/x' WHERE K = '1'",
       "DELETE FROM V WHERE K = '2'",
       "SELECT * FROM V",
       {"1|a/x"}},
      {"TriggersThatStamp",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, Changed INT DEFAULT 0);"
       "CREATE TRIGGER TU AFTER UPDATE OF A ON T BEGIN"
       " UPDATE T SET Changed = OLD.Changed + 1 WHERE K = NEW.K; END",
       "INSERT INTO T(K, A) VALUES('1', 'a'); UPDATE T SET A = 'b'",
       "UPDATE T SET A = 'c'",
       "UPDATE T SET A = 'd'",
       "SELECT * FROM T",
       {"1|d|3"}},
      {"TriggersThatDeriveRowsUnderTheirOwnKeys",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT);"
       "CREATE TABLE H(K TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16)))), T TEXT, A TEXT);"
       "CREATE TRIGGER TI AFTER INSERT ON T BEGIN INSERT INTO H(T, A) VALUES(NEW.K, NEW.A); END;"
       "CREATE TRIGGER TU AFTER UPDATE ON T BEGIN INSERT INTO H(T, A) VALUES(NEW.K, NEW.A); END",
       "INSERT INTO T VALUES('1', 'a')",
       "UPDATE T SET A = 'b'",
       "INSERT INTO T VALUES('2', 'c')",
       // Each device's trigger makes a row of its own: to the service they are new.
       "SELECT T || A FROM H ORDER BY 1",
       {"1a", "1a", "1b", "1b", "2c", "2c"}},
      {"TriggersThatDeriveRowsUnderOneKey",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A INT);"
       "CREATE TABLE S(K TEXT PRIMARY KEY, Total INT);"
       "CREATE TRIGGER TI AFTER INSERT ON T BEGIN"
       " INSERT OR IGNORE INTO S VALUES('sum', 0);"
       " UPDATE S SET Total = (SELECT sum(A) FROM T); END;"
       "CREATE TRIGGER TD AFTER DELETE ON T BEGIN"
       " UPDATE S SET Total = (SELECT sum(A) FROM T); END",
       "INSERT INTO T VALUES('1', 10), ('2', 20)",
       "INSERT INTO T VALUES('3', 30)",
       "DELETE FROM T WHERE K = '2'",
       "SELECT Total FROM S",
       {"40"}},
      {"TriggersThatRefuseTheApp",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT);"
       "CREATE TRIGGER TU BEFORE UPDATE ON T WHEN OLD.A = 'final' BEGIN"
       " SELECT RAISE(ABORT, 'it is final'); END",  // On the receiver: refusing_test.cc.
       "INSERT INTO T VALUES('1', 'a'), ('2', 'b')",
       "UPDATE T SET A = 'final' WHERE K = '1'",
       "UPDATE T SET A = 'c' WHERE K = '2'",
       "SELECT * FROM T ORDER BY K",
       {"1|final", "2|c"}},
      {"SearchIndexesOfEveryKind",
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, X REAL, Y REAL);"
       "CREATE VIRTUAL TABLE F5 USING fts5(A, content='T');"
       "CREATE TRIGGER T5i AFTER INSERT ON T BEGIN"
       " INSERT INTO F5(rowid, A) VALUES(NEW.rowid, NEW.A); END;"
       "CREATE TRIGGER T5d AFTER DELETE ON T BEGIN"
       " INSERT INTO F5(F5, rowid, A) VALUES('delete', OLD.rowid, OLD.A); END;"
       "CREATE TRIGGER T5u AFTER UPDATE ON T BEGIN"
       " INSERT INTO F5(F5, rowid, A) VALUES('delete', OLD.rowid, OLD.A);"
       " INSERT INTO F5(rowid, A) VALUES(NEW.rowid, NEW.A); END;"
       "CREATE VIRTUAL TABLE F4 USING fts4(K, A);"
       "CREATE TRIGGER T4i AFTER INSERT ON T BEGIN INSERT INTO F4 VALUES(NEW.K, NEW.A); END;"
       "CREATE TRIGGER T4u AFTER UPDATE ON T BEGIN"
       " UPDATE F4 SET A = NEW.A WHERE K = OLD.K; END;"
       "CREATE TRIGGER T4d AFTER DELETE ON T BEGIN DELETE FROM F4 WHERE K = OLD.K; END;"
       "CREATE VIRTUAL TABLE F3 USING fts3(A);"
       "CREATE TRIGGER T3i AFTER INSERT ON T BEGIN"
       " INSERT INTO F3(docid, A) VALUES(NEW.rowid, NEW.A); END;"
       "CREATE TRIGGER T3d AFTER DELETE ON T BEGIN DELETE FROM F3 WHERE docid = OLD.rowid; END;"
       "CREATE VIRTUAL TABLE R USING rtree(Id, X1, X2, Y1, Y2);"
       "CREATE TRIGGER TRi AFTER INSERT ON T BEGIN"
       " INSERT INTO R VALUES(NEW.rowid, NEW.X, NEW.X, NEW.Y, NEW.Y); END;"
       "CREATE TRIGGER TRd AFTER DELETE ON T BEGIN DELETE FROM R WHERE Id = OLD.rowid; END;"
       "CREATE TRIGGER TRu AFTER UPDATE OF X, Y ON T BEGIN"
       " UPDATE R SET X1 = NEW.X, X2 = NEW.X, Y1 = NEW.Y, Y2 = NEW.Y WHERE Id = OLD.rowid; END",
       "INSERT INTO T VALUES('1', 'left knee', 1, 1), ('2', 'right knee', 2, 2)",
       "UPDATE T SET A = 'left hip', X = 5 WHERE K = '1'",
       "DELETE FROM T WHERE K = '2'; INSERT INTO T VALUES('3', 'shoulder', 9, 9)",
       "SELECT (SELECT count(*) FROM F5 WHERE F5 MATCH 'knee'), (SELECT count(*) FROM F5 WHERE F5 "
       "MATCH 'hip'), (SELECT count(*) FROM F4 WHERE F4 MATCH 'hip'), (SELECT count(*) FROM F4),"
       " (SELECT count(*) FROM F3 WHERE F3 MATCH 'shoulder'),"
       " (SELECT count(*) FROM R WHERE X1 BETWEEN 4.5 AND 5.5)",
       {"0|1|1|2|1|1"}},
      {"TextInDoubleQuotes",  // Which SQLite takes for a text where no column has the name.
       "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT DEFAULT \"unknown\");"
       "CREATE TRIGGER TI AFTER INSERT ON T BEGIN"
       " UPDATE T SET A = \"new\" WHERE K = NEW.K AND A IS NULL; END",
       "INSERT INTO T(K) VALUES('1'); INSERT INTO T VALUES('2', NULL)",
       "UPDATE T SET A = 'x' WHERE K = '1'",
       "INSERT INTO T VALUES('3', NULL)",
       "SELECT * FROM T ORDER BY K",
       {"1|x", "2|new", "3|new"}},
      {"KeysOfManyTypesInOneColumn",
       "CREATE TABLE T(K PRIMARY KEY NOT NULL, A)",
       "INSERT INTO T VALUES('1', 'text'), (x'31', 'blob'), (1.5, 'real'), ('', 'empty'),"
       " (x'', 'empty blob'), ('[1]', 'json'), ('{\"$blob\":\"\"}', 'json')",
       "UPDATE T SET A = A || '!'",
       "DELETE FROM T WHERE typeof(K) = 'blob'",
       "SELECT count(*), sum(A LIKE '%!') FROM T",
       {"5|5"}},
  };
}

class FormTest : public SchemaTest, public testing::WithParamInterface<Form> {
 protected:
  void RunForm(const std::string& pragmas) {
    const Form& form = GetParam();
    a_.Begin(pragmas + form.schema);
    b_.Begin(pragmas + form.schema);
    a_.Sql(form.first);
    SyncBoth();
    b_.Sql(form.second);
    SyncBoth();
    a_.Sql(form.third);
    SyncBoth();
    EXPECT_EQ(a_.Query(form.query), form.expected);
    EXPECT_EQ(b_.Query(form.query), form.expected);
    ExpectSame();
    ExpectUninstallLeavesNothing(b_, pragmas + form.schema);
  }
};

TEST_P(FormTest, IsSyncedBothWays) {
  RunForm("PRAGMA journal_mode=WAL;");
}

INSTANTIATE_TEST_SUITE_P(Schema, FormTest, testing::ValuesIn(Forms()),
                         [](const auto& each) { return each.param.name; });

// How a file is kept: what SQLite can vary below the schema.
class FileKindTest : public SchemaTest, public testing::WithParamInterface<std::string> {};

TEST_P(FileKindTest, IsSyncedBothWays) {
  constexpr char kSchema[] =
      "CREATE TABLE T(K TEXT PRIMARY KEY, A TEXT, B BLOB); CREATE INDEX X ON T(A)";
  a_.Begin(GetParam() + kSchema);
  b_.Begin(std::string("PRAGMA journal_mode=WAL;") + kSchema);
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
      "INSERT INTO T SELECT 'k' || i, 'Zoë \xF0\x9F\xA6\xB4' || char(0) || i, zeroblob(i) FROM n");
  SyncBoth();
  b_.Sql(
      "UPDATE T SET A = A || '\xE2\x82\xAC' WHERE length(B) % 7 = 0; DELETE FROM T WHERE "
      "length(B) > 280");
  SyncBoth();
  a_.Sql("VACUUM; UPDATE T SET B = randomblob(5000) WHERE K = 'k7'; PRAGMA incremental_vacuum(3)");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT count(*) FROM T"), ElementsAre("280"));
  ExpectSame();
}

INSTANTIATE_TEST_SUITE_P(
    File, FileKindTest,
    testing::Values("PRAGMA journal_mode=DELETE;", "PRAGMA journal_mode=TRUNCATE;",
                    "PRAGMA journal_mode=PERSIST;", "PRAGMA page_size=512;",
                    "PRAGMA page_size=65536;", "PRAGMA page_size=512; PRAGMA journal_mode=WAL;",
                    "PRAGMA page_size=65536; PRAGMA journal_mode=WAL;",
                    "PRAGMA encoding='UTF-16le';",
                    "PRAGMA encoding='UTF-16be'; PRAGMA journal_mode=WAL;",
                    "PRAGMA auto_vacuum=FULL;",
                    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;",
                    "PRAGMA legacy_file_format=ON;", "PRAGMA secure_delete=ON;"),
    [](const auto& each) {
      std::string name;
      for (const char c : each.param.substr(7)) {
        if (absl::ascii_isalnum(static_cast<unsigned char>(c))) name.push_back(c);
      }
      return name;
    });

}  // namespace
}  // namespace ptdoc::sync
