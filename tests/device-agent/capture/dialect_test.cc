// Every program that opens the file parses the schema, and one that meets a
// word it does not know takes the file for corrupt. So our texts may hold only
// what is listed here: all of it is understood by SQLite 3.8 and by builds that
// leave out what can be left out.

#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "tests/device-agent/capture/capture_support.h"
#include "tests/device-agent/capture/table_kinds.h"

namespace ptdoc::sync {
namespace {

const std::set<std::string>& Words() {
  static const auto& words = *new std::set<std::string>{
      "CREATE", "TABLE",   "TRIGGER", "BEFORE", "AFTER", "INSERT",  "UPDATE", "DELETE",
      "OF",     "ON",      "WHEN",    "BEGIN",  "END",   "INTO",    "VALUES", "SELECT",
      "FROM",   "WHERE",   "AND",     "OR",     "NOT",   "IS",      "NULL",   "CASE",
      "THEN",   "ELSE",    "SET",     "AS",     "CAST",  "COLLATE", "BINARY", "INTEGER",
      "TEXT",   "PRIMARY", "KEY",     "NEW",    "OLD"};
  return words;
}

const std::set<std::string>& Functions() {
  static const auto& functions = *new std::set<std::string>{
      "MAX", "CAST", "JULIANDAY", "STRFTIME", "SUBSTR", "RANDOM", "TYPEOF", "COALESCE"};
  return functions;
}

const std::set<std::string>& Names() {
  static const auto& names = *new std::set<std::string>{
      "SYNCLOG", "SYNCCONTROL", "SEQ",      "TAG",           "TABLENO",    "OP",
      "TIME",    "ID",          "APPLYING", "CLOCKOFFSETNS", "NEWESTTIME", "PAGENUMBER",
      "PAGETAG", "FILEID",      "ROWID",    "_ROWID_"};
  return names;
}

bool IsOurOwn(const std::string& word) {
  const auto numbered = [&](absl::string_view prefix) {
    return absl::StartsWith(word, prefix) && word.size() > prefix.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(word[prefix.size()]));
  };
  return Names().contains(word) || numbered("K") || numbered("SYNCT");
}

// The first thing in `sql` that is not in the dialect; empty if all is.
std::string FirstForeign(const std::string& sql) {
  const auto is_word = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  std::string last;
  for (size_t at = 0; at < sql.size();) {
    const char c = sql[at];
    size_t end = at + 1;
    if (c == '\'' || c == '"') {
      end = sql.find(c, at + 1) + 1;
    } else if (is_word(c)) {
      while (end < sql.size() && (is_word(sql[end]) || (sql[end] == '.' && sql[at] <= '9'))) ++end;
      const std::string word = absl::AsciiStrToUpper(sql.substr(at, end - at));
      const bool number = absl::ascii_isdigit(static_cast<unsigned char>(c));
      const bool call = end < sql.size() && sql[end] == '(';
      const bool known =
          call && !Words().contains(word) && !IsOurOwn(word)
              ? Functions().contains(word)
              : Words().contains(word) || IsOurOwn(word) || Functions().contains(word);
      if (!number && !known) return word;
      // Only as a part of CREATE TRIGGER ... ON table.
      if (word == "DELETE" && last == "ON") return "ON DELETE";
      last = word;
    } else if (!absl::StrContains("(),.;=<>+-*/| ", std::string(1, c))) {
      return std::string(1, c);
    } else if (c == '-' && end < sql.size() && sql[end] == '>') {
      return "->";
    }
    at = end;
  }
  return std::string();
}

// Everything that capture makes for one kind of table, stamps included.
std::vector<SchemaObject> ObjectsOf(sqlite::Database& db, const TableKind& kind,
                                    const std::string& time_format) {
  Must(db, kind.Fill(kind.create));
  EntityConfig config;
  config.table = ReadSchema(db)->at(0).name;
  if (!kind.configured_key.empty()) config.key = {kind.configured_key};
  Must(db, kind.Fill("ALTER TABLE {T} ADD COLUMN Modified; ALTER TABLE {T} ADD COLUMN By;"
                     "ALTER TABLE {T} ADD COLUMN State TEXT"));
  config.last_modified_column = "Modified";
  config.modified_by_column = "By";
  config.sync_state_column = "State";
  config.time_format = time_format;
  config.user = "u";
  PlanRequest request;
  request.entities = {config};
  const Plan plan = MustPlan(db, request);
  std::vector<SchemaObject> objects = plan.tables.at(0).triggers;
  for (SchemaObject& table : BaseTables(plan.KeyWidth())) objects.push_back(std::move(table));
  return objects;
}

TEST(DialectTest, IsTheSmallestOneInAllThatCaptureMakes) {
  for (const TableKind& kind : TableKinds()) {
    for (const char* format : {"iso8601", "efcore", "unix", "unix_ms", "ticks"}) {
      sqlite::Database db = OpenMemory();
      for (const SchemaObject& object : ObjectsOf(db, kind, format)) {
        EXPECT_EQ(FirstForeign(object.sql), "") << kind.label << ": " << object.sql;
      }
    }
  }
}

TEST(DialectTest, CheckRefusesWhatOldOrReducedBuildsDoNotParse) {
  for (const char* sql :
       {"INSERT INTO SyncLog(Tag) VALUES (1) ON CONFLICT(Tag) DO UPDATE SET Op = 'U'",
        "INSERT OR IGNORE INTO SyncLog(Tag) VALUES (1)",
        "INSERT INTO SyncLog(Tag) VALUES (1) RETURNING Seq", "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT max(Seq) OVER (ORDER BY Tag) FROM SyncLog",
        "SELECT Seq IS DISTINCT FROM Tag FROM SyncLog", "SELECT iif(Seq, 1, 2) FROM SyncLog",
        "SELECT json_object('a', 1)", "SELECT Op -> 'a' FROM SyncLog", "SELECT unixepoch()",
        "SELECT TRUE", "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY) STRICT",
        "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY, Tag INTEGER AS (Seq))  GENERATED",
        "SELECT Op FROM SyncLog LIMIT 1", "SELECT 1 & 2"}) {
    EXPECT_NE(FirstForeign(sql), "") << sql;
  }
}

// The connection of these tests has DEFENSIVE on and trusted_schema and
// double-quoted strings off, as careful programs do.
TEST(DialectTest, RunsOnADefensiveConnectionThatTrustsNoSchema) {
  sqlite::Database db = OpenMemory();
  ASSERT_EQ(Count(db, "PRAGMA trusted_schema"), 0);
  for (const SchemaObject& object : ObjectsOf(db, TableKinds()[0], "iso8601")) {
    Must(db, object.sql);
  }

  Must(db,
       "INSERT INTO T(K, U) VALUES ('a', 'u'); REPLACE INTO T(K, U) VALUES ('b', 'u');"
       "UPDATE T SET V = 1; UPDATE T SET K = 'c'; DELETE FROM T");

  EXPECT_GE(Count(db, "SELECT count(*) FROM SyncLog"), 7);
}

}  // namespace
}  // namespace ptdoc::sync
