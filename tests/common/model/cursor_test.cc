#include "common/model/cursor.h"

#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

constexpr char kTenant[] = "clinic-1";
constexpr char kMacKey[] = "0123456789abcdef0123456789abcdef";
constexpr char kEpoch[] = "00112233445566778899aabbccddeeff";
constexpr char kOtherEpoch[] = "ffeeddccbbaa99887766554433221100";

Cursor SomeCursor() {
  Cursor cursor;
  cursor.epoch = kEpoch;
  cursor.sequence = 123'456'789'012;
  cursor.tag = 0xfedcba9876543210;
  cursor.snapshot_end = std::numeric_limits<Revision>::max();
  cursor.snapshot_tag = 0x0123456789abcdef;
  cursor.types_digest = 42;
  return cursor;
}

std::string ReasonOfOpening(absl::string_view text, absl::string_view tenant = kTenant,
                            absl::string_view mac_key = kMacKey, absl::string_view epoch = kEpoch) {
  const absl::StatusOr<Cursor> cursor = OpenCursor(text, tenant, mac_key, epoch);
  return cursor.ok() ? "opened" : ReasonOf(cursor.status());
}

TEST(CursorTest, OpensAsItWasSealed) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);

  const absl::StatusOr<Cursor> cursor = OpenCursor(text, kTenant, kMacKey, kEpoch);

  ASSERT_TRUE(cursor.ok()) << cursor.status();
  EXPECT_EQ(*cursor, SomeCursor());
  EXPECT_LE(text.size(), 256u);
  EXPECT_EQ(
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
      std::string::npos);
}

TEST(CursorTest, IsMalformedForAnotherTenantOrKey) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);

  EXPECT_EQ(ReasonOfOpening(text, "clinic-2"), "CURSOR_MALFORMED");
  EXPECT_EQ(ReasonOfOpening(text, ""), "CURSOR_MALFORMED");
  EXPECT_EQ(ReasonOfOpening(text, kTenant, "another key"), "CURSOR_MALFORMED");
  EXPECT_EQ(OpenCursor(text, "clinic-2", kMacKey, kEpoch).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CursorTest, NamesTheChangedEpochWhateverTheMacSays) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);

  EXPECT_EQ(ReasonOfOpening(text, kTenant, kMacKey, kOtherEpoch), "EPOCH_CHANGED");
  EXPECT_EQ(ReasonOfOpening(text, kTenant, "the restored key", kOtherEpoch), "EPOCH_CHANGED");
  EXPECT_EQ(OpenCursor(text, kTenant, kMacKey, kOtherEpoch).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(CursorTest, NeverOpensWhenAnyBitIsFlipped) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);
  std::string sealed;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(text, &sealed));
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string changed = sealed;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    const bool in_epoch = bit / 8 >= 1 && bit / 8 <= 16;

    EXPECT_EQ(ReasonOfOpening(absl::WebSafeBase64Escape(changed)),
              in_epoch ? "EPOCH_CHANGED" : "CURSOR_MALFORMED")
        << "bit " << bit;
  }
}

TEST(CursorTest, IsMalformedInAnotherFormatWhateverItsEpoch) {
  std::string sealed;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(SealCursor(SomeCursor(), kTenant, kMacKey), &sealed));
  sealed[0] = 2;

  EXPECT_EQ(ReasonOfOpening(absl::WebSafeBase64Escape(sealed), kTenant, kMacKey, kOtherEpoch),
            "CURSOR_MALFORMED");
}

TEST(CursorTest, NeverOpensWhenAnyBitOfTheTextIsFlipped) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));

    EXPECT_NE(ReasonOfOpening(changed), "opened") << "bit " << bit;
  }
}

TEST(CursorTest, NeverOpensWhenCutOrLengthened) {
  const std::string text = SealCursor(SomeCursor(), kTenant, kMacKey);
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(ReasonOfOpening(text.substr(0, size)), "CURSOR_MALFORMED") << size;
  }
  for (const char* more : {"A", "AAAA", "=", "==", " ", "\n"}) {
    EXPECT_EQ(ReasonOfOpening(text + more), "CURSOR_MALFORMED") << "'" << more << "'";
  }
  EXPECT_EQ(ReasonOfOpening(std::string(100'000, 'A')), "CURSOR_MALFORMED");
  EXPECT_EQ(ReasonOfOpening("no cursor at all"), "CURSOR_MALFORMED");
}

TEST(TypesDigestTest, DoesNotDependOnOrderOrRepetition) {
  EXPECT_EQ(TypesDigest({"a", "b"}), TypesDigest({"b", "a", "b"}));
}

TEST(TypesDigestTest, DiffersForOtherLists) {
  EXPECT_NE(TypesDigest({"a", "b"}), TypesDigest({"ab"}));
  EXPECT_NE(TypesDigest({"a"}), TypesDigest({"a", ""}));
  EXPECT_EQ(TypesDigest({}), 0u);
  EXPECT_NE(TypesDigest({""}), 0u);
}

}  // namespace
}  // namespace ptdoc::sync
