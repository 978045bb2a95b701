// Types that leave the configuration, or that the service does not show to this
// device any more, and that come back.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kNotSynced =
    "NOT_SYNCED: this device does not sync this type any more. The row stays as it is, and is sent "
    "when the type is synced again.";
constexpr absl::string_view kNotForUs =
    "NOT_SYNCED: the service does not show this type to this device. The row stays as it is, and "
    "is sent when the device's token and the service's [sync] entity_types include the type.";
constexpr char kRefusedTypes[] = "refused_types";

std::string TableName(absl::string_view type) {
  return absl::StrCat("table:", type);
}

std::string LeftName(absl::string_view type) {
  return absl::StrCat("left:", type);
}

}  // namespace

bool ReplicaImpl::NamesTables() const {
  return options_.plan.all_tables || !options_.plan.entities.empty();
}

// Whether or not its table is there. A table that is away for a while has not left.
bool ReplicaImpl::IsConfigured(absl::string_view type) const {
  const PlanRequest& request = options_.plan;
  if (!NamesTables()) return true;
  const auto is_it = [&](const std::string& one) { return one == type; };
  if (!request.types.empty() && std::none_of(request.types.begin(), request.types.end(), is_it)) {
    return false;
  }
  return request.all_tables ||
         std::any_of(request.entities.begin(), request.entities.end(), [&](const auto& entity) {
           return entity.type.empty() ? absl::EqualsIgnoreCase(entity.table, type)
                                      : entity.type == type;
         });
}

bool ReplicaImpl::IsWanted(absl::string_view type) const {
  return IsConfigured(type) && !refused_types_.contains(type);
}

absl::Status ReplicaImpl::LoadRefusedTypes() {
  PT_ASSIGN_OR_RETURN(const std::string refused, ledger_->Get(kRefusedTypes));
  refused_types_ = absl::StrSplit(refused, '\n', absl::SkipEmpty());
  return absl::OkStatus();
}

// Before the page is applied: it was read without these types, so their rows must
// not be judged by what it lacks. One that is shown again stands in this page, for
// the feed is read anew then.
absl::Status ReplicaImpl::LearnRefusedTypes(
    const std::optional<std::vector<std::string>>& refused) {
  if (!refused.has_value() || PT_PLANTED("what the service refuses is not looked at")) {
    return absl::OkStatus();
  }
  std::set<std::string, std::less<>> now(refused->begin(), refused->end());
  if (now == refused_types_) return absl::OkStatus();
  PT_RETURN_IF_ERROR(ledger_->Put(kRefusedTypes, absl::StrJoin(now, "\n")));
  refused_types_ = std::move(now);
  recheck_objects_ = true;
  PT_REACHED("the service refuses other types than before");
  Log(LogLevel::kWarning, "replica.types_refused",
      {LogField::Count("count", static_cast<int64_t>(refused_types_.size()))});
  return absl::OkStatus();
}

void ReplicaImpl::NoticeRefusedTypes() {
  for (const std::string& type : refused_types_) {
    if (!IsConfigured(type)) continue;
    problems_.push_back(absl::StrCat(
        type,
        " is not synced: the service does not show this type to this device. Its rows stay, and "
        "nothing of them is sent or captured. An administrator can make a token that includes it, "
        "with `sync-service token create --types`, or add it to the service's [sync] entity_types, "
        "if it names some."));
  }
}

std::vector<std::string> ReplicaImpl::TypesToAsk() const {
  std::vector<std::string> types;
  for (const TablePlan& table : plan_.tables) types.push_back(table.type);
  for (const std::string& type : refused_types_) {
    if (IsConfigured(type)) types.push_back(type);
  }
  return types;
}

absl::Status ReplicaImpl::RememberTypes() {
  PT_ASSIGN_OR_RETURN(const std::string before, ledger_->Get("types"));
  std::set<std::string> types = absl::StrSplit(before, '\n', absl::SkipEmpty());
  for (const TablePlan& plan : plan_.tables) {
    types.insert(plan.type);
    PT_RETURN_IF_ERROR(ledger_->Put(TableName(plan.type), plan.table));
  }
  return ledger_->Put("types", absl::StrJoin(types, "\n"));
}

absl::Status ReplicaImpl::LoadRejoining() {
  rejoining_.clear();
  for (const TablePlan& plan : plan_.tables) {
    PT_ASSIGN_OR_RETURN(const int64_t left, ledger_->GetInt(LeftName(plan.type), 0));
    if (left != 0) rejoining_.insert(plan.type);
  }
  return absl::OkStatus();
}

// All that is held of them was told, and every row was compared.
absl::Status ReplicaImpl::EndRejoining() {
  for (const std::string& type : rejoining_) {
    PT_RETURN_IF_ERROR(ledger_->PutInt(LeftName(type), 0));
    PT_REACHED("a type was synced again");
  }
  rejoining_.clear();
  return absl::OkStatus();
}

// It came back before the service heard that it had left: to the service the cursor
// fits, but the type's states are forgotten, and what it missed is behind it.
absl::StatusOr<bool> ReplicaImpl::CursorSkipsTypes() {
  if (rejoining_.empty() || PT_PLANTED("the cursor of a type that left is kept")) return false;
  PT_ASSIGN_OR_RETURN(const int64_t old, ledger_->GetInt("cursor_of_left", 0));
  return old != 0;
}

// A type that left keeps its rows; its triggers are gone already. What was
// captured until then stands in the queue, and waits. What was known of its rows
// is forgotten, for nobody hears of their edits from here on; but not where an
// item waits: it is an edit of that base.
absl::Status ReplicaImpl::LeaveTypes(int64_t schema_version) {
  PT_ASSIGN_OR_RETURN(const std::string known, ledger_->Get("types"));
  std::vector<std::string> stay;
  std::vector<std::string> left;
  for (const absl::string_view type : absl::StrSplit(known, '\n', absl::SkipEmpty())) {
    (IsWanted(type) ? stay : left).emplace_back(type);
  }
  if (left.empty()) return absl::OkStatus();
  PT_RETURN_IF_ERROR(DrainLeft(left, schema_version));
  PT_RETURN_IF_ERROR(At("left_drained"));
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  for (const std::string& type : left) {
    PT_RETURN_IF_ERROR(
        ledger_->ForgetType(type, refused_types_.contains(type) ? kNotForUs : kNotSynced));
    PT_RETURN_IF_ERROR(ledger_->PutInt(LeftName(type), 1));
    PT_RETURN_IF_ERROR(ledger_->PutInt(absl::StrCat("columns:", type), 0));
    PT_REACHED("a type was left");
    Log(LogLevel::kInfo, "replica.type_left", {LogField::Code("type", type)});
  }
  PT_RETURN_IF_ERROR(ledger_->Put("types", absl::StrJoin(stay, "\n")));
  PT_ASSIGN_OR_RETURN(const std::string cursor, ledger_->Get("cursor"));
  if (!cursor.empty()) PT_RETURN_IF_ERROR(ledger_->PutInt("cursor_of_left", 1));
  return tx.Commit();
}

// By the plan of before: the log rows of these tables are nobody's in the new one.
absl::Status ReplicaImpl::DrainLeft(const std::vector<std::string>& left, int64_t schema_version) {
  if (Recovering() || PT_PLANTED("what was captured of a type that leaves is dropped")) {
    return absl::OkStatus();
  }
  Plan plan = plan_;
  for (const std::string& type : left) {
    PT_ASSIGN_OR_RETURN(PlanRequest request, RequestOf());
    request.all_tables = false;
    request.types.clear();
    request.refused_types.clear();
    EntityConfig entity;
    entity.type = type;
    PT_ASSIGN_OR_RETURN(entity.table, ledger_->Get(TableName(type)));
    if (entity.table.empty()) entity.table = type;
    PT_ASSIGN_OR_RETURN(const std::string key, ledger_->Get(absl::StrCat("key:", type)));
    entity.key = absl::StrSplit(key, ", ", absl::SkipEmpty());
    request.entities = {std::move(entity)};
    absl::StatusOr<Plan> of_type = MakePlan(*app_, request);
    // Gone, or not as it was: its log rows name nothing any more.
    if (absl::IsNotFound(of_type.status())) continue;
    PT_RETURN_IF_ERROR(of_type.status());
    for (TablePlan& table : of_type->tables) plan.tables.push_back(std::move(table));
  }
  const std::vector<std::string> problems = problems_;
  std::swap(plan_, plan);
  schema_version_ = schema_version;
  absl::Status status = MakeTables();
  if (status.ok()) status = DrainNow();
  std::swap(plan_, plan);
  schema_version_ = -1;
  PT_RETURN_IF_ERROR(status);
  PT_RETURN_IF_ERROR(MakeTables());
  problems_ = problems;
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
