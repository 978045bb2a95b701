#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sync-service/cli/context.h"

namespace ptdoc::sync {

// The verbs of sync-service. Each prints for people or, with context.json, for
// scripts, and returns the exit code.

int Serve(Context& context);

struct SetupArgs {
  std::vector<std::string> devices;
  std::string token_dir = "tokens";
};
int Setup(Context& context, const SetupArgs& args);

struct TokenArgs {
  std::string device;
  std::string user;
  std::string role = "device";
  std::string expires;  // empty = the role's default
  std::string out;
  std::string id;  // of revoke
  std::vector<std::string> types;
  std::vector<std::string> read_only_types;
};
int TokenCreate(Context& context, const TokenArgs& args);
int TokenList(Context& context);
int TokenRevoke(Context& context, const TokenArgs& args);

int ShowStatus(Context& context);
// A line for monitoring, and its exit code: CRITICAL if no service answers on
// [server] listen, UNKNOWN if its store cannot be read.
int CheckService(Context& context);
int DevicesList(Context& context);
int DevicesRevoke(Context& context, const std::string& device);

struct ConflictArgs {
  std::string id;
  bool all = false;
  std::string type;
  std::string entity;
  bool keep = false;
  bool restore = false;
  std::string content_file;
  std::string reason;
  int64_t revision = -1;  // that the reviewer saw; -1: whatever stands
};
int ConflictsList(Context& context, const ConflictArgs& args);
int ConflictsShow(Context& context, const ConflictArgs& args);
int ConflictsResolve(Context& context, const ConflictArgs& args);

struct UnlockArgs {
  std::string type;
  std::string id;
  std::string reason;
};
int UnlockEntity(Context& context, const UnlockArgs& args);

int AuditList(Context& context, int64_t after, int64_t limit);
int AuditVerify(Context& context);

int BackupStore(Context& context, const std::string& path);
int RestoreStore(Context& context, const std::string& path);
int ConfigCheck(Context& context);
int Why(Context& context, const std::string& type, const std::string& id);

}  // namespace ptdoc::sync
