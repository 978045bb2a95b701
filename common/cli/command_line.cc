#include "common/cli/command_line.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/cli/output.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

// Groups of options are subcommands, too, without a name.
CLI::App* VerbBelow(CLI::App& parent, const std::string& word) {
  for (CLI::App* verb : parent.get_subcommands({})) {
    if (verb->get_name() == word) return verb;
  }
  return nullptr;
}

bool HasVerbs(CLI::App& parent) {
  const std::vector<CLI::App*> below = parent.get_subcommands({});
  return std::any_of(below.begin(), below.end(),
                     [](const CLI::App* app) { return !app->get_name().empty(); });
}

}  // namespace

CommandLine::CommandLine(const std::string& program, const std::string& help,
                         std::string* config_file, bool* json)
    : app_(help, program), config_file_(config_file), json_(json) {
  app_.set_version_flag("--version", absl::StrCat(program, " ", PTDOC_VERSION));
  app_.require_subcommand(1);
}

CLI::App* CommandLine::Group(CLI::App& parent, const std::string& name, const std::string& help) {
  CLI::App* group = parent.add_subcommand(name, help);
  group->require_subcommand(1);
  return group;
}

CLI::App* CommandLine::Verb(CLI::App& parent, const std::string& name, const std::string& help,
                            std::function<int()> run) {
  CLI::App* verb = parent.add_subcommand(name, help);
  verb->add_option("--config", *config_file_, "Configuration file (TOML)");
  verb->add_flag("--json", *json_, "Print for scripts: one JSON object");
  verb->callback([this, run = std::move(run)] { chosen_ = run; });
  return verb;
}

int CommandLine::Run(int argc, const char* const* argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app_.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app_.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app_.exit(version);
  } catch (const CLI::ParseError& error) {
    return UsageError(error.what(), argc, argv);
  }
  return chosen_();
}

int CommandLine::UsageError(std::string what, int argc, const char* const* argv) {
  // The words that were understood: a verb's help tells more than the program's.
  std::string said = app_.get_name();
  CLI::App* at = &app_;
  std::string unknown;
  for (int i = 1; i < argc && unknown.empty(); ++i) {
    const std::string word = argv[i];
    CLI::App* below = VerbBelow(*at, word);
    if (below == nullptr && !absl::StartsWith(word, "-")) unknown = word;
    if (below == nullptr) continue;
    at = below;
    absl::StrAppend(&said, " ", word);
  }
  if (HasVerbs(*at)) {
    what = unknown.empty() ? absl::StrCat("`", said, "` needs a verb")
                           : absl::StrCat("`", said, "` has no verb \"", unknown, "\"");
  }
  // The first word that is wrong ends the parsing, maybe before --json was met.
  const bool json = std::any_of(
      argv, argv + argc, [](const char* word) { return absl::string_view(word) == "--json"; });
  // One line and one sentence, whatever the words that are quoted in it hold.
  std::string line = absl::StrReplaceAll(what, {{"\n", " "}, {". ", ", "}});
  absl::StripTrailingAsciiWhitespace(&line);
  return Fail(ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                          absl::StrCat(line, ". Nothing was done. See `", said, " --help`.")),
              json);
}

}  // namespace ptdoc::sync
