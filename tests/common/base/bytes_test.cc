#include "common/base/bytes.h"

#include <gtest/gtest.h>

#include <limits>

namespace ptdoc::sync {
namespace {

TEST(BytesTest, ReaderGivesWhatTheWriterTook) {
  ByteWriter out;
  out.U8(255);
  out.Fixed64(0x0102030405060708);
  out.Varint(300);
  out.String("text");
  out.String("");
  out.Raw("rest");
  const std::string bytes = out.Take();

  ByteReader in(bytes);

  EXPECT_EQ(in.U8(), 255);
  EXPECT_EQ(in.Fixed64(), 0x0102030405060708u);
  EXPECT_EQ(in.Varint(), 300u);
  EXPECT_EQ(in.String(), "text");
  EXPECT_EQ(in.String(), "");
  EXPECT_EQ(in.remaining(), 4u);
  EXPECT_EQ(in.Raw(4), "rest");
  EXPECT_TRUE(in.ok());
  EXPECT_TRUE(in.AtEnd());
}

TEST(BytesTest, FixedNumbersAreBigEndianAndVarintsAsInProtobuf) {
  ByteWriter out;

  out.Fixed64(1);
  out.Varint(300);

  EXPECT_EQ(out.str(), std::string("\0\0\0\0\0\0\0\1\xac\x02", 10));
}

TEST(BytesTest, EveryVarintComesBack) {
  for (int bits = 0; bits <= 64; ++bits) {
    const uint64_t most =
        bits == 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << bits) - 1;
    for (const uint64_t value : {most, most + 1}) {
      ByteWriter out;
      out.Varint(value);

      ByteReader in(out.str());

      EXPECT_EQ(in.Varint(), value);
      EXPECT_TRUE(in.ok() && in.AtEnd()) << value;
    }
  }
}

TEST(BytesTest, VarintsThatTheWriterNeverMakesAreRefused) {
  const std::string cases[] = {
      "",                                // nothing
      "\x80",                            // cut off
      std::string("\x80\x00", 2),        // overlong 0
      std::string("\xff\x00", 2),        // overlong 127
      std::string(9, '\xff') + '\x02',   // bit 65
      std::string(10, '\xff') + '\x01',  // 11 bytes
  };
  for (const std::string& bytes : cases) {
    ByteReader in(bytes);

    EXPECT_EQ(in.Varint(), 0u);
    EXPECT_FALSE(in.ok());
  }
}

TEST(BytesTest, ReaderStaysBrokenAfterAShortRead) {
  ByteReader in("abc");

  EXPECT_EQ(in.Fixed64(), 0u);

  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.U8(), 0);
  EXPECT_EQ(in.Raw(1), "");
  EXPECT_EQ(in.Raw(0), "");
  EXPECT_FALSE(in.ok());
}

TEST(BytesTest, LengthBeyondTheInputIsRefused) {
  ByteWriter out;
  out.Varint(std::numeric_limits<uint64_t>::max());
  ByteReader in(out.str());

  EXPECT_EQ(in.String(), "");
  EXPECT_FALSE(in.ok());
}

TEST(IsUtf8Test, TakesWellFormedText) {
  for (const char* text : {"", "ascii", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
                           "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
                           "\xf4\x8f\xbf\xbf", "seven..\xc3\xa9", "eight chars\xc3\xa9 and more"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  EXPECT_TRUE(IsUtf8(absl::string_view("a\0b", 3)));
}

TEST(IsUtf8Test, RefusesIllFormedText) {
  for (const char* text : {"\x80",
                           "\xbf",
                           "\xc0\x80",
                           "\xc1\xbf",
                           "\xc2",
                           "\xc2\x41",
                           "\xe0\x9f\xbf",
                           "\xe1\x80",
                           "\xed\xa0\x80",
                           "\xed\xbf\xbf",
                           "\xf0\x8f\xbf\xbf",
                           "\xf0\x90\x80",
                           "\xf4\x90\x80\x80",
                           "\xf5\x80\x80\x80",
                           "\xff",
                           "\xfe",
                           "eight ch\xff",
                           "\xe2\x82\x28",
                           "\xe2\x82\xc0",
                           "12345678\xc3"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(IsUuidTest, TakesOnlyTheLowerCaseForm) {
  EXPECT_TRUE(IsUuid("0f8fad5b-d9cb-469f-a165-70867728950e"));
  EXPECT_FALSE(IsUuid("0F8FAD5B-d9cb-469f-a165-70867728950e"));
  EXPECT_FALSE(IsUuid("0f8fad5b-d9cb-469f-a165-70867728950"));
  EXPECT_FALSE(IsUuid("0f8fad5b-d9cb-469f-a165-70867728950e0"));
  EXPECT_FALSE(IsUuid("0f8fad5bd-9cb-469f-a165-70867728950e"));
  EXPECT_FALSE(IsUuid("0f8fad5b-d9cb-469f-a165-70867728950g"));
  EXPECT_FALSE(IsUuid("------------------------------------"));
  EXPECT_FALSE(IsUuid(""));
}

}  // namespace
}  // namespace ptdoc::sync
