#include "common/base/hash.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "absl/strings/escaping.h"

namespace ptdoc::sync {
namespace {

std::string Hex(absl::string_view bytes) {
  return absl::BytesToHexString(bytes);
}

// FIPS 180-4 examples.
TEST(HashTest, Sha256GivesThePublishedDigests) {
  EXPECT_EQ(Hex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HashTest, Sha256IsTheSameOnEveryThread) {
  std::vector<std::string> digests(4);
  std::vector<std::thread> threads;
  threads.reserve(digests.size());

  for (std::string& digest : digests) {
    threads.emplace_back([&digest] {
      for (int i = 0; i < 1000; ++i) digest = Sha256(std::to_string(i));
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const std::string& digest : digests) EXPECT_EQ(Hex(digest), Hex(Sha256("999")));
}

// RFC 4231, test cases 1, 2 and 6.
TEST(HashTest, HmacGivesThePublishedCodes) {
  EXPECT_EQ(Hex(HmacSha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hex(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(Hex(HmacSha256(std::string(131, '\xaa'),
                           "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HashTest, HmacTakesAnEmptyKeyAndEmptyData) {
  EXPECT_EQ(Hex(HmacSha256("", "")),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
  EXPECT_EQ(HmacSha256(absl::string_view(), absl::string_view()), HmacSha256("", ""));
}

TEST(HashTest, EqualConstantTimeComparesLengthAndBytes) {
  EXPECT_TRUE(EqualConstantTime("", ""));
  EXPECT_TRUE(EqualConstantTime("secret", "secret"));
  EXPECT_FALSE(EqualConstantTime("secret", "secreT"));
  EXPECT_FALSE(EqualConstantTime("secret", "secret "));
  EXPECT_FALSE(EqualConstantTime("", "a"));
  const absl::string_view longer = "secret";
  EXPECT_FALSE(EqualConstantTime(longer, longer.substr(0, 5)));
}

// The authors' vectors_sip64: key 00..0f, inputs of length n holding 00, 01, ...
// as little-endian bytes; n = 15 is the worked example of the paper.
TEST(HashTest, SipHashGivesThePublishedVectors) {
  const SipKey key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  std::string input;
  for (char c = 0; c < 64; ++c) input.push_back(c);
  const absl::string_view bytes = input;

  EXPECT_EQ(SipHash24(key, ""), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(SipHash24(key, bytes.substr(0, 1)), 0x74f839c593dc67fdu);
  EXPECT_EQ(SipHash24(key, bytes.substr(0, 2)), 0x0d6c8009d9a94f5au);
  EXPECT_EQ(SipHash24(key, bytes.substr(0, 8)), 0x93f5f5799a932462u);
  EXPECT_EQ(SipHash24(key, bytes.substr(0, 15)), 0xa129ca6149be45e5u);
  EXPECT_EQ(SipHash24(key, bytes.substr(0, 63)), 0x958a324ceb064572u);
}

TEST(HashTest, SipHashDependsOnBothHalvesOfTheKey) {
  EXPECT_NE(SipHash24({1, 2}, "x"), SipHash24({1, 3}, "x"));
  EXPECT_NE(SipHash24({1, 2}, "x"), SipHash24({2, 2}, "x"));
}

}  // namespace
}  // namespace ptdoc::sync
