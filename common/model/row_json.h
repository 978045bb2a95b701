#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/value.h"

namespace ptdoc::sync {

// Row JSON (docs/PROTOCOL.md): NULL, numbers and text as themselves,
// {"$blob":"<base64>"}, {"$text":"<base64>"} for text that is not UTF-8,
// {"$real":"Infinity"|"-Infinity"}; integers exact, a real always with point
// or exponent (-0.0 keeps its sign). Fields stand in the order of their names,
// which are UTF-8 (who reads a schema or the wire refuses others).
std::string FieldsToJson(const Fields& fields);
// INVALID_ARGUMENT (reason FIELD) names the field, never its content: no JSON,
// a key that stands twice, an integer beyond 64 bits, an unknown $-key, true,
// false, an array.
absl::StatusOr<Fields> FieldsFromJson(absl::string_view json);

// A compact JSON array of values (keys).
std::string ValuesToJson(std::span<const Value> values);
absl::StatusOr<std::vector<Value>> ValuesFromJson(absl::string_view json);

}  // namespace ptdoc::sync
