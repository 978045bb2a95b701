#include "common/cli/command_line.h"

#include <vector>

#include "common/cli/output.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A program with two verbs, one of them in a group.
class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    line_.Verb(line_.root(), "status", "Shows", [this] {
      chosen_ += "status";
      return 7;
    });
    CLI::App* group = CommandLine::Group(line_.root(), "token", "Tokens");
    CLI::App* revoke = line_.Verb(*group, "revoke", "Ends", [this] {
      chosen_ += "revoke " + id_;
      return 0;
    });
    revoke->add_option("id", id_, "Which")->required();
  }

  int Run(std::vector<const char*> words) {
    words.insert(words.begin(), "program");
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = line_.Run(static_cast<int>(words.size()), words.data());
    out_ = testing::internal::GetCapturedStdout();
    error_ = testing::internal::GetCapturedStderr();
    return code;
  }

  std::string config_file_;
  bool json_ = false;
  std::string chosen_;
  std::string id_;
  std::string out_;
  std::string error_;
  CommandLine line_{"program", "Does things.", &config_file_, &json_};
};

TEST_F(CommandLineTest, TheVerbRunsAndItsCodeIsTheProgramsWhenItIsGiven) {
  EXPECT_EQ(Run({"status", "--config", "a.toml", "--json"}), 7);

  EXPECT_EQ(chosen_, "status");
  EXPECT_EQ(config_file_, "a.toml");
  EXPECT_TRUE(json_);
}

TEST_F(CommandLineTest, AVerbOfAGroupRunsWhenBothWordsAreGiven) {
  EXPECT_EQ(Run({"token", "revoke", "t1"}), 0);

  EXPECT_EQ(chosen_, "revoke t1");
}

TEST_F(CommandLineTest, HelpAndVersionRunNothingAndSucceed) {
  EXPECT_EQ(Run({"status", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("--config"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(out_, StartsWith("program "));

  EXPECT_EQ(chosen_, "");
}

TEST_F(CommandLineTest, OneLineSaysWhatIsWrongAndWhereHelpIsWhenTheWordsAreWrong) {
  struct Case {
    std::vector<const char*> words;
    std::string what;
    std::string help;
  };
  const std::vector<Case> cases = {
      {{}, "`program` needs a verb", "program"},
      {{"nonsense"}, "`program` has no verb \"nonsense\"", "program"},
      {{"token"}, "`program token` needs a verb", "program token"},
      {{"token", "show"}, "`program token` has no verb \"show\"", "program token"},
      {{"token", "revoke"}, "id is required", "program token revoke"},
      {{"status", "--x"}, "The following argument was not expected: --x", "program status"},
      {{"status", "a. b\nc"}, "The following argument was not expected: a, b c", "program status"},
  };
  for (const Case& wrong : cases) {
    EXPECT_EQ(Run(wrong.words), kExitUsage);

    EXPECT_EQ(error_,
              wrong.what + " (USAGE). Nothing was done. See `" + wrong.help + " --help`.\n");
  }
  EXPECT_EQ(chosen_, "");
}

TEST_F(CommandLineTest, AnErrorIsJsonWhenThatIsAskedForAnywhere) {
  EXPECT_EQ(Run({"status", "--x", "--json"}), kExitUsage);

  const Json error = Json::parse(error_, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(error.is_object()) << error_;
  EXPECT_EQ(error["error"]["reason"], "USAGE");
  EXPECT_EQ(error["error"]["effect"], "Nothing was done");
  EXPECT_NE(error["error"]["remedy"], "");
}

}  // namespace
}  // namespace ptdoc::sync
