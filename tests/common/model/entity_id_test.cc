#include "common/model/entity_id.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/rng.h"
#include "common/model/reason.h"
#include "gtest/gtest.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {
namespace {

using Key = std::vector<Value>;
using Affinities = std::vector<Affinity>;

std::string IdOf(const Value& value, Affinity affinity) {
  const absl::StatusOr<std::string> id = EncodeEntityId(Key{value}, Affinities{affinity});
  return id.ok() ? *id : absl::StrCat("error: ", ReasonOf(id.status()));
}

bool Decodes(absl::string_view id, const Affinities& affinities) {
  const absl::StatusOr<Key> key = DecodeEntityId(id, affinities);
  EXPECT_EQ(ReasonOf(key.status()), key.ok() ? "" : "INVALID_KEY");
  return key.ok();
}

TEST(EntityIdTest, IsTheTextItselfInATextColumn) {
  EXPECT_EQ(IdOf(Value::Text("3f2b-Zoë 7"), Affinity::kText), "3f2b-Zoë 7");
  EXPECT_EQ(IdOf(Value::Text("7"), Affinity::kText), "7");
  EXPECT_EQ(IdOf(Value::Text("{\"a\":1}"), Affinity::kText), "{\"a\":1}");
}

TEST(EntityIdTest, IsTheDigitsInAnIntegerColumn) {
  EXPECT_EQ(IdOf(Value::Integer(7), Affinity::kInteger), "7");
  EXPECT_EQ(IdOf(Value::Integer(std::numeric_limits<int64_t>::min()), Affinity::kInteger),
            "-9223372036854775808");
}

TEST(EntityIdTest, IsAnArrayForATextThatCannotStandForItself) {
  EXPECT_EQ(IdOf(Value::Text(""), Affinity::kText), "[\"\"]");
  EXPECT_EQ(IdOf(Value::Text("[1]"), Affinity::kText), "[\"[1]\"]");
  EXPECT_EQ(IdOf(Value::Text(std::string("a\0b", 3)), Affinity::kText), "[\"a\\u0000b\"]");
  EXPECT_EQ(IdOf(Value::Text("\xff"), Affinity::kText), "[{\"$text\":\"/w==\"}]");
}

TEST(EntityIdTest, IsAnArrayForAnyOtherTypeOrAffinity) {
  EXPECT_EQ(IdOf(Value::Integer(1), Affinity::kBlob), "[1]");
  EXPECT_EQ(IdOf(Value::Text("abc"), Affinity::kBlob), "[\"abc\"]");
  EXPECT_EQ(IdOf(Value::Integer(1), Affinity::kNumeric), "[1]");
  EXPECT_EQ(IdOf(Value::Text("abc"), Affinity::kInteger), "[\"abc\"]");
  EXPECT_EQ(IdOf(Value::Real(1.5), Affinity::kInteger), "[1.5]");
  EXPECT_EQ(IdOf(Value::Real(2), Affinity::kReal), "[2.0]");
  EXPECT_EQ(IdOf(Value::Blob(std::string("\0\xff", 2)), Affinity::kText), "[{\"$blob\":\"AP8=\"}]");
}

TEST(EntityIdTest, IsAnArrayForACompositeKey) {
  const absl::StatusOr<std::string> id = EncodeEntityId(
      Key{Value::Text("a"), Value::Integer(1)}, Affinities{Affinity::kText, Affinity::kInteger});

  ASSERT_TRUE(id.ok());
  EXPECT_EQ(*id, "[\"a\",1]");
}

TEST(EntityIdTest, IsOneOnlyInItsCanonicalForm) {
  const std::vector<Key> keys = {Key{Value::Text("[x")},
                                 Key{Value::Text("")},
                                 Key{Value::Text(std::string("a\0b", 3))},
                                 Key{Value::Text("\xff")},
                                 Key{Value::Blob("\xff")},
                                 Key{Value::Real(2)},
                                 Key{Value::Integer(-7)},
                                 Key{Value::Text("a"), Value::Integer(1)}};
  for (const Key& key : keys) {
    const absl::StatusOr<std::string> id = EncodeEntityId(key, Affinities(key.size()));
    ASSERT_TRUE(id.ok());
    EXPECT_TRUE(IsEntityId(*id)) << *id;
  }
  for (const char* id : {"p1", "-7", "{\"a\":1}", "x[1]", " [1]"})
    EXPECT_TRUE(IsEntityId(id)) << id;
  for (const char* id : {"", "[", "[x", "[ 1]", "[1] ", "[1, 2]", "[]", "[null]", "[1,null]",
                         "[01]", "[\"a\"", "[[1]]", "[\"\\u0041\"]", "\xff"}) {
    EXPECT_FALSE(IsEntityId(id)) << id;
  }
  EXPECT_FALSE(IsEntityId(std::string("a\0b", 3)));
  EXPECT_TRUE(IsEntityId(std::string(1024, 'x')));
  EXPECT_FALSE(IsEntityId(std::string(1025, 'x')));
}

TEST(EntityIdTest, IsRefusedWithNullOrAboveTheLimit) {
  EXPECT_EQ(IdOf(Value::Null(), Affinity::kText), "error: INVALID_KEY");
  EXPECT_EQ(IdOf(Value::Text(std::string(1024, 'x')), Affinity::kText), std::string(1024, 'x'));
  EXPECT_EQ(IdOf(Value::Text(std::string(1025, 'x')), Affinity::kText), "error: INVALID_KEY");
  EXPECT_FALSE(EncodeEntityId(Key{}, Affinities{}).ok());
  EXPECT_FALSE(EncodeEntityId(Key{Value::Integer(1)}, Affinities{}).ok());
}

TEST(EntityIdTest, IsRefusedWhenReadInAnyOtherForm) {
  const Affinities integer{Affinity::kInteger};
  const Affinities text{Affinity::kText};
  EXPECT_TRUE(Decodes("7", integer));
  for (const char* id : {"", "+7", "07", "-0", " 7", "7 ", "7.0", "abc", "9223372036854775808",
                         "[7]", "[ \"a\"]", "[\"a\"] ", "[null]", "[", "[]", "[1.50]"}) {
    EXPECT_FALSE(Decodes(id, integer)) << id;
  }
  for (const absl::string_view id :
       {absl::string_view(""), absl::string_view("a\0b", 3), absl::string_view("\xff"),
        absl::string_view("[\"a\"]"), absl::string_view("[\"a\",1]"),
        absl::string_view("[\"\\u0061b\"]"), absl::string_view("[{\"$text\":\"YQ==\"}]")}) {
    EXPECT_FALSE(Decodes(id, text)) << id;
  }
  EXPECT_FALSE(Decodes("a", {Affinity::kBlob}));
  EXPECT_FALSE(Decodes("a", {Affinity::kText, Affinity::kText}));
  EXPECT_FALSE(Decodes("[1]", {Affinity::kBlob, Affinity::kBlob}));
  EXPECT_FALSE(Decodes(std::string(1025, 'x'), text));
}

TEST(EntityIdTest, GivesBackTheKeyForRandomKeys) {
  constexpr Affinity kAll[] = {Affinity::kBlob, Affinity::kText, Affinity::kNumeric,
                               Affinity::kInteger, Affinity::kReal};
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    Key key;
    Affinities affinities;
    for (uint64_t i = 1 + rng.Below(3); i > 0; --i) {
      Value value = RandomValue(rng);
      key.push_back(value.is_null() ? Value::Integer(0) : std::move(value));
      affinities.push_back(kAll[rng.Below(std::size(kAll))]);
    }

    const absl::StatusOr<std::string> id = EncodeEntityId(key, affinities);
    ASSERT_TRUE(id.ok()) << id.status();
    const absl::StatusOr<Key> again = DecodeEntityId(*id, affinities);

    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, key);
    EXPECT_TRUE(IsUtf8(*id));
  }
}

}  // namespace
}  // namespace ptdoc::sync
