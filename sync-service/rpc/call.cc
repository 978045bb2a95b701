#include "sync-service/rpc/call.h"

#include <grpcpp/support/string_ref.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr uint8_t Bit(Role role) {
  return static_cast<uint8_t>(1U << static_cast<unsigned>(role));
}

constexpr uint8_t kDevices = Bit(Role::kDevice);
constexpr uint8_t kReviewers = Bit(Role::kReviewer) | Bit(Role::kAdmin);
constexpr uint8_t kAdmins = Bit(Role::kAdmin);
constexpr uint8_t kEverybody = kDevices | kReviewers | Bit(Role::kMonitor);

struct MethodRule {
  const char* name;
  uint8_t roles;
};

// In the order of Method.
constexpr MethodRule kRules[] = {
    {"SyncService/Push", kDevices},
    {"SyncService/Pull", kDevices},
    {"SyncService/Run", kDevices},
    {"SyncService/Status", kEverybody},
    {"SyncService/DigestRanges", kDevices},
    {"SyncService/DigestRows", kDevices},
    {"AdminService/ListConflicts", kReviewers},
    {"AdminService/GetConflict", kReviewers},
    {"AdminService/ResolveConflict", kReviewers},
    {"AdminService/Unlock", kAdmins},
    {"AdminService/ListDevices", kAdmins},
    {"AdminService/RevokeDevice", kAdmins},
    {"AdminService/ListAudit", kAdmins},
    {"AdminService/VerifyAudit", kAdmins},
};
static_assert(sizeof(kRules) / sizeof(kRules[0]) == static_cast<size_t>(Method::kVerifyAudit) + 1);

const MethodRule& RuleOf(Method method) {
  return kRules[static_cast<size_t>(method)];
}

// The value of a header; `*valid` turns false if it came twice.
std::optional<std::string> Header(const grpc::ServerContextBase& context, const char* name,
                                  bool* valid) {
  const auto [begin, end] = context.client_metadata().equal_range(name);
  if (begin == end) return std::nullopt;
  if (std::next(begin) != end) *valid = false;
  return std::string(begin->second.data(), begin->second.size());
}

CallMetadata MetadataOf(const grpc::ServerContextBase& context) {
  CallMetadata metadata;
  bool agent_valid = true;  // What an agent says of itself decides nothing.
  metadata.authorization = Header(context, "authorization", &metadata.valid);
  metadata.device = Header(context, "ptdoc-device", &metadata.valid);
  metadata.agent = Header(context, "ptdoc-agent", &agent_valid).value_or("");
  return metadata;
}

}  // namespace

const char* MethodName(Method method) {
  return RuleOf(method).name;
}

bool MayCall(Role role, Method method) {
  return (RuleOf(method).roles & Bit(role)) != 0;
}

absl::Status DrainingError() {
  return ReasonError(absl::StatusCode::kUnavailable, "DRAINING",
                     "The service is stopping. What it answered is safe; send the rest again.");
}

absl::Status CheckMessageSize(size_t bytes) {
  if (bytes <= kMessageBytesMax) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     absl::StrCat("The message has ", bytes, " bytes, the limit is ",
                                  kMessageBytesMax, ". Nothing of it was taken. Split it."));
}

Call::Call(ServiceContext& service, Method method, const grpc::ServerContextBase& context)
    : service_(service),
      method_(method),
      metadata_(MetadataOf(context)),
      begun_(service.clock.Monotonic()) {}

absl::Status Call::Admit() const {
  return service_.draining ? DrainingError() : absl::OkStatus();
}

absl::StatusOr<Principal> Call::Authorize(Authenticator::Freshness freshness) const {
  PT_ASSIGN_OR_RETURN(Identity identity, service_.authenticator.Authenticate(metadata_, freshness));
  {
    MutexLock lock(mutex_);
    tenant_ = identity.who.tenant;
    device_ = identity.who.device;
  }
  // Where no token exists, whoever reaches loopback may call everything.
  if (identity.open || MayCall(identity.who.role, method_)) return std::move(identity.who);
  return ReasonError(
      absl::StatusCode::kPermissionDenied, "ROLE",
      absl::StrCat("A token with the role ", RoleName(identity.who.role), " may not call ",
                   MethodName(method_), ". Nothing was done. Use a token made for it."));
}

void Call::LogEnd(const absl::Status& status, int64_t count) const {
  std::string tenant;
  std::string device;
  {
    MutexLock lock(mutex_);
    tenant = tenant_;
    device = device_;
  }
  const absl::Duration took = service_.clock.Monotonic() - begun_;
  if (status.ok() || absl::IsCancelled(status)) {
    Log(LogLevel::kDebug, "rpc.end",
        {LogField::Code("method", MethodName(method_)), LogField::Code("tenant", tenant),
         LogField::Code("device", device), LogField::Count("count", count),
         LogField::Millis("took_ms", took)});
    return;
  }
  Log(LogLevel::kInfo, "rpc.failed",
      {LogField::Code("method", MethodName(method_)), LogField::Code("tenant", tenant),
       LogField::Code("device", device), LogField::Error(status), LogField::Count("count", count),
       LogField::Millis("took_ms", took)});
}

}  // namespace ptdoc::sync
