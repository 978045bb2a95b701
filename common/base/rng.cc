#include "common/base/rng.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "common/base/status.h"

namespace ptdoc::sync {

uint64_t Rng::Next() {
  uint64_t value = 0;
  uint8_t bytes[sizeof(value)];
  Fill(bytes);
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t Rng::Below(uint64_t bound) {
  PT_CHECK(bound > 0);
  // Drops the values that would make the low remainders likelier: the first
  // 2^64 mod bound.
  const uint64_t dropped = (0 - bound) % bound;
  uint64_t value = Next();
  while (value < dropped) value = Next();
  return value % bound;
}

std::string Rng::Bytes(size_t count) {
  std::string out(count, '\0');
  Fill(std::span<uint8_t>(reinterpret_cast<uint8_t*>(out.data()), out.size()));
  return out;
}

void SystemRng::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      PT_CHECK(errno == EINTR);  // Going on without randomness would be worse.
      continue;
    }
    out = out.subspan(static_cast<size_t>(got));
  }
}

// SplitMix64 (Steele, Lea and Flood, 2014): every seed, also 0, gives a good
// sequence, the same on every machine.
void SeededRng::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t word = state_;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    word ^= word >> 31;
    for (int i = 0; i < 8 && !out.empty(); ++i, word >>= 8) {
      out.front() = static_cast<uint8_t>(word);
      out = out.subspan(1);
    }
  }
}

std::string NewUuid(Rng& rng) {
  constexpr char kDigits[] = "0123456789abcdef";
  uint8_t bytes[16];
  rng.Fill(bytes);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);  // RFC 9562's variant
  std::string out;
  out.reserve(36);
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    out.push_back(kDigits[bytes[i] >> 4]);
    out.push_back(kDigits[bytes[i] & 0x0f]);
  }
  return out;
}

}  // namespace ptdoc::sync
