#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "common/base/rng.h"
#include "common/model/value.h"

namespace ptdoc::sync {

// Random values of every type, with the awkward ones (ends of the ranges, -0.0,
// infinities, NUL bytes, invalid UTF-8, texts that look like numbers) more often
// than chance would bring them.

inline int64_t RandomInteger(Rng& rng) {
  constexpr int64_t kEdges[] = {0,
                                1,
                                -1,
                                9,
                                (int64_t{1} << 53) + 1,
                                std::numeric_limits<int64_t>::max(),
                                std::numeric_limits<int64_t>::min()};
  if (rng.Below(2) == 0) return kEdges[rng.Below(std::size(kEdges))];
  return static_cast<int64_t>(rng.Next() >> rng.Below(64));
}

inline double RandomReal(Rng& rng) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kEdges[] = {0.0,
                               -0.0,
                               1.0,
                               -1.0,
                               0.1,
                               1e22,
                               5e-324,
                               1.5,
                               1e300,
                               kInfinity,
                               -kInfinity,
                               9.2233720368547758e18,
                               -9.2233720368547758e18};
  if (rng.Below(2) == 0) return kEdges[rng.Below(std::size(kEdges))];
  return std::bit_cast<double>(rng.Next());  // A NaN becomes NULL in Value::Real.
}

inline std::string RandomText(Rng& rng) {
  constexpr const char* kEdges[] = {
      "",    "7",    " 7 ",           "-0",   "1e3",  "1.50",     ".5", "5.",  "0x1", "[1]", "abc",
      "Zoë", "\"\\", "{\"$blob\":1}", "\xff", "\n\t", "\xc3\x28", "1e", "nan", "+",   "1 2"};
  switch (rng.Below(4)) {
    case 0:
      return kEdges[rng.Below(std::size(kEdges))];
    case 1: {
      constexpr char kNumberish[] = "0123456789+-.eE \t";
      std::string text;
      for (uint64_t i = rng.Below(8); i > 0; --i) {
        text.push_back(kNumberish[rng.Below(sizeof(kNumberish) - 1)]);
      }
      return text;
    }
    case 2:
      return std::string("a\0b", 3);
    default:
      return rng.Bytes(rng.Below(40));
  }
}

inline Value RandomValue(Rng& rng) {
  switch (rng.Below(5)) {
    case 0:
      return Value::Null();
    case 1:
      return Value::Integer(RandomInteger(rng));
    case 2:
      return Value::Real(RandomReal(rng));
    case 3:
      return Value::Text(RandomText(rng));
    default:
      return Value::Blob(rng.Bytes(rng.Below(40)));
  }
}

// Up to `count_max` fields; names are UTF-8.
inline Fields RandomFields(Rng& rng, uint64_t count_max) {
  std::vector<Field> fields;
  for (uint64_t i = rng.Below(count_max + 1); i > 0; --i) {
    std::string name = "f" + std::to_string(rng.Below(2 * count_max));
    if (rng.Below(8) == 0) name.insert(0, "Größe \"");
    fields.push_back(Field{std::move(name), RandomValue(rng)});
  }
  return Fields(std::move(fields));
}

}  // namespace ptdoc::sync
