#include "sync-service/cli/context.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/cli/output.h"
#include "common/model/reason.h"
#include "sync-service/store/sqlite_store.h"

namespace ptdoc::sync {
namespace {

constexpr char kDefaultTenant[] = "default";

// What opening says without a reason: a file that is damaged, foreign, or not to be opened.
absl::Status StoreProblem(const absl::Status& status, const std::string& path) {
  if (status.ok() || !ReasonOf(status).empty()) return status;
  const absl::string_view why = absl::StripSuffix(status.message(), ".");
  return ReasonError(
      status.code(), "STORE_UNUSABLE",
      absl::StrCat("The store cannot be used: ", path, " (",
                   absl::StrReplaceAll(why, {{". ", "; "}}),
                   "). Nothing was changed, and devices keep what they have not sent. Check the "
                   "path and its permissions; a damaged store is replaced by a backup: "
                   "sync-service restore."));
}

}  // namespace

absl::Status Context::LoadConfig() {
  if (!store_flag.empty()) flags.push_back({"store.url", store_flag, "--store"});
  PT_ASSIGN_OR_RETURN(config, LoadServiceConfig(config_file, flags));
  return absl::OkStatus();
}

absl::Status Context::Open(bool create) {
  PT_RETURN_IF_ERROR(LoadConfig());
  PT_ASSIGN_OR_RETURN(const std::string path, SqlitePath(config.store_url));
  if (!create && access(path.c_str(), F_OK) != 0) {
    return ReasonError(
        absl::StatusCode::kNotFound, "NO_STORE",
        absl::StrCat("There is no store at ", path,
                     ". Nothing was read or changed. Name it with --store "
                     "sqlite:///PATH or --config FILE, or make one with `sync-service "
                     "setup`."));
  }
  SqliteStoreOptions options;
  options.path = path;
  options.create = create;
  auto opened = OpenSqliteStore(options, clock, rng);
  if (!opened.ok()) return StoreProblem(opened.status(), path);
  store = *std::move(opened);
  engine = std::make_unique<Engine>(*store, clock, rng, config.engine);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Context::TenantToBe() {
  return tenant_flag.empty() ? Tenant() : tenant_flag;
}

std::string Context::GivenFlags() const {
  std::string given;
  if (!config_file.empty()) absl::StrAppend(&given, " --config ", ShellWord(config_file));
  if (!store_flag.empty()) absl::StrAppend(&given, " --store ", ShellWord(store_flag));
  if (!tenant_flag.empty()) absl::StrAppend(&given, " --tenant ", ShellWord(tenant_flag));
  return given;
}

absl::StatusOr<std::string> Context::Tenant() {
  PT_ASSIGN_OR_RETURN(auto reader, store->BeginRead());
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> tenants, reader->ListTenants());
  if (!tenant_flag.empty()) {
    const bool known = std::find(tenants.begin(), tenants.end(), tenant_flag) != tenants.end();
    if (known || (tenants.empty() && tenant_flag == kDefaultTenant)) return tenant_flag;
    return ReasonError(
        absl::StatusCode::kNotFound, "TENANT_UNKNOWN",
        absl::StrCat("The store has no tenant of this name. Nothing was read or changed. ",
                     tenants.empty() ? "It has none yet: make one with `sync-service setup`"
                                     : "Name one of these with --tenant: ",
                     absl::StrJoin(tenants, ", "), "."));
  }
  if (tenants.size() == 1) return tenants.front();
  if (tenants.empty()) return std::string(kDefaultTenant);
  return ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                     absl::StrCat("The store holds several tenants. Nothing was read or changed. "
                                  "Name one with --tenant: ",
                                  absl::StrJoin(tenants, ", "), "."));
}

absl::StatusOr<Principal> Context::Operator() {
  Principal who;
  PT_ASSIGN_OR_RETURN(who.tenant, Tenant());
  who.device = "console";
  const char* user = std::getenv("SUDO_USER");
  if (user == nullptr) user = std::getenv("USER");
  who.user = user != nullptr ? user : "root";
  who.role = Role::kAdmin;
  return who;
}

}  // namespace ptdoc::sync
