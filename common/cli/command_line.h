#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace ptdoc::sync {

// The verbs of a program ("status", "token create"), which one was chosen, and
// how errors of usage are told. Belongs to one thread.
class CommandLine {
 public:
  // Every verb's --config and --json are written to `config_file` and `json`,
  // which must outlive this.
  CommandLine(const std::string& program, const std::string& help, std::string* config_file,
              bool* json);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  CLI::App& root() { return app_; }
  // A word that does nothing by itself: verbs stand below it.
  static CLI::App* Group(CLI::App& parent, const std::string& name, const std::string& help);
  // Run calls `run` if this verb was given; it returns the exit code.
  CLI::App* Verb(CLI::App& parent, const std::string& name, const std::string& help,
                 std::function<int()> run);

  // Does what the words say and returns the exit code: the verb's, or that of
  // --help and --version, or after a line on stderr that of USAGE.
  int Run(int argc, const char* const* argv);

 private:
  int UsageError(std::string what, int argc, const char* const* argv);

  CLI::App app_;
  std::string* const config_file_;
  bool* const json_;
  std::function<int()> chosen_;
};

}  // namespace ptdoc::sync
