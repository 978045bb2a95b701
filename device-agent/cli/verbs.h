#pragma once

#include <string>
#include <vector>

#include "device-agent/cli/agent_context.h"

namespace ptdoc::sync {

// The verbs of device-agent. Each prints for people or, with context.json, for
// scripts, and returns the exit code.

struct InitArgs {
  std::vector<std::string> tables;
  bool all_tables = false;
  bool dry_run = false;
  bool print_sql = false;
  bool rehearse = false;
  bool adopt = false;
  std::string service;  // for the agent.toml that init writes
  std::string token_file;
};
int Init(AgentContext& context, const InitArgs& args);
int RunUninstall(AgentContext& context);

int ServeAgent(AgentContext& context, bool once);

// True if something waits for a person: exit code 3.
bool WaitsForPerson(const v1::AgentServiceStatusResponse& status);

int RunCycle(AgentContext& context);
int RunPush(AgentContext& context);
int RunPull(AgentContext& context);

struct StatusArgs {
  bool watch = false;
  bool check = false;
};
int ShowStatus(AgentContext& context, const StatusArgs& args);

struct QueueArgs {
  std::vector<int64_t> ids;
  bool all = false;
};
int QueueList(AgentContext& context, const QueueArgs& args);
int QueueRetry(AgentContext& context, const QueueArgs& args);
int QueueCancel(AgentContext& context, const QueueArgs& args);
int QueueConfirm(AgentContext& context);

struct ConflictArgs {
  std::string id;
  bool all = false;
  bool keep = false;
  bool restore = false;
  std::string content_file;  // row JSON, if neither
  std::string reason;
};
int ConflictsList(AgentContext& context, const ConflictArgs& args);
int ConflictsShow(AgentContext& context, const ConflictArgs& args);
int ConflictsResolve(AgentContext& context, const ConflictArgs& args);

int Pause(AgentContext& context, const std::string& duration);
int Resume(AgentContext& context);
int Why(AgentContext& context, const std::string& type, const std::string& id);
struct VerifyArgs {
  std::string repair;  // empty, "fetch" or "push"
};
int Verify(AgentContext& context, const VerifyArgs& args);
int Doctor(AgentContext& context);
int ConfigCheck(AgentContext& context);

}  // namespace ptdoc::sync
