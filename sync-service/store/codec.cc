#include "sync-service/store/codec.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "common/base/bytes.h"

namespace ptdoc::sync {
namespace {

constexpr uint8_t kHasCheck = 1;
constexpr uint8_t kHasConflict = 2;
constexpr uint8_t kHasError = 4;
constexpr uint8_t kRetryable = 8;
constexpr uint64_t kNewText = 0;

// Differences of either sign as small numbers. Unsigned arithmetic wraps, so
// that any two 64-bit values have a difference.
uint64_t ZigZag(int64_t to, int64_t from) {
  const auto value = static_cast<int64_t>(static_cast<uint64_t>(to) - static_cast<uint64_t>(from));
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}

int64_t UnZigZag(uint64_t coded, int64_t from) {
  const uint64_t difference = coded >> 1 ^ (~(coded & 1) + 1);
  return static_cast<int64_t>(static_cast<uint64_t>(from) + difference);
}

absl::Status Malformed(const char* what) {
  return absl::DataLossError(what);
}

// Texts of which a batch has few: the first time as they are, then by number.
class TextWriter {
 public:
  void Put(absl::string_view text, ByteWriter* out) {
    const auto [it, is_new] = numbers_.try_emplace(std::string(text), numbers_.size() + 1);
    out->Varint(is_new ? kNewText : it->second);
    if (is_new) out->String(text);
  }

 private:
  absl::flat_hash_map<std::string, uint64_t> numbers_;
};

class TextReader {
 public:
  // False if the number was never given.
  bool Get(ByteReader* in, std::string* out) {
    const uint64_t number = in->Varint();
    if (number == kNewText) texts_.push_back(in->String());
    if (number > texts_.size() || texts_.empty()) return false;
    *out = std::string(number == kNewText ? texts_.back() : texts_[number - 1]);
    return true;
  }

 private:
  std::vector<absl::string_view> texts_;
};

uint8_t FlagsOf(const ChangeResult& result) {
  uint8_t flags = 0;
  if (!result.check.empty()) flags |= kHasCheck;
  if (!result.conflict_id.empty()) flags |= kHasConflict;
  if (result.error_code != ErrorCode::kNone || !result.error_message.empty()) flags |= kHasError;
  if (result.retryable) flags |= kRetryable;
  return flags;
}

void EncodeResult(const ChangeResult& result, Revision last_revision, TextWriter* texts,
                  ByteWriter* out) {
  const uint8_t flags = FlagsOf(result);
  out->U8(flags);
  texts->Put(result.key.type, out);
  out->String(result.key.id);
  out->U8(static_cast<uint8_t>(result.outcome));
  out->U8(static_cast<uint8_t>(result.resolution));
  texts->Put(result.rule, out);
  out->Varint(ZigZag(result.revision, last_revision));
  if (flags & kHasCheck) out->String(result.check);
  if (flags & kHasConflict) out->String(result.conflict_id);
  if ((flags & kHasError) == 0) return;
  texts->Put(ErrorCodeName(result.error_code), out);
  texts->Put(result.error_message, out);
}

bool DecodeEnums(ByteReader* in, ChangeResult* result) {
  const uint8_t outcome = in->U8();
  const uint8_t resolution = in->U8();
  if (outcome < static_cast<uint8_t>(Outcome::kAccepted) ||
      outcome > static_cast<uint8_t>(Outcome::kFailed)) {
    return false;
  }
  if (resolution > static_cast<uint8_t>(Resolution::kKeyCollision)) return false;
  result->outcome = static_cast<Outcome>(outcome);
  result->resolution = static_cast<Resolution>(resolution);
  return true;
}

bool DecodeResult(ByteReader* in, Revision last_revision, TextReader* texts, ChangeResult* result) {
  const uint8_t flags = in->U8();
  if (!texts->Get(in, &result->key.type)) return false;
  result->key.id = std::string(in->String());
  if (!DecodeEnums(in, result)) return false;
  if (!texts->Get(in, &result->rule)) return false;
  result->revision = UnZigZag(in->Varint(), last_revision);
  if (flags & kHasCheck) result->check = std::string(in->String());
  if (flags & kHasConflict) result->conflict_id = std::string(in->String());
  result->retryable = (flags & kRetryable) != 0;
  if ((flags & kHasError) == 0) return in->ok();
  std::string code;
  if (!texts->Get(in, &code)) return false;
  result->error_code = ErrorCodeFromName(code);
  return texts->Get(in, &result->error_message) && in->ok();
}

}  // namespace

std::string EncodeFieldTimes(std::span<const TimeNs> times, TimeNs version_time) {
  const bool all_equal =
      std::all_of(times.begin(), times.end(), [&](TimeNs t) { return t == version_time; });
  ByteWriter out;
  if (all_equal) return out.Take();
  for (const TimeNs time : times) out.Varint(ZigZag(time, version_time));
  return out.Take();
}

absl::StatusOr<std::vector<TimeNs>> DecodeFieldTimes(absl::string_view bytes, TimeNs version_time,
                                                     size_t fields) {
  std::vector<TimeNs> times(fields, version_time);
  if (bytes.empty()) return times;
  ByteReader in(bytes);
  for (TimeNs& time : times) time = UnZigZag(in.Varint(), version_time);
  if (!in.ok() || !in.AtEnd()) return Malformed("the field times of a version are damaged");
  return times;
}

std::string EncodeFieldWriters(std::span<const int64_t> writers) {
  const bool all_own =
      std::all_of(writers.begin(), writers.end(), [](int64_t w) { return w == 0; });
  ByteWriter out;
  if (all_own) return out.Take();
  for (const int64_t writer : writers) out.Varint(static_cast<uint64_t>(writer));
  return out.Take();
}

absl::StatusOr<std::vector<int64_t>> DecodeFieldWriters(absl::string_view bytes, size_t fields) {
  std::vector<int64_t> writers(fields, 0);
  if (bytes.empty()) return writers;
  ByteReader in(bytes);
  for (int64_t& writer : writers) writer = static_cast<int64_t>(in.Varint());
  if (!in.ok() || !in.AtEnd()) return Malformed("the field writers of a version are damaged");
  return writers;
}

std::string EncodeNotice(const ConflictNotice& notice) {
  ByteWriter out;
  out.String(notice.conflict_id);
  out.U8(static_cast<uint8_t>(notice.resolution));
  out.String(notice.lost_device);
  out.Varint(static_cast<uint64_t>(notice.lost_revision));
  if (!notice.resolved_conflict_id.empty()) out.String(notice.resolved_conflict_id);
  return out.Take();
}

absl::StatusOr<ConflictNotice> DecodeNotice(absl::string_view bytes) {
  ByteReader in(bytes);
  ConflictNotice notice;
  notice.conflict_id = std::string(in.String());
  const uint8_t resolution = in.U8();
  notice.resolution = static_cast<Resolution>(resolution);
  notice.lost_device = std::string(in.String());
  notice.lost_revision = static_cast<Revision>(in.Varint());
  if (in.ok() && !in.AtEnd()) notice.resolved_conflict_id = std::string(in.String());
  if (!in.ok() || !in.AtEnd() || resolution > static_cast<uint8_t>(Resolution::kKeyCollision)) {
    return Malformed("the conflict notice of a version is damaged");
  }
  return notice;
}

std::string EncodeResults(std::span<const ChangeResult> results, Revision last_revision) {
  ByteWriter out;
  TextWriter texts;
  out.Varint(results.size());
  for (const ChangeResult& result : results) EncodeResult(result, last_revision, &texts, &out);
  return out.Take();
}

absl::StatusOr<std::vector<ChangeResult>> DecodeResults(absl::string_view bytes,
                                                        Revision last_revision) {
  ByteReader in(bytes);
  TextReader texts;
  const uint64_t count = in.Varint();
  // A result takes at least a byte: a damaged count must not take the memory.
  if (!in.ok() || count > in.remaining()) return Malformed("the results of a receipt are damaged");
  std::vector<ChangeResult> results(count);
  for (ChangeResult& result : results) {
    if (!DecodeResult(&in, last_revision, &texts, &result)) {
      return Malformed("the results of a receipt are damaged");
    }
  }
  if (!in.AtEnd()) return Malformed("the results of a receipt are damaged");
  return results;
}

}  // namespace ptdoc::sync
