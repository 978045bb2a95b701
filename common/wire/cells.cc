#include "common/wire/cells.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

namespace ptdoc::sync {
namespace {

constexpr int kTypeBits = 3;
constexpr uint64_t kTypeMask = (1 << kTypeBits) - 1;
constexpr size_t kRealBytes = 8;

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendHeader(Value::Type type, uint64_t size, std::string* out) {
  AppendVarint(size << kTypeBits | static_cast<uint64_t>(type), out);
}

uint64_t ZigZag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}

int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

// Takes a varint of at most 64 bits off the front.
bool TakeVarint(absl::string_view* in, uint64_t* out) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in->front());
    in->remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) != 0) continue;
    *out = value;
    return true;
  }
  return false;
}

bool TakeBytes(absl::string_view* in, uint64_t size, std::string* out) {
  if (size > in->size()) return false;
  out->assign(in->data(), size);
  in->remove_prefix(size);
  return true;
}

ValueDefect TakeReal(absl::string_view* in, Value* out) {
  if (in->size() < kRealBytes) return ValueDefect::kMalformed;
  uint64_t bits = 0;
  for (size_t i = 0; i < kRealBytes; ++i) {
    bits |= static_cast<uint64_t>(static_cast<uint8_t>((*in)[i])) << (8 * i);
  }
  in->remove_prefix(kRealBytes);
  const double real = std::bit_cast<double>(bits);
  if (std::isnan(real)) return ValueDefect::kNotANumber;
  *out = Value::Real(real);
  return ValueDefect::kNone;
}

ValueDefect TakeCell(absl::string_view* in, Value* out) {
  uint64_t header = 0;
  uint64_t number = 0;
  std::string bytes;
  if (!TakeVarint(in, &header)) return ValueDefect::kMalformed;
  const uint64_t size = header >> kTypeBits;
  const auto type = static_cast<Value::Type>(header & kTypeMask);
  const bool is_long = type == Value::Type::kText || type == Value::Type::kBlob;
  if (!is_long && size > 0) return ValueDefect::kMalformed;
  switch (type) {
    case Value::Type::kNull:
      *out = Value::Null();
      return ValueDefect::kNone;
    case Value::Type::kInteger:
      if (!TakeVarint(in, &number)) return ValueDefect::kMalformed;
      *out = Value::Integer(UnZigZag(number));
      return ValueDefect::kNone;
    case Value::Type::kReal:
      return TakeReal(in, out);
    case Value::Type::kText:
    case Value::Type::kBlob:
      if (!TakeBytes(in, size, &bytes)) return ValueDefect::kMalformed;
      *out = type == Value::Type::kText ? Value::Text(std::move(bytes))
                                        : Value::Blob(std::move(bytes));
      return ValueDefect::kNone;
  }
  return ValueDefect::kMalformed;
}

}  // namespace

void AppendCell(const Value& value, std::string* out) {
  switch (value.type()) {
    case Value::Type::kNull:
      AppendHeader(Value::Type::kNull, 0, out);
      return;
    case Value::Type::kInteger:
      AppendHeader(Value::Type::kInteger, 0, out);
      AppendVarint(ZigZag(value.integer()), out);
      return;
    case Value::Type::kReal: {
      AppendHeader(Value::Type::kReal, 0, out);
      const auto bits = std::bit_cast<uint64_t>(value.real());
      for (size_t i = 0; i < kRealBytes; ++i) out->push_back(static_cast<char>(bits >> (8 * i)));
      return;
    }
    case Value::Type::kText:
    case Value::Type::kBlob:
      AppendHeader(value.type(), value.bytes().size(), out);
      out->append(value.bytes());
      return;
  }
}

ValueDefect ReadCells(absl::string_view cells, size_t count, std::vector<Value>* values) {
  // Each takes a byte at least: a short message must not fill memory.
  if (count > cells.size()) return ValueDefect::kMalformed;
  values->reserve(values->size() + count);
  for (; count > 0; --count) {
    Value value;
    const ValueDefect defect = TakeCell(&cells, &value);
    if (defect != ValueDefect::kNone) return defect;
    values->push_back(std::move(value));
  }
  return cells.empty() ? ValueDefect::kNone : ValueDefect::kMalformed;
}

}  // namespace ptdoc::sync
