#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/cli/output.h"
#include "common/rpc/channel.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/cli/agent_context.h"

namespace ptdoc::sync {

// One thing that doctor looked at. `message` is a sentence without content;
// `command` mends what is not OK, or shows more of it.
struct CheckLine {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string message;
  std::string command;
};

// What doctor found, in the order of looking. The checks only read; the one
// exception is a lock of the app's file that is taken and given back at once.
class Checkup {
 public:
  explicit Checkup(std::string flags) : flags_(std::move(flags)) {}

  void Ok(absl::string_view name, absl::string_view message) {
    checks_.push_back({std::string(name), CheckState::kOk, std::string(message), ""});
  }
  void Warn(absl::string_view name, absl::string_view message, absl::string_view command) {
    checks_.push_back(
        {std::string(name), CheckState::kWarning, std::string(message), std::string(command)});
  }
  void Bad(absl::string_view name, absl::string_view message, absl::string_view command) {
    checks_.push_back(
        {std::string(name), CheckState::kCritical, std::string(message), std::string(command)});
  }
  // "device-agent VERB" with the flags that reach this device.
  std::string Agent(absl::string_view verb) const;

  const std::vector<CheckLine>& checks() const { return checks_; }

 private:
  const std::string flags_;
  std::vector<CheckLine> checks_;
};

// doctor_files.cc: who works on the files, the app's file, capture, disks.
void CheckAgents(AgentContext& context, Checkup& checkup);
void CheckDatabase(AgentContext& context, Checkup& checkup);
void CheckDisks(const AgentContext& context, Checkup& checkup);
// doctor_ledger.cc: the agent's own file, and what it says of the queue.
void CheckLedger(AgentContext& context, Checkup& checkup);
// doctor_service.cc: token, network, identity, clock, history.
void CheckService(AgentContext& context, Checkup& checkup);
// doctor_tls.cc: says why no TLS link comes about, or one of plaintext to a service
// that speaks TLS. False: neither is so, as far as one can see.
bool CheckTls(const ChannelOptions& options, Checkup& checkup);

// Where the agent's own file is.
std::string StateFile(const AgentContext& context);
// For reading; other people's schema.
absl::StatusOr<sqlite::Database> OpenToLook(const std::string& path);
// One named value of the ledger; empty if it is not there.
std::string LedgerText(sqlite::Database& ledger, absl::string_view name);

}  // namespace ptdoc::sync
