#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// A directory of one test, removed with what is in it.
class TestDir {
 public:
  TestDir() {
    std::string pattern = ::testing::TempDir() + "sqlite_test_XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TestDir() { std::filesystem::remove_all(path_); }
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline OpenOptions Create() {
  return {.mode = OpenOptions::Mode::kCreate};
}

inline OpenOptions CreateWal() {
  return {.mode = OpenOptions::Mode::kCreate, .wal = true};
}

inline OpenOptions NoWait(OpenOptions options) {
  options.busy_timeout = absl::ZeroDuration();
  return options;
}

// Stops the test program if the file cannot be opened.
inline Database MustOpen(const std::string& path, const OpenOptions& options) {
  return Database::Open(path, options).value();
}

inline Database InMemory() {
  return MustOpen(":memory:", Create());
}

}  // namespace ptdoc::sqlite
