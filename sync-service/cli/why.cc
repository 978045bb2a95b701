// why: the life of one entity in about ten lines, without content.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/merge/policy.h"
#include "sync-service/cli/verbs.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kVersionsShown = 5;
constexpr size_t kConflictsShown = 3;

std::string NameOf(const std::string& user) {
  return user.empty() ? std::string("(nobody named)") : user;
}

absl::StatusOr<std::string> TextOf(StoreReader& reader, const std::string& tenant,
                                   const StoredVersion& stored, bool first) {
  const Version& version = stored.version;
  std::string text = absl::StrCat("revision ", version.revision,
                                  version.deleted ? ": deleted"
                                  : first         ? ": created"
                                                  : ": changed",
                                  " by ", NameOf(version.modified_by), " on ", stored.device);
  PT_ASSIGN_OR_RETURN(const std::optional<BatchSpan> batch,
                      reader.BatchAround(tenant, version.revision));
  if (batch.has_value() && batch->end.sequence > batch->after + 1) {
    absl::StrAppend(&text, ", in a batch of ", batch->end.sequence - batch->after, " versions");
  }
  if (stored.claimed_time > version.last_modified) {
    absl::StrAppend(&text, "; the device claimed ", FormatUtc(FromTimeNs(stored.claimed_time)),
                    ", which lay in the future");
  }
  if (!stored.raised_by.empty()) {
    absl::StrAppend(&text, "; its time is that of ", stored.raised_by,
                    ", which wrote the same, or a part of it, later");
  }
  return text;
}

absl::string_view TextOf(ConflictPolicy policy) {
  switch (policy) {
    case ConflictPolicy::kLastWriteWins:
      return "of edits made from one base the later wins.";
    case ConflictPolicy::kMergeFields:
      return "edits made from one base are merged; of a field that several changed, the latest "
             "wins.";
    case ConflictPolicy::kManual:
      return "a reviewer decides conflicts.";
  }
  return "";
}

std::string TextOf(const ArchiveRow& row) {
  return absl::StrCat(
      row.resolution_type, " (rule ", row.rule, "): the version of ", row.archived_device,
      " is archived as ", row.conflict_id,
      row.is_resolved
          ? (row.resolved_action.empty() ? std::string() : absl::StrCat("; ", row.resolved_action))
          : std::string("; open"));
}

// What stands now, and what happens next with it.
void AddNow(const Context& context, const EntityKey& key, const StoredVersion& head,
            const std::vector<ArchiveRow>& conflicts, std::vector<std::string>* lines) {
  const TypePolicy& policy = context.config.engine.policies.For(key.type);
  const Version& version = head.version;
  std::string state = absl::StrCat("Now: revision ", version.revision);
  if (version.deleted) {
    absl::StrAppend(&state, ", a deletion; kept for the retention, then forgotten.");
  } else if (IsSigned(policy, version.fields)) {
    absl::StrAppend(&state, ", signed: it never changes.");
  } else if (IsLocked(policy, version.fields)) {
    absl::StrAppend(&state, ", locked: edits are refused until an administrator unlocks it.");
  } else {
    absl::StrAppend(&state, ", a draft: ", TextOf(policy.policy));
  }
  lines->push_back(state);
  for (const ArchiveRow& row : conflicts) {
    if (row.is_resolved) continue;
    lines->push_back(absl::StrCat("Next: a reviewer looks at it: sync-service conflicts show ",
                                  row.conflict_id, context.GivenFlags()));
    return;
  }
  lines->push_back(absl::StrCat("Next: every device of this type gets revision ", version.revision,
                                ", if it does not have it. `device-agent why` tells of each."));
}

absl::StatusOr<std::vector<std::string>> LifeOf(Context& context, const EntityKey& key) {
  PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
  PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
  PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
  PT_ASSIGN_OR_RETURN(const auto versions, reader->History(tenant, key));
  StoreReader::ConflictFilter filter;
  filter.include_resolved = true;
  filter.key = key;
  filter.limit = 1000;
  PT_ASSIGN_OR_RETURN(const auto conflicts, reader->ListConflicts(tenant, filter));
  // By time; those of one moment in the order in which they are put in.
  std::multimap<absl::Time, std::string> steps;
  const size_t skipped = versions.size() - std::min(versions.size(), kVersionsShown);
  for (size_t i = skipped; i < versions.size(); ++i) {
    PT_ASSIGN_OR_RETURN(std::string text, TextOf(*reader, tenant, versions[i], i == 0));
    steps.emplace(FromTimeNs(versions[i].version.last_modified), std::move(text));
  }
  const size_t left_out = conflicts.size() - std::min(conflicts.size(), kConflictsShown);
  for (size_t i = left_out; i < conflicts.size(); ++i) {
    steps.emplace(conflicts[i].detected_at, TextOf(conflicts[i]));
  }
  std::vector<std::string> lines;
  if (skipped + left_out > 0) {
    lines.push_back(
        absl::StrCat("(", Plural(static_cast<int64_t>(skipped), "earlier version"), " and ",
                     Plural(static_cast<int64_t>(left_out), "earlier conflict"), " left out)"));
  }
  for (const auto& [at, text] : steps) lines.push_back(absl::StrCat(FormatUtc(at), "  ", text));
  PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> head, reader->Head(tenant, key));
  if (head.has_value()) AddNow(context, key, *head, conflicts, &lines);
  return lines;
}

}  // namespace

int Why(Context& context, const std::string& type, const std::string& id) {
  const auto lines = LifeOf(context, {type, id});
  if (!lines.ok()) return Fail(lines.status(), context.json);
  if (context.json) {
    PrintJson({{"entityType", type}, {"entityId", id}, {"steps", *lines}});
    return kExitDone;
  }
  if (lines->empty()) {
    std::printf(
        "The service has never seen %s %s. If a device has it, it is still queued there: "
        "`device-agent why` on that device.\n",
        type.c_str(), id.c_str());
    return kExitDone;
  }
  for (const std::string& line : *lines) std::printf("%s\n", line.c_str());
  return kExitDone;
}

}  // namespace ptdoc::sync
