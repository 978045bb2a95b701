#include "device-agent/replica/gone_numbers.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/reached.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;
using Numbers = absl::flat_hash_set<int64_t>;

absl::StatusOr<bool> Has(sqlite::Database& db, const std::string& table, const std::string& column,
                         int64_t value) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(absl::StrCat("SELECT 1 FROM main.", QuoteName(table), " WHERE ",
                                              QuoteName(column), " = ?1 LIMIT 1")));
  return stmt.Bind(1, value).Step();
}

// False where it is not: without an index nobody looks.
absl::StatusOr<bool> IsSurelyUnnamed(sqlite::Database& db, const Table& table, int64_t local) {
  for (const Table::Link& link : table.links) {
    if (!link.is_indexed) return false;
    PT_ASSIGN_OR_RETURN(const bool named, Has(db, link.table, link.column, local));
    if (named) return false;
  }
  return true;
}

// Moves those of `wanted` that a link names into `named`: one pass over the links.
absl::Status FindNamed(sqlite::Database& db, const Table::Link& link, Numbers* wanted,
                       Numbers* named) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement stmt,
                      db.Prepare(absl::StrCat("SELECT ", QuoteName(link.column), " FROM main.",
                                              QuoteName(link.table))));
  while (!wanted->empty()) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return absl::OkStatus();
    const Value value = stmt.ColumnValue(0);
    if (value.type() != Value::Type::kInteger) continue;
    if (wanted->erase(value.integer()) > 0) named->insert(value.integer());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status NoteGoneNumber(sqlite::Database& db, const Table& table, Ledger& ledger,
                            const std::string& id, const Value& local) {
  if (table.links.empty() || local.type() != Value::Type::kInteger) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const bool unnamed, IsSurelyUnnamed(db, table, local.integer()));
  if (unnamed) return absl::OkStatus();
  PT_REACHED("a link outlived what it links");
  return ledger.NoteGoneNumber({{table.type(), id}, local.integer()});
}

absl::Status PruneGoneNumbers(
    sqlite::Database& db, Ledger& ledger,
    const std::map<std::string, std::unique_ptr<Table>, std::less<>>& tables) {
  PT_ASSIGN_OR_RETURN(const std::vector<Ledger::GoneNumber> all, ledger.ListGone());
  std::map<std::string, Numbers> named;
  for (const Ledger::GoneNumber& gone : all) named[gone.key.type].insert(gone.local_id);
  for (auto& [type, numbers] : named) {
    Numbers wanted = std::exchange(numbers, {});
    const auto table = tables.find(type);
    if (table == tables.end()) continue;
    for (const Table::Link& link : table->second->links) {
      PT_RETURN_IF_ERROR(FindNamed(db, link, &wanted, &numbers));
    }
  }
  for (const Ledger::GoneNumber& gone : all) {
    bool needed = named[gone.key.type].contains(gone.local_id);
    if (needed) {
      const TablePlan& plan = tables.find(gone.key.type)->second->plan;
      PT_ASSIGN_OR_RETURN(const bool taken, Has(db, plan.table, plan.local_key, gone.local_id));
      needed = !taken;
    }
    if (!needed) PT_RETURN_IF_ERROR(ledger.ForgetGone(gone));
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
