#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ptdoc::sync {

// Where randomness comes from. SystemRng is thread-safe and fit for secrets;
// SeededRng is neither, it replays.
class Rng {
 public:
  virtual ~Rng() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;

  uint64_t Next();
  // In [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // `count` random bytes.
  std::string Bytes(size_t count);
};

class SystemRng final : public Rng {
 public:
  void Fill(std::span<uint8_t> out) override;
};

class SeededRng final : public Rng {
 public:
  explicit SeededRng(uint64_t seed) : state_(seed) {}
  void Fill(std::span<uint8_t> out) override;

 private:
  uint64_t state_;
};

// A random (version 4) UUID in lower case.
std::string NewUuid(Rng& rng);

}  // namespace ptdoc::sync
