#include "device-agent/capture/propose.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

// A link can be named once what it links can be: so many steps are looked ahead.
constexpr int kStepsMax = 8;

EntityConfig* FindEntity(absl::string_view table, std::vector<EntityConfig>* entities) {
  for (EntityConfig& entity : *entities) {
    if (absl::EqualsIgnoreCase(entity.table, table)) return &entity;
  }
  return nullptr;
}

// False if the plan has nothing to add.
bool AddKeys(const Plan& plan, PlanRequest* request, std::vector<std::string>* tables) {
  bool added = false;
  for (const Refusal& refusal : plan.refusals) {
    if (refusal.useful_key.empty()) continue;
    EntityConfig* entity = FindEntity(refusal.table, &request->entities);
    if (entity == nullptr) entity = &request->entities.emplace_back();
    if (!entity->key.empty()) continue;
    entity->table = refusal.table;
    entity->key = refusal.useful_key;
    tables->push_back(refusal.table);
    added = true;
  }
  return added;
}

}  // namespace

absl::StatusOr<std::vector<EntityConfig>> ProposeEntities(sqlite::Database& db,
                                                          const PlanRequest& request) {
  PlanRequest with_keys = request;
  with_keys.count_rows = false;
  std::vector<std::string> tables;
  Plan plan;
  for (int step = 0; step < kStepsMax; ++step) {
    PT_ASSIGN_OR_RETURN(plan, MakePlan(db, with_keys));
    if (!AddKeys(plan, &with_keys, &tables)) break;
  }
  std::vector<EntityConfig> proposed;
  for (const std::string& table : tables) {
    const TablePlan* entry = plan.ByTable(table);
    if (entry == nullptr) continue;
    EntityConfig& entity = proposed.emplace_back();
    entity.table = entry->table;
    entity.key = entry->key;
  }
  return proposed;
}

}  // namespace ptdoc::sync
