#include "device-agent/replica/log_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/capture/local_key.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kChunkRows = 4096;
// What an import may bring at once; beyond it deletions are found by comparing.
constexpr size_t kEventsMax = 200'000;

}  // namespace

// All of them: what happened after a row was logged tells what was so before.
absl::Status LogKeys::LoadEvents() {
  if (loaded_) return absl::OkStatus();
  loaded_ = true;
  size_t count = 0;
  int64_t seq = after_;
  while (!too_many_) {
    PT_ASSIGN_OR_RETURN(std::vector<LogRow> rows, ReadLog(db_, plan_, seq, kChunkRows));
    for (LogRow& row : rows) {
      seq = row.seq;
      if (row.local_key.type() != Value::Type::kInteger) continue;
      too_many_ = ++count > kEventsMax;
      std::vector<LogRow>& events = events_[{row.table, row.local_key.integer()}];
      events.push_back(std::move(row));
    }
    if (rows.size() < kChunkRows) break;
  }
  if (too_many_) events_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> LogKeys::IdOf(const LogRow& event) {
  PT_ASSIGN_OR_RETURN(const Name name, NameOf(event));
  return name.verdict == Verdict::kKnown ? std::optional(name.id) : std::nullopt;
}

// Whose the integer was when `row` was logged.
absl::StatusOr<std::optional<std::string>> LogKeys::OwnerOf(const TablePlan& parent,
                                                            const Value& local, const LogRow& row) {
  // Pinned: no integer is a BLOB.
  if (local.type() == Value::Type::kBlob) return std::optional(std::string(local.bytes()));
  if (local.type() != Value::Type::kInteger) return IdOfLocal(db_, plan_, parent, local, gone_);
  PT_RETURN_IF_ERROR(LoadEvents());
  const std::pair<int, int64_t> which(parent.number, local.integer());
  const auto found = events_.find(which);
  const LogRow* before = nullptr;
  const LogRow* after = nullptr;
  if (found != events_.end()) {
    for (const LogRow& event : found->second) {
      if (event.seq < row.seq) before = &event;
      if (event.seq > row.seq && after == nullptr) after = &event;
    }
  }
  const bool deletes = row.op == 'D';
  // What goes after its parent went with it. What is written then waits for
  // another one of that number.
  if (before != nullptr && (before->op != 'D' || deletes)) return IdOf(*before);
  if (before == nullptr && owners_ != nullptr) {
    const auto owner = owners_->find(which);
    if (owner != owners_->end()) return std::optional(owner->second);
  }
  if (after != nullptr && (after->op != 'I' || !deletes)) return IdOf(*after);
  if (deletes && (after != nullptr || too_many_)) return std::optional<std::string>();
  return IdOfLocal(db_, plan_, parent, local, gone_);
}

absl::StatusOr<LogKeys::Name> LogKeys::NameOf(const LogRow& row) {
  const TablePlan* table = plan_.ByNumber(row.table);
  if (table == nullptr || row.key.size() != table->key.size()) return Name{};
  std::vector<Value> key = row.key;
  for (size_t i = 0; i < key.size(); ++i) {
    const Translation* translation = TranslationOf(*table, table->key[i]);
    if (translation == nullptr || key[i].is_null()) continue;
    if (translation->kind == TranslationKind::kNumber) {
      key[i] = SharedNumber(key[i]);
      continue;
    }
    const TablePlan* parent = plan_.ByType(translation->parent);
    if (parent == nullptr) return Name{};
    PT_ASSIGN_OR_RETURN(std::optional<std::string> owner, OwnerOf(*parent, key[i], row));
    if (!owner.has_value()) {
      return Name{row.op == 'D' ? Verdict::kGone : Verdict::kInvalid, "", {}};
    }
    key[i] = Value::Text(*std::move(owner));
  }
  absl::StatusOr<std::string> id = EntityIdOf(*table, key);
  if (!id.ok()) return Name{};
  return Name{Verdict::kKnown, *std::move(id), std::move(key)};
}

absl::Status LogKeys::Pin(const LogRow& row, const Name& name) {
  const TablePlan* table = plan_.ByNumber(row.table);
  for (size_t i = 0; i < name.key.size(); ++i) {
    const bool is_pinned = row.key[i].type() != Value::Type::kInteger;
    if (is_pinned || name.key[i].type() != Value::Type::kText) continue;
    if (TranslationOf(*table, table->key[i]) == nullptr) continue;
    PT_ASSIGN_OR_RETURN(
        sqlite::Statement stmt,
        db_.Prepare(absl::StrCat("UPDATE main.SyncLog SET K", i + 1, " = ?1 WHERE Seq = ?2")));
    PT_RETURN_IF_ERROR(stmt.BindBlob(1, name.key[i].bytes()).Bind(2, row.seq).Run());
  }
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
