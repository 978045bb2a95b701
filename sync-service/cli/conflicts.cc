// conflicts and unlock: what a reviewer decides.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/merge/policy.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "sync-service/cli/verbs.h"

namespace ptdoc::sync {
namespace {

// People list thousands at most; more are read by page.
constexpr size_t kListMax = 1000;

Json ConflictJson(const ArchiveRow& row) {
  Json object = {{"conflictId", row.conflict_id},
                 {"entityType", row.key.type},
                 {"entityId", row.key.id},
                 {"resolutionType", row.resolution_type},
                 {"rule", row.rule},
                 {"reason", row.reason},
                 {"detectedAt", FormatUtc(row.detected_at)},
                 {"archivedDeviceId", row.archived_device},
                 {"archivedByUserId", row.archived_user},
                 {"archivedVersionLastModifiedUtc", FormatUtc(FromTimeNs(row.archived_time))},
                 {"chosenDeviceId", row.chosen_device},
                 {"chosenByUserId", row.chosen_user},
                 {"chosenVersionLastModifiedUtc", FormatUtc(FromTimeNs(row.chosen_time))},
                 {"isResolved", row.is_resolved}};
  if (row.is_resolved) {
    object["resolvedAction"] = row.resolved_action;
    object["resolvedByUserId"] = row.resolved_by;
    if (row.resolved_at.has_value()) object["resolvedAt"] = FormatUtc(*row.resolved_at);
  }
  return object;
}

absl::Status UnknownConflict() {
  return ReasonError(absl::StatusCode::kNotFound, "CONFLICT_UNKNOWN",
                     "There is no conflict with this id. Nothing was changed. See `sync-service "
                     "conflicts list --all`.");
}

// What the service holds of the entity now.
struct Standing {
  Revision revision = 0;
  bool is_signed = false;
  bool is_locked = false;
};

bool IsCollision(const ArchiveRow& row) {
  return row.resolution_type == ResolutionName(Resolution::kKeyCollision);
}

absl::StatusOr<ArchiveRow> Find(Context& context, const std::string& tenant, const std::string& id,
                                Standing* standing) {
  PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
  PT_ASSIGN_OR_RETURN(auto row, reader->FindConflict(tenant, id));
  if (!row.has_value()) return UnknownConflict();
  PT_ASSIGN_OR_RETURN(const auto head, reader->Head(tenant, row->key));
  if (head.has_value()) {
    const Version& version = head->version;
    const TypePolicy& policy = context.config.engine.policies.For(row->key.type);
    standing->revision = version.revision;
    standing->is_signed = !version.deleted && IsSigned(policy, version.fields);
    standing->is_locked = !version.deleted && IsLocked(policy, version.fields);
  }
  return *std::move(row);
}

// Why the archived version cannot be put back; empty if it can.
std::string WhyNotRestored(const ArchiveRow& row, const Standing& standing,
                           const std::string& flags) {
  if (standing.is_signed) {
    return "What stands is signed and immutable. Write an addendum as an entity of its own.";
  }
  if (standing.is_locked) {
    return absl::StrCat("What stands is locked. To change it, open it first: sync-service unlock ",
                        "--type ", ShellWord(row.key.type), " --id ", ShellWord(row.key.id),
                        " --reason CODE", flags);
  }
  if (IsCollision(row)) {
    return "The archived row is another thing under the same key. Enter it again under a key of "
           "its own, then keep.";
  }
  return "";
}

// The ways to resolve it that are not refused.
std::vector<std::string> Offered(const ArchiveRow& row, const Standing& standing) {
  std::vector<std::string> offered = {"--keep"};
  if (standing.is_signed || standing.is_locked) return offered;
  const std::string seen = absl::StrCat(" --revision ", standing.revision);
  if (!IsCollision(row)) offered.push_back(absl::StrCat("--restore", seen));
  offered.push_back(absl::StrCat("--content FILE", seen));
  return offered;
}

void ShowForPeople(const ArchiveRow& row, const Standing& standing, const std::string& flags) {
  std::printf("%s of %s %s, rule %s\n", row.resolution_type.c_str(), row.key.type.c_str(),
              row.key.id.c_str(), row.rule.c_str());
  std::printf("%s. Detected %s.\n", row.reason.c_str(), FormatUtc(row.detected_at).c_str());
  std::printf("archived: %s by %s on %s\n", FormatUtc(FromTimeNs(row.archived_time)).c_str(),
              row.archived_user.empty() ? "(nobody named)" : row.archived_user.c_str(),
              row.archived_device.c_str());
  std::printf("stands:   %s by %s on %s (revision now %lld)\n\n",
              FormatUtc(FromTimeNs(row.chosen_time)).c_str(),
              row.chosen_user.empty() ? "(nobody named)" : row.chosen_user.c_str(),
              row.chosen_device.c_str(), static_cast<long long>(standing.revision));
  std::fputs(ConflictTable(row.base_json, row.archived_json, row.chosen_json).c_str(), stdout);
  if (row.is_resolved) {
    std::printf("\nResolved%s%s.\n", row.resolved_action.empty() ? "" : ": ",
                row.resolved_action.c_str());
    return;
  }
  std::printf("\n");
  for (const std::string& how : Offered(row, standing)) {
    std::printf("sync-service conflicts resolve %s %s --reason CODE%s\n", row.conflict_id.c_str(),
                how.c_str(), flags.c_str());
  }
  const std::string why_not = WhyNotRestored(row, standing, flags);
  if (!why_not.empty()) std::printf("%s\n", why_not.c_str());
}

absl::StatusOr<Fields> ReadContent(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return ReasonError(
        absl::StatusCode::kNotFound, "FILE",
        absl::StrCat("Cannot read ", path, ". Nothing was changed. Name a file with row JSON."));
  }
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  absl::StatusOr<Fields> fields = FieldsFromJson(text);
  if (fields.ok()) return fields;
  return FieldError("content", absl::StrCat(path, " is no row: ", fields.status().message(),
                                            ". Nothing was changed. Write one JSON object with the "
                                            "whole row, as `conflicts show --json` shows it."));
}

}  // namespace

int ConflictsList(Context& context, const ConflictArgs& args) {
  const auto list = [&]() -> absl::StatusOr<std::vector<ArchiveRow>> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
    PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
    StoreReader::ConflictFilter filter;
    filter.include_resolved = args.all;
    filter.key = {args.type, args.entity};
    filter.limit = kListMax;
    return reader->ListConflicts(tenant, filter);
  };
  const auto rows = list();
  if (!rows.ok()) return Fail(rows.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> table;
  for (const ArchiveRow& row : *rows) {
    items.push_back(ConflictJson(row));
    table.push_back({row.conflict_id, row.key.type, row.key.id, row.resolution_type, row.rule,
                     FormatUtc(row.detected_at), row.is_resolved ? "resolved" : "open"});
  }
  PrintList(context.json, items,
            {"conflict", "type", "entity", "resolution", "rule", "detected", "state"}, table,
            args.all ? "No conflicts." : "No open conflicts.");
  return kExitDone;
}

int ConflictsShow(Context& context, const ConflictArgs& args) {
  Standing standing;
  const auto show = [&]() -> absl::StatusOr<ArchiveRow> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const std::string tenant, context.Tenant());
    return Find(context, tenant, args.id, &standing);
  };
  const auto row = show();
  if (!row.ok()) return Fail(row.status(), context.json);
  if (!context.json) {
    ShowForPeople(*row, standing, context.GivenFlags());
    return kExitDone;
  }
  Json object = ConflictJson(*row);
  object["currentRevision"] = standing.revision;
  object["archivedData"] = RowOrNull(row->archived_json);
  object["chosenData"] = RowOrNull(row->chosen_json);
  object["baseData"] = RowOrNull(row->base_json);
  PrintJson(object);
  return kExitDone;
}

int ConflictsResolve(Context& context, const ConflictArgs& args) {
  const auto resolve = [&]() -> absl::StatusOr<Revision> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const Principal who, context.Operator());
    ResolveRequest request;
    request.conflict_id = args.id;
    request.reason_code = args.reason;
    request.action = args.keep      ? ResolveAction::kKeep
                     : args.restore ? ResolveAction::kRestore
                                    : ResolveAction::kEdit;
    Standing standing;
    PT_RETURN_IF_ERROR(Find(context, who.tenant, args.id, &standing).status());
    request.expected_revision = args.revision >= 0 ? args.revision : standing.revision;
    if (request.action == ResolveAction::kEdit) {
      PT_ASSIGN_OR_RETURN(request.content, ReadContent(args.content_file));
    }
    return context.engine->ResolveConflict(who, request);
  };
  const auto revision = resolve();
  if (!revision.ok()) return Fail(revision.status(), context.json);
  if (context.json) {
    PrintJson({{"conflictId", args.id}, {"revision", *revision}});
  } else {
    std::printf("Resolved. Revision %lld stands.\n", static_cast<long long>(*revision));
  }
  return kExitDone;
}

int UnlockEntity(Context& context, const UnlockArgs& args) {
  const auto unlock = [&]() -> absl::StatusOr<Revision> {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(const Principal who, context.Operator());
    return context.engine->Unlock(who, {args.type, args.id}, args.reason);
  };
  const auto revision = unlock();
  if (!revision.ok()) return Fail(revision.status(), context.json);
  if (context.json) {
    PrintJson({{"entityType", args.type}, {"entityId", args.id}, {"revision", *revision}});
  } else {
    std::printf("Unlocked; devices get revision %lld.\n", static_cast<long long>(*revision));
  }
  return kExitDone;
}

}  // namespace ptdoc::sync
