#include "common/model/value.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> NamesOf(const Fields& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  return names;
}

TEST(ValueTest, RealIsNullWhenItIsNaN) {
  EXPECT_TRUE(Value::Real(std::nan("")).is_null());
  EXPECT_EQ(Value::Real(-std::nan("1")), Value::Null());
}

TEST(ValueTest, DiffersWhenTypeOrAnyBitDiffers) {
  EXPECT_EQ(Value::Integer(1), Value::Integer(1));
  EXPECT_FALSE(Value::Integer(1) == Value::Integer(2));
  EXPECT_FALSE(Value::Integer(1) == Value::Real(1.0));
  EXPECT_EQ(Value::Real(-0.0), Value::Real(-0.0));
  EXPECT_FALSE(Value::Real(0.0) == Value::Real(-0.0));
  EXPECT_FALSE(Value::Text("a") == Value::Blob("a"));
  EXPECT_FALSE(Value::Text("abc") == Value::Text("ABC"));
  EXPECT_FALSE(Value::Text("") == Value::Null());
  EXPECT_EQ(Value::Blob(std::string("\0x", 2)), Value::Blob(std::string("\0x", 2)));
}

TEST(ValueTest, KeepsItsContentWhenCopiedAndMoved) {
  const Value original = Value::Real(2.5);
  Value copy = original;

  const Value moved = std::move(copy);

  EXPECT_EQ(moved, original);
  EXPECT_EQ(moved.real(), 2.5);
}

TEST(FieldsTest, AreSortedBytewiseWhenMade) {
  const Fields fields({{"b", {}}, {"\xc3\xa4", {}}, {"B", {}}, {"a", {}}, {"", {}}});

  EXPECT_THAT(NamesOf(fields), ElementsAre("", "B", "a", "b", "\xc3\xa4"));
}

TEST(FieldsTest, KeepTheLastWhenANameStandsTwice) {
  const Fields fields({{"b", Value::Integer(1)},
                       {"a", Value::Integer(2)},
                       {"b", Value::Integer(3)},
                       {"b", Value::Integer(4)}});

  EXPECT_THAT(NamesOf(fields), ElementsAre("a", "b"));
  EXPECT_EQ(*fields.Find("b"), Value::Integer(4));
}

TEST(FieldsTest, FindGivesNullWhenTheNameIsAbsent) {
  const Fields fields({{"a", Value::Integer(1)}, {"c", Value::Integer(2)}});

  EXPECT_EQ(fields.Find("b"), nullptr);
  EXPECT_EQ(fields.Find("d"), nullptr);
  EXPECT_EQ(Fields().Find("a"), nullptr);
  ASSERT_NE(fields.Find("c"), nullptr);
  EXPECT_EQ(*fields.Find("c"), Value::Integer(2));
}

TEST(FieldsTest, SetReplacesOrInsertsInOrder) {
  Fields fields;

  fields.Set("b", Value::Integer(1));
  fields.Set("a", Value::Integer(2));
  fields.Set("b", Value::Integer(3));

  EXPECT_EQ(fields, Fields({{"a", Value::Integer(2)}, {"b", Value::Integer(3)}}));
}

TEST(FieldsTest, ByteSizeCountsNamesAndValues) {
  const Fields fields({{"ab", Value::Integer(1)},
                       {"c", Value::Null()},
                       {"d", Value::Text("xyz")},
                       {"e", Value::Blob(std::string(2, '\0'))},
                       {"f", Value::Real(1)}});

  EXPECT_EQ(fields.ByteSize(), 2u + 8 + 1 + 1 + 3 + 1 + 2 + 1 + 8);
}

TEST(OverlayTest, TakesSentFieldsAndKeepsTheOthersOfTheBase) {
  const Fields base({{"a", Value::Integer(1)}, {"c", Value::Integer(3)}, {"e", Value::Integer(5)}});
  const Fields sent({{"b", Value::Integer(20)}, {"c", Value::Null()}, {"f", Value::Integer(60)}});

  const Fields whole = Overlay(base, sent);

  EXPECT_EQ(whole, Fields({{"a", Value::Integer(1)},
                           {"b", Value::Integer(20)},
                           {"c", Value::Null()},
                           {"e", Value::Integer(5)},
                           {"f", Value::Integer(60)}}));
}

TEST(OverlayTest, EqualsSettingFieldByFieldForRandomFields) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const Fields base = RandomFields(rng, 8);
    const Fields sent = RandomFields(rng, 8);
    Fields expected = base;
    for (const Field& field : sent) expected.Set(field.name, field.value);

    EXPECT_EQ(Overlay(base, sent), expected);
  }
}

// Hashes and stores outlive a release: these bytes may never change.
TEST(CanonicalTest, BytesAreAsWrittenDown) {
  const Fields fields({{"b", Value::Blob(std::string("\0\xff", 2))},
                       {"i", Value::Integer(-2)},
                       {"n", Value::Null()},
                       {"r", Value::Real(-0.0)},
                       {"t", Value::Text("é")}});

  EXPECT_EQ(absl::BytesToHexString(EncodeFields(fields)),
            "05"
            "016204"
            "0200ff"
            "016901"
            "fffffffffffffffe"
            "016e00"
            "017202"
            "8000000000000000"
            "017403"
            "02c3a9");
  EXPECT_EQ(absl::BytesToHexString(EncodeFields(Fields())), "00");
}

TEST(CanonicalTest, LengthsAboveOneByteAreVarints) {
  const Fields fields({{"t", Value::Text(std::string(300, 'x'))}});

  const std::string bytes = EncodeFields(fields);

  EXPECT_EQ(absl::BytesToHexString(bytes.substr(0, 6)), "01017403ac02");
  Fields decoded;
  ASSERT_TRUE(DecodeFields(bytes, &decoded));
  EXPECT_EQ(decoded, fields);
}

TEST(CanonicalTest, DecodingGivesBackRandomFields) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const Fields fields = RandomFields(rng, 12);

    Fields decoded;
    ASSERT_TRUE(DecodeFields(EncodeFields(fields), &decoded));
    EXPECT_EQ(decoded, fields);
  }
}

TEST(CanonicalTest, AnyOtherBytesAreRefusedOrAreCanonicalThemselves) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    const std::string bytes = EncodeFields(RandomFields(rng, 4));
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string changed = bytes;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));

      Fields decoded;
      const bool accepted = DecodeFields(changed, &decoded);

      if (accepted) {
        EXPECT_EQ(EncodeFields(decoded), changed);
      }
    }
  }
}

TEST(CanonicalTest, ATruncatedEncodingIsRefusedAtEveryLength) {
  const std::string bytes = EncodeFields(
      Fields({{"a", Value::Integer(1)}, {"b", Value::Text("text")}, {"c", Value::Null()}}));
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(absl::StrCat("size ", size));
    Fields out({{"kept", Value::Null()}});

    EXPECT_FALSE(DecodeFields(bytes.substr(0, size), &out));
    EXPECT_EQ(out.size(), 1u);
  }
}

struct Refused {
  const char* what;
  const char* hex;
};

class DecodeFieldsTest : public ::testing::TestWithParam<Refused> {};

TEST_P(DecodeFieldsTest, RefusesWhatIsNotCanonical) {
  Fields out;

  EXPECT_FALSE(DecodeFields(absl::HexStringToBytes(GetParam().hex), &out)) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(
    All, DecodeFieldsTest,
    ::testing::Values(Refused{"trailing byte", "0000"}, Refused{"unsorted", "02016200016100"},
                      Refused{"one name twice", "02016100016100"},
                      Refused{"a NaN", "010172027ff8000000000000"},
                      Refused{"count with a needless byte", "8000"},
                      Refused{"name's length with a needless byte", "0181006100"},
                      Refused{"text's length with a needless byte", "0101740381006a"},
                      Refused{"unknown tag", "01016105"},
                      Refused{"count without fields", "ffffffffffffffff7f"},
                      Refused{"length beyond 64 bits", "01818080808080808080026100"},
                      Refused{"text longer than the input", "0101740305616263"}));

}  // namespace
}  // namespace ptdoc::sync
