#include "common/base/bytes.h"

#include <cstring>

#include "absl/strings/ascii.h"

namespace ptdoc::sync {
namespace {

constexpr int kVarintBytesMax = 10;

uint8_t Byte(char c) {
  return static_cast<uint8_t>(c);
}

// The length of the sequence that `lead` begins, and the range of its second
// byte (Unicode 15, table 3-7); 0 if no sequence begins so.
struct Utf8Shape {
  size_t size = 0;
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xbf;
};

Utf8Shape ShapeOf(uint8_t lead) {
  if (lead < 0x80) return {.size = 1};
  if (lead < 0xc2) return {};  // A continuation, or an overlong form.
  if (lead < 0xe0) return {.size = 2};
  if (lead == 0xe0) return {.size = 3, .second_min = 0xa0};
  if (lead == 0xed) return {.size = 3, .second_max = 0x9f};  // No surrogates.
  if (lead < 0xf0) return {.size = 3};
  if (lead == 0xf0) return {.size = 4, .second_min = 0x90};
  if (lead < 0xf4) return {.size = 4};
  if (lead == 0xf4) return {.size = 4, .second_max = 0x8f};  // Up to U+10FFFF.
  return {};
}

}  // namespace

void ByteWriter::Fixed64(uint64_t value) {
  char bytes[8];
  for (char& byte : bytes) {
    byte = static_cast<char>(value >> 56);
    value <<= 8;
  }
  out_.append(bytes, sizeof(bytes));
}

void ByteWriter::Varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) U8(static_cast<uint8_t>(value | 0x80));
  U8(static_cast<uint8_t>(value));
}

void ByteWriter::String(absl::string_view value) {
  Varint(value.size());
  Raw(value);
}

uint8_t ByteReader::U8() {
  const absl::string_view bytes = Raw(1);
  return bytes.empty() ? 0 : Byte(bytes[0]);
}

uint64_t ByteReader::Fixed64() {
  uint64_t value = 0;
  for (const char c : Raw(8)) value = value << 8 | Byte(c);
  return value;
}

uint64_t ByteReader::Varint() {
  uint64_t value = 0;
  for (int i = 0; i < kVarintBytesMax; ++i) {
    const uint8_t byte = U8();
    if (!ok_) return 0;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte >= 0x80) continue;
    // One value has one form: no empty last byte, no bit above the 64th.
    if ((byte == 0 && i > 0) || (i == kVarintBytesMax - 1 && byte > 1)) break;
    return value;
  }
  ok_ = false;
  in_ = absl::string_view();
  return 0;
}

absl::string_view ByteReader::String() {
  const uint64_t size = Varint();
  return Raw(size);
}

absl::string_view ByteReader::Raw(size_t size) {
  if (size > in_.size()) {
    ok_ = false;
    in_ = absl::string_view();
    return absl::string_view();
  }
  const absl::string_view bytes = in_.substr(0, size);
  in_.remove_prefix(size);
  return bytes;
}

bool IsUtf8(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    // Eight ASCII bytes at a time: most text is nothing else.
    uint64_t word = 0;
    if (text.size() - at >= sizeof(word)) {
      std::memcpy(&word, text.data() + at, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        at += sizeof(word);
        continue;
      }
    }
    const Utf8Shape shape = ShapeOf(Byte(text[at]));
    if (shape.size == 0 || shape.size > text.size() - at) return false;
    for (size_t i = 1; i < shape.size; ++i) {
      const uint8_t byte = Byte(text[at + i]);
      const bool in_range = i == 1 ? byte >= shape.second_min && byte <= shape.second_max
                                   : byte >= 0x80 && byte <= 0xbf;
      if (!in_range) return false;
    }
    at += shape.size;
  }
  return true;
}

bool IsUuid(absl::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !absl::ascii_isdigit(Byte(c)) && (c < 'a' || c > 'f')) return false;
  }
  return true;
}

}  // namespace ptdoc::sync
