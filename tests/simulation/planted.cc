#include "common/base/planted.h"

#include <string>

namespace ptdoc::sync {
namespace {

std::string& TheBug() {
  static auto* const bug = new std::string();
  return *bug;
}

PassCounter* g_counter = nullptr;

}  // namespace

void PlantBug(const char* name) {
  TheBug() = name;
}

bool IsPlanted(const char* name) {
  return TheBug() == name;
}

void CountPasses(PassCounter* to) {
  g_counter = to;
}

void Passed(const char* place) {
  if (g_counter != nullptr) g_counter->Passed(place);
}

}  // namespace ptdoc::sync
