#include "common/wire/errors.h"

#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "common/wire/values.h"
#include "google/rpc/error_details.pb.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kMillisPerSecond = 1'000;
constexpr int64_t kNanosPerMilli = 1'000'000;
constexpr int64_t kRetryAfterMsMax = int64_t{24} * 60 * 60 * 1'000;

using Metadata = std::map<std::string, std::string>;

void AddErrorInfo(const std::string& reason, const Metadata& metadata, google::rpc::Status* out) {
  google::rpc::ErrorInfo info;
  info.set_reason(ToUtf8(reason));
  info.set_domain(std::string(kErrorDomain));
  for (const auto& [key, value] : metadata) {
    if (key == kMetaRetryAfterMs) continue;  // RetryInfo says it.
    (*info.mutable_metadata())[ToUtf8(key)] = ToUtf8(value);
  }
  out->add_details()->PackFrom(info);
}

void AddFieldViolation(const Metadata& metadata, const absl::Status& status,
                       google::rpc::Status* out) {
  const auto field = metadata.find(kMetaField);
  if (field == metadata.end()) return;
  google::rpc::BadRequest bad_request;
  auto* const violation = bad_request.add_field_violations();
  violation->set_field(ToUtf8(field->second));
  violation->set_description(ToUtf8(status.message()));
  out->add_details()->PackFrom(bad_request);
}

void AddRetryInfo(const Metadata& metadata, google::rpc::Status* out) {
  const auto retry = metadata.find(kMetaRetryAfterMs);
  int64_t ms = 0;
  if (retry == metadata.end() || !absl::SimpleAtoi(retry->second, &ms) || ms < 0) return;
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(ms / kMillisPerSecond);
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(ms % kMillisPerSecond * kNanosPerMilli));
  out->add_details()->PackFrom(info);
}

int64_t RetryAfterMs(const google::rpc::RetryInfo& info) {
  const int64_t seconds = info.retry_delay().seconds();
  if (seconds < 0) return 0;
  if (seconds >= kRetryAfterMsMax / kMillisPerSecond) return kRetryAfterMsMax;
  return seconds * kMillisPerSecond + info.retry_delay().nanos() / kNanosPerMilli;
}

}  // namespace

std::string ErrorDetails(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (status.ok() || reason.empty()) return "";
  const Metadata metadata = ReasonMetadata(status);
  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(ToUtf8(status.message()));
  AddErrorInfo(reason, metadata, &out);
  AddFieldViolation(metadata, status, &out);
  AddRetryInfo(metadata, &out);
  return out.SerializeAsString();
}

absl::Status StatusFromDetails(absl::StatusCode code, absl::string_view message,
                               absl::string_view details) {
  const absl::Status plain(code, message);
  google::rpc::Status in;
  if (code == absl::StatusCode::kOk || details.empty()) return plain;
  if (!in.ParseFromArray(details.data(), static_cast<int>(details.size()))) return plain;
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  bool ours = false;
  Metadata metadata;
  for (const google::protobuf::Any& detail : in.details()) {
    if (detail.UnpackTo(&info)) {
      ours = ours || (info.domain() == kErrorDomain && !info.reason().empty());
    } else if (detail.UnpackTo(&retry)) {
      metadata[kMetaRetryAfterMs] = absl::StrCat(RetryAfterMs(retry));
    }
  }
  if (!ours) return plain;
  for (const auto& [key, value] : info.metadata()) metadata.emplace(key, value);
  return ReasonError(code, info.reason(), message, metadata);
}

}  // namespace ptdoc::sync
