#pragma once

#include <cstdint>

namespace ptdoc::sync::sim {

// Stands in every text that an app or a client writes into a column that is not
// a key, so that content is recognised wherever it turns up.
inline constexpr char kContentMark[] = "Geheim";
// Amounts of money begin with these digits.
inline constexpr int64_t kAmountMark = 918'273'645'000;
inline constexpr char kAmountDigits[] = "918273645";

}  // namespace ptdoc::sync::sim
