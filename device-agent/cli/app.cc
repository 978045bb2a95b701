#include "device-agent/cli/app.h"

#include <functional>
#include <memory>
#include <string>

#include "common/cli/command_line.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

// Holds what the flags write to until the chosen verb runs.
struct Commands {
  AgentContext context;
  InitArgs init;
  StatusArgs status;
  QueueArgs queue;
  ConflictArgs conflict;
  VerifyArgs verify;
  std::string duration;
  std::string type;
  std::string id;
  bool once = false;
  CommandLine line{
      "device-agent",
      "Syncs one SQLite database with a sync-service: captures, queues, sends, applies.",
      &context.config_file, &context.json};
};

CLI::App* Verb(CLI::App& parent, Commands& c, const std::string& name, const std::string& help,
               std::function<int()> run) {
  CLI::App* verb = c.line.Verb(parent, name, help, std::move(run));
  verb->add_option("--database", c.context.database, "The app's SQLite file");
  return verb;
}

void AddSetup(CLI::App& app, Commands& c) {
  CLI::App* init = Verb(app, c, "init", "Shows the plan, then installs capture in the app's file",
                        [&c] { return Init(c.context, c.init); });
  init->add_option("--table", c.init.tables, "A table to sync; may stand several times");
  init->add_flag("--all-tables", c.init.all_tables, "Every table that can be synced");
  init->add_flag("--dry-run", c.init.dry_run, "Only the plan");
  init->add_flag("--print-sql", c.init.print_sql, "Only the SQL, for a migration");
  init->add_flag("--adopt", c.init.adopt,
                 "Takes over the open items of PTDoc's own queue in the app's file");
  init->add_flag("--rehearse", c.init.rehearse,
                 "Tries everything on a copy: which table can be synced two ways");
  init->add_option("--service", c.init.service, "host:port, for the agent.toml that is written");
  init->add_option("--token-file", c.init.token_file, "For the agent.toml that is written");
  Verb(app, c, "uninstall", "Takes capture out again: the app's schema is as it was",
       [&c] { return RunUninstall(c.context); });
  CLI::App* serve =
      Verb(app, c, "serve", "Syncs until SIGTERM", [&c] { return ServeAgent(c.context, c.once); });
  serve->add_flag("--once", c.once, "One cycle, then exit");
  CLI::App* config = CommandLine::Group(app, "config", "The configuration");
  Verb(*config, c, "check", "Reads the configuration and says what is wrong",
       [&c] { return ConfigCheck(c.context); });
}

void AddCycle(CLI::App& app, Commands& c) {
  Verb(app, c, "run", "Sends what waits, then applies what others changed",
       [&c] { return RunCycle(c.context); });
  Verb(app, c, "push", "Sends what waits", [&c] { return RunPush(c.context); });
  Verb(app, c, "pull", "Applies what others changed", [&c] { return RunPull(c.context); });
  CLI::App* status = Verb(app, c, "status", "The queue, the link, and what happens next",
                          [&c] { return ShowStatus(c.context, c.status); });
  status->add_flag("--watch", c.status.watch, "Until interrupted, with every change");
  status->add_flag("--check", c.status.check,
                   "One line for monitoring; exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN");
  CLI::App* pause = Verb(app, c, "pause", "No automatic sync until resumed; capture goes on",
                         [&c] { return Pause(c.context, c.duration); });
  pause->add_option("--for", c.duration, "For example 30m, 2h");
  Verb(app, c, "resume", "Ends a pause", [&c] { return Resume(c.context); });
  CLI::App* why = Verb(app, c, "why", "The life of one row, without content",
                       [&c] { return Why(c.context, c.type, c.id); });
  why->add_option("type", c.type, "Entity type")->required();
  why->add_option("id", c.id, "Entity id")->required();
  Verb(app, c, "doctor", "What is in the way, and the command that mends it",
       [&c] { return Doctor(c.context); });
  CLI::App* verify = Verb(app, c, "verify", "Compares every synced row with the service",
                          [&c] { return Verify(c.context, c.verify); });
  verify->add_flag("--repair{fetch}", c.verify.repair,
                   "Archives rows that differ and puts the service's in place; =push sends them "
                   "as edits instead");
}

void AddQueue(CLI::App& app, Commands& c) {
  CLI::App* group = CommandLine::Group(app, "queue", "What waits to be sent");
  CLI::App* list =
      Verb(*group, c, "list", "Open items", [&c] { return QueueList(c.context, c.queue); });
  list->add_flag("--all", c.queue.all, "Completed and cancelled ones, too");
  CLI::App* retry = Verb(*group, c, "retry", "Failed items are sent again",
                         [&c] { return QueueRetry(c.context, c.queue); });
  retry->add_option("ids", c.queue.ids, "Item ids");
  retry->add_flag("--all", c.queue.all, "Every failed item");
  CLI::App* cancel =
      Verb(*group, c, "cancel", "Archives the local row and puts the service's version back",
           [&c] { return QueueCancel(c.context, c.queue); });
  cancel->add_option("id", c.queue.ids, "Item id")->required()->expected(1);
  Verb(*group, c, "confirm", "Lets held deletions go", [&c] { return QueueConfirm(c.context); });
}

void AddConflicts(CLI::App& app, Commands& c) {
  CLI::App* group = CommandLine::Group(app, "conflicts", "This device's archived rows");
  CLI::App* list = Verb(*group, c, "list", "Open conflicts, oldest first",
                        [&c] { return ConflictsList(c.context, c.conflict); });
  list->add_flag("--all", c.conflict.all, "Resolved ones, too");
  CLI::App* show = Verb(*group, c, "show", "Base, yours and theirs, with content",
                        [&c] { return ConflictsShow(c.context, c.conflict); });
  show->add_option("id", c.conflict.id, "ConflictId or number")->required();
  CLI::App* resolve =
      Verb(*group, c, "resolve", "Keeps the winner, restores your row, or writes another content",
           [&c] { return ConflictsResolve(c.context, c.conflict); });
  resolve->add_option("id", c.conflict.id, "ConflictId or number")->required();
  CLI::Option_group* how = resolve->add_option_group("how");
  how->add_flag("--keep", c.conflict.keep, "What stands stays");
  how->add_flag("--restore", c.conflict.restore, "Your row is written again, as a new edit");
  how->add_option("--content", c.conflict.content_file,
                  "A file with row JSON: written into the app's table, as a new edit");
  how->require_option(1);
  resolve->add_option("--reason", c.conflict.reason,
                      "A short code; it stands in the archive's ResolvedAction");
}

}  // namespace

int RunAgentCli(int argc, char** argv) {
  auto commands = std::make_unique<Commands>();
  CLI::App& app = commands->line.root();
  AddSetup(app, *commands);
  AddCycle(app, *commands);
  AddQueue(app, *commands);
  AddConflicts(app, *commands);
  return commands->line.Run(argc, argv);
}

}  // namespace ptdoc::sync
