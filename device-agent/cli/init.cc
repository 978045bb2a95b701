// init, uninstall and config check: what touches the app's schema.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/cli/output.h"
#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "common/rpc/config.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/capture.h"
#include "device-agent/capture/propose.h"
#include "device-agent/cli/adopt.h"
#include "device-agent/cli/rehearse.h"
#include "device-agent/cli/verbs.h"
#include "device-agent/replica/replica.h"

namespace ptdoc::sync {
namespace {

absl::StatusOr<sqlite::Database> OpenApp(const std::string& path) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadOnly;
  options.legacy_schema = true;
  options.busy_timeout = absl::Seconds(5);
  auto db = sqlite::Database::Open(path, options);
  if (db.ok()) return db;
  if (sqlite::IsBusy(db.status())) {
    return ReasonError(absl::StatusCode::kUnavailable, "BLOCKED_BY_APP",
                       absl::StrCat("The app holds ", path,
                                    " while it runs. Nothing was changed. Close it, and try "
                                    "again."));
  }
  const bool missing = db.status().code() == absl::StatusCode::kNotFound;
  return ReasonError(
      missing ? absl::StatusCode::kNotFound : absl::StatusCode::kFailedPrecondition,
      missing ? "DATABASE_MISSING" : "DATABASE_UNUSABLE",
      absl::StrCat(missing ? "There is no database at " : "This file cannot be used: ", path,
                   missing ? "" : absl::StrCat(" (", db.status().message(), ")"),
                   ". Nothing was changed. Check the path; an encrypted or foreign file cannot be "
                   "synced."));
}

struct ShownPlan {
  Plan plan;
  std::vector<EntityConfig> proposed;  // for tables that it refuses
};

std::string ModeText(const TablePlan& table) {
  switch (table.apply_mode) {
    case ApplyMode::kTriggersOn:
      return "two-way";
    case ApplyMode::kTriggersOff:
      return "two-way, app's triggers off";
    case ApplyMode::kCaptureOnly:
      return "captured only";
  }
  return "";
}

Json ProposalsJson(const std::vector<EntityConfig>& proposed) {
  Json list = Json::array();
  for (const EntityConfig& entity : proposed) {
    list.push_back({{"table", entity.table}, {"key", entity.key}});
  }
  return list;
}

Json PlanJson(const ShownPlan& shown) {
  const Plan& plan = shown.plan;
  Json tables = Json::array();
  for (const TablePlan& table : plan.tables) {
    tables.push_back({{"type", table.type},
                      {"table", table.table},
                      {"key", table.key},
                      {"columns", table.columns},
                      {"rows", table.rows},
                      {"rowsWithNullKey", table.rows_with_null_key},
                      {"mode", ModeText(table)},
                      {"reason", table.reason},
                      {"warnings", table.warnings}});
  }
  Json refused = Json::array();
  for (const Refusal& refusal : plan.refusals) {
    refused.push_back({{"table", refusal.table},
                       {"reason", refusal.reason},
                       {"message", refusal.what},
                       {"remedy", refusal.remedy},
                       {"sql", refusal.sql}});
  }
  return {{"tables", tables}, {"refused", refused}, {"proposed", ProposalsJson(shown.proposed)}};
}

// Tables with one reason stand together, and among them those with one way out.
void PrintRefusals(const Plan& plan) {
  if (plan.refusals.empty()) return;
  std::printf("\nNot synced:\n");
  std::vector<std::string> reasons;
  std::map<std::string, std::vector<std::string>> remedies;
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> tables;
  for (const Refusal& refusal : plan.refusals) {
    const std::string reason = absl::StrCat(refusal.reason, ": ", refusal.what, ".");
    if (!remedies.contains(reason)) reasons.push_back(reason);
    std::vector<std::string>& of_reason = remedies[reason];
    std::vector<std::string>& of_remedy = tables[{reason, refusal.remedy}];
    if (of_remedy.empty()) of_reason.push_back(refusal.remedy);
    of_remedy.push_back(refusal.table);
  }
  for (const std::string& reason : reasons) {
    std::printf("  %s To sync it:\n", reason.c_str());
    for (const std::string& remedy : remedies[reason]) {
      std::printf("    %s: %s.\n", absl::StrJoin(tables[{reason, remedy}], ", ").c_str(),
                  remedy.c_str());
    }
  }
}

// For tables in which nothing names a row.
void PrintKeySql(const Plan& plan) {
  const auto has_sql = [](const Refusal& refusal) { return !refusal.sql.empty(); };
  if (std::none_of(plan.refusals.begin(), plan.refusals.end(), has_sql)) return;
  std::printf(
      "\nSQL that gives a table a key of its own, if the app bears a column that it does not know. "
      "Run it\nonce, before the file goes to other devices, and name key = \"%s\" on every one:\n",
      kKeyColumnName);
  for (const Refusal& refusal : plan.refusals) {
    if (!refusal.sql.empty()) std::printf("\n");
    for (const std::string& sql : refusal.sql) std::printf("  %s\n", sql.c_str());
  }
}

// The lines of agent.toml for one proposed table; `prefix` before each.
absl::StatusOr<std::string> ProposalText(const EntityConfig& entity, absl::string_view prefix) {
  PT_ASSIGN_OR_RETURN(const std::string table, TomlText(entity.table));
  PT_ASSIGN_OR_RETURN(const std::string key, TomlText(absl::StrJoin(entity.key, ", ")));
  return absl::StrCat(prefix, "[[entity]]\n", prefix, "table = ", table, "\n", prefix,
                      "key = ", key, "\n");
}

void PrintProposals(const std::vector<EntityConfig>& proposed) {
  if (proposed.empty()) return;
  std::printf(
      "\nWith these lines in agent.toml, on every device, init syncs them, too; their integers "
      "stay local:\n\n");
  for (const EntityConfig& entity : proposed) {
    const absl::StatusOr<std::string> text = ProposalText(entity, "");
    if (text.ok()) std::printf("%s\n", text->c_str());
  }
}

void PrintPlan(const Plan& plan, const std::string& database) {
  std::printf("Plan for %s\n\n", database.c_str());
  std::vector<std::vector<std::string>> rows;
  rows.reserve(plan.tables.size());
  for (const TablePlan& table : plan.tables) {
    rows.push_back({table.table, table.type, absl::StrJoin(table.key, ", "),
                    absl::StrCat(table.columns.size()), absl::StrCat(table.rows), ModeText(table)});
  }
  if (!rows.empty()) {
    std::fputs(TextTable({"table", "type", "key", "columns", "rows", "how"}, rows).c_str(), stdout);
    std::printf("\nIt adds triggers to these tables, and the tables SyncLog and SyncControl.\n");
  }
  for (const TablePlan& table : plan.tables) {
    if (!table.reason.empty()) {
      std::printf("  %s: %s\n", table.table.c_str(), table.reason.c_str());
    }
    if (table.rows_with_null_key > 0) {
      std::printf("  %s: %s a NULL in the key and cannot be synced (INVALID_KEY).\n",
                  table.table.c_str(),
                  Plural(table.rows_with_null_key, "row has", "rows have").c_str());
    }
    for (const std::string& warning : table.warnings) {
      std::printf("  %s: %s\n", table.table.c_str(), warning.c_str());
    }
  }
  PrintRefusals(plan);
  PrintKeySql(plan);
}

// A table that was asked for by name and is refused stops init; with
// --all-tables the rest goes on.
absl::Status CheckPlan(const Plan& plan, bool all_tables, const std::string& database) {
  if (!all_tables && !plan.refusals.empty()) {
    const Refusal& first = plan.refusals.front();
    return ReasonError(
        absl::StatusCode::kFailedPrecondition, first.reason,
        absl::StrCat("Table ", first.table, " cannot be synced as it is: ", first.what,
                     ". Nothing was changed. To sync it: ", first.remedy, "."));
  }
  if (plan.tables.empty() && plan.refusals.empty()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NOTHING_TO_SYNC",
                       absl::StrCat(database,
                                    " has no table yet. Nothing was changed. Start the app once, "
                                    "so that it makes its tables, and run init again."));
  }
  if (plan.tables.empty()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NOTHING_TO_SYNC",
                       absl::StrCat("No table of ", database,
                                    " can be synced. Nothing was changed. The plan says of each "
                                    "what stands in the way, and the way out."));
  }
  return absl::OkStatus();
}

// The text of an agent.toml with which the next verbs find everything.
absl::StatusOr<std::string> ConfigText(const std::string& database, const InitArgs& args,
                                       const ShownPlan& shown) {
  const std::string absolute = std::filesystem::absolute(database).string();
  std::string out = "# Written by `device-agent init`. docs/OPERATIONS.md explains every key.\n";
  const auto line = [&out](absl::string_view name, absl::string_view value) -> absl::Status {
    PT_ASSIGN_OR_RETURN(const std::string text, TomlText(value));
    absl::StrAppend(&out, name, " = ", text, "\n");
    return absl::OkStatus();
  };
  absl::StrAppend(&out, "[service]\n");
  PT_RETURN_IF_ERROR(line("address", args.service.empty() ? "127.0.0.1:5171" : args.service));
  if (!args.token_file.empty()) {
    PT_RETURN_IF_ERROR(line("token_file", std::filesystem::absolute(args.token_file).string()));
  }
  absl::StrAppend(&out, "\n[device]\n");
  PT_RETURN_IF_ERROR(line("database", absolute));
  absl::StrAppend(&out, "\n[control]\n");
  PT_RETURN_IF_ERROR(line("listen", absl::StrCat("unix://", absolute, ".sync.sock")));
  for (const TablePlan& table : shown.plan.tables) {
    absl::StrAppend(&out, "\n[[entity]]\n");
    PT_RETURN_IF_ERROR(line("type", table.type));
    PT_RETURN_IF_ERROR(line("table", table.table));
  }
  if (!shown.proposed.empty()) {
    absl::StrAppend(&out,
                    "\n# Refused for their integers. Without the # (on every device), and after "
                    "another init,\n# these are synced by the key that is named, and the integer "
                    "stays local.\n");
  }
  for (const EntityConfig& entity : shown.proposed) {
    PT_ASSIGN_OR_RETURN(const std::string text, ProposalText(entity, "#"));
    absl::StrAppend(&out, "\n", text);
  }
  return out;
}

absl::Status WriteConfig(const AgentContext& context, const InitArgs& args,
                         const ShownPlan& shown) {
  const std::string& database = context.config.agent.replica.database;
  const std::string path = ConfigBeside(database);
  if (!context.config.file.empty() || std::filesystem::exists(path)) return absl::OkStatus();
  const absl::StatusOr<std::string> text = ConfigText(database, args, shown);
  if (!text.ok()) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "FILE",
                       absl::StrCat("Cannot write ", path,
                                    ": a path or a table's name is not "
                                    "UTF-8. Capture is installed. Rename it, and run init again."));
  }
  std::ofstream out(path);
  out << *text;
  out.close();
  if (out) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kFailedPrecondition, "FILE",
                     absl::StrCat("Cannot write ", path,
                                  ". Capture is installed. Write it by hand, or name another with "
                                  "--config."));
}

PlanRequest RequestOf(const AgentContext& context, const InitArgs& args) {
  PlanRequest request = context.config.agent.replica.plan;
  request.entities.reserve(request.entities.size() + args.tables.size());
  for (const std::string& table : args.tables) {
    // A second init with the flags of the first finds them in agent.toml.
    const auto is_it = [&](const EntityConfig& known) {
      return absl::EqualsIgnoreCase(known.table, table);
    };
    if (std::any_of(request.entities.begin(), request.entities.end(), is_it)) continue;
    EntityConfig entity;
    entity.table = table;
    request.entities.push_back(std::move(entity));
  }
  request.all_tables = args.all_tables;
  request.count_rows = true;
  return request;
}

Json AdoptedJson(const Adopted& adopted) {
  return {{"edits", adopted.edits},          {"deletions", adopted.deletions},
          {"notSynced", adopted.not_synced}, {"unknownRows", adopted.unknown},
          {"otherCase", adopted.other_case}, {"openConflicts", adopted.open_conflicts},
          {"before", adopted.before}};
}

void PrintAdopted(const Adopted& adopted) {
  if (adopted.before) {
    std::printf("\nThe open items of the app's own queue were taken over by an earlier init.\n");
    return;
  }
  std::printf("\nTaken over from the app's own queue: %s and %s. Its tables were not changed.\n",
              Plural(adopted.edits, "edit").c_str(), Plural(adopted.deletions, "deletion").c_str());
  if (adopted.not_synced > 0) {
    std::printf("  %s not: no synced table has the type.\n",
                Plural(adopted.not_synced, "item was", "items were").c_str());
  }
  if (adopted.unknown > 0) {
    std::printf("  %s not: there is no such row.\n",
                Plural(adopted.unknown, "item was", "items were").c_str());
  }
  if (adopted.other_case > 0) {
    std::printf(
        "  %s a GUID in another case than its row: EF Core writes them in upper case. Keys "
        "are compared byte by byte, so all devices must write one case.\n",
        Plural(adopted.other_case, "item spells", "items spell").c_str());
  }
  if (adopted.open_conflicts > 0) {
    std::printf("  %s in its SyncConflictArchives: they stay there, to be decided in the app.\n",
                Plural(adopted.open_conflicts, "open conflict is", "open conflicts are").c_str());
  }
}

struct Installed {
  int64_t enqueued = 0;
  // The file was prepared before by another hand (a script, a ledger that is
  // gone): what is to be sent is known when its rows were compared.
  bool compares = false;
  std::optional<Adopted> adopted;
};

absl::StatusOr<Installed> Install(AgentContext& context, const InitArgs& args,
                                  const ShownPlan& shown, const PlanRequest& request) {
  ReplicaOptions options = context.config.agent.replica;
  options.plan = request;
  options.plan.count_rows = false;
  Installed out;
  PT_ASSIGN_OR_RETURN(out.enqueued, Replica::Initialise(options, context.clock, context.rng));
  PT_RETURN_IF_ERROR(WriteConfig(context, args, shown));
  if (args.adopt) {
    PT_ASSIGN_OR_RETURN(out.adopted, Adopt(context, options));
  }
  // Another agent may have the files by now: then there is nothing to add.
  const auto replica = Replica::Open(options, context.clock, context.rng);
  if (!replica.ok()) return out;
  const auto facts = (*replica)->Facts();
  out.compares = facts.ok() && facts->recovering;
  return out;
}

absl::StatusOr<ShownPlan> ShowPlan(AgentContext& context, const InitArgs& args,
                                   const PlanRequest& request) {
  const std::string& database = context.config.agent.replica.database;
  PT_ASSIGN_OR_RETURN(auto db, OpenApp(database));
  ShownPlan shown;
  PT_ASSIGN_OR_RETURN(shown.plan, MakePlan(db, request));
  const Plan& plan = shown.plan;
  PT_ASSIGN_OR_RETURN(shown.proposed, ProposeEntities(db, request));
  if (args.print_sql) {
    PT_RETURN_IF_ERROR(CheckPlan(plan, request.all_tables, database));
    PT_ASSIGN_OR_RETURN(const std::string script, InstallScript(db, plan));
    std::fputs(script.c_str(), stdout);
  } else if (!context.json) {
    PrintPlan(plan, context.config.agent.replica.database);
    PrintProposals(shown.proposed);
  } else if (args.dry_run) {
    PrintJson(PlanJson(shown));
  }
  PT_RETURN_IF_ERROR(CheckPlan(plan, request.all_tables, database));
  return shown;
}

int ShowRehearsal(AgentContext& context, const PlanRequest& request) {
  const std::string& database = context.config.agent.replica.database;
  const absl::Status readable = [&]() -> absl::Status {
    PT_ASSIGN_OR_RETURN(auto db, OpenApp(database));
    return MakePlan(db, request).status();
  }();
  if (!readable.ok()) return Fail(readable, context.json);
  const auto tables = Rehearse(context, request);
  if (!tables.ok()) return Fail(tables.status(), context.json);
  Json items = Json::array();
  std::vector<std::vector<std::string>> rows;
  bool all_two_way = true;
  for (const Rehearsed& table : *tables) {
    all_two_way &= table.two_way;
    items.push_back({{"table", table.table}, {"how", table.how}, {"why", table.why}});
    rows.push_back({table.table, table.how, table.why});
  }
  if (context.json) {
    PrintJson({{"items", items}, {"allTwoWay", all_two_way}, {"schemaRestored", true}});
  } else {
    PrintList(false, items, {"table", "how", "why"}, rows, "There is no table.");
    std::printf(
        "\nTried on a copy of %s, which is gone again; the file itself was only read. "
        "Uninstalling left the copy's schema byte for byte as it was.\n",
        database.c_str());
  }
  return all_two_way && !tables->empty() ? kExitDone : kExitWaits;
}

}  // namespace

int Init(AgentContext& context, const InitArgs& args) {
  const absl::Status loaded = context.LoadConfig();
  if (!loaded.ok()) return Fail(loaded, context.json);
  const PlanRequest request = RequestOf(context, args);
  if (request.entities.empty() && !request.all_tables) {
    return Fail(ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                            "No table is named. Nothing was changed. Give --table NAME, "
                            "--all-tables, or [[entity]] in agent.toml."),
                context.json);
  }
  if (args.rehearse) return ShowRehearsal(context, request);
  const auto plan = ShowPlan(context, args, request);
  if (!plan.ok()) return Fail(plan.status(), context.json);
  if (args.dry_run || args.print_sql) return kExitDone;
  const auto installed = Install(context, args, *plan, request);
  if (!installed.ok()) return Fail(installed.status(), context.json);
  if (context.json) {
    Json object = PlanJson(*plan);
    object["enqueued"] = installed->enqueued;
    object["compares"] = installed->compares;
    if (installed->adopted.has_value()) object["adopted"] = AdoptedJson(*installed->adopted);
    PrintJson(object);
    return kExitDone;
  }
  if (installed->adopted.has_value()) PrintAdopted(*installed->adopted);
  const std::string waits =
      installed->compares
          ? "the rows that are there are compared with the service's at the next sync, and what it "
            "lacks is uploaded"
          : absl::StrCat(Plural(installed->enqueued, "row waits", "rows wait"), " to be uploaded");
  const std::string file = context.config.file.empty()
                               ? ConfigBeside(context.config.agent.replica.database)
                               : context.config.file;
  std::printf(
      "\nCapture is installed; %s. Capture is proven when the app has written once.\n"
      "Start the agent: device-agent serve --config %s\n",
      waits.c_str(), ShellWord(file).c_str());
  return kExitDone;
}

int RunUninstall(AgentContext& context) {
  const auto uninstall = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(context.LoadConfig());
    if (context.DaemonAnswers()) {
      return ReasonError(absl::StatusCode::kFailedPrecondition, "AGENT_RUNNING",
                         "The agent of this database is running. Nothing was changed. Stop it "
                         "first.");
    }
    return Replica::Uninstall(context.config.agent.replica, context.clock, context.rng);
  };
  const absl::Status status = uninstall();
  if (!status.ok()) return Fail(status, context.json);
  if (context.json) {
    PrintJson({{"uninstalled", context.config.agent.replica.database}});
  } else {
    std::printf(
        "Capture is removed; the schema of %s is as it was. The agent's own file beside it "
        "keeps the queue and the archives: delete it when nothing in it is needed.\n",
        context.config.agent.replica.database.c_str());
  }
  return kExitDone;
}

int ConfigCheck(AgentContext& context) {
  absl::Status status = context.LoadConfig();
  // Its certificates, too.
  if (status.ok()) status = MakeChannel(context.config.agent.channel).status();
  if (!status.ok()) return Fail(status, context.json);
  const AgentOptions& agent = context.config.agent;
  const std::string file = context.config.file.empty() ? "(no file)" : context.config.file;
  if (context.json) {
    PrintJson({{"ok", true},
               {"file", context.config.file},
               {"service", agent.channel.address},
               {"database", agent.replica.database},
               {"control", agent.control_listen}});
  } else {
    std::printf("The configuration is in order: %s, service %s, database %s, control %s\n",
                file.c_str(), agent.channel.address.c_str(), agent.replica.database.c_str(),
                agent.control_listen.c_str());
  }
  return kExitDone;
}

}  // namespace ptdoc::sync
