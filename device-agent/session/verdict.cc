#include "device-agent/session/verdict.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

int64_t NumberIn(const absl::Status& status, const char* key) {
  const std::map<std::string, std::string> metadata = ReasonMetadata(status);
  const auto it = metadata.find(key);
  int64_t number = 0;
  if (it == metadata.end() || !absl::SimpleAtoi(it->second, &number)) return 0;
  return std::max<int64_t>(number, 0);
}

}  // namespace

Verdict VerdictOf(const absl::Status& status) {
  if (status.ok()) return Verdict::kEnded;
  const std::string reason = ReasonOf(status);
  // A proxy turns cuts into INTERNAL and limits into RESOURCE_EXHAUSTED: only a
  // status with a reason of ours says what became of the batch.
  if (reason.empty()) return Verdict::kFateUnknown;
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
      return Verdict::kToken;
    case absl::StatusCode::kPermissionDenied:
      // The service may take part in more types one day, and tells nobody.
      return reason == "TYPE_FORBIDDEN" ? Verdict::kWait : Verdict::kStop;
    case absl::StatusCode::kInvalidArgument:
      return Verdict::kStop;
    case absl::StatusCode::kFailedPrecondition:
      return Verdict::kRebaseline;
    case absl::StatusCode::kResourceExhausted:
      return reason == "MESSAGE_TOO_LARGE" ? Verdict::kTooLarge : Verdict::kWait;
    case absl::StatusCode::kUnavailable:
      return reason == "DRAINING" ? Verdict::kSoon : Verdict::kFateUnknown;
    default:
      return Verdict::kFateUnknown;
  }
}

absl::Duration RetryAfter(const absl::Status& status) {
  return absl::Milliseconds(NumberIn(status, kMetaRetryAfterMs));
}

Revision SharedRevision(const absl::Status& status) {
  return NumberIn(status, kMetaSharedRevision);
}

}  // namespace ptdoc::sync
