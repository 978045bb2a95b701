#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/model/value.h"
#include "common/wire/values.h"

namespace ptdoc::sync {

// The values of a packed row as one string (PackedRow.cells): a varint for each,
// whose low three bits are the type (Value::Type) and whose other bits are the
// length of a text or blob, else 0; then the bytes, for an integer its zigzag
// varint, for a real its eight bytes, little-endian. Used by this folder only.

// Appends one value.
void AppendCell(const Value& value, std::string* out);

// Appends the `count` values that `cells` holds, no more and no fewer; after a
// defect there are fewer.
ValueDefect ReadCells(absl::string_view cells, size_t count, std::vector<Value>* values);

}  // namespace ptdoc::sync
