#include "common/model/row_json.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/rng.h"
#include "common/model/reason.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string JsonOf(Value value) {
  return ValuesToJson(std::vector<Value>{std::move(value)});
}

TEST(RowJsonTest, WritesEachTypeExactly) {
  EXPECT_EQ(JsonOf(Value::Null()), "[null]");
  EXPECT_EQ(JsonOf(Value::Integer(std::numeric_limits<int64_t>::min())), "[-9223372036854775808]");
  EXPECT_EQ(JsonOf(Value::Integer(std::numeric_limits<int64_t>::max())), "[9223372036854775807]");
  EXPECT_EQ(JsonOf(Value::Text("Zoë")), "[\"Zoë\"]");
  EXPECT_EQ(JsonOf(Value::Blob(std::string("\0\xff", 2))), "[{\"$blob\":\"AP8=\"}]");
  EXPECT_EQ(JsonOf(Value::Blob("")), "[{\"$blob\":\"\"}]");
  EXPECT_EQ(JsonOf(Value::Text("\xff\xfe")), "[{\"$text\":\"//4=\"}]");
}

TEST(RowJsonTest, WritesRealsShortestAndNeverAsIntegers) {
  EXPECT_EQ(JsonOf(Value::Real(1)), "[1.0]");
  EXPECT_EQ(JsonOf(Value::Real(-0.0)), "[-0.0]");
  EXPECT_EQ(JsonOf(Value::Real(0.1)), "[0.1]");
  EXPECT_EQ(JsonOf(Value::Real(1e22)), "[1e+22]");
  EXPECT_EQ(JsonOf(Value::Real(5e-324)), "[5e-324]");
  EXPECT_EQ(JsonOf(Value::Real(123456789)), "[123456789.0]");
  EXPECT_EQ(JsonOf(Value::Real(HUGE_VAL)), "[{\"$real\":\"Infinity\"}]");
  EXPECT_EQ(JsonOf(Value::Real(-HUGE_VAL)), "[{\"$real\":\"-Infinity\"}]");
}

TEST(RowJsonTest, EscapesWhatJsonMustAndNothingElse) {
  EXPECT_EQ(JsonOf(Value::Text(std::string("a\0b\"\\\n\r\t\b\x1f\x7f/", 12))),
            "[\"a\\u0000b\\\"\\\\\\n\\r\\t\\u0008\\u001f\x7f/\"]");
}

TEST(RowJsonTest, WritesFieldsInTheOrderOfTheirNames) {
  const Fields fields({{"b\"", Value::Integer(1)}, {"a", Value::Text("x")}});

  EXPECT_EQ(FieldsToJson(fields), "{\"a\":\"x\",\"b\\\"\":1}");
  EXPECT_EQ(FieldsToJson(Fields()), "{}");
}

TEST(RowJsonTest, ReadingGivesBackRandomFields) {
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const Fields fields = RandomFields(rng, 10);
    const std::string json = FieldsToJson(fields);

    const absl::StatusOr<Fields> read = FieldsFromJson(json);

    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, fields);
    EXPECT_TRUE(IsUtf8(json));
  }
}

TEST(RowJsonTest, ReadsWhatPeopleAndOtherProgramsWrite) {
  const absl::StatusOr<Fields> fields = FieldsFromJson(
      " {\"r\": 1e2, \"i\": -0, \"s\": \"\\ud83d\\ude00\\u0000\", \"b\" : { \"$blob\" : \"\" } "
      "}\n");

  ASSERT_TRUE(fields.ok()) << fields.status();
  EXPECT_EQ(*fields, Fields({{"r", Value::Real(100)},
                             {"i", Value::Integer(0)},
                             {"s", Value::Text(std::string("\xf0\x9f\x98\x80\0", 5))},
                             {"b", Value::Blob("")}}));
}

struct Bad {
  const char* json;
  const char* field;  // what the error names
};

class BadRowJsonTest : public ::testing::TestWithParam<Bad> {};

TEST_P(BadRowJsonTest, IsRefusedWithTheFieldsNameAndNoContent) {
  const absl::StatusOr<Fields> fields = FieldsFromJson(GetParam().json);

  ASSERT_FALSE(fields.ok()) << GetParam().json;
  EXPECT_EQ(fields.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(fields.status()), "FIELD");
  EXPECT_EQ(ReasonMetadata(fields.status())[kMetaField], GetParam().field);
  const std::string message(fields.status().message());
  EXPECT_THAT(message, Not(HasSubstr("SECRET")));
  EXPECT_THAT(message, Not(HasSubstr("999")));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRowJsonTest,
    ::testing::Values(
        Bad{"", ""}, Bad{"{", ""}, Bad{"SECRET", ""}, Bad{"[]", ""}, Bad{"1", ""},
        Bad{"\"SECRET\"", ""}, Bad{"null", ""}, Bad{"{} {}", ""}, Bad{"{}SECRET", ""},
        Bad{"{\"a\":1,}", "a"}, Bad{"{\"a\":SECRET}", "a"}, Bad{"{\"a\":1,\"a\":1}", "a"},
        Bad{"{\"a\":9223372036854775808}", "a"}, Bad{"{\"a\":-9223372036854775809}", "a"},
        Bad{"{\"a\":99999999999999999999999}", "a"}, Bad{"{\"a\":1e999}", "a"},
        Bad{"{\"a\":true}", "a"}, Bad{"{\"a\":[1]}", "a"}, Bad{"{\"a\":{}}", "a"},
        Bad{"{\"a\":{\"SECRET\":\"x\"}}", "a"}, Bad{"{\"a\":{\"$date\":\"SECRET\"}}", "a"},
        Bad{"{\"a\":{\"$blob\":1}}", "a"}, Bad{"{\"a\":{\"$blob\":{}}}", "a"},
        Bad{"{\"a\":{\"$blob\":\"AP8\"}}", "a"}, Bad{"{\"a\":{\"$blob\":\"AP 8=\"}}", "a"},
        Bad{"{\"a\":{\"$blob\":\"AP9=\"}}", "a"}, Bad{"{\"a\":{\"$blob\":\"A-8=\"}}", "a"},
        Bad{"{\"a\":{\"$blob\":\"\",\"$text\":\"\"}}", "a"},
        Bad{"{\"a\":{\"$real\":\"NaN\"}}", "a"}, Bad{"{\"a\":\"\xff\"}", "a"},
        Bad{"{\"a\":\"\\ud800\"}", "a"}, Bad{"{\"a\":NaN}", "a"}));

TEST(RowJsonTest, ErrorsInAKeyNameThePlace) {
  const absl::StatusOr<std::vector<Value>> values = ValuesFromJson("[1,true]");

  ASSERT_FALSE(values.ok());
  EXPECT_EQ(ReasonMetadata(values.status())[kMetaField], "[1]");
}

TEST(RowJsonTest, AKeyIsAFlatArray) {
  EXPECT_FALSE(ValuesFromJson("{}").ok());
  EXPECT_FALSE(ValuesFromJson("[[1]]").ok());
  EXPECT_FALSE(ValuesFromJson("1").ok());
  ASSERT_TRUE(ValuesFromJson("[]").ok());
  EXPECT_TRUE(ValuesFromJson("[]")->empty());
}

TEST(RowJsonTest, DeepNestingIsRefusedAtOnce) {
  EXPECT_FALSE(FieldsFromJson("{\"a\":" + std::string(1'000'000, '[')).ok());
  EXPECT_FALSE(ValuesFromJson(std::string(1'000'000, '[')).ok());
}

}  // namespace
}  // namespace ptdoc::sync
