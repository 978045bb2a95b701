#include "device-agent/rpc/why.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

// Of the items, and of the archives, the newest.
constexpr int64_t kShownMax = 3;

struct Facts {
  std::vector<QueueItem> items;        // oldest first
  std::vector<ArchiveEntry> archives;  // oldest first
  std::optional<RowState> state;
  std::optional<StaleNote> stale;
  std::optional<SetAside> set_aside;

  bool empty() const { return items.empty() && archives.empty() && !state && !stale && !set_aside; }
};

// Of either table, the newest rows of one entity.
absl::StatusOr<std::vector<int64_t>> NewestIds(Ledger& ledger, const char* table,
                                               const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(
      auto stmt, ledger.db().Prepare(absl::StrCat("SELECT Id FROM ", table,
                                                  " WHERE EntityType = ?1 AND EntityId = ?2 ORDER "
                                                  "BY Id DESC LIMIT ?3")));
  stmt.Bind(1, key.type).Bind(2, key.id).Bind(3, kShownMax);
  std::vector<int64_t> ids;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) break;
    ids.push_back(stmt.Int(0));
  }
  std::reverse(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<Facts> Collect(Ledger& ledger, const EntityKey& key) {
  Facts facts;
  PT_ASSIGN_OR_RETURN(const std::vector<int64_t> items, NewestIds(ledger, "SyncQueueItems", key));
  for (const int64_t id : items) {
    PT_ASSIGN_OR_RETURN(std::optional<QueueItem> item, ledger.FindItem(id));
    if (item.has_value()) facts.items.push_back(*std::move(item));
  }
  PT_ASSIGN_OR_RETURN(const std::vector<int64_t> archives,
                      NewestIds(ledger, "SyncConflictArchives", key));
  for (const int64_t id : archives) {
    PT_ASSIGN_OR_RETURN(std::optional<ArchiveEntry> entry, ledger.FindArchive(absl::StrCat(id)));
    if (entry.has_value()) facts.archives.push_back(*std::move(entry));
  }
  PT_ASSIGN_OR_RETURN(facts.state, ledger.FindState(key));
  PT_ASSIGN_OR_RETURN(facts.stale, ledger.FindStale(key));
  PT_ASSIGN_OR_RETURN(facts.set_aside, ledger.FindSetAside(key));
  return facts;
}

std::string AtText(const std::optional<absl::Time>& at) {
  return at.has_value() ? absl::StrCat(" at ", FormatUtc(*at)) : std::string();
}

// Something else than the link stands in its way; what, its message says.
bool Waits(const QueueItem& item) {
  return absl::StartsWith(item.error_message, "WAITS_FOR_PARENT") ||
         absl::StartsWith(item.error_message, "NOT_SYNCED");
}

std::string WhatBecameOf(const QueueItem& item) {
  switch (item.status) {
    case ItemStatus::kPending:
      if (item.held) return "is held: such a deletion waits for a person";
      return absl::StrCat(item.initial ? "is Pending, of the first upload" : "is Pending",
                          Waits(item) ? absl::StrCat(": ", item.error_message) : "");
    case ItemStatus::kProcessing:
      return absl::StrCat("was sent in batch ", item.batch_id, " and has no answer yet");
    case ItemStatus::kCompleted:
      return absl::StrCat("was Completed", AtText(item.completed_at),
                          item.batch_id.empty() ? "" : absl::StrCat(", in batch ", item.batch_id));
    case ItemStatus::kFailed:
      return absl::StrCat("Failed, attempt ", item.retry_count, " of ", item.max_retries, ": ",
                          item.error_message);
    case ItemStatus::kCancelled:
      return absl::StrCat("was Cancelled", AtText(item.completed_at));
  }
  return "";
}

std::string LineOf(const QueueItem& item) {
  return absl::StrCat(OperationName(item.operation), " captured; item ", item.id, " ",
                      absl::StripSuffix(WhatBecameOf(item), "."), ".");
}

std::string LineOf(const ArchiveEntry& entry) {
  return absl::StrCat("A version of this device was archived as ", entry.conflict_id, ": ",
                      entry.resolution_type,
                      entry.rule.empty() ? "" : absl::StrCat(", rule ", entry.rule), ". ",
                      entry.is_resolved ? absl::StrCat("Resolved: ", entry.resolved_action, ".")
                                        : "Nobody has looked at it yet.");
}

std::string LineOf(const RowState& state) {
  if (state.revision == 0) return "The service never had this row, as far as the device knows.";
  return absl::StrCat(
      "The service's revision ", state.revision, ", last modified at ",
      FormatUtc(FromTimeNs(state.time)), ", is what this device had last.",
      state.unconfirmed ? " The service has yet to confirm that it still has it." : "");
}

std::string LineOf(const StaleNote& stale) {
  if (stale.backfill) {
    return absl::StrCat("The app has gained a column: what the service holds in it (revision ",
                        stale.revision, " or newer) is to be filled in.");
  }
  if (stale.put_back) {
    return absl::StrCat("The service's version (revision ", stale.revision,
                        " or newer) is to be put back into the app's table.");
  }
  return absl::StrCat("Revision ", stale.revision,
                      " is known, and not applied: an edit of this device comes first.");
}

std::string LineOf(const SetAside& aside) {
  return absl::StrCat("Revision ", aside.version.revision,
                      " is set aside: the app's schema refuses it (", aside.code,
                      aside.constraint.empty() ? "" : absl::StrCat(", ", aside.constraint),
                      "), tried ", aside.attempts, " times.");
}

std::string NextOfItem(const QueueItem& item, bool is_away) {
  if (item.held) return "Next: `device-agent queue confirm` lets it go.";
  switch (item.status) {
    case ItemStatus::kPending:
      if (Waits(item)) return "Next: it goes by itself when that is over.";
      return is_away ? "Next: it goes when its table can be read and is synced again."
                     : "Next: it is sent as soon as the service can be reached.";
    case ItemStatus::kProcessing:
      return "Next: the service's answer; after a cut, the same batch is asked for again.";
    case ItemStatus::kFailed:
      if (item.retry_count >= item.max_retries) {
        return absl::StrCat("Next: nothing by itself. `device-agent queue retry ", item.id,
                            "` or `queue cancel ", item.id, "`.");
      }
      return absl::StrCat("Next: it is sent again", AtText(item.next_attempt_at), ".");
    case ItemStatus::kCompleted:
    case ItemStatus::kCancelled:
      break;
  }
  return "";
}

bool IsOpen(const QueueItem& item) {
  return item.status == ItemStatus::kPending || item.status == ItemStatus::kProcessing ||
         item.status == ItemStatus::kFailed;
}

std::string Next(const Facts& facts, bool is_away) {
  for (const QueueItem& item : facts.items) {
    if (IsOpen(item)) return NextOfItem(item, is_away);
  }
  if (facts.set_aside) {
    return "Next: it is tried again when the schema or the rows that it depends on change.";
  }
  if (facts.stale) return "Next: the service's newest version is fetched and applied.";
  if (facts.state && facts.state->revision > 0) {
    return "Next: nothing. The device and the service agree, as far as the device knows.";
  }
  return "Next: nothing, until the app writes the row or the service sends it.";
}

void AddStep(std::optional<absl::Time> at, std::string what, v1::WhyResponse* out) {
  v1::WhyStep* const step = out->add_steps();
  if (at.has_value()) TimeToProto(*at, step->mutable_at());
  step->set_what(ToUtf8(std::move(what)));
}

void AddHistory(const Facts& facts, v1::WhyResponse* out) {
  std::vector<std::pair<absl::Time, std::string>> history;
  history.reserve(facts.items.size() + facts.archives.size());
  for (const QueueItem& item : facts.items) history.emplace_back(item.enqueued_at, LineOf(item));
  for (const ArchiveEntry& entry : facts.archives) {
    history.emplace_back(entry.detected_at, LineOf(entry));
  }
  std::sort(history.begin(), history.end());
  for (auto& [at, line] : history) AddStep(at, std::move(line), out);
}

}  // namespace

absl::StatusOr<v1::WhyResponse> Why(Ledger& ledger, const Plan& plan, const EntityKey& key) {
  PT_ASSIGN_OR_RETURN(const Facts facts, Collect(ledger, key));
  const TablePlan* const table = plan.ByType(key.type);
  if (table == nullptr && facts.empty()) {
    return ReasonError(absl::StatusCode::kNotFound, "TYPE_UNKNOWN",
                       absl::StrCat("No synced table has the type \"", key.type,
                                    "\". Nothing was changed. `device-agent init --dry-run` lists "
                                    "the types."));
  }
  v1::WhyResponse response;
  AddHistory(facts, &response);
  if (facts.state) AddStep(std::nullopt, LineOf(*facts.state), &response);
  if (facts.stale) AddStep(std::nullopt, LineOf(*facts.stale), &response);
  if (facts.set_aside) AddStep(std::nullopt, LineOf(*facts.set_aside), &response);
  if (facts.empty()) {
    AddStep(std::nullopt, "No edit of this row was captured here, and the service sent none.",
            &response);
  }
  if (table == nullptr) {
    AddStep(std::nullopt, "Its table is not synced any more.", &response);
  } else if (table->apply_mode == ApplyMode::kCaptureOnly) {
    AddStep(std::nullopt, "Nothing can be written into its table by the agent: captured only.",
            &response);
  }
  AddStep(std::nullopt, Next(facts, /*is_away=*/table == nullptr), &response);
  return response;
}

}  // namespace ptdoc::sync
