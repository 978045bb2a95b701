#include "common/wire/compression.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

using google::protobuf::RepeatedPtrField;

// Shorter ones gain nothing, and cost as much.
constexpr size_t kCompressBytesMin = 256;
// Rows of one table are much alike: level 6 gains a sixth, for two and a half
// times the work (docs/PERFORMANCE.md).
constexpr int kLevel = Z_BEST_SPEED;
constexpr size_t kFirstGuessFactor = 4;
constexpr size_t kGrowBytesMin = 4096;

absl::Status Damaged() {
  return FieldError("compressed_tables",
                    "compressed_tables is no zlib stream (RFC 1950) of one RowTables message. "
                    "Nothing of the message was taken. Send tables instead.");
}

absl::Status TooLarge(size_t bytes_max) {
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     absl::StrCat("compressed_tables holds more than ", bytes_max,
                                  " bytes. Nothing of the message was taken. Split it."));
}

// One stream of zlib, with what it allocated.
class Inflater {
 public:
  explicit Inflater(absl::string_view in) {
    // zlib's interface is older than const.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    ok_ = inflateInit(&stream_) == Z_OK;
  }
  ~Inflater() {
    if (ok_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills `out` from `*used` on; true at the end of the stream.
  absl::StatusOr<bool> Fill(std::string* out, size_t* used) {
    if (!ok_) return Damaged();
    stream_.next_out = reinterpret_cast<Bytef*>(out->data() + *used);
    stream_.avail_out = static_cast<uInt>(out->size() - *used);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    *used = out->size() - stream_.avail_out;
    if (code == Z_STREAM_END) return stream_.avail_in == 0 ? absl::StatusOr<bool>(true) : Damaged();
    // Room is left, so the input ended too early.
    if (code != Z_OK || stream_.avail_out > 0) return Damaged();
    return false;
  }

 private:
  z_stream stream_ = {};
  bool ok_ = false;
};

absl::StatusOr<std::string> Inflate(absl::string_view compressed, size_t bytes_max) {
  Inflater inflater(compressed);
  std::string out;
  size_t used = 0;
  for (bool ended = false; !ended;) {
    if (used > bytes_max) return TooLarge(bytes_max);
    const size_t more = std::max({kGrowBytesMin, used, compressed.size() * kFirstGuessFactor});
    // One byte beyond the limit shows that there is more.
    out.resize(std::min(used + more, bytes_max + 1));
    PT_ASSIGN_OR_RETURN(ended, inflater.Fill(&out, &used));
  }
  if (used > bytes_max) return TooLarge(bytes_max);
  out.resize(used);
  return out;
}

}  // namespace

void CompressTables(RepeatedPtrField<v1::RowSet>* tables, std::string* compressed) {
  v1::RowTables message;
  message.mutable_tables()->Swap(tables);
  const std::string plain = message.SerializeAsString();
  uLongf size = compressBound(plain.size());
  std::string out(size, '\0');
  const bool shorter =
      plain.size() >= kCompressBytesMin &&
      compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                reinterpret_cast<const Bytef*>(plain.data()), plain.size(), kLevel) == Z_OK &&
      size < plain.size();
  if (!shorter) {
    message.mutable_tables()->Swap(tables);
    return;
  }
  out.resize(size);
  *compressed = std::move(out);
}

absl::Status ExpandTables(absl::string_view compressed, size_t bytes_max,
                          RepeatedPtrField<v1::RowSet>* tables) {
  if (compressed.empty()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const std::string plain, Inflate(compressed, bytes_max));
  v1::RowTables message;
  if (!message.ParseFromString(plain)) return Damaged();
  for (v1::RowSet& table : *message.mutable_tables()) *tables->Add() = std::move(table);
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
