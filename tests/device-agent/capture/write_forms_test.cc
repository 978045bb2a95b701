// Every form of write on every kind of table: what changed must be in the log.

#include <gtest/gtest.h>

#include <ostream>

#include "absl/strings/match.h"
#include "tests/device-agent/capture/capture_support.h"
#include "tests/device-agent/capture/table_kinds.h"

namespace ptdoc::sync {
namespace {

struct WriteForm {
  const char* label;
  const char* sql;
};

constexpr WriteForm kForms[] = {
    {"Insert", "INSERT INTO {T}({K}, {U}, {V}) VALUES ('n', 'un', 1)"},
    {"InsertRows", "INSERT INTO {T}({K}, {U}, {V}) VALUES ('n', 'un', 1), ('m', 'um', 2)"},
    {"InsertSelect", "INSERT INTO {T}({K}, {U}, {V}) SELECT {K} || 'x', {U} || 'x', {V} FROM {T}"},
    {"InsertNumberAsKey", "INSERT INTO {T}({K}, {U}, {V}) VALUES (7, 8.5, x'00ff')"},
    {"InsertNumericTextAsKey", "INSERT INTO {T}({K}, {U}, {V}) VALUES ('7.0', '8', 'v')"},
    {"InsertBlobAsKey", "INSERT INTO {T}({K}, {U}, {V}) VALUES (x'00ff', x'61', 'v')"},
    {"Upsert",
     "INSERT INTO {T}({K}, {U}, {V}) VALUES ('a', 'u1', 1), ('n', 'un', 1)"
     " ON CONFLICT({KEYS}) DO UPDATE SET {V} = 9, {U} = {U} || 'y'"},
    {"UpsertNothing",
     "INSERT INTO {T}({K}, {U}, {V}) VALUES ('a', 'x', 1), ('n', 'u2', 1)"
     " ON CONFLICT DO NOTHING"},
    {"ReplaceOnKey", "INSERT OR REPLACE INTO {T}({K}, {U}, {V}) VALUES ('a', 'un', 1)"},
    {"ReplaceOnUnique", "INSERT OR REPLACE INTO {T}({K}, {U}, {V}) VALUES ('n', 'u2', 1)"},
    {"ReplaceOnUniqueByCase", "REPLACE INTO {T}({K}, {U}, {V}) VALUES ('n', 'U2', 2)"},
    {"ReplaceTwoVictims", "REPLACE INTO {T}({K}, {U}, {V}) VALUES ('a', 'u2', 2)"},
    {"ReplaceManyRows",
     "REPLACE INTO {T}({K}, {U}, {V}) VALUES ('n', 'u1', 1), ('m', 'u2', 2), ('n', 'u3', 3)"},
    {"ReplaceByDefault", "INSERT OR REPLACE INTO {T}({K}, {U}, {V}) VALUES ('n', NULL, 1)"},
    {"ReplaceSelect", "REPLACE INTO {T}({K}, {U}, {V}) SELECT {K} || 'x', {U}, {V} FROM {T}"},
    {"InsertIgnoreOnKey", "INSERT OR IGNORE INTO {T}({K}, {U}, {V}) VALUES ('a', 'un', 1)"},
    {"InsertIgnoreOnUnique",
     "INSERT OR IGNORE INTO {T}({K}, {U}, {V}) VALUES ('n', 'u2', 1), ('m', 'um', 1)"},
    {"Update", "UPDATE {T} SET {V} = 'changed' WHERE {K} = 'a'"},
    {"UpdateAll", "UPDATE {T} SET {V} = coalesce({V}, '') || 'z'"},
    {"UpdateCaseOnly", "UPDATE {T} SET {U} = upper({U})"},
    {"UpdateTypeOnly", "UPDATE {T} SET {V} = {V} + 0.0"},
    {"UpdateUnique", "UPDATE {T} SET {U} = 'new' WHERE {K} = 'b'"},
    {"UpdateOrReplaceOnUnique", "UPDATE OR REPLACE {T} SET {U} = 'u2', {V} = 2 WHERE {K} = 'a'"},
    {"UpdateOrReplaceByDefault", "UPDATE OR REPLACE {T} SET {U} = NULL WHERE {K} = 'a'"},
    {"UpdateOrReplaceOnKey", "UPDATE OR REPLACE {T} SET {K} = 'b' WHERE {K} = 'a'"},
    {"UpdateOrReplaceAll", "UPDATE OR REPLACE {T} SET {U} = 'same', {V} = 'same'"},
    {"UpdateOrIgnore", "UPDATE OR IGNORE {T} SET {U} = 'u2', {V} = 2"},
    {"UpdateFrom", "UPDATE {T} SET {V} = o.w FROM (SELECT 'b' AS i, 77 AS w) AS o WHERE {K} = o.i"},
    {"UpdateKey", "UPDATE {T} SET {K} = 'moved' WHERE {K} = 'b'"},
    {"UpdateKeyByCase", "UPDATE {T} SET {K} = upper({K})"},
    {"UpdateAllKeys", "UPDATE {T} SET {K} = {K} || 'k'"},
    {"SwapKeys",
     "UPDATE {T} SET {K} = 'tmp' WHERE {K} = 'a'; UPDATE {T} SET {K} = 'a' WHERE {K} = 'b';"
     "UPDATE {T} SET {K} = 'b' WHERE {K} = 'tmp'"},
    {"Delete", "DELETE FROM {T} WHERE {K} = 'c'"},
    {"DeleteAll", "DELETE FROM {T}"},
    {"DeleteAndCreate",
     "DELETE FROM {T} WHERE {K} = 'a'; INSERT INTO {T}({K}, {U}, {V}) VALUES ('a', 'u1', 5)"},
    {"SavepointRollback",
     "BEGIN; UPDATE {T} SET {V} = 1 WHERE {K} = 'a'; SAVEPOINT s; DELETE FROM {T};"
     "ROLLBACK TO s; UPDATE {T} SET {V} = 2 WHERE {K} = 'c'; COMMIT"},
    {"InsertReturning", "INSERT INTO {T}({K}, {U}, {V}) VALUES ('n', 'un', 1) RETURNING {V}"},
};

struct Setting {
  TableKind kind;
  bool recursive_triggers = false;

  friend void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.kind.label; }
};

// A file of one kind of table, with capture and six rows that were there.
class WriteFormsTest : public testing::TestWithParam<Setting> {
 protected:
  WriteFormsTest() {
    Must(db_, kind_.Fill(kind_.create));
    Must(db_, kind_.Fill("INSERT INTO {T}({K}, {U}, {V}) VALUES ('a', 'u1', 1), ('b', 'u2', 2),"
                         " ('c', 'u3', NULL), ('d', 'u4', 'four')"));
    PlanRequest request = AllTables();
    if (!kind_.configured_key.empty()) {
      EntityConfig config;
      config.table = "T";
      config.key = {kind_.configured_key};
      request.entities.push_back(config);
    }
    plan_ = MustPlan(db_, request);
    MustInstall(db_, plan_);
    if (GetParam().recursive_triggers) Must(db_, "PRAGMA recursive_triggers = ON");
  }

  TableKind kind_ = GetParam().kind;
  sqlite::Database db_ = OpenMemory();
  Plan plan_;
};

TEST_P(WriteFormsTest, LogsEveryKeyThatChanges) {
  ASSERT_EQ(plan_.tables.size(), 1u);
  int changing_forms = 0;

  for (const WriteForm& form : kForms) {
    SCOPED_TRACE(form.label);
    Must(db_, "BEGIN");
    const int64_t seq = LastSeq(db_);
    const auto before = CopyOf(db_, plan_);
    const std::string sql = kind_.Fill(form.sql);
    const bool transaction = absl::StartsWith(sql, "BEGIN");
    if (transaction) Must(db_, "COMMIT");
    // A kind of table may refuse a form: what stays of it must be logged, too.
    const absl::Status status = db_.Exec(sql);
    EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kAlreadyExists) << status;

    const std::set<RowName> changed = Difference(before, CopyOf(db_, plan_));
    changing_forms += changed.empty() ? 0 : 1;
    EXPECT_EQ(Missed(changed, Logged(db_, plan_, seq)), "");
    if (!transaction) Must(db_, "ROLLBACK");
  }

  EXPECT_GE(changing_forms, 24);
}

TEST_P(WriteFormsTest, LeavesNothingInTheLogWhenTheWriteIsRolledBack) {
  const int64_t seq = LastSeq(db_);

  Must(db_, "BEGIN");
  Must(db_, kind_.Fill("DELETE FROM {T}"));
  const int64_t inside = LastSeq(db_);
  Must(db_, "ROLLBACK");

  EXPECT_GT(inside, seq);
  EXPECT_EQ(LastSeq(db_), seq);
}

TEST_P(WriteFormsTest, LogsEveryKeyThatChangesUnderRandomStatements) {
  const uint64_t seed = 20'261'122 + (GetParam().recursive_triggers ? 1 : 0);
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  SeededRng rng(seed);
  const auto key = [&] {
    constexpr const char* kKeys[] = {"'a'", "'b'", "'c'", "'A'", "'n'", "1", "1.0", "x'61'", "'1'"};
    return kKeys[rng.Below(std::size(kKeys))];
  };
  const auto unique = [&] {
    constexpr const char* kUniques[] = {"'u1'", "'u2'", "'U2'", "'u3'", "NULL", "3", "3.0", "'3'"};
    return kUniques[rng.Below(std::size(kUniques))];
  };
  const auto value = [&] {
    constexpr const char* kValues[] = {"1", "1.0", "'1'", "NULL", "'free'", "x'31'"};
    return kValues[rng.Below(std::size(kValues))];
  };
  const auto verb = [&](const char* first) {
    constexpr const char* kClauses[] = {" ", " OR REPLACE ", " OR IGNORE ", " OR FAIL ",
                                        " OR REPLACE "};
    return absl::StrCat(first, kClauses[rng.Below(std::size(kClauses))]);
  };

  for (int i = 0; i < 600; ++i) {
    std::string sql;
    switch (rng.Below(6)) {
      case 0:
      case 1:
      case 2:
        sql =
            absl::StrCat(verb("INSERT"), "INTO {T}({K}, {U}, {V}) VALUES (", key(), ", ", unique(),
                         ", ", value(), "), (", key(), ", ", unique(), ", ", value(), ")");
        break;
      case 3:
        sql = absl::StrCat(verb("UPDATE"), "{T} SET {U} = ", unique(), ", {V} = ", value(),
                           " WHERE {K} >= ", key());
        break;
      case 4:
        sql = absl::StrCat(verb("UPDATE"), "{T} SET {K} = ", key(), " WHERE {K} = ", key());
        break;
      default:
        sql = absl::StrCat("DELETE FROM {T} WHERE {V} = ", value(), " OR {K} = ", key());
    }
    sql = kind_.Fill(sql);
    const int64_t seq = LastSeq(db_);
    const auto before = CopyOf(db_, plan_);

    const absl::Status status = db_.Exec(sql);

    ASSERT_TRUE(status.ok() || status.code() == absl::StatusCode::kAlreadyExists) << status << "\n"
                                                                                  << sql;
    ASSERT_EQ(Missed(Difference(before, CopyOf(db_, plan_)), Logged(db_, plan_, seq)), "")
        << "statement " << i << ": " << sql;
  }
}

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  for (const TableKind& kind : TableKinds()) {
    settings.push_back({kind, false});
    settings.push_back({kind, true});
  }
  return settings;
}

INSTANTIATE_TEST_SUITE_P(Kinds, WriteFormsTest, testing::ValuesIn(Settings()),
                         [](const testing::TestParamInfo<Setting>& test) {
                           return test.param.kind.label +
                                  (test.param.recursive_triggers ? "Recursive" : "");
                         });

}  // namespace
}  // namespace ptdoc::sync
