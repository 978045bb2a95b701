#include "device-agent/capture/local_key.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "device-agent/capture/entity_key.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;

std::string KeyIs(const TablePlan& table) {
  std::string out;
  for (size_t i = 0; i < table.key.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : " AND ", QuoteName(table.key[i]), " = ?", i + 1);
  }
  return out;
}

std::string From(const TablePlan& table) {
  return absl::StrCat(" FROM main.", QuoteName(table.table), " WHERE ");
}

absl::StatusOr<bool> HasNumber(sqlite::Database& db, const TablePlan& table, int64_t number) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(absl::StrCat("SELECT 1", From(table), KeyIs(table))));
  return stmt.Bind(1, number).Step();
}

// Where the range was another one before, rows stand where that one put them:
// what is there tells, and the range only where nothing is.
absl::StatusOr<Value> LocalNumber(sqlite::Database& db, const TablePlan& table,
                                  const Value& shared) {
  if (shared.type() != Value::Type::kInteger || shared.integer() <= 0) return shared;
  const int64_t number = shared.integer();
  PT_ASSIGN_OR_RETURN(const bool turned, HasNumber(db, table, -number));
  if (turned) return Value::Integer(-number);
  PT_ASSIGN_OR_RETURN(const bool there, HasNumber(db, table, number));
  const std::optional<IdRange>& range = table.config.id_range;
  if (there || !range.has_value() || number <= range->high) return shared;
  return Value::Integer(-number);
}

// Unless another row has it now: then nothing names the old one any more.
absl::StatusOr<std::optional<Value>> NumberOfGone(sqlite::Database& db, const TablePlan& parent,
                                                  absl::string_view id, const GoneRows* gone) {
  if (gone == nullptr) return std::optional<Value>();
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> number, gone->NumberOf(parent.type, id));
  if (!number.has_value()) return std::optional<Value>();
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement stmt,
      db.Prepare(absl::StrCat("SELECT 1", From(parent), QuoteName(parent.local_key), " = ?1")));
  PT_ASSIGN_OR_RETURN(const bool taken, stmt.Bind(1, *number).Step());
  return taken ? std::nullopt : std::optional(Value::Integer(*number));
}

}  // namespace

bool MeansNoRow(const Value& value) {
  return value.type() == Value::Type::kInteger && value.integer() <= 0;
}

Value SharedNumber(const Value& local) {
  const bool turned = local.type() == Value::Type::kInteger && local.integer() < 0 &&
                      local.integer() != std::numeric_limits<int64_t>::min();
  return turned ? Value::Integer(-local.integer()) : local;
}

absl::StatusOr<std::optional<std::string>> IdOfLocal(sqlite::Database& db, const Plan& plan,
                                                     const TablePlan& parent, const Value& local,
                                                     const GoneRows* gone) {
  std::string columns;
  for (const std::string& column : parent.key) {
    absl::StrAppend(&columns, columns.empty() ? "SELECT " : ", ", QuoteName(column));
  }
  std::vector<Value> key;
  {
    PT_ASSIGN_OR_RETURN(
        sqlite::Statement stmt,
        db.Prepare(absl::StrCat(columns, From(parent), QuoteName(parent.local_key), " = ?1")));
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, local).Step());
    if (!found && gone != nullptr && local.type() == Value::Type::kInteger) {
      return gone->OwnerOf(parent.type, local.integer());
    }
    if (!found) return std::optional<std::string>();
    for (int i = 0; i < stmt.column_count(); ++i) key.push_back(stmt.ColumnValue(i));
  }
  PT_ASSIGN_OR_RETURN(const auto shared, SharedKey(db, plan, parent, key, gone));
  if (!shared.has_value()) return std::optional<std::string>();
  const absl::StatusOr<std::string> id = EntityIdOf(parent, *shared);
  return id.ok() ? std::optional(*id) : std::nullopt;
}

absl::StatusOr<std::optional<Value>> LocalOfId(sqlite::Database& db, const Plan& plan,
                                               const TablePlan& parent, absl::string_view id,
                                               const GoneRows* gone) {
  const absl::StatusOr<std::vector<Value>> shared = KeyOfEntityId(parent, id);
  if (!shared.ok()) return std::optional<Value>();
  PT_ASSIGN_OR_RETURN(const auto key, LocalKey(db, plan, parent, *shared, gone));
  if (!key.has_value()) return NumberOfGone(db, parent, id, gone);
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(absl::StrCat("SELECT ", QuoteName(parent.local_key), From(parent),
                                              KeyIs(parent))));
  for (size_t i = 0; i < key->size(); ++i) stmt.Bind(static_cast<int>(i) + 1, (*key)[i]);
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
  if (!found) return NumberOfGone(db, parent, id, gone);
  return std::optional(stmt.ColumnValue(0));
}

absl::StatusOr<std::optional<Value>> ToShared(sqlite::Database& db, const Plan& plan,
                                              const Translation& translation, const Value& local,
                                              const GoneRows* gone) {
  if (local.is_null()) return std::optional(local);
  if (translation.kind == TranslationKind::kNumber) return std::optional(SharedNumber(local));
  const TablePlan* parent = plan.ByType(translation.parent);
  if (parent == nullptr) return std::optional<Value>();
  PT_ASSIGN_OR_RETURN(std::optional<std::string> id, IdOfLocal(db, plan, *parent, local, gone));
  if (!id.has_value()) return MeansNoRow(local) ? std::optional(local) : std::nullopt;
  return std::optional(Value::Text(*std::move(id)));
}

absl::StatusOr<std::optional<Value>> ToLocal(sqlite::Database& db, const Plan& plan,
                                             const Translation& translation, const Value& shared,
                                             const GoneRows* gone) {
  const TablePlan* parent = plan.ByType(translation.parent);
  if (translation.kind == TranslationKind::kNumber && parent != nullptr) {
    PT_ASSIGN_OR_RETURN(Value number, LocalNumber(db, *parent, shared));
    return std::optional(std::move(number));
  }
  if (shared.type() != Value::Type::kText) return std::optional(shared);
  if (parent == nullptr) return std::optional<Value>();
  return LocalOfId(db, plan, *parent, shared.bytes(), gone);
}

absl::StatusOr<std::optional<std::vector<Value>>> LocalKey(sqlite::Database& db, const Plan& plan,
                                                           const TablePlan& table,
                                                           std::span<const Value> shared,
                                                           const GoneRows* gone) {
  std::vector<Value> key(shared.begin(), shared.end());
  for (size_t i = 0; i < key.size(); ++i) {
    const Translation* translation = TranslationOf(table, table.key[i]);
    if (translation == nullptr) continue;
    PT_ASSIGN_OR_RETURN(std::optional<Value> local, ToLocal(db, plan, *translation, key[i], gone));
    if (!local.has_value()) return std::optional<std::vector<Value>>();
    key[i] = *std::move(local);
  }
  return std::optional(std::move(key));
}

absl::StatusOr<std::optional<std::vector<Value>>> SharedKey(sqlite::Database& db, const Plan& plan,
                                                            const TablePlan& table,
                                                            std::span<const Value> local,
                                                            const GoneRows* gone) {
  std::vector<Value> key(local.begin(), local.end());
  for (size_t i = 0; i < key.size(); ++i) {
    const Translation* translation = TranslationOf(table, table.key[i]);
    if (translation == nullptr) continue;
    PT_ASSIGN_OR_RETURN(std::optional<Value> shared,
                        ToShared(db, plan, *translation, key[i], gone));
    if (!shared.has_value()) return std::optional<std::vector<Value>>();
    key[i] = *std::move(shared);
  }
  return std::optional(std::move(key));
}

}  // namespace ptdoc::sync
