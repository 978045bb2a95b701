// Rows into the app's tables.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "common/base/status.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/capture/stamp.h"
#include "device-agent/replica/table_sql.h"

namespace ptdoc::sync {
namespace {

constexpr char kMissingType[] = "ptdoc/missing-parent-type";
constexpr char kMissingId[] = "ptdoc/missing-parent-id";

absl::Status MissingParentError(const EntityKey& parent) {
  absl::Status status = absl::FailedPreconditionError("a row that it refers to is not here");
  status.SetPayload(kMissingType, absl::Cord(parent.type));
  status.SetPayload(kMissingId, absl::Cord(parent.id));
  return status;
}

struct Stamp {
  std::string column;
  Value value;
};

std::vector<Stamp> StampsOf(const Table& table, const Version* version) {
  std::vector<Stamp> stamps;
  if (version == nullptr) return stamps;
  const EntityConfig& config = table.plan.config;
  if (!config.last_modified_column.empty()) {
    stamps.push_back(
        {config.last_modified_column, FormatStamp(table.plan.time_format, version->last_modified)});
  }
  if (!config.modified_by_column.empty()) {
    stamps.push_back({config.modified_by_column, Value::Text(version->modified_by)});
  }
  if (!config.sync_state_column.empty()) {
    stamps.push_back({config.sync_state_column,
                      table.sync_state_is_text ? Value::Text("Synced") : Value::Integer(1)});
  }
  return stamps;
}

std::string InsertSql(const Table& table, const std::vector<std::string>& more) {
  std::vector<std::string> columns = table.plan.columns;
  columns.insert(columns.end(), more.begin(), more.end());
  return absl::StrCat("INSERT ", table.or_abort, "INTO ", From(table), "(", QuotedList(columns),
                      ") VALUES(", Marks(1, columns.size()), ")");
}

std::vector<std::string> ColumnsOf(const std::vector<Stamp>& stamps) {
  std::vector<std::string> columns;
  for (const Stamp& stamp : stamps) columns.push_back(stamp.column);
  return columns;
}

}  // namespace

void MakeInsertSql(Table* table) {
  const Version any;
  table->insert_sql[0] = InsertSql(*table, {});
  table->insert_sql[1] = InsertSql(*table, ColumnsOf(StampsOf(*table, &any)));
}

std::optional<EntityKey> MissingParent(const absl::Status& status) {
  const auto type = status.GetPayload(kMissingType);
  const auto id = status.GetPayload(kMissingId);
  if (!type.has_value() || !id.has_value()) return std::nullopt;
  return EntityKey{std::string(*type), std::string(*id)};
}

absl::StatusOr<std::vector<Value>> LocalValues(sqlite::Database& db, const Table& table,
                                               const std::vector<Value>& values,
                                               const std::vector<bool>* written,
                                               const ReservedIds* reserved) {
  std::vector<Value> local = values;
  for (size_t i = 0; i < table.translated_at.size(); ++i) {
    const size_t at = table.translated_at[i];
    if (written != nullptr && !(*written)[at]) continue;
    const Translation& translation = table.plan.translations[i];
    PT_ASSIGN_OR_RETURN(std::optional<Value> here,
                        ToLocal(db, *table.whole, translation, values[at]));
    if (!here.has_value()) {
      EntityKey parent{translation.parent, values[at].bytes()};
      const auto promised =
          reserved == nullptr ? ReservedIds::const_iterator() : reserved->find(parent);
      if (reserved == nullptr || promised == reserved->end()) return MissingParentError(parent);
      here = Value::Integer(promised->second);
    }
    local[at] = *std::move(here);
  }
  return local;
}

absl::StatusOr<int64_t> NextLocalId(sqlite::Database& db, const Table& table, Ledger& ledger,
                                    const ReservedIds& reserved) {
  PT_ASSIGN_OR_RETURN(int64_t highest,
                      db.QueryInt(absl::StrCat("SELECT max(", QuoteName(table.plan.local_key),
                                               ") FROM ", From(table))));
  for (const auto& [key, id] : reserved) {
    if (key.type == table.type()) highest = std::max(highest, id);
  }
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> gone, ledger.GreatestGone(table.type()));
  highest = std::max(highest, gone.value_or(0));
  // A number that was given out before stays with what had it.
  const absl::StatusOr<int64_t> sequence = db.QueryInt(absl::StrCat(
      "SELECT seq FROM main.sqlite_sequence WHERE name = ", sqlite::QuoteText(table.plan.table)));
  if (sequence.ok()) highest = std::max(highest, *sequence);
  if (!sequence.ok() && !IsAboutSchema(sequence.status())) return sequence.status();
  return std::max<int64_t>(highest, 0) + 1;
}

absl::Status InsertRow(sqlite::Database& db, const Table& table, const std::vector<Value>& values,
                       const int64_t* local_id, const Version* version) {
  const std::vector<Stamp> stamps = StampsOf(table, version);
  const bool chosen = local_id != nullptr && table.Find(table.plan.local_key) < 0;
  std::string sql;
  if (chosen) {
    std::vector<std::string> more = ColumnsOf(stamps);
    more.push_back(table.plan.local_key);
    sql = InsertSql(table, more);
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(chosen ? sql : table.insert_sql[version == nullptr ? 0 : 1]));
  BindAll(stmt, 1, values);
  int next = static_cast<int>(values.size()) + 1;
  for (const Stamp& stamp : stamps) stmt.Bind(next++, stamp.value);
  if (chosen) stmt.Bind(next, *local_id);
  return stmt.Run();
}

absl::Status UpdateRow(sqlite::Database& db, const Table& table, std::span<const Value> key,
                       const std::vector<Value>& values, const std::vector<bool>& written,
                       const Version* version) {
  std::string sets;
  std::vector<Value> bound;
  const auto set = [&](const std::string& column, const Value& value) {
    bound.push_back(value);
    absl::StrAppend(&sets, sets.empty() ? "" : ", ", QuoteName(column), " = ?", bound.size());
  };
  for (size_t i = 0; i < values.size(); ++i) {
    if (written[i] && !table.IsFixed(i)) set(table.plan.columns[i], values[i]);
  }
  for (const Stamp& stamp : StampsOf(table, version)) set(stamp.column, stamp.value);
  if (bound.empty()) return absl::OkStatus();
  const std::string sql = absl::StrCat("UPDATE ", table.or_abort, From(table), " SET ", sets,
                                       " WHERE ", KeyIs(table.plan.key, bound.size() + 1));
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(sql));
  BindAll(stmt, 1, bound);
  BindAll(stmt, static_cast<int>(bound.size()) + 1, key);
  return stmt.Run();
}

absl::Status DeleteRow(sqlite::Database& db, const Table& table, std::span<const Value> key) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt, db.Prepare(table.delete_sql));
  BindAll(stmt, 1, key);
  return stmt.Run();
}

}  // namespace ptdoc::sync
