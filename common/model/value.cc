#include "common/model/value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace ptdoc::sync {
namespace {

constexpr size_t kNumberBytes = 8;

// True if every name is above the one before it.
bool IsStrictlySorted(const std::vector<Field>& fields) {
  const auto not_below = [](const Field& a, const Field& b) { return a.name >= b.name; };
  return std::adjacent_find(fields.begin(), fields.end(), not_below) == fields.end();
}

// The most that a varint of 64 bits takes.
constexpr size_t kVarintBytesMax = 10;
constexpr size_t kTagBytes = 1;

// Writes where there is room, which whoever calls has made: a byte at a time into
// a string costs more than the bytes.
char* PutVarint(uint64_t value, char* at) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
  *at++ = static_cast<char>(value);
  return at;
}

char* PutSized(absl::string_view bytes, char* at) {
  at = PutVarint(bytes.size(), at);
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

char* PutBigEndian(uint64_t bits, char* at) {
  for (size_t i = 0; i < kNumberBytes; ++i) {
    *at++ = static_cast<char>(bits >> (8 * (kNumberBytes - 1 - i)));
  }
  return at;
}

// At least what PutValue writes.
size_t CanonicalBytesMax(const Value& value) {
  switch (value.type()) {
    case Value::Type::kNull:
      return kTagBytes;
    case Value::Type::kInteger:
    case Value::Type::kReal:
      return kTagBytes + kNumberBytes;
    case Value::Type::kText:
    case Value::Type::kBlob:
      return kTagBytes + kVarintBytesMax + value.bytes().size();
  }
  return kTagBytes;
}

char* PutValue(const Value& value, char* at) {
  *at++ = static_cast<char>(value.type());
  switch (value.type()) {
    case Value::Type::kNull:
      return at;
    case Value::Type::kInteger:
      return PutBigEndian(static_cast<uint64_t>(value.integer()), at);
    case Value::Type::kReal:
      return PutBigEndian(std::bit_cast<uint64_t>(value.real()), at);
    case Value::Type::kText:
    case Value::Type::kBlob:
      return PutSized(value.bytes(), at);
  }
  return at;
}

// Reads the canonical form and nothing else: a varint with a needless last
// byte is refused, since two encodings of one content would have two hashes.
class CanonicalReader {
 public:
  explicit CanonicalReader(absl::string_view in) : in_(in) {}

  bool Byte(uint8_t* out) {
    if (in_.empty()) return false;
    *out = static_cast<uint8_t>(in_.front());
    in_.remove_prefix(1);
    return true;
  }

  bool Varint(uint64_t* out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = 0;
      if (!Byte(&byte)) return false;
      if (shift == 63 && byte > 1) return false;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte & 0x80) continue;
      *out = value;
      return byte != 0 || shift == 0;
    }
    return false;
  }

  bool Sized(absl::string_view* out) {
    uint64_t size = 0;
    if (!Varint(&size) || size > in_.size()) return false;
    *out = in_.substr(0, size);
    in_.remove_prefix(size);
    return true;
  }

  bool BigEndian(uint64_t* out) {
    if (in_.size() < kNumberBytes) return false;
    uint64_t bits = 0;
    for (size_t i = 0; i < kNumberBytes; ++i) bits = bits << 8 | static_cast<uint8_t>(in_[i]);
    in_.remove_prefix(kNumberBytes);
    *out = bits;
    return true;
  }

  bool ReadValue(Value* out);

  size_t remaining() const { return in_.size(); }

 private:
  absl::string_view in_;
};

bool CanonicalReader::ReadValue(Value* out) {
  uint8_t tag = 0;
  uint64_t bits = 0;
  absl::string_view bytes;
  if (!Byte(&tag)) return false;
  switch (static_cast<Value::Type>(tag)) {
    case Value::Type::kNull:
      *out = Value::Null();
      return true;
    case Value::Type::kInteger:
      if (!BigEndian(&bits)) return false;
      *out = Value::Integer(static_cast<int64_t>(bits));
      return true;
    case Value::Type::kReal:
      if (!BigEndian(&bits)) return false;
      *out = Value::Real(std::bit_cast<double>(bits));
      return !out->is_null();
    case Value::Type::kText:
      if (!Sized(&bytes)) return false;
      *out = Value::Text(std::string(bytes));
      return true;
    case Value::Type::kBlob:
      if (!Sized(&bytes)) return false;
      *out = Value::Blob(std::string(bytes));
      return true;
  }
  return false;
}

size_t ValueBytes(const Value& value) {
  switch (value.type()) {
    case Value::Type::kNull:
      return 0;
    case Value::Type::kInteger:
    case Value::Type::kReal:
      return kNumberBytes;
    case Value::Type::kText:
    case Value::Type::kBlob:
      return value.bytes().size();
  }
  return 0;
}

}  // namespace

Value Value::Integer(int64_t v) {
  Value value;
  value.type_ = Type::kInteger;
  value.integer_ = v;
  return value;
}

Value Value::Real(double v) {
  Value value;
  if (std::isnan(v)) return value;
  value.type_ = Type::kReal;
  value.real_ = v;
  return value;
}

Value Value::Text(std::string v) {
  Value value;
  value.type_ = Type::kText;
  value.bytes_ = std::move(v);
  return value;
}

Value Value::Blob(std::string v) {
  Value value;
  value.type_ = Type::kBlob;
  value.bytes_ = std::move(v);
  return value;
}

bool operator==(const Value& a, const Value& b) {
  if (a.type_ != b.type_) return false;
  switch (a.type_) {
    case Value::Type::kNull:
      return true;
    case Value::Type::kInteger:
      return a.integer_ == b.integer_;
    case Value::Type::kReal:
      return std::bit_cast<uint64_t>(a.real_) == std::bit_cast<uint64_t>(b.real_);
    case Value::Type::kText:
    case Value::Type::kBlob:
      return a.bytes_ == b.bytes_;
  }
  return false;
}

Fields::Fields(std::vector<Field> fields) : fields_(std::move(fields)) {
  if (IsStrictlySorted(fields_)) return;
  // Of one name the last given comes last, and stays.
  std::vector<Field*> order;
  order.reserve(fields_.size());
  for (Field& field : fields_) order.push_back(&field);
  std::sort(order.begin(), order.end(), [](const Field* a, const Field* b) {
    const int compared = a->name.compare(b->name);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<Field> sorted;
  sorted.reserve(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const bool followed_by_same = i + 1 < order.size() && order[i + 1]->name == order[i]->name;
    if (!followed_by_same) sorted.push_back(std::move(*order[i]));
  }
  fields_ = std::move(sorted);
}

const Value* Fields::Find(absl::string_view name) const {
  const auto it = std::lower_bound(fields_.begin(), fields_.end(), name,
                                   [](const Field& f, absl::string_view n) { return f.name < n; });
  if (it == fields_.end() || it->name != name) return nullptr;
  return &it->value;
}

void Fields::Set(absl::string_view name, Value value) {
  const auto it = std::lower_bound(fields_.begin(), fields_.end(), name,
                                   [](const Field& f, absl::string_view n) { return f.name < n; });
  if (it != fields_.end() && it->name == name) {
    it->value = std::move(value);
    return;
  }
  fields_.insert(it, Field{std::string(name), std::move(value)});
}

size_t Fields::ByteSize() const {
  size_t size = 0;
  for (const Field& field : fields_) size += field.name.size() + ValueBytes(field.value);
  return size;
}

Fields Overlay(const Fields& base, const Fields& sent) {
  Fields result;
  result.fields_.reserve(std::max(base.size(), sent.size()));
  auto old = base.fields_.begin();
  for (const Field& field : sent.fields_) {
    for (; old != base.fields_.end() && old->name < field.name; ++old) {
      result.fields_.push_back(*old);
    }
    if (old != base.fields_.end() && old->name == field.name) ++old;
    result.fields_.push_back(field);
  }
  result.fields_.insert(result.fields_.end(), old, base.fields_.end());
  return result;
}

void AppendCanonical(const Value& value, std::string* out) {
  const size_t before = out->size();
  out->resize(before + CanonicalBytesMax(value));
  const char* const end = PutValue(value, out->data() + before);
  out->resize(static_cast<size_t>(end - out->data()));
}

void AppendCanonical(const Fields& fields, std::string* out) {
  const size_t before = out->size();
  size_t bytes = kVarintBytesMax;
  for (const Field& field : fields) {
    bytes += kVarintBytesMax + field.name.size() + CanonicalBytesMax(field.value);
  }
  out->resize(before + bytes);
  char* at = PutVarint(fields.size(), out->data() + before);
  for (const Field& field : fields) at = PutValue(field.value, PutSized(field.name, at));
  out->resize(static_cast<size_t>(at - out->data()));
}

std::string EncodeFields(const Fields& fields) {
  std::string out;
  AppendCanonical(fields, &out);
  return out;
}

bool DecodeFields(absl::string_view bytes, Fields* out) {
  // A name's length and a tag: what the shortest field takes. It keeps a
  // forged count from reserving more memory than the input could fill.
  constexpr size_t kFieldBytesMin = 2;
  CanonicalReader reader(bytes);
  uint64_t count = 0;
  if (!reader.Varint(&count) || count > reader.remaining() / kFieldBytesMin) return false;
  Fields result;
  result.fields_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    absl::string_view name;
    if (!reader.Sized(&name)) return false;
    if (i > 0 && result.fields_.back().name >= name) return false;
    Field& field = result.fields_.emplace_back();
    field.name.assign(name.data(), name.size());
    if (!reader.ReadValue(&field.value)) return false;
  }
  if (reader.remaining() != 0) return false;
  *out = std::move(result);
  return true;
}

}  // namespace ptdoc::sync
