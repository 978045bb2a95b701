#include "common/base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <bit>
#include <cstring>
#include <memory>

#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kSha256Bytes = 32;

const unsigned char* Data(absl::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

unsigned char* Data(std::string& bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

// Fetched once: looking an algorithm up costs more than hashing a short text.
const EVP_MD* Sha256Algorithm() {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  PT_CHECK(algorithm != nullptr);
  return algorithm;
}

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

EVP_MD_CTX* ThreadContext() {
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  PT_CHECK(context != nullptr);
  return context.get();
}

// SipHash's state, named as in the paper.
class SipState {
 public:
  explicit SipState(const SipKey& key)
      : v0_(key[0] ^ 0x736f6d6570736575u),
        v1_(key[1] ^ 0x646f72616e646f6du),
        v2_(key[0] ^ 0x6c7967656e657261u),
        v3_(key[1] ^ 0x7465646279746573u) {}

  void Compress(uint64_t word) {
    v3_ ^= word;
    Rounds(2);
    v0_ ^= word;
  }

  uint64_t Finish() {
    v2_ ^= 0xff;
    Rounds(4);
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void Rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  uint64_t v0_, v1_, v2_, v3_;
};

// Up to 8 bytes, the first one lowest.
uint64_t LittleEndian(absl::string_view bytes) {
  uint64_t word = 0;
  if (std::endian::native == std::endian::little && bytes.size() == sizeof(word)) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    return word;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    word |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return word;
}

}  // namespace

std::string Sha256(absl::string_view data) {
  std::string out(kSha256Bytes, '\0');
  EVP_MD_CTX* const context = ThreadContext();
  PT_CHECK(EVP_DigestInit_ex2(context, Sha256Algorithm(), nullptr) == 1);
  PT_CHECK(EVP_DigestUpdate(context, data.data(), data.size()) == 1);
  PT_CHECK(EVP_DigestFinal_ex(context, Data(out), nullptr) == 1);
  return out;
}

std::string HmacSha256(absl::string_view key, absl::string_view data) {
  std::string out(kSha256Bytes, '\0');
  unsigned int size = 0;
  // A null pointer would mean "the key of last time".
  const void* const key_bytes = key.empty() ? "" : key.data();
  PT_CHECK(HMAC(Sha256Algorithm(), key_bytes, static_cast<int>(key.size()), Data(data), data.size(),
                Data(out), &size) != nullptr);
  PT_CHECK(size == kSha256Bytes);
  return out;
}

bool EqualConstantTime(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

uint64_t SipHash24(const SipKey& key, absl::string_view data) {
  SipState state(key);
  const uint64_t size_byte = static_cast<uint64_t>(data.size()) << 56;
  for (; data.size() >= 8; data.remove_prefix(8)) state.Compress(LittleEndian(data.substr(0, 8)));
  state.Compress(LittleEndian(data) | size_byte);
  return state.Finish();
}

}  // namespace ptdoc::sync
