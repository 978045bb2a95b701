// What foreign keys do to the children of a row that is written while the app's
// triggers are off: ours are off with them, and nothing else would tell.
#include "device-agent/replica/cascade.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "device-agent/ledger/codec.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> Lower(const std::vector<std::string>& names) {
  std::vector<std::string> lower;
  lower.reserve(names.size());
  for (const std::string& name : names) lower.push_back(absl::AsciiStrToLower(name));
  return lower;
}

// "CASCADE", "SET NULL" and "SET DEFAULT" write; the others only forbid.
bool Writes(const std::string& action) {
  return action != "NO ACTION" && action != "RESTRICT" && action != "NONE";
}

// Those columns of the rows in which `where` holds `values`.
absl::StatusOr<std::vector<std::vector<Value>>> ReadColumns(sqlite::Database& db,
                                                            const std::string& table,
                                                            const std::vector<std::string>& columns,
                                                            const std::vector<std::string>& where,
                                                            const std::vector<Value>& values) {
  std::string sql;
  for (const std::string& column : columns) {
    absl::StrAppend(&sql, sql.empty() ? "SELECT " : ", ", QuoteName(column));
  }
  absl::StrAppend(&sql, " FROM main.", QuoteName(table));
  for (size_t i = 0; i < where.size(); ++i) {
    absl::StrAppend(&sql, i == 0 ? " WHERE " : " AND ", QuoteName(where[i]), " = ?", i + 1);
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql));
  for (size_t i = 0; i < values.size(); ++i) stmt.Bind(static_cast<int>(i) + 1, values[i]);
  std::vector<std::vector<Value>> rows;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return rows;
    std::vector<Value>& row = rows.emplace_back();
    for (int i = 0; i < stmt.column_count(); ++i) row.push_back(stmt.ColumnValue(i));
  }
}

// The values by which children refer to this row; empty if none can.
template <typename Row>
std::vector<Value> ReferredBy(const Row& row, const std::vector<std::string>& parent_columns) {
  std::vector<Value> values;
  for (const std::string& column : parent_columns) {
    const Value* value = row.Find(column);
    if (value == nullptr || value->is_null()) return {};
    values.push_back(*value);
  }
  return values;
}

template <typename Row>
std::string IdentityOf(const Row& row) {
  std::vector<Field> fields;
  fields.reserve(row.columns.size());
  for (size_t i = 0; i < row.columns.size(); ++i) {
    fields.push_back({row.columns[i], row.values[i]});
  }
  return absl::StrCat(row.deleted ? "d" : "u", absl::AsciiStrToLower(row.table), "\n",
                      EncodeFields(Fields(std::move(fields))));
}

}  // namespace

const Value* ReplicaImpl::Cascaded::Find(absl::string_view column) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == column) return &values[i];
  }
  return nullptr;
}

// Its key, if it is synced, and what other tables refer to.
std::vector<std::string> ReplicaImpl::ColumnsForCascade(absl::string_view table) const {
  std::set<std::string> columns;
  const TablePlan* plan = plan_.ByTable(table);
  if (plan != nullptr) {
    for (const std::string& column : Lower(plan->key)) columns.insert(column);
    if (plan->logs_local_key) columns.insert(absl::AsciiStrToLower(plan->local_key));
  }
  for (const Reference& reference : references_) {
    if (!absl::EqualsIgnoreCase(reference.parent_table, table)) continue;
    for (const std::string& column : Lower(reference.parent_columns)) columns.insert(column);
  }
  return {columns.begin(), columns.end()};
}

absl::StatusOr<std::vector<ReplicaImpl::Cascaded>> ReplicaImpl::FindCascades(
    const Target& target, const std::optional<std::vector<Value>>& key,
    const std::vector<Value>* after, const std::vector<bool>& written) {
  if (triggers_on_ || !key.has_value() || target.table->children.empty()) {
    return std::vector<Cascaded>();
  }
  const TablePlan& plan = target.table->plan;
  const std::vector<std::string> columns = ColumnsForCascade(plan.table);
  PT_ASSIGN_OR_RETURN(const std::vector<std::vector<Value>> there,
                      ReadColumns(*app_, plan.table, columns, plan.key, *key));
  if (there.empty()) return std::vector<Cascaded>();
  // The first is the row itself; each further one was found from one before it.
  std::vector<Cascaded> rows = {{plan.table, columns, there[0], after == nullptr, {}}};
  for (size_t i = 0; after != nullptr && i < after->size(); ++i) {
    const std::string column = absl::AsciiStrToLower(plan.columns[i]);
    const Value* before = rows[0].Find(column);
    if (written[i] && before != nullptr && !(*before == (*after)[i])) {
      rows[0].changed.push_back(column);
    }
  }
  std::set<std::string> seen = {IdentityOf(rows[0])};
  for (size_t at = 0; at < rows.size(); ++at) {
    PT_ASSIGN_OR_RETURN(std::vector<Cascaded> children, CascadesOf(Cascaded(rows[at])));
    for (Cascaded& child : children) {
      if (seen.insert(IdentityOf(child)).second) rows.push_back(std::move(child));
    }
  }
  rows.erase(rows.begin());
  return rows;
}

absl::StatusOr<std::vector<ReplicaImpl::Cascaded>> ReplicaImpl::CascadesOf(const Cascaded& parent) {
  std::vector<Cascaded> rows;
  for (const Reference& reference : references_) {
    if (!absl::EqualsIgnoreCase(reference.parent_table, parent.table)) continue;
    const std::string& action = parent.deleted ? reference.on_delete : reference.on_update;
    const std::vector<std::string> referred = Lower(reference.parent_columns);
    const bool moved =
        parent.deleted || std::any_of(referred.begin(), referred.end(), [&](const auto& column) {
          return Contains(parent.changed, column);
        });
    const std::vector<Value> values = ReferredBy(parent, referred);
    const std::vector<std::string> needed = ColumnsForCascade(reference.child_table);
    if (!Writes(action) || !moved || values.empty() || needed.empty()) continue;
    PT_ASSIGN_OR_RETURN(
        std::vector<std::vector<Value>> children,
        ReadColumns(*app_, reference.child_table, needed, reference.child_columns, values));
    for (std::vector<Value>& child : children) {
      rows.push_back({reference.child_table, needed, std::move(child),
                      parent.deleted && action == "CASCADE", Lower(reference.child_columns)});
    }
  }
  return rows;
}

absl::Status ReplicaImpl::LogCascades(const std::vector<Cascaded>& cascades) {
  for (const Cascaded& row : cascades) {
    const TablePlan* plan = plan_.ByTable(row.table);
    if (plan == nullptr) continue;
    std::string names = "INSERT INTO main.SyncLog(Tag, TableNo, Op, Time";
    std::string marks = ") VALUES (random(), ?1, ?2, NULL";
    for (size_t i = 0; i < plan->key.size(); ++i) {
      absl::StrAppend(&names, ", K", i + 1);
      absl::StrAppend(&marks, ", ?", i + 3);
    }
    if (plan->logs_local_key) {
      absl::StrAppend(&names, ", K", plan->key.size() + 1);
      absl::StrAppend(&marks, ", ?", plan->key.size() + 3);
    }
    PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, app_->Prepare(names + marks + ")"));
    stmt.Bind(1, plan->number).Bind(2, row.deleted ? "D" : "U");
    bool new_key = false;
    for (size_t i = 0; i < plan->key.size(); ++i) {
      const std::string column = absl::AsciiStrToLower(plan->key[i]);
      stmt.Bind(static_cast<int>(i) + 3, *row.Find(column));
      new_key |= !row.deleted && Contains(row.changed, column);
    }
    if (plan->logs_local_key) {
      stmt.Bind(static_cast<int>(plan->key.size()) + 3,
                *row.Find(absl::AsciiStrToLower(plan->local_key)));
    }
    PT_RETURN_IF_ERROR(stmt.Run());
    // The row that it becomes is found by comparing.
    if (new_key) PT_RETURN_IF_ERROR(WantComparison());
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
