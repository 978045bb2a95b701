// Which integers rows had that are gone, while rows that stayed behind name them.
#include <utility>

#include "common/base/status.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

constexpr char kAny[] = "SELECT EXISTS (SELECT 1 FROM SyncGoneNumbers)";

}  // namespace

absl::Status Ledger::NoteGoneNumber(const GoneNumber& gone) {
  has_gone_.reset();
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("INSERT OR REPLACE INTO SyncGoneNumbers(EntityType, "
                                             "LocalId, EntityId) VALUES (?1, ?2, ?3)"));
  return stmt.Bind(1, gone.key.type).Bind(2, gone.local_id).Bind(3, gone.key.id).Run();
}

absl::StatusOr<std::optional<std::string>> Ledger::OwnerOfGone(absl::string_view type,
                                                               int64_t local_id) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_gone_, kAny));
  if (!any) return std::nullopt;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT EntityId FROM SyncGoneNumbers WHERE "
                                             "EntityType = ?1 AND LocalId = ?2"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, type).Bind(2, local_id).Step());
  return found ? std::optional(std::string(stmt.Text(0))) : std::nullopt;
}

absl::StatusOr<std::optional<int64_t>> Ledger::GoneNumberOf(const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_gone_, kAny));
  if (!any) return std::nullopt;
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT LocalId FROM SyncGoneNumbers WHERE EntityType = ?1 AND "
                                  "EntityId = ?2 ORDER BY LocalId DESC LIMIT 1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, key.type).Bind(2, key.id).Step());
  return found ? std::optional(stmt.Int(0)) : std::nullopt;
}

absl::StatusOr<std::optional<int64_t>> Ledger::GreatestGone(absl::string_view type) {
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_gone_, kAny));
  if (!any) return std::nullopt;
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT LocalId FROM SyncGoneNumbers WHERE EntityType = ?1 "
                                  "ORDER BY LocalId DESC LIMIT 1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, type).Step());
  return found ? std::optional(stmt.Int(0)) : std::nullopt;
}

absl::StatusOr<std::vector<Ledger::GoneNumber>> Ledger::ListGone() {
  std::vector<GoneNumber> all;
  PT_ASSIGN_OR_RETURN(const bool any, HasRows(&has_gone_, kAny));
  if (!any) return all;
  PT_ASSIGN_OR_RETURN(auto stmt,
                      db_.Prepare("SELECT EntityType, EntityId, LocalId FROM SyncGoneNumbers"));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return all;
    all.push_back({{std::string(stmt.Text(0)), std::string(stmt.Text(1))}, stmt.Int(2)});
  }
}

absl::Status Ledger::ForgetGone(const GoneNumber& gone) {
  has_gone_.reset();
  PT_ASSIGN_OR_RETURN(
      auto stmt, db_.Prepare("DELETE FROM SyncGoneNumbers WHERE EntityType = ?1 AND LocalId = ?2"));
  return stmt.Bind(1, gone.key.type).Bind(2, gone.local_id).Run();
}

}  // namespace ptdoc::sync
