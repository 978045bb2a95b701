#include "common/model/row_json.h"

#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/model/reason.h"
#include "nlohmann/json.hpp"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kBlobKey = "$blob";
constexpr absl::string_view kTextKey = "$text";
constexpr absl::string_view kRealKey = "$real";

void AppendEscaped(char c, std::string* out) {
  constexpr absl::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      out->append("\\u00");
      out->push_back(kHex[static_cast<uint8_t>(c) >> 4]);
      out->push_back(kHex[static_cast<uint8_t>(c) & 0xF]);
  }
}

// `text` is UTF-8.
void AppendJsonString(absl::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    const bool plain = static_cast<uint8_t>(c) >= 0x20 && c != '"' && c != '\\';
    if (plain) {
      out->push_back(c);
    } else {
      AppendEscaped(c, out);
    }
  }
  out->push_back('"');
}

void AppendTagged(absl::string_view tag, absl::string_view text, std::string* out) {
  absl::StrAppend(out, "{\"", tag, "\":\"", text, "\"}");
}

void AppendReal(double value, std::string* out) {
  if (std::isinf(value)) {
    AppendTagged(kRealKey, value > 0 ? "Infinity" : "-Infinity", out);
    return;
  }
  char buffer[32];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  const absl::string_view digits(buffer, static_cast<size_t>(result.ptr - buffer));
  absl::StrAppend(out, digits);
  const bool looks_real = digits.find_first_of(".e") != absl::string_view::npos;
  if (!looks_real) out->append(".0");
}

void AppendJson(const Value& value, std::string* out) {
  switch (value.type()) {
    case Value::Type::kNull:
      out->append("null");
      return;
    case Value::Type::kInteger:
      absl::StrAppend(out, value.integer());
      return;
    case Value::Type::kReal:
      AppendReal(value.real(), out);
      return;
    case Value::Type::kText:
      if (IsUtf8(value.bytes())) {
        AppendJsonString(value.bytes(), out);
      } else {
        AppendTagged(kTextKey, absl::Base64Escape(value.bytes()), out);
      }
      return;
    case Value::Type::kBlob:
      AppendTagged(kBlobKey, absl::Base64Escape(value.bytes()), out);
      return;
  }
}

// Takes exactly what Base64Escape makes; the decoder alone would pass over
// blanks, missing padding and spare bits.
bool DecodeBase64(const std::string& text, std::string* out) {
  return absl::Base64Unescape(text, out) && absl::Base64Escape(*out) == text;
}

// Builds values from nlohmann's events: one object of fields, or one array of
// values, with nothing deeper than a {"$blob": ...}. Every event returns false
// to stop; error() then tells why without a word of content.
class RowJsonReader {
 public:
  enum class Shape { kObject, kArray };
  using Json = nlohmann::json;

  explicit RowJsonReader(Shape shape) : shape_(shape) {}

  bool null() { return Add(Value::Null()); }
  bool boolean(bool) { return Fail("true and false are no values here; send 1 or 0"); }
  bool number_integer(int64_t value) { return Add(Value::Integer(value)); }
  bool number_unsigned(uint64_t value);
  bool number_float(double value, const std::string& literal);
  bool string(std::string& text);
  bool binary(Json::binary_t&) { return Fail("a binary value is not JSON"); }
  bool start_object(size_t);
  bool key(std::string& name);
  bool end_object();
  bool start_array(size_t);
  bool end_array();
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error);

  const absl::Status& error() const { return error_; }
  std::vector<Field>& fields() { return fields_; }

 private:
  bool Add(Value value);
  bool AddTagged(std::string& text);
  bool Fail(absl::string_view what);
  bool FailShape();
  std::string Place() const;

  const Shape shape_;
  int depth_ = 0;  // 1 = in the row, 2 = in a tagged value
  std::string name_;
  bool has_name_ = false;
  std::string tag_;
  bool tag_done_ = false;
  std::set<std::string> names_;
  std::vector<Field> fields_;
  absl::Status error_;
};

std::string RowJsonReader::Place() const {
  if (shape_ == Shape::kArray) return absl::StrCat("[", fields_.size(), "]");
  return has_name_ ? name_ : std::string();
}

bool RowJsonReader::Fail(absl::string_view what) {
  const std::string place = Place();
  error_ = FieldError(place, place.empty() ? std::string(what) : absl::StrCat(place, ": ", what));
  return false;
}

bool RowJsonReader::FailShape() {
  return Fail(shape_ == Shape::kObject ? "a row is one JSON object" : "a key is one JSON array");
}

bool RowJsonReader::Add(Value value) {
  if (depth_ == 0) return FailShape();
  if (depth_ == 2) return Fail("$blob, $text and $real hold a string");
  fields_.push_back(Field{name_, std::move(value)});
  return true;
}

bool RowJsonReader::number_unsigned(uint64_t value) {
  if (value > static_cast<uint64_t>(INT64_MAX)) return Fail("the integer does not fit 64 bits");
  return Add(Value::Integer(static_cast<int64_t>(value)));
}

bool RowJsonReader::number_float(double value, const std::string& literal) {
  // An integer too long for the parser arrives as a double, digits lost.
  const bool is_integer = literal.find_first_of(".eE") == std::string::npos;
  if (is_integer) return Fail("the integer does not fit 64 bits");
  return Add(Value::Real(value));
}

bool RowJsonReader::string(std::string& text) {
  if (depth_ == 2) return AddTagged(text);
  return Add(Value::Text(std::move(text)));
}

bool RowJsonReader::AddTagged(std::string& text) {
  Value value;
  std::string bytes;
  if (tag_ == kRealKey) {
    if (text != "Infinity" && text != "-Infinity") {
      return Fail("$real holds \"Infinity\" or \"-Infinity\"");
    }
    value = Value::Real(text[0] == '-' ? -HUGE_VAL : HUGE_VAL);
  } else {
    if (!DecodeBase64(text, &bytes)) return Fail("$blob and $text hold standard base64");
    value = tag_ == kBlobKey ? Value::Blob(std::move(bytes)) : Value::Text(std::move(bytes));
  }
  fields_.push_back(Field{name_, std::move(value)});
  tag_done_ = true;
  return true;
}

bool RowJsonReader::start_object(size_t) {
  if (depth_ == 0 && shape_ != Shape::kObject) return FailShape();
  if (depth_ == 2) return Fail("$blob, $text and $real hold a string");
  ++depth_;
  tag_.clear();
  tag_done_ = false;
  return true;
}

bool RowJsonReader::key(std::string& name) {
  if (depth_ == 2) {
    if (tag_done_) return Fail("an object as a value has one key");
    if (name != kBlobKey && name != kTextKey && name != kRealKey) {
      return Fail("an object as a value has the key $blob, $text or $real");
    }
    tag_ = std::move(name);
    return true;
  }
  name_ = std::move(name);
  has_name_ = true;
  if (!names_.insert(name_).second) return Fail("the field stands twice");
  return true;
}

bool RowJsonReader::end_object() {
  if (depth_ == 2 && !tag_done_) {
    return Fail("an object as a value has the key $blob, $text or $real");
  }
  --depth_;
  return true;
}

bool RowJsonReader::start_array(size_t) {
  if (depth_ != 0) return Fail("an array is no value here");
  if (shape_ != Shape::kArray) return FailShape();
  ++depth_;
  return true;
}

bool RowJsonReader::end_array() {
  --depth_;
  return true;
}

bool RowJsonReader::parse_error(size_t position, const std::string&,
                                const nlohmann::detail::exception& error) {
  constexpr int kNumberOverflow = 406;
  // The parser's own text quotes the input, which is content.
  if (error.id == kNumberOverflow) return Fail("the number is beyond the range of a real");
  return Fail(absl::StrCat("no valid JSON at byte ", position));
}

// The values of `json` in order, with their names if it is an object.
absl::StatusOr<std::vector<Field>> ReadJson(absl::string_view json, RowJsonReader::Shape shape) {
  RowJsonReader reader(shape);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) return reader.error();
  return std::move(reader.fields());
}

}  // namespace

std::string FieldsToJson(const Fields& fields) {
  std::string out = "{";
  for (const Field& field : fields) {
    if (out.size() > 1) out.push_back(',');
    AppendJsonString(field.name, &out);
    out.push_back(':');
    AppendJson(field.value, &out);
  }
  out.push_back('}');
  return out;
}

absl::StatusOr<Fields> FieldsFromJson(absl::string_view json) {
  absl::StatusOr<std::vector<Field>> fields = ReadJson(json, RowJsonReader::Shape::kObject);
  if (!fields.ok()) return fields.status();
  return Fields(*std::move(fields));
}

std::string ValuesToJson(std::span<const Value> values) {
  std::string out = "[";
  for (const Value& value : values) {
    if (out.size() > 1) out.push_back(',');
    AppendJson(value, &out);
  }
  out.push_back(']');
  return out;
}

absl::StatusOr<std::vector<Value>> ValuesFromJson(absl::string_view json) {
  absl::StatusOr<std::vector<Field>> fields = ReadJson(json, RowJsonReader::Shape::kArray);
  if (!fields.ok()) return fields.status();
  std::vector<Value> values;
  values.reserve(fields->size());
  for (Field& field : *fields) values.push_back(std::move(field.value));
  return values;
}

}  // namespace ptdoc::sync
