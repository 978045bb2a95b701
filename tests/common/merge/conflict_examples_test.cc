// Runs every worked example of docs/CONFLICTS.md: the fenced blocks named
// conflict-example, one `key: value` a line.

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/merge/resolve.h"
#include "gtest/gtest.h"
#include "tests/support/decision_table.h"

namespace ptdoc::sync {
namespace {

constexpr TimeNs kMinute = 60'000'000'000;
constexpr TimeNs kMaxSkew = kMinute;

using Example = std::map<std::string, std::string>;

const std::set<std::string> kKeys = {"rule", "policy", "base", "current", "incoming", "outcome",
                                     "resolution", "archived",
                                     // If they matter.
                                     "between", "now", "stands"};
constexpr size_t kKeysNeeded = 8;

std::vector<Example> ReadExamples() {
  std::ifstream in(PTDOC_SOURCE_DIR "/docs/CONFLICTS.md");
  const std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<Example> examples;
  bool inside = false;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (line == "```conflict-example") examples.emplace_back();
    if (absl::StartsWith(line, "```")) {
      inside = line == "```conflict-example";
      continue;
    }
    if (!inside) continue;
    const std::pair<std::string, std::string> entry =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    EXPECT_TRUE(examples.back().insert(entry).second) << "twice: " << line;
  }
  return examples;
}

// The whole text must fit the pattern.
std::smatch Match(const std::string& text, const char* pattern) {
  std::smatch match;
  EXPECT_TRUE(std::regex_match(text, match, std::regex(pattern))) << "'" << text << "'";
  if (match.empty()) std::abort();
  return match;
}

TimeNs ParseClock(const std::string& text) {
  const auto m = [](const std::string& digits) { return std::stoll(digits); };
  return (m(text.substr(0, 2)) * 60 + m(text.substr(3, 2))) * kMinute;
}

// "deleted", or "Name=text; Other=7".
void ParseContent(const std::string& text, Candidate* out) {
  out->deleted = text == "deleted";
  if (!out->deleted) {
    for (const absl::string_view part : absl::StrSplit(text, "; ")) {
      const std::pair<std::string, std::string> field =
          absl::StrSplit(part, absl::MaxSplits('=', 1));
      int64_t number = 0;
      out->fields.Set(field.first, absl::SimpleAtoi(field.second, &number)
                                       ? Value::Integer(number)
                                       : Value::Text(field.second));
    }
  }
  out->content_hash = ContentHash({"Entity", "e1"}, out->deleted, out->fields);
}

struct ExampleBase {
  Revision revision = 0;
  std::optional<TimeNs> time;
  bool integer_key = false;
  std::optional<Candidate> version;
};

// "none", "none, integer key", or "revision 41 at 09:00", with ": CONTENT" where
// it matters.
ExampleBase ParseBase(const std::string& text) {
  ExampleBase base;
  if (text == "none") return base;
  base.integer_key = text == "none, integer key";
  if (base.integer_key) return base;
  const std::smatch m = Match(text, "revision (\\d+) at (\\d\\d:\\d\\d)(?:: (.+))?");
  base.revision = std::stoll(m[1]);
  base.time = ParseClock(m[2]);
  if (m[3].matched) {
    base.version.emplace();
    base.version->time = *base.time;
    ParseContent(m[3], &*base.version);
    base.version = Stamped(*base.version, nullptr);
  }
  return base;
}

// "none", or "revision 42 at 10:00 by tablet-a: CONTENT".
std::optional<Candidate> ParseCurrent(const std::string& text) {
  if (text == "none") return std::nullopt;
  const std::smatch m = Match(text, "revision (\\d+) at (\\d\\d:\\d\\d) by ([^:]+): (.+)");
  Candidate current;
  current.revision = std::stoll(m[1]);
  current.time = ParseClock(m[2]);
  current.device = m[3];
  ParseContent(m[4], &current);
  return current;
}

// "at 10:05 by tablet-b: CONTENT". Without `now` the claim is within the skew.
Candidate ParseIncoming(const Example& example, const ExampleBase& base) {
  const std::string text = example.at("incoming");
  const std::smatch m = Match(text, "at (\\d\\d:\\d\\d) by ([^:]+): (.+)");
  const TimeNs claimed = ParseClock(m[1]);
  const TimeNs now = example.count("now") > 0 ? ParseClock(example.at("now")) : claimed;
  Candidate incoming;
  incoming.time = EffectiveTime(claimed, now, kMaxSkew, base.time);
  incoming.clamped = IsClamped(claimed, now, kMaxSkew);
  incoming.device = m[2];
  ParseContent(m[3], &incoming);
  return incoming;
}

Decision DecideExample(const Example& example) {
  TypePolicy policy;
  policy.policy = PolicyFromName(example.at("policy"));
  Question question;
  const ExampleBase base = ParseBase(example.at("base"));
  std::optional<Candidate> before = base.version;
  if (before.has_value() && example.contains("between")) {
    before = Stamped(*ParseCurrent(example.at("between")), &*before);
  }
  std::optional<Candidate> current = ParseCurrent(example.at("current"));
  Candidate incoming = ParseIncoming(example, base);
  if (base.version.has_value()) {
    current = Stamped(*current, &*before);
    incoming = Stamped(incoming, &*base.version);
    question.base = &*base.version;
  }
  question.policy = &policy;
  question.base_revision = base.revision;
  question.base_is_current =
      current.has_value() && base.revision > 0 && base.revision == current->revision;
  question.collision_possible = base.integer_key;
  question.current = current.has_value() ? &*current : nullptr;
  question.incoming = &incoming;
  return Resolve(question);
}

std::string ArchivedOf(const Decision& decision) {
  if (decision.archive_incoming && decision.archive_current) return "incoming, current";
  if (decision.archive_incoming) return "incoming";
  return decision.archive_current ? "current" : "nothing";
}

TEST(ConflictExamplesTest, ComeOutAsThePageSays) {
  int number = 0;
  for (const Example& example : ReadExamples()) {
    SCOPED_TRACE(absl::StrCat("example ", ++number, " of docs/CONFLICTS.md"));
    for (const auto& [key, value] : example) EXPECT_EQ(kKeys.count(key), 1u) << key;
    ASSERT_GE(example.size(), kKeysNeeded) << "a line is missing";
    const std::string& policy = example.at("policy");
    EXPECT_EQ(PolicyName(PolicyFromName(policy)), policy);

    const Decision decision = DecideExample(example);

    const absl::string_view resolution = ResolutionName(decision.resolution);
    EXPECT_EQ(decision.rule, example.at("rule"));
    EXPECT_EQ(OutcomeName(decision.outcome), example.at("outcome"));
    EXPECT_EQ(resolution.empty() ? "none" : resolution, example.at("resolution"));
    EXPECT_EQ(ArchivedOf(decision), example.at("archived"));
    EXPECT_EQ(decision.merged.has_value(), example.contains("stands"));
    if (!decision.merged.has_value()) continue;
    Candidate stands;
    ParseContent(example.at("stands"), &stands);
    EXPECT_EQ(decision.merged->fields, stands.fields);
  }
}

TEST(ConflictExamplesTest, EveryRowOfTheResolverHasOne) {
  std::set<std::string> rules;
  for (const Example& example : ReadExamples()) rules.insert(example.at("rule"));

  EXPECT_EQ(rules, (std::set<std::string>{"3", "4", "5", "6", "6b", "6c", "7", "8", "9", "10"}));
}

}  // namespace
}  // namespace ptdoc::sync
