#include "sync-service/cli/app.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "common/base/bytes.h"
#include "common/cli/command_line.h"
#include "sync-service/cli/verbs.h"

namespace ptdoc::sync {
namespace {

// Holds what the flags write to until the chosen verb runs.
struct Commands {
  Context context;
  SetupArgs setup;
  TokenArgs token;
  ConflictArgs conflict;
  UnlockArgs unlock;
  std::string listen;
  std::string http_listen;
  std::string path;
  std::string device;
  std::string type;
  std::string id;
  bool behind_proxy = false;
  bool check = false;
  int64_t after = 0;
  int64_t limit = 100;
  CommandLine line{
      "sync-service",
      "The service of PTDoc Sync: takes devices' changes, decides conflicts, keeps losers.",
      &context.config_file, &context.json};
};

// What stands in tokens, lists and the audit: one line, and something.
CLI::Validator Name() {
  constexpr size_t kNameBytesMax = 256;
  return {[](const std::string& name) -> std::string {
            if (name.empty()) return "a name may not be empty";
            if (name.size() > kNameBytesMax) return "a name has at most 256 bytes";
            const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
              return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
            });
            if (!plain) return "a name has no line breaks or other control characters";
            return IsUtf8(name) ? "" : "a name is UTF-8";
          },
          ""};
}

CLI::App* Verb(CLI::App& parent, Commands& c, const std::string& name, const std::string& help,
               std::function<int()> run, bool tenant = false) {
  CLI::App* verb = c.line.Verb(parent, name, help, std::move(run));
  verb->add_option("--store", c.context.store_flag, "sqlite:///PATH (sqlite:////PATH is absolute)");
  if (tenant) verb->add_option("--tenant", c.context.tenant_flag, "The clinic")->check(Name());
  return verb;
}

void GiveListen(Commands& c) {
  if (!c.listen.empty()) c.context.flags.push_back({"server.listen", c.listen, "--listen"});
  if (!c.http_listen.empty()) {
    c.context.flags.push_back({"server.http_listen", c.http_listen, "--http-listen"});
  }
}

void AddServe(CLI::App& app, Commands& c) {
  CLI::App* serve = Verb(app, c, "serve", "Serves devices until SIGTERM", [&c] {
    GiveListen(c);
    if (c.behind_proxy) {
      c.context.flags.push_back({"server.behind_proxy", "true", "--behind-proxy"});
    }
    return Serve(c.context);
  });
  serve->add_option("--listen", c.listen, "host:port for gRPC; port 0 takes a free one");
  serve->add_option("--http-listen", c.http_listen, "Only \"\": this version serves gRPC alone");
  serve->add_flag("--behind-proxy", c.behind_proxy,
                  "Serve plaintext to others than loopback: a proxy in front ends the TLS");
  CLI::App* setup = Verb(
      app, c, "setup", "First run: the store, a token file per device, an admin token",
      [&c] { return Setup(c.context, c.setup); }, true);
  setup->add_option("--device", c.setup.devices, "A device's name; may stand several times");
  setup->add_option("--token-dir", c.setup.token_dir, "Where token files are written (0600)");
}

void AddTokens(CLI::App& app, Commands& c) {
  CLI::App* group = CommandLine::Group(app, "token", "Tokens of devices and people");
  CLI::App* create = Verb(
      *group, c, "create", "Makes a token and prints it, once",
      [&c] { return TokenCreate(c.context, c.token); }, true);
  create->add_option("--device", c.token.device, "The device that it is for")
      ->required()
      ->check(Name());
  create->add_option("--user", c.token.user, "Binds it to this user")->check(Name());
  create->add_option("--role", c.token.role, "device, reviewer, admin or monitor");
  create->add_option("--expires", c.token.expires, "For example 365d, 12h");
  create->add_option("--out", c.token.out, "Write it to this file (0600) instead");
  create
      ->add_option("--types", c.token.types,
                   "Entity types that the device may see and change, separated by commas; without "
                   "them every type")
      ->delimiter(',')
      ->check(Name());
  create
      ->add_option("--read-only-types", c.token.read_only_types,
                   "Entity types that it may see and not change")
      ->delimiter(',')
      ->check(Name());
  Verb(*group, c, "list", "All tokens, without their texts", [&c] { return TokenList(c.context); });
  CLI::App* revoke = Verb(*group, c, "revoke", "Ends a token within 5 s",
                          [&c] { return TokenRevoke(c.context, c.token); });
  revoke->add_option("id", c.token.id, "The token's id, from `token list`")->required();
}

void AddConflicts(CLI::App& app, Commands& c) {
  CLI::App* group = CommandLine::Group(app, "conflicts", "Archived losers of conflicts");
  CLI::App* list = Verb(
      *group, c, "list", "Open conflicts, oldest first",
      [&c] { return ConflictsList(c.context, c.conflict); }, true);
  list->add_flag("--all", c.conflict.all, "Resolved ones, too");
  list->add_option("--type", c.conflict.type, "Only this entity type");
  list->add_option("--id", c.conflict.entity, "Only this entity");
  CLI::App* show = Verb(
      *group, c, "show", "Base, loser and winner of one conflict, with content",
      [&c] { return ConflictsShow(c.context, c.conflict); }, true);
  show->add_option("id", c.conflict.id, "The ConflictId")->required();
  CLI::App* resolve = Verb(
      *group, c, "resolve", "Keeps the winner, restores the loser, or writes another content",
      [&c] { return ConflictsResolve(c.context, c.conflict); }, true);
  resolve->add_option("id", c.conflict.id, "The ConflictId")->required();
  CLI::Option_group* how = resolve->add_option_group("how");
  how->add_flag("--keep", c.conflict.keep, "The winner stays");
  how->add_flag("--restore", c.conflict.restore, "The archived version becomes a new revision");
  how->add_option("--content", c.conflict.content_file, "A file with row JSON: the new content");
  how->require_option(1);
  resolve->add_option("--revision", c.conflict.revision,
                      "The revision that you saw (conflicts show): nothing is written if "
                      "another one stands by now");
  resolve->add_option("--reason", c.conflict.reason, "A short code; it stands in the audit")
      ->required();
}

void AddAdmin(CLI::App& app, Commands& c) {
  CLI::App* status = Verb(
      app, c, "status", "Devices, their queues, open conflicts",
      [&c] {
        GiveListen(c);
        return c.check ? CheckService(c.context) : ShowStatus(c.context);
      },
      true);
  status->add_flag("--check", c.check,
                   "One line for monitoring: the service answers, and its store can be read; "
                   "exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN");
  status->add_option("--listen", c.listen, "With --check: host:port on which the service listens");
  CLI::App* devices = CommandLine::Group(app, "devices", "Devices that have called");
  Verb(
      *devices, c, "list", "All devices of the clinic", [&c] { return DevicesList(c.context); },
      true);
  CLI::App* revoke = Verb(
      *devices, c, "revoke", "Shuts a device out within 5 s",
      [&c] { return DevicesRevoke(c.context, c.device); }, true);
  revoke->add_option("device", c.device, "The device's name")->required();
  CLI::App* unlock = Verb(
      app, c, "unlock", "Opens a locked form, audited",
      [&c] { return UnlockEntity(c.context, c.unlock); }, true);
  unlock->add_option("--type", c.unlock.type, "Entity type")->required();
  unlock->add_option("--id", c.unlock.id, "Entity id")->required();
  unlock->add_option("--reason", c.unlock.reason, "A short code; it stands in the audit")
      ->required();
  CLI::App* audit = CommandLine::Group(app, "audit", "Who did what, without content");
  CLI::App* list = Verb(
      *audit, c, "list", "Audit rows, oldest first",
      [&c] { return AuditList(c.context, c.after, c.limit); }, true);
  list->add_option("--after", c.after, "Only rows after this sequence number");
  list->add_option("--limit", c.limit, "At most so many")->check(CLI::Range(1, 100000));
  Verb(*audit, c, "verify", "Checks the hash chain", [&c] { return AuditVerify(c.context); }, true);
}

void AddStore(CLI::App& app, Commands& c) {
  CLI::App* backup = Verb(app, c, "backup", "Copies the store while it is in use",
                          [&c] { return BackupStore(c.context, c.path); });
  backup->add_option("path", c.path, "The copy; must not exist")->required();
  CLI::App* restore = Verb(app, c, "restore", "Replaces the store by a backup, with a new epoch",
                           [&c] { return RestoreStore(c.context, c.path); });
  restore->add_option("path", c.path, "The backup")->required();
  CLI::App* config = CommandLine::Group(app, "config", "The configuration");
  Verb(*config, c, "check", "Reads the configuration and says what is wrong",
       [&c] { return ConfigCheck(c.context); });
  CLI::App* why = Verb(
      app, c, "why", "The life of one entity, without content",
      [&c] { return Why(c.context, c.type, c.id); }, true);
  why->add_option("type", c.type, "Entity type")->required();
  why->add_option("id", c.id, "Entity id")->required();
}

}  // namespace

int RunServiceCli(int argc, char** argv) {
  auto commands = std::make_unique<Commands>();
  CLI::App& app = commands->line.root();
  AddServe(app, *commands);
  AddTokens(app, *commands);
  AddConflicts(app, *commands);
  AddAdmin(app, *commands);
  AddStore(app, *commands);
  return commands->line.Run(argc, argv);
}

}  // namespace ptdoc::sync
