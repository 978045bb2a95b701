#include "common/wire/values.h"

#include <cmath>
#include <limits>
#include <utility>

#include "common/base/bytes.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr size_t kUtf8UnitMax = 4;
constexpr char kReplacement[] = "\xEF\xBF\xBD";

// The length of the well-formed character at the start of `text`; 0 if there is none.
size_t CharacterSize(absl::string_view text) {
  for (size_t size = 1; size <= kUtf8UnitMax && size <= text.size(); ++size) {
    if (IsUtf8(text.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

std::string ToUtf8(absl::string_view text) {
  if (IsUtf8(text)) return std::string(text);
  std::string out;
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    if (size == 0) {
      out += kReplacement;
    } else {
      out.append(text.data(), size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

std::string ToUtf8(std::string&& text) {
  if (IsUtf8(text)) return std::move(text);
  return ToUtf8(absl::string_view(text));
}

void ValueToProto(const Value& value, v1::Value* out) {
  switch (value.type()) {
    case Value::Type::kNull:
      out->set_null(true);
      return;
    case Value::Type::kInteger:
      out->set_integer(value.integer());
      return;
    case Value::Type::kReal:
      out->set_real(value.real());
      return;
    case Value::Type::kText:
      if (IsUtf8(value.bytes())) {
        out->set_text(value.bytes());
      } else {
        out->set_raw_text(value.bytes());
      }
      return;
    case Value::Type::kBlob:
      out->set_blob(value.bytes());
      return;
  }
}

ValueDefect ValueFromProto(v1::Value* in, Value* out) {
  *out = Value::Null();
  switch (in->kind_case()) {
    case v1::Value::kNull:
      return ValueDefect::kNone;
    case v1::Value::kInteger:
      *out = Value::Integer(in->integer());
      return ValueDefect::kNone;
    case v1::Value::kReal:
      if (std::isnan(in->real())) return ValueDefect::kNotANumber;
      *out = Value::Real(in->real());
      return ValueDefect::kNone;
    case v1::Value::kText:
      *out = Value::Text(std::move(*in->mutable_text()));
      return ValueDefect::kNone;
    case v1::Value::kBlob:
      *out = Value::Blob(std::move(*in->mutable_blob()));
      return ValueDefect::kNone;
    case v1::Value::kRawText:
      *out = Value::Text(std::move(*in->mutable_raw_text()));
      return ValueDefect::kNone;
    case v1::Value::KIND_NOT_SET:
      break;
  }
  return ValueDefect::kUnset;
}

void TimeNsToProto(TimeNs time, google::protobuf::Timestamp* out) {
  out->set_seconds(time / kNanosPerSecond);
  out->set_nanos(static_cast<int32_t>(time % kNanosPerSecond));
}

void TimeToProto(absl::Time time, google::protobuf::Timestamp* out) {
  TimeNsToProto(ToTimeNs(time), out);
}

std::optional<TimeNs> TimeNsFromProto(const google::protobuf::Timestamp& in) {
  constexpr int64_t kSecondsMax = std::numeric_limits<TimeNs>::max() / kNanosPerSecond;
  if (in.seconds() < 0 || in.seconds() >= kSecondsMax) return std::nullopt;
  if (in.nanos() < 0 || in.nanos() >= kNanosPerSecond) return std::nullopt;
  return in.seconds() * kNanosPerSecond + in.nanos();
}

std::optional<absl::Time> TimeFromProto(const google::protobuf::Timestamp& in) {
  const std::optional<TimeNs> time = TimeNsFromProto(in);
  if (!time.has_value()) return std::nullopt;
  return FromTimeNs(*time);
}

v1::Operation OperationToProto(Operation operation) {
  switch (operation) {
    case Operation::kCreate:
      return v1::OPERATION_CREATE;
    case Operation::kUpdate:
      return v1::OPERATION_UPDATE;
    case Operation::kDelete:
      return v1::OPERATION_DELETE;
  }
  return v1::OPERATION_UNSPECIFIED;
}

std::optional<Operation> OperationFromProto(v1::Operation operation) {
  switch (operation) {
    case v1::OPERATION_CREATE:
      return Operation::kCreate;
    case v1::OPERATION_UPDATE:
      return Operation::kUpdate;
    case v1::OPERATION_DELETE:
      return Operation::kDelete;
    default:
      return std::nullopt;
  }
}

v1::Health HealthToProto(HealthLevel level) {
  switch (level) {
    case HealthLevel::kOk:
      return v1::HEALTH_OK;
    case HealthLevel::kWarning:
      return v1::HEALTH_WARNING;
    case HealthLevel::kCritical:
      return v1::HEALTH_CRITICAL;
  }
  return v1::HEALTH_UNSPECIFIED;
}

void QueueHealthToProto(const QueueHealth& queue, v1::QueueHealth* out) {
  out->set_pending(queue.pending);
  out->set_processing(queue.processing);
  out->set_failed(queue.failed);
  if (queue.oldest_pending_at)
    TimeToProto(*queue.oldest_pending_at, out->mutable_oldest_pending_at());
  if (queue.last_sync_at) TimeToProto(*queue.last_sync_at, out->mutable_last_sync_at());
  out->set_health(HealthToProto(HealthOf(queue)));
  out->set_open_conflicts(queue.open_conflicts);
  out->set_set_aside(queue.set_aside);
  out->set_initial(queue.initial);
}

QueueHealth QueueHealthFromProto(const v1::QueueHealth& in) {
  QueueHealth queue;
  queue.pending = in.pending();
  queue.processing = in.processing();
  queue.failed = in.failed();
  if (in.has_oldest_pending_at()) queue.oldest_pending_at = TimeFromProto(in.oldest_pending_at());
  if (in.has_last_sync_at()) queue.last_sync_at = TimeFromProto(in.last_sync_at());
  queue.open_conflicts = in.open_conflicts();
  queue.set_aside = in.set_aside();
  queue.initial = in.initial();
  return queue;
}

}  // namespace ptdoc::sync
