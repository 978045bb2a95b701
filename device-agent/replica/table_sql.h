#pragma once

// Pieces of the SQL on a synced table. For table.cc and write_row.cc only.

#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "device-agent/replica/table.h"

namespace ptdoc::sync {

using sqlite::QuoteName;

inline std::string QuotedList(const std::vector<std::string>& names) {
  return absl::StrJoin(names, ", ",
                       [](std::string* out, const std::string& name) { *out += QuoteName(name); });
}

inline std::string Marks(size_t first, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) absl::StrAppend(&out, i == 0 ? "?" : ", ?", first + i);
  return out;
}

inline std::string KeyIs(const std::vector<std::string>& key, size_t first) {
  std::string out;
  for (size_t i = 0; i < key.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : " AND ", QuoteName(key[i]), " = ?", first + i);
  }
  return out;
}

inline std::string From(const Table& table) {
  return absl::StrCat("main.", QuoteName(table.plan.table));
}

// Fills insert_sql; last of all, for it depends on the rest.
void MakeInsertSql(Table* table);

inline void BindAll(sqlite::Statement& stmt, int first, std::span<const Value> values) {
  for (const Value& value : values) stmt.Bind(first++, value);
}

}  // namespace ptdoc::sync
