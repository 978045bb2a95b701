#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// Appends plain values to a string: fixed widths big-endian, varints as in
// protobuf, strings with a varint length before them.
class ByteWriter {
 public:
  ByteWriter() = default;
  // Writes over `buffer`, into the memory that it has: for whoever writes often.
  explicit ByteWriter(std::string buffer) : out_(std::move(buffer)) { out_.clear(); }

  // Room for so many bytes altogether, got at once and not bit by bit.
  void Reserve(size_t bytes) { out_.reserve(bytes); }

  void U8(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void Fixed64(uint64_t value);
  void Varint(uint64_t value);
  void String(absl::string_view value);
  void Raw(absl::string_view value) { out_.append(value.data(), value.size()); }

  const std::string& str() const { return out_; }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads what ByteWriter wrote. After a short or malformed read ok() is false
// for good and every read gives zero or empty; check once at the end. Views
// point into the input.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view in) : in_(in) {}

  uint8_t U8();
  uint64_t Fixed64();
  uint64_t Varint();
  absl::string_view String();
  absl::string_view Raw(size_t size);

  bool ok() const { return ok_; }
  bool AtEnd() const { return in_.empty(); }
  size_t remaining() const { return in_.size(); }

 private:
  absl::string_view in_;
  bool ok_ = true;
};

// True for well-formed UTF-8 (no surrogates, no overlong forms).
bool IsUtf8(absl::string_view text);

// A lower-case UUID in its 36-character form.
bool IsUuid(absl::string_view text);

}  // namespace ptdoc::sync
