#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// One value with SQLite's type. TEXT is any bytes: that it may be invalid UTF-8
// is the wire's concern. NaN does not exist (SQLite stores it as NULL).
class Value {
 public:
  enum class Type : uint8_t { kNull = 0, kInteger = 1, kReal = 2, kText = 3, kBlob = 4 };

  Value() = default;  // NULL
  static Value Null() { return Value(); }
  static Value Integer(int64_t v);
  static Value Real(double v);  // NULL for NaN
  static Value Text(std::string v);
  static Value Blob(std::string v);

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::kNull; }
  int64_t integer() const { return integer_; }
  double real() const { return real_; }
  // Of TEXT and BLOB.
  const std::string& bytes() const { return bytes_; }

  // Equal in type and in every bit (1 and 1.0 differ, 0.0 and -0.0 differ).
  friend bool operator==(const Value& a, const Value& b);

 private:
  Type type_ = Type::kNull;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::string bytes_;
};

struct Field {
  std::string name;
  Value value;

  friend bool operator==(const Field&, const Field&) = default;
};

// An entity's fields: names are unique, bytewise sorted.
class Fields {
 public:
  Fields() = default;
  // Sorts; of fields with one name the last stays.
  explicit Fields(std::vector<Field> fields);

  const Value* Find(absl::string_view name) const;
  void Set(absl::string_view name, Value value);
  bool empty() const { return fields_.empty(); }
  size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

  // Sum of names' and values' sizes in bytes; what `max_row_bytes` limits.
  size_t ByteSize() const;

  friend bool operator==(const Fields&, const Fields&) = default;

 private:
  // These make sorted lists themselves and save the constructor's check.
  friend Fields Overlay(const Fields& base, const Fields& sent);
  friend bool DecodeFields(absl::string_view bytes, Fields* out);

  std::vector<Field> fields_;
};

// `base` with every field of `sent` laid over it.
Fields Overlay(const Fields& base, const Fields& sent);

// The canonical encoding: the same fields give the same bytes on every machine
// (sorted names with lengths, a type tag, fixed big-endian numbers, raw bytes).
// It is what content hashes cover and what the stores keep.
std::string EncodeFields(const Fields& fields);
// False if `bytes` is not a canonical encoding; `out` is unchanged then.
bool DecodeFields(absl::string_view bytes, Fields* out);

// Feeds one value's canonical bytes (tag and content) to `out`.
void AppendCanonical(const Value& value, std::string* out);
// The same of all fields: EncodeFields behind what `out` holds.
void AppendCanonical(const Fields& fields, std::string* out);

}  // namespace ptdoc::sync
