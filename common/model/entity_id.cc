#include "common/model/entity_id.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"

namespace ptdoc::sync {
namespace {

absl::Status InvalidKey(absl::string_view message) {
  return ReasonError(absl::StatusCode::kInvalidArgument, "INVALID_KEY", message);
}

// True if `text` stands for itself as an EntityId.
bool IsPlainId(absl::string_view text) {
  return !text.empty() && text.front() != '[' && text.find('\0') == absl::string_view::npos &&
         IsUtf8(text);
}

// A position in text that SQLite may take for a number.
class NumberScanner {
 public:
  explicit NumberScanner(absl::string_view text) : rest_(text) {}

  bool TakeOneOf(absl::string_view chars) {
    const bool found = !rest_.empty() && chars.find(rest_.front()) != absl::string_view::npos;
    if (found) rest_.remove_prefix(1);
    return found;
  }

  bool TakeDigits() {
    const size_t before = rest_.size();
    while (!rest_.empty() && absl::ascii_isdigit(static_cast<unsigned char>(rest_.front()))) {
      rest_.remove_prefix(1);
    }
    return rest_.size() != before;
  }

  bool AtEnd() const { return rest_.empty(); }

 private:
  absl::string_view rest_;
};

// Well-formed as SQLite's sqlite3AtoF sees it: blanks, sign, digits with an
// optional point, an optional exponent, blanks. No hexadecimal, no "inf".
bool LooksNumeric(absl::string_view text) {
  constexpr absl::string_view kBlanks = " \t\n\v\f\r";
  NumberScanner scanner(text);
  while (scanner.TakeOneOf(kBlanks)) {
  }
  scanner.TakeOneOf("+-");
  bool digits = scanner.TakeDigits();
  if (scanner.TakeOneOf(".")) digits = scanner.TakeDigits() || digits;
  if (!digits) return false;
  if (scanner.TakeOneOf("eE")) {
    scanner.TakeOneOf("+-");
    if (!scanner.TakeDigits()) return false;
  }
  while (scanner.TakeOneOf(kBlanks)) {
  }
  return scanner.AtEnd();
}

// SQLite stores such a real as an integer: integral, and strictly within the
// two ends of 64 bits.
bool BecomesInteger(double real) {
  constexpr double kEnd = 9223372036854775808.0;
  return real > -kEnd && real < kEnd && std::trunc(real) == real;
}

bool NumericKeeps(const Value& value) {
  if (value.type() == Value::Type::kText) return !LooksNumeric(value.bytes());
  if (value.type() == Value::Type::kReal) return !BecomesInteger(value.real());
  return true;
}

bool RealKeeps(const Value& value) {
  if (value.type() == Value::Type::kText) return !LooksNumeric(value.bytes());
  if (value.type() == Value::Type::kInteger) return false;
  // Stored as the integer 0, which has no sign.
  if (value.type() == Value::Type::kReal) return !(value.real() == 0 && std::signbit(value.real()));
  return true;
}

// The plain form of a one-column key, if it has one.
std::string PlainId(const Value& value, Affinity affinity) {
  if (affinity == Affinity::kText && value.type() == Value::Type::kText) {
    return IsPlainId(value.bytes()) ? value.bytes() : std::string();
  }
  if (affinity == Affinity::kInteger && value.type() == Value::Type::kInteger) {
    return absl::StrCat(value.integer());
  }
  return std::string();
}

// The one value of an id that is no array.
absl::StatusOr<Value> ParsePlainId(absl::string_view id, Affinity affinity) {
  int64_t number = 0;
  if (affinity == Affinity::kText) return Value::Text(std::string(id));
  if (affinity == Affinity::kInteger && absl::SimpleAtoi(id, &number)) {
    return Value::Integer(number);
  }
  return InvalidKey("The entity id does not fit the type's key");
}

}  // namespace

Affinity AffinityOf(absl::string_view declared_type) {
  const std::string type = absl::AsciiStrToUpper(declared_type);
  const auto has = [&type](absl::string_view part) { return absl::StrContains(type, part); };
  if (has("INT")) return Affinity::kInteger;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return Affinity::kText;
  if (has("BLOB") || type.empty()) return Affinity::kBlob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return Affinity::kReal;
  return Affinity::kNumeric;
}

bool AffinityKeeps(Affinity affinity, const Value& value) {
  switch (affinity) {
    case Affinity::kBlob:
      return true;
    case Affinity::kText:
      return value.type() != Value::Type::kInteger && value.type() != Value::Type::kReal;
    case Affinity::kNumeric:
    case Affinity::kInteger:
      return NumericKeeps(value);
    case Affinity::kReal:
      return RealKeeps(value);
  }
  return false;
}

absl::StatusOr<std::string> EncodeEntityId(std::span<const Value> key,
                                           std::span<const Affinity> affinities) {
  if (key.empty() || key.size() != affinities.size()) {
    return InvalidKey("The key has not the columns of the type's key");
  }
  for (const Value& value : key) {
    if (value.is_null()) return InvalidKey("The key holds NULL");
  }
  std::string id;
  if (key.size() == 1) id = PlainId(key[0], affinities[0]);
  if (id.empty()) id = ValuesToJson(key);
  if (id.size() > kEntityIdBytesMax) {
    return InvalidKey(absl::StrCat("The key is longer than ", kEntityIdBytesMax, " bytes"));
  }
  return id;
}

absl::StatusOr<std::vector<Value>> DecodeEntityId(absl::string_view id,
                                                  std::span<const Affinity> affinities) {
  std::vector<Value> key;
  const bool plain = affinities.size() == 1 && !absl::StartsWith(id, "[");
  if (id.size() > kEntityIdBytesMax) return InvalidKey("The entity id is too long");
  if (plain) {
    absl::StatusOr<Value> value = ParsePlainId(id, affinities[0]);
    if (!value.ok()) return value.status();
    key.push_back(*std::move(value));
  } else {
    absl::StatusOr<std::vector<Value>> values = ValuesFromJson(id);
    if (!values.ok()) return InvalidKey("The entity id is no JSON array of values");
    key = *std::move(values);
  }
  // One key has one id: what would be written otherwise is refused.
  const absl::StatusOr<std::string> again = EncodeEntityId(key, affinities);
  if (!again.ok()) return again.status();
  if (*again != id) return InvalidKey("The entity id is not in its one canonical form");
  return key;
}

bool IsEntityId(absl::string_view id) {
  if (id.size() > kEntityIdBytesMax) return false;
  // Digits are a plain id, too.
  if (IsPlainId(id)) return true;
  const absl::StatusOr<std::vector<Value>> key = ValuesFromJson(id);
  if (!key.ok() || key->empty()) return false;
  const bool has_null =
      std::any_of(key->begin(), key->end(), [](const Value& value) { return value.is_null(); });
  return !has_null && ValuesToJson(*key) == id;
}

}  // namespace ptdoc::sync
