// setup and token: who may call.
#include "sync-service/auth/tokens.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "common/model/reason.h"
#include "sync-service/cli/secret_file.h"
#include "sync-service/cli/verbs.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {
namespace {

absl::Status UsageError(absl::string_view message) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "USAGE", message);
}

// Makes a token and stores its hash, with its audit row, in one transaction.
absl::StatusOr<NewToken> Create(Context& context, const std::string& tenant,
                                const std::string& device, const std::string& user, Role role,
                                absl::Duration life, const TypeRights& rights = {}) {
  const absl::Time now = context.clock.Now();
  NewToken token = MakeToken(context.rng, {tenant, device, user, role, now + life, rights}, now);
  PT_ASSIGN_OR_RETURN(auto writer, context.store->BeginWrite());
  PT_RETURN_IF_ERROR(writer->PutToken(token.row));
  AuditEvent event;
  event.at = now;
  event.event = "token.create";
  event.device = device;
  event.user = user;
  event.outcome = std::string(RoleName(role));
  event.reason = token.row.id;
  PT_RETURN_IF_ERROR(writer->Audit(tenant, event));
  PT_RETURN_IF_ERROR(writer->Commit());
  return token;
}

struct SetupLine {
  std::string device;
  std::string file;
  bool created = false;
  bool expired = false;  // there was one, whose time is over
};

// True if the file holds a token of this store whose time is over; one that was
// revoked was ended on purpose.
absl::StatusOr<bool> HasExpired(Context& context, const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  std::getline(in, text);
  PT_ASSIGN_OR_RETURN(auto reader, context.store->BeginRead());
  PT_ASSIGN_OR_RETURN(const std::vector<TokenRow> tokens, reader->ListTokens());
  const std::string hash = TokenHash(text);
  return std::any_of(tokens.begin(), tokens.end(), [&](const TokenRow& token) {
    return token.hash == hash && !token.revoked_at.has_value() &&
           token.expires_at <= context.clock.Now();
  });
}

// The token of one device, unless its file is there already and its token lasts.
absl::StatusOr<SetupLine> SetupOne(Context& context, const std::string& tenant,
                                   const std::string& device, Role role, const std::string& dir) {
  SetupLine line{device, absl::StrCat(dir, "/", device, ".token")};
  if (std::filesystem::exists(line.file)) {
    PT_ASSIGN_OR_RETURN(line.expired, HasExpired(context, line.file));
    if (!line.expired) return line;
  }
  PT_ASSIGN_OR_RETURN(const NewToken token,
                      Create(context, tenant, device, "", role, DefaultTokenLife(role)));
  PT_RETURN_IF_ERROR(line.expired ? ReplaceSecretFile(line.file, token.text)
                                  : WriteSecretFile(line.file, token.text));
  line.created = true;
  return line;
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

absl::StatusOr<std::vector<SetupLine>> SetupAll(Context& context, const SetupArgs& args) {
  const std::string tenant = context.tenant_flag.empty() ? "default" : context.tenant_flag;
  for (const std::string& device : args.devices) {
    if (!IsPlainName(device)) {
      return UsageError(
          "A device's name has letters, digits, '-', '_' and '.', at most 64. Nothing was made. "
          "Choose another name.");
    }
  }
  PT_RETURN_IF_ERROR(context.Open(/*create=*/true));
  PT_RETURN_IF_ERROR(MakeSecretDirectory(args.token_dir));
  std::vector<SetupLine> lines;
  for (const std::string& device : args.devices) {
    PT_ASSIGN_OR_RETURN(SetupLine line,
                        SetupOne(context, tenant, device, Role::kDevice, args.token_dir));
    lines.push_back(std::move(line));
  }
  PT_ASSIGN_OR_RETURN(SetupLine admin,
                      SetupOne(context, tenant, "admin", Role::kAdmin, args.token_dir));
  lines.push_back(std::move(admin));
  return lines;
}

absl::StatusOr<TypeRights> RightsOf(const TokenArgs& args, Role role) {
  TypeRights rights;
  rights.types.insert(args.types.begin(), args.types.end());
  rights.read_only.insert(args.read_only_types.begin(), args.read_only_types.end());
  if (rights.limited() && role != Role::kDevice) {
    return UsageError(
        "--types and --read-only-types limit a device; other roles see every type, or none. No "
        "token was made. Leave them out, or --role.");
  }
  if (rights.types.size() + rights.read_only.size() > kTypesMax) {
    return UsageError(
        absl::StrCat("--types and --read-only-types name more than ", kTypesMax,
                     " entity types. No token was made. Name fewer, or none for all."));
  }
  for (const std::string& type : rights.read_only) {
    if (!rights.types.contains(type)) continue;
    return UsageError(absl::StrCat("--types and --read-only-types both name ", type,
                                   ". No token was made. Name it in one of them."));
  }
  return rights;
}

absl::StatusOr<NewToken> CreateFromArgs(Context& context, const TokenArgs& args) {
  const std::optional<Role> role = RoleFromName(args.role);
  if (!role.has_value()) {
    return UsageError(
        "--role is none of device, reviewer, admin, monitor. No token was made. Correct it.");
  }
  absl::Duration life = DefaultTokenLife(*role);
  if (!args.expires.empty()) {
    const absl::StatusOr<absl::Duration> given = ParseDuration(args.expires);
    if (!given.ok() || *given <= absl::ZeroDuration()) {
      return UsageError(
          "--expires is no duration above zero. No token was made. Write for example 365d or 12h.");
    }
    life = *given;
  }
  PT_ASSIGN_OR_RETURN(const TypeRights rights, RightsOf(args, *role));
  PT_RETURN_IF_ERROR(context.Open(/*create=*/true));
  PT_ASSIGN_OR_RETURN(const std::string tenant, context.TenantToBe());
  return Create(context, tenant, args.device, args.user, *role, life, rights);
}

// "Patient, Note, Exercise (read)"; "all".
std::string TypesText(const TypeRights& rights) {
  std::vector<std::string> types(rights.types.begin(), rights.types.end());
  for (const std::string& type : rights.read_only) types.push_back(absl::StrCat(type, " (read)"));
  return types.empty() ? "all" : absl::StrJoin(types, ", ");
}

std::string StateOf(const TokenRow& token, absl::Time now) {
  if (token.revoked_at.has_value()) return "revoked";
  return token.expires_at <= now ? "expired" : "valid";
}

}  // namespace

int Setup(Context& context, const SetupArgs& args) {
  const auto lines = SetupAll(context, args);
  if (!lines.ok()) return Fail(lines.status(), context.json);
  Json items = Json::array();
  for (const SetupLine& line : *lines) {
    if (context.json) {
      items.push_back(
          {{"device", line.device}, {"tokenFile", line.file}, {"created", line.created}});
    } else {
      std::printf("%-16s %s%s\n", line.device.c_str(), line.file.c_str(),
                  !line.created  ? "  (was there)"
                  : line.expired ? "  (new: the one that was there had expired)"
                                 : "");
    }
  }
  if (context.json) PrintJson({{"items", items}});
  return kExitDone;
}

int TokenCreate(Context& context, const TokenArgs& args) {
  const auto token = CreateFromArgs(context, args);
  if (!token.ok()) return Fail(token.status(), context.json);
  if (!args.out.empty()) {
    const absl::Status written = WriteSecretFile(args.out, token->text);
    if (!written.ok()) return Fail(written, context.json);
  }
  if (context.json) {
    Json object = {{"id", token->row.id}, {"expiresAt", FormatUtc(token->row.expires_at)}};
    if (args.out.empty()) object["token"] = token->text;
    PrintJson(object);
  } else if (args.out.empty()) {
    std::printf("%s\n", token->text.c_str());
  }
  return kExitDone;
}

int TokenList(Context& context) {
  const absl::Status opened = context.Open(/*create=*/false);
  if (!opened.ok()) return Fail(opened, context.json);
  auto reader = context.store->BeginRead();
  if (!reader.ok()) return Fail(reader.status(), context.json);
  const auto tokens = (*reader)->ListTokens();
  if (!tokens.ok()) return Fail(tokens.status(), context.json);
  const absl::Time now = context.clock.Now();
  Json items = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const TokenRow& token : *tokens) {
    const std::string role(RoleName(token.role));
    items.push_back({{"id", token.id},
                     {"tenant", token.tenant},
                     {"device", token.device},
                     {"user", token.user},
                     {"role", role},
                     {"types", token.rights.types},
                     {"readOnlyTypes", token.rights.read_only},
                     {"createdAt", FormatUtc(token.created_at)},
                     {"expiresAt", FormatUtc(token.expires_at)},
                     {"state", StateOf(token, now)}});
    rows.push_back({token.id, token.tenant, token.device, token.user, role, TypesText(token.rights),
                    FormatUtc(token.expires_at), StateOf(token, now)});
  }
  PrintList(context.json, items,
            {"id", "tenant", "device", "user", "role", "types", "expires", "state"}, rows,
            "No token exists: every caller on this machine is let in.");
  return kExitDone;
}

int TokenRevoke(Context& context, const TokenArgs& args) {
  const auto revoke = [&]() -> absl::Status {
    PT_RETURN_IF_ERROR(context.Open(/*create=*/false));
    PT_ASSIGN_OR_RETURN(auto writer, context.store->BeginWrite());
    PT_ASSIGN_OR_RETURN(const std::vector<TokenRow> tokens, writer->ListTokens());
    const auto found = std::find_if(tokens.begin(), tokens.end(),
                                    [&](const TokenRow& token) { return token.id == args.id; });
    if (found == tokens.end()) {
      return ReasonError(absl::StatusCode::kNotFound, "TOKEN_UNKNOWN",
                         "There is no token with this id. Nothing was changed. See `sync-service "
                         "token list`.");
    }
    PT_RETURN_IF_ERROR(writer->RevokeToken(args.id, context.clock.Now()));
    AuditEvent event;
    event.at = context.clock.Now();
    event.event = "token.revoke";
    event.device = found->device;
    event.reason = args.id;
    PT_RETURN_IF_ERROR(writer->Audit(found->tenant, event));
    return writer->Commit();
  };
  const absl::Status status = revoke();
  if (!status.ok()) return Fail(status, context.json);
  if (context.json) {
    PrintJson({{"revoked", args.id}});
  } else {
    std::printf("Token %s ends within 5 seconds. Changes of its device stay queued there.\n",
                args.id.c_str());
  }
  return kExitDone;
}

}  // namespace ptdoc::sync
