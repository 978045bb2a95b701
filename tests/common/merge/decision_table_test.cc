#include "tests/support/decision_table.h"

#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

std::string ReadPage() {
  std::ifstream in(PTDOC_SOURCE_DIR "/docs/CONFLICTS.md");
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

TEST(DecisionTableTest, StandsInThePageAsTheResolverDecides) {
  const std::string page = ReadPage();

  const std::string printed(FindTableBlock(page));

  EXPECT_EQ(printed, DecisionTableBlock())
      << "docs/CONFLICTS.md is not what Resolve decides. If the change is meant, run:\n"
         "  ninja -C build print_decision_table && build/bin/print_decision_table "
         "docs/CONFLICTS.md";
}

}  // namespace
}  // namespace ptdoc::sync
