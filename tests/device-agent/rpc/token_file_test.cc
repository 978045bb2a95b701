#include "device-agent/rpc/token_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/model/reason.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {
namespace {

void WriteToken(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

TEST(TokenFileTest, HoldsTheBareToken) {
  ScratchDir dir;
  WriteToken(dir.File("token"), "  ptd_abc \n");

  const auto file = TokenFile::Open(dir.File("token")).value();

  EXPECT_EQ(file->Token(), "ptd_abc");
}

TEST(TokenFileTest, IsEmptyWhenNoFileIsConfigured) {
  const auto file = TokenFile::Open("").value();

  EXPECT_EQ(file->Token(), "");
}

TEST(TokenFileTest, RefusesAFileWithoutAToken) {
  ScratchDir dir;
  WriteToken(dir.File("empty"), "\n");
  WriteToken(dir.File("two lines"), "ptd_a\nptd_b\n");
  WriteToken(dir.File("long"), std::string(TokenFile::kTokenBytesMax + 1, 'x'));

  for (const char* name : {"missing", "empty", "two lines", "long"}) {
    EXPECT_EQ(ReasonOf(TokenFile::Open(dir.File(name)).status()), "CONFIG") << name;
  }
}

TEST(TokenFileTest, GrowsItsVersionWithEachNewTokenOnly) {
  ScratchDir dir;
  WriteToken(dir.File("token"), "ptd_one");
  const auto file = TokenFile::Open(dir.File("token")).value();
  const uint64_t first = file->Version();

  WriteToken(dir.File("next"), "ptd_two");
  std::filesystem::rename(dir.File("next"), dir.File("token"));
  const uint64_t second = file->Version();
  WriteToken(dir.File("next"), "ptd_two\n");
  std::filesystem::rename(dir.File("next"), dir.File("token"));

  EXPECT_GT(second, first);
  EXPECT_EQ(file->Token(), "ptd_two");
  EXPECT_EQ(file->Version(), second);
}

TEST(TokenFileTest, KeepsTheLastTokenWhileTheFileIsMissingOrEmpty) {
  ScratchDir dir;
  WriteToken(dir.File("token"), "ptd_one");
  const auto file = TokenFile::Open(dir.File("token")).value();

  std::filesystem::remove(dir.File("token"));
  const std::string while_missing = file->Token();
  WriteToken(dir.File("token"), "");
  const std::string while_empty = file->Token();
  WriteToken(dir.File("token"), "ptd_three");

  EXPECT_EQ(while_missing, "ptd_one");
  EXPECT_EQ(while_empty, "ptd_one");
  EXPECT_EQ(file->Token(), "ptd_three");
}

}  // namespace
}  // namespace ptdoc::sync
