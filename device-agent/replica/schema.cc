// The plan of what is synced, and our objects in the app's file.
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/reached.h"
#include "common/base/status.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

// Names and numbers as they stand in the ledger's meta values.
std::string EncodeNumbers(const std::map<std::string, int>& numbers) {
  ByteWriter out;
  for (const auto& [table, number] : numbers) {
    out.String(table);
    out.Varint(static_cast<uint64_t>(number));
  }
  return out.Take();
}

std::map<std::string, int> DecodeNumbers(absl::string_view bytes) {
  std::map<std::string, int> numbers;
  ByteReader in(bytes);
  while (in.ok() && !in.AtEnd()) {
    const std::string table(in.String());
    numbers[table] = static_cast<int>(in.Varint());
  }
  return numbers;
}

// Which of a table's integers mean rows of which type; never empty.
std::string ReferencesText(const TablePlan& table) {
  std::string text;
  for (const Translation& translation : table.translations) {
    const bool number = translation.kind == TranslationKind::kNumber;
    absl::StrAppend(&text, text.empty() ? "" : ", ", translation.column,
                    number ? " = number of " : " = ", translation.parent);
  }
  return text.empty() ? "none" : text;
}

// The key's columns that ignore case; never empty.
std::string IgnoredCaseText(const TablePlan& table) {
  std::vector<std::string> columns;
  for (size_t i = 0; i < table.key.size(); ++i) {
    const bool ignores_case = i < table.ignores_case.size() && table.ignores_case[i];
    if (ignores_case) columns.push_back(table.key[i]);
  }
  return columns.empty() ? "none" : absl::StrJoin(columns, ", ");
}

// What of the key is not as the ledger knows it; empty = nothing.
absl::StatusOr<std::string> OtherKey(Ledger& ledger, const TablePlan& table) {
  const std::string now = absl::StrJoin(table.key, ", ");
  PT_ASSIGN_OR_RETURN(const std::string known, ledger.Get(absl::StrCat("key:", table.type)));
  if (!known.empty() && known != now) return absl::StrCat("its key was ", known, " and is ", now);
  const std::string ignores = IgnoredCaseText(table);
  PT_ASSIGN_OR_RETURN(const std::string ignored, ledger.Get(absl::StrCat("key_case:", table.type)));
  if (ignored.empty() || ignored == ignores) return std::string();
  return absl::StrCat("the columns of its key that ignore case (COLLATE NOCASE) were ", ignored,
                      " and are ", ignores);
}

}  // namespace

Table* ReplicaImpl::TableOf(absl::string_view type) {
  const auto found = tables_.find(type);
  return found == tables_.end() ? nullptr : found->second.get();
}

absl::StatusOr<PlanRequest> ReplicaImpl::RequestOf() {
  PlanRequest request = options_.plan;
  for (EntityConfig& entity : request.entities) {
    if (entity.user.empty()) entity.user = options_.user;
  }
  request.refused_types = refused_types_;
  PT_ASSIGN_OR_RETURN(const std::string numbers, ledger_->Get("table_numbers"));
  for (const auto& [table, number] : DecodeNumbers(numbers)) {
    request.numbers.emplace(table, number);
  }
  return request;
}

absl::StatusOr<Plan> ReplicaImpl::PlanOfWhatIsThere() {
  problems_.clear();
  NoticeRefusedTypes();
  PT_ASSIGN_OR_RETURN(Plan plan, PlanOfTables());
  PT_RETURN_IF_ERROR(LeaveOutOtherKeys(&plan));
  return plan;
}

// Under another key every row would be another entity: all that the service
// knows would go. So it is where a column's integers mean something else than
// before. Only `init` accepts that.
absl::Status ReplicaImpl::LeaveOutOtherKeys(Plan* plan) {
  std::set<std::string> others;
  for (const TablePlan& table : plan->tables) {
    const std::string refers = ReferencesText(table);
    PT_ASSIGN_OR_RETURN(const std::string referred,
                        ledger_->Get(absl::StrCat("references:", table.type)));
    if (!referred.empty() && referred != refers && !accepts_new_keys_) {
      others.insert(table.type);
      problems_.push_back(absl::StrCat(
          table.table, " is not as it was: its columns refer to rows of ", refers, ", before of ",
          referred,
          ". Its changes stay queued and nothing is applied to it until they do as before, or "
          "`device-agent init` takes it so for good."));
      continue;
    }
    PT_ASSIGN_OR_RETURN(const std::string other_key, OtherKey(*ledger_, table));
    if (other_key.empty() || accepts_new_keys_) continue;
    others.insert(table.type);
    problems_.push_back(absl::StrCat(
        table.table, " is not as it was: ", other_key,
        ". Its changes stay queued and nothing is applied to it until its key is the old one, or "
        "`device-agent init` takes the new one for good."));
  }
  // Without a table nobody knows what the integers of others mean.
  for (bool again = true; again;) {
    again = false;
    for (const TablePlan& table : plan->tables) {
      for (const Translation& translation : table.translations) {
        if (!others.contains(translation.parent) || others.contains(table.type)) continue;
        again = others.insert(table.type).second;
        problems_.push_back(absl::StrCat(table.table, " waits: its column ", translation.column,
                                         " refers to rows of ", translation.parent, "."));
      }
    }
  }
  std::erase_if(plan->tables, [&](const TablePlan& table) { return others.contains(table.type); });
  return absl::OkStatus();
}

// A table that is gone must not stop the others.
absl::StatusOr<Plan> ReplicaImpl::PlanOfTables() {
  PT_ASSIGN_OR_RETURN(PlanRequest request, RequestOf());
  absl::StatusOr<Plan> whole = MakePlan(*app_, request);
  if (!absl::IsNotFound(whole.status())) return whole;
  PlanRequest there = request;
  there.entities.clear();
  for (const EntityConfig& entity : request.entities) {
    PlanRequest one = request;
    one.all_tables = false;
    one.entities = {entity};
    const absl::StatusOr<Plan> plan = MakePlan(*app_, one);
    if (plan.ok()) {
      there.entities.push_back(entity);
    } else if (absl::IsNotFound(plan.status())) {
      problems_.push_back(absl::StrCat(
          entity.table, " is not as it was: ", absl::StripSuffix(plan.status().message(), "."),
          ". Its changes stay queued and nothing is applied to it until it is back."));
    } else {
      return plan.status();
    }
  }
  if (there.entities.empty() && !there.all_tables) return Plan();
  return MakePlan(*app_, there);
}

absl::Status ReplicaImpl::MakeTables() {
  PT_ASSIGN_OR_RETURN(const std::vector<TableInfo> schema, ReadSchema(*app_));
  tables_.clear();
  references_ = ReferencesOf(schema);
  for (const TablePlan& plan : plan_.tables) {
    PT_ASSIGN_OR_RETURN(Table table, MakeTable(plan_, plan, schema, *app_, *ledger_));
    tables_[plan.type] = std::make_unique<Table>(std::move(table));
  }
  for (const Refusal& refusal : plan_.refusals) {
    if (options_.plan.all_tables) continue;
    problems_.push_back(absl::StrCat(refusal.table, " is not synced: ", refusal.what));
  }
  comparison_.reset();
  return NoticeLostTypes();
}

absl::Status ReplicaImpl::NoticeLostTypes() {
  PT_ASSIGN_OR_RETURN(const std::string known, ledger_->Get("types"));
  if (!options_.plan.all_tables) return absl::OkStatus();
  for (const absl::string_view type : absl::StrSplit(known, '\n', absl::SkipEmpty())) {
    if (TableOf(type) != nullptr || !IsWanted(type)) continue;
    problems_.push_back(
        absl::StrCat("The table of ", type, " is gone. Its changes stay queued until it is back."));
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::RememberPlan() {
  PT_ASSIGN_OR_RETURN(const std::string before, ledger_->Get("table_numbers"));
  std::map<std::string, int> numbers = DecodeNumbers(before);
  for (const TablePlan& plan : plan_.tables) numbers[plan.table] = plan.number;
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger_->Begin());
  for (const TablePlan& plan : plan_.tables) {
    PT_RETURN_IF_ERROR(
        ledger_->Put(absl::StrCat("key:", plan.type), absl::StrJoin(plan.key, ", ")));
    PT_RETURN_IF_ERROR(ledger_->Put(absl::StrCat("key_case:", plan.type), IgnoredCaseText(plan)));
    const std::string name = absl::StrCat("references:", plan.type);
    const std::string refers = ReferencesText(plan);
    PT_ASSIGN_OR_RETURN(const std::string referred, ledger_->Get(name));
    if (referred == refers) continue;
    // What stands in these columns is something else than the states say.
    if (!referred.empty()) PT_RETURN_IF_ERROR(WantComparison());
    PT_RETURN_IF_ERROR(ledger_->Put(name, refers));
  }
  PT_RETURN_IF_ERROR(RememberNumbers());
  for (const auto& [type, table] : tables_) {
    const std::string name = absl::StrCat("columns:", type);
    PT_ASSIGN_OR_RETURN(const int64_t columns, ledger_->GetInt(name, 0));
    if (columns == table->columns_id) continue;
    // Other columns than before: what the device dropped so far is fetched.
    if (columns != 0) PT_RETURN_IF_ERROR(WantComparison());
    PT_RETURN_IF_ERROR(ledger_->PutInt(name, table->columns_id));
  }
  PT_RETURN_IF_ERROR(ledger_->Put("table_numbers", EncodeNumbers(numbers)));
  PT_RETURN_IF_ERROR(RememberTypes());
  return tx.Commit();
}

// Rows that were there before a table got an id_range keep their numbers: the
// highest of them tells these from rows that the app made outside of it since.
absl::Status ReplicaImpl::RememberNumbers() {
  for (const TablePlan& plan : plan_.tables) {
    if (!plan.config.id_range.has_value()) continue;
    const std::string name = absl::StrCat("numbers:", plan.type);
    PT_ASSIGN_OR_RETURN(const std::string known, ledger_->Get(name));
    if (!known.empty()) continue;
    const std::string key = sqlite::QuoteName(plan.key[0]);
    PT_ASSIGN_OR_RETURN(
        const int64_t highest,
        app_->QueryInt(absl::StrCat(
            "SELECT max(abs(", key, ")) FROM main.", sqlite::QuoteName(plan.table), " WHERE ", key,
            " NOT BETWEEN ", plan.config.id_range->low, " AND ", plan.config.id_range->high)));
    PT_RETURN_IF_ERROR(ledger_->PutInt(name, highest));
  }
  return absl::OkStatus();
}

absl::Status ReplicaImpl::RefreshSchema() {
  PT_ASSIGN_OR_RETURN(int64_t version, app_->QueryInt("PRAGMA schema_version"));
  if (version == schema_version_ && !recheck_objects_) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(plan_, PlanOfWhatIsThere());
  PT_RETURN_IF_ERROR(MakeTables());
  if (!NamesTables()) {
    // A verb that found no configuration: what others have installed is not its own.
    schema_version_ = version;
    recheck_objects_ = false;
    return absl::OkStatus();
  }
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> missing, CheckObjects(*app_, plan_));
  if (!missing.empty()) {
    PT_REACHED("missing triggers were put back");
    Log(LogLevel::kWarning, "replica.objects_missing",
        {LogField::Count("count", static_cast<int64_t>(missing.size()))});
    PT_RETURN_IF_ERROR(PutObjectsBack());
    PT_ASSIGN_OR_RETURN(version, app_->QueryInt("PRAGMA schema_version"));
  }
  PT_RETURN_IF_ERROR(LeaveTypes(version));
  PT_RETURN_IF_ERROR(RememberPlan());
  PT_RETURN_IF_ERROR(LoadRejoining());
  schema_version_ = version;
  // Not before: whatever was in the way, the next call does all of it.
  recheck_objects_ = false;
  retry_set_aside_ = true;
  return absl::OkStatus();
}

// Nothing is read for sending and nothing applied before this is done: what
// the app wrote in between was captured by nobody, so every row is compared.
absl::Status ReplicaImpl::PutObjectsBack() {
  Work work;
  work.kind = "mark";
  work.compare = true;
  PT_ASSIGN_OR_RETURN(const Intent intent, OpenNewIntent(work));
  const absl::Status written = [&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(*app_));
    PT_RETURN_IF_ERROR(Install(*app_, plan_, rng_).status());
    PT_ASSIGN_OR_RETURN(ControlRow control, ReadControl(*app_));
    control.page_number = intent.page_number;
    control.page_tag = intent.page_tag;
    control.clock_offset_ns = clock_offset_;
    PT_RETURN_IF_ERROR(WriteControl(*app_, control));
    return tx.Commit();
  }();
  if (!written.ok()) {
    if (sqlite::IsBusy(written)) PT_RETURN_IF_ERROR(DropIntent(intent));
    return written;
  }
  PT_RETURN_IF_ERROR(At("put_back"));
  return SettleInLedger(work, &intent);
}

}  // namespace ptdoc::sync
