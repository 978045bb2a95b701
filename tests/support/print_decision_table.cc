// Prints the generated tables of docs/CONFLICTS.md, or puts them into that page:
//   print_decision_table [docs/CONFLICTS.md]

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/decision_table.h"

int main(int argc, char** argv) {
  const std::string block = ptdoc::sync::DecisionTableBlock();
  if (argc < 2) {
    std::printf("%s\n", block.c_str());
    return 0;
  }
  std::ifstream in(argv[1]);
  std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const absl::string_view old = ptdoc::sync::FindTableBlock(page);
  if (old.empty()) {
    std::fprintf(stderr, "%s: no decision-table marks in it. Nothing was written.\n", argv[1]);
    return 1;
  }
  page.replace(static_cast<size_t>(old.data() - page.data()), old.size(), block);
  std::ofstream out(argv[1]);
  out << page;
  out.close();
  return out.good() ? 0 : 1;
}
