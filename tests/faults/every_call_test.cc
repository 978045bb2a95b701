// One cycle of everything, over and over: each time another call fails.
//   PTDOC_EVERY=1 faults_test         every call; 10: one in ten; else some of each kind
//   PTDOC_FROM=5 PTDOC_EVERY=10 ...   beginning with the sixth
//   PTDOC_CALL=17 faults_test --gtest_filter=...   this one, told line by line
#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/faults/cycle.h"

namespace ptdoc::sync::faults {
namespace {

struct Kind {
  Side side;
  What what;
  const char* call;
  bool for_good = false;
  bool again = false;  // dies in the next life, too
};

// About as many of each kind, where there are more calls.
#ifdef PTDOC_SANITIZED
constexpr int64_t kRuns = 2;
#else
constexpr int64_t kRuns = 10;
#endif

constexpr Side kAgent = Side::kAgent;
constexpr Side kService = Side::kService;

// clang-format off
constexpr Kind kKinds[] = {
    {kAgent, What::kError, "open"},          {kService, What::kError, "open"},
    {kAgent, What::kError, "access"},        {kService, What::kError, "access"},
    {kAgent, What::kError, "delete"},        {kService, What::kError, "delete"},
    {kAgent, What::kError, "read"},          {kService, What::kError, "read"},
    {kAgent, What::kError, "write"},         {kService, What::kError, "write"},
    {kAgent, What::kError, "sync"},          {kService, What::kError, "sync"},
    {kAgent, What::kError, "truncate"},      {kService, What::kError, "truncate"},
    {kAgent, What::kError, "lock"},          {kService, What::kError, "lock"},
    {kAgent, What::kError, "shm map"},       {kService, What::kError, "shm map"},
    {kAgent, What::kError, "shm lock"},      {kService, What::kError, "shm lock"},
    {kAgent, What::kError, "read", true},    {kService, What::kError, "read", true},
    {kAgent, What::kError, "write", true},   {kService, What::kError, "write", true},
    {kAgent, What::kError, "sync", true},    {kService, What::kError, "sync", true},
    {kAgent, What::kError, "open", true},    {kService, What::kError, "open", true},
    {kAgent, What::kFull, "write"},          {kService, What::kFull, "write"},
    {kAgent, What::kFull, "sync"},           {kService, What::kFull, "sync"},
    {kAgent, What::kFull, "open"},           {kService, What::kFull, "open"},
    {kAgent, What::kFull, "shm map"},        {kService, What::kFull, "shm map"},
    {kAgent, What::kFull, "write", true},    {kService, What::kFull, "write", true},
    {kAgent, What::kFull, "shm map", true},  {kService, What::kFull, "shm map", true},
    {kAgent, What::kNoMemory, "memory"},     {kService, What::kNoMemory, "memory"},
    {kAgent, What::kNoMemory, "memory", true},
    {kService, What::kNoMemory, "memory", true},
    {kAgent, What::kDeath, "change"},        {kService, What::kDeath, "change"},
    {kAgent, What::kDeath, "change", false, true},
    {kService, What::kDeath, "change", false, true},
};
// clang-format on

int64_t FromEnvironment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? 0 : std::atoll(text);
}

Ending Expected(Side side) {
  Injection nothing;
  nothing.side = side;
  return RunCycle(nothing, nullptr);
}

// Each tree tries other calls (see ./dev).
int64_t FirstOf(int64_t step) {
  const int64_t given = FromEnvironment("PTDOC_FROM");
  return 1 + (given > 0 ? given : FromEnvironment("PTDOC_SIMULATION_FROM") % step);
}

int64_t CountOf(const Ending& expected, const std::string& call) {
  int64_t count = 0;
  for (const auto& [name, times] : expected.calls) {
    const bool changes =
        name == "write" || name == "truncate" || name == "sync" || name == "delete";
    if (name == call || (call == "change" && changes)) count += times;
  }
  return count;
}

class EveryCallTest : public ::testing::TestWithParam<Kind> {};

TEST_P(EveryCallTest, EverythingIsInStepInTheEnd) {
  const Kind& kind = GetParam();
  const Ending expected = Expected(kind.side);
  ASSERT_EQ(expected.failure, "");
  const int64_t calls = CountOf(expected, kind.call);
  ASSERT_GT(calls, 0);
  const int64_t given = FromEnvironment("PTDOC_EVERY");
  const int64_t step = given > 0 ? given : std::max<int64_t>(1, calls / kRuns);
  const int64_t only = FromEnvironment("PTDOC_CALL");
  std::map<std::string, int64_t> shown;
  int64_t runs = 0;
  int64_t silent = 0;
  for (int64_t at = FirstOf(step); at <= calls; at += step) {
    Injection injection{kind.side, kind.what, kind.call, only > 0 ? only : at, kind.for_good, 0};
    if (kind.again) injection.again_at = 1 + injection.at * 7919 % 40;

    const Ending ending = RunCycle(injection, &expected, only > 0);

    EXPECT_TRUE(ending.happened) << Describe(injection);
    EXPECT_EQ(ending.failure, "") << Describe(injection);
    for (const auto& [line, times] : ending.shown) shown[line] += times;
    silent += ending.silent;
    ++runs;
    if (only > 0) break;
  }
  std::printf("%" PRId64 " of %" PRId64 " calls, unnoticed for long: %" PRId64 "\n", runs, calls,
              silent);
  for (const auto& [line, times] : shown) std::printf("%8" PRId64 " %s\n", times, line.c_str());
}

std::string NameOf(const testing::TestParamInfo<Kind>& test) {
  const Kind& kind = test.param;
  const char* const what[] = {"Error", "Full", "NoMemory", "Death"};
  return absl::StrCat(kind.side == Side::kAgent ? "Agent" : "Service",
                      what[static_cast<size_t>(kind.what)], "In",
                      absl::StrReplaceAll(kind.call, {{" ", "_"}}), kind.for_good ? "ForGood" : "",
                      kind.again ? "Twice" : "");
}

INSTANTIATE_TEST_SUITE_P(All, EveryCallTest, ::testing::ValuesIn(kKinds), NameOf);

}  // namespace
}  // namespace ptdoc::sync::faults
