#include "device-agent/rpc/edit_row.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/replica/replica.h"
#include "device-agent/rpc/control_errors.h"

namespace ptdoc::sync {
namespace {

absl::Status BadContent(absl::string_view what) {
  return FieldError("content", absl::StrCat(what,
                                            ". Nothing was changed. Write one JSON object as "
                                            "`device-agent conflicts show --json` shows it."));
}

absl::Status CheckFields(const TablePlan& table, const EntityKey& key, const Fields& fields) {
  for (const auto& [name, value] : fields) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), name);
    if (found == table.columns.end()) {
      return BadContent(
          absl::StrCat("The content names ", name, ", which is no synced column of ", table.table));
    }
  }
  std::vector<Value> values;
  values.reserve(table.key.size());
  for (const std::string& column : table.key) {
    const Value* const found = fields.Find(column);
    if (found == nullptr) {
      return BadContent(absl::StrCat("The content lacks ", column, ", a column of the key"));
    }
    values.push_back(*found);
  }
  const absl::StatusOr<std::string> id = EntityIdOf(table, values);
  if (id.ok() && *id == key.id) return absl::OkStatus();
  return BadContent("The key in the content is not that of the row in conflict");
}

absl::Status ErrorOf(const absl::Status& status) {
  if (status.ok() || absl::IsInvalidArgument(status)) return status;
  if (sqlite::IsBusy(status)) return FileError(FileState::kBlockedByApp, "");
  if (!absl::IsAlreadyExists(status)) return LocalError(status);
  const std::string constraint = sqlite::ConstraintName(status);
  return ReasonError(absl::StatusCode::kFailedPrecondition, "SCHEMA_REFUSES",
                     absl::StrCat("The content is refused by the app's schema",
                                  constraint.empty() ? "" : absl::StrCat(" (", constraint, ")"),
                                  ". Nothing was changed. Correct the content, or what stands in "
                                  "its way in the app, and try again."));
}

absl::Status Write(sqlite::Database& db, const std::string& sql, const std::vector<Value>& values) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql));
  int index = 0;
  for (const Value& value : values) stmt.Bind(++index, value);
  return stmt.Run();
}

// As this device's file stores them: a row of another table by its integer here.
absl::StatusOr<std::vector<Value>> LocalValuesOf(sqlite::Database& db, const Plan& plan,
                                                 const TablePlan& table, const Fields& fields) {
  std::vector<Value> values;
  for (const auto& [name, value] : fields) {
    const Translation* translation = TranslationOf(table, name);
    if (translation == nullptr) {
      values.push_back(value);
      continue;
    }
    PT_ASSIGN_OR_RETURN(std::optional<Value> local, ToLocal(db, plan, *translation, value));
    if (!local.has_value()) {
      return BadContent(absl::StrCat("The content names in ", name, " a row of ",
                                     translation->parent, " that is not on this device"));
    }
    values.push_back(*std::move(local));
  }
  return values;
}

// Every name is bound in the order of `fields`: ?1, ?2, ...
absl::Status Put(sqlite::Database& db, const Plan& plan, const TablePlan& table,
                 const Fields& fields) {
  std::vector<std::string> names;
  std::vector<std::string> numbers;
  std::vector<std::string> sets;
  std::vector<std::string> wheres;
  for (const auto& [name, value] : fields) {
    names.push_back(sqlite::QuoteName(name));
    numbers.push_back(absl::StrCat("?", names.size()));
    const bool is_key = std::find(table.key.begin(), table.key.end(), name) != table.key.end();
    (is_key ? wheres : sets).push_back(absl::StrCat(names.back(), " = ", numbers.back()));
  }
  // A row of nothing but its key is there or is not.
  if (sets.empty()) sets = wheres;
  const std::string quoted = sqlite::QuoteName(table.table);
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(db));
  PT_ASSIGN_OR_RETURN(const std::vector<Value> values, LocalValuesOf(db, plan, table, fields));
  PT_RETURN_IF_ERROR(Write(db,
                           absl::StrCat("UPDATE ", quoted, " SET ", absl::StrJoin(sets, ", "),
                                        " WHERE ", absl::StrJoin(wheres, " AND ")),
                           values));
  if (db.changes() == 0) {
    PT_RETURN_IF_ERROR(Write(db,
                             absl::StrCat("INSERT INTO ", quoted, "(", absl::StrJoin(names, ", "),
                                          ") VALUES(", absl::StrJoin(numbers, ", "), ")"),
                             values));
  }
  return tx.Commit();
}

}  // namespace

absl::Status EditRow(const std::string& database, const Plan& plan, const EntityKey& key,
                     const Fields& fields) {
  const TablePlan* const table = plan.ByType(key.type);
  if (table == nullptr) {
    return ReasonError(absl::StatusCode::kNotFound, "TYPE_UNKNOWN",
                       absl::StrCat("This device does not sync ", key.type,
                                    ". Nothing was changed. See [[entity]] in agent.toml."));
  }
  PT_RETURN_IF_ERROR(CheckFields(*table, key, fields));
  sqlite::OpenOptions options;
  options.foreign_keys = true;
  options.legacy_schema = true;
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(database, options);
  if (!db.ok()) return ErrorOf(db.status());
  return ErrorOf(Put(*db, plan, *table, fields));
}

}  // namespace ptdoc::sync
