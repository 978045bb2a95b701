#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/rng.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/capture.h"

namespace ptdoc::sync {

inline sqlite::Database OpenMemory(bool foreign_keys = true) {
  sqlite::OpenOptions options;
  options.foreign_keys = foreign_keys;
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(":memory:", options);
  EXPECT_TRUE(db.ok()) << db.status();
  return *std::move(db);
}

inline void Must(sqlite::Database& db, absl::string_view sql) {
  const absl::Status status = db.Exec(sql);
  EXPECT_TRUE(status.ok()) << status << "\n" << sql;
}

inline int64_t Count(sqlite::Database& db, absl::string_view sql) {
  const absl::StatusOr<int64_t> count = db.QueryInt(sql);
  EXPECT_TRUE(count.ok()) << count.status() << "\n" << sql;
  return count.value_or(-1);
}

inline Value One(sqlite::Database& db, absl::string_view sql) {
  const absl::StatusOr<Value> value = db.QueryValue(sql);
  EXPECT_TRUE(value.ok()) << value.status() << "\n" << sql;
  return value.value_or(Value::Null());
}

inline PlanRequest AllTables() {
  PlanRequest request;
  request.all_tables = true;
  return request;
}

inline Plan MustPlan(sqlite::Database& db, const PlanRequest& request = AllTables()) {
  absl::StatusOr<Plan> plan = MakePlan(db, request);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *std::move(plan) : Plan();
}

inline std::vector<std::string> MustInstall(sqlite::Database& db, const Plan& plan) {
  SeededRng rng(7);
  absl::StatusOr<sqlite::Transaction> tx = sqlite::Transaction::Begin(db);
  EXPECT_TRUE(tx.ok()) << tx.status();
  absl::StatusOr<std::vector<std::string>> changed = Install(db, plan, rng);
  EXPECT_TRUE(changed.ok()) << changed.status();
  const absl::Status committed = tx->Commit();
  EXPECT_TRUE(committed.ok()) << committed;
  return changed.value_or(std::vector<std::string>());
}

// Names of a table and of a key, for comparing and for printing.
using RowName = std::pair<std::string, std::string>;

inline RowName NameOf(const std::string& table, const std::vector<Value>& key) {
  std::string bytes;
  for (const Value& value : key) AppendCanonical(value, &bytes);
  return {table, bytes};
}

// Every row of every planned table, by its key.
inline std::map<RowName, std::string> CopyOf(sqlite::Database& db, const Plan& plan) {
  std::map<RowName, std::string> copy;
  for (const TablePlan& entry : plan.tables) {
    std::vector<std::string> columns;
    columns.reserve(entry.key.size() + entry.columns.size());
    for (const std::string& name : entry.key) columns.push_back(sqlite::QuoteName(name));
    for (const std::string& name : entry.columns) columns.push_back(sqlite::QuoteName(name));
    absl::StatusOr<sqlite::Statement> rows = db.Prepare(absl::StrCat(
        "SELECT ", absl::StrJoin(columns, ", "), " FROM ", sqlite::QuoteName(entry.table)));
    EXPECT_TRUE(rows.ok()) << rows.status();
    while (*rows->Step()) {
      std::vector<Value> key;
      std::string row;
      for (int i = 0; i < rows->column_count(); ++i) {
        const Value value = rows->ColumnValue(i);
        if (static_cast<size_t>(i) < entry.key.size()) key.push_back(value);
        AppendCanonical(value, &row);
      }
      copy[NameOf(entry.table, key)] = row;
    }
  }
  return copy;
}

// The rows that are in one copy and not, or not the same, in the other.
inline std::set<RowName> Difference(const std::map<RowName, std::string>& a,
                                    const std::map<RowName, std::string>& b) {
  std::set<RowName> names;
  for (const auto& [name, row] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second != row) names.insert(name);
  }
  for (const auto& [name, row] : b) {
    if (!a.contains(name)) names.insert(name);
  }
  return names;
}

inline std::vector<LogRow> MustLog(sqlite::Database& db, const Plan& plan, int64_t after_seq) {
  absl::StatusOr<std::vector<LogRow>> rows = ReadLog(db, plan, after_seq, 100'000);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.value_or(std::vector<LogRow>());
}

inline std::set<RowName> Logged(sqlite::Database& db, const Plan& plan, int64_t after_seq) {
  std::set<RowName> names;
  for (const LogRow& row : MustLog(db, plan, after_seq)) {
    const TablePlan* entry = plan.ByNumber(row.table);
    if (entry != nullptr) names.insert(NameOf(entry->table, row.key));
  }
  return names;
}

// What changed and was not logged, printed.
inline std::string Missed(const std::set<RowName>& changed, const std::set<RowName>& logged) {
  std::string missed;
  for (const RowName& name : changed) {
    if (!logged.contains(name)) absl::StrAppend(&missed, name.first, " ", name.second, "\n");
  }
  return missed;
}

// "I a", "D b", ... of one-column TEXT keys, in order.
inline std::vector<std::string> LogTexts(sqlite::Database& db, const Plan& plan,
                                         int64_t after_seq) {
  std::vector<std::string> texts;
  for (const LogRow& row : MustLog(db, plan, after_seq)) {
    texts.push_back(
        absl::StrCat(std::string(1, row.op), " ", row.key.empty() ? "" : row.key[0].bytes()));
  }
  return texts;
}

inline int64_t LastSeq(sqlite::Database& db) {
  const absl::StatusOr<LogMark> mark = LastMark(db);
  EXPECT_TRUE(mark.ok()) << mark.status();
  return mark.ok() ? mark->seq : 0;
}

// All of sqlite_master but what capture makes.
inline std::vector<std::string> SchemaRows(sqlite::Database& db) {
  absl::StatusOr<sqlite::Statement> rows =
      db.Prepare("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid");
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<std::string> texts;
  while (*rows->Step()) {
    if (IsOurTable(rows->Text(1)) || IsOurTrigger(rows->Text(1))) continue;
    texts.push_back(
        absl::StrCat(rows->Text(0), "|", rows->Text(1), "|", rows->Text(2), "|", rows->Text(3)));
  }
  return texts;
}

}  // namespace ptdoc::sync
