#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace ptdoc::sync {

// What both programs print, for people and for scripts.

enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,        // usage or configuration
  kExitWaits = 3,        // done, but something waits for a person
  kExitUnreachable = 4,  // service not reachable; work is queued, nothing lost
  kExitNotPermitted = 5,
};

// Members stay in the order in which they were added.
using Json = nlohmann::ordered_json;

// An error in the parts in which it is shown.
struct UserError {
  std::string what;
  std::string reason;  // a code
  std::string effect;  // on the data
  std::string remedy;  // what to do
};

// From one of our statuses: its message's first sentence is what happened, the
// second the effect, the rest what to do. A status without our reason has its
// code's name as the reason, and its text is not shown (it is not ours).
UserError ErrorOf(const absl::Status& status);

// "<what> (<REASON>). <effect>. <remedy>."
std::string ErrorLine(const UserError& error);

// Prints to stderr (a line, or {"error": {...}} for scripts) and returns the
// exit code that fits the status.
int Fail(const absl::Status& status, bool json);
int ExitCodeOf(const absl::Status& status);

// What a monitoring plugin says of a thing, with its exit code.
enum class CheckState : int { kOk = 0, kWarning = 1, kCritical = 2, kUnknown = 3 };
const char* CheckStateName(CheckState state);
// Prints "PTDOC <STATE> - <text>", one line, and returns the state's exit code.
int PrintCheck(CheckState state, absl::string_view text);
// The same with an error's parts as the text.
int PrintCheck(CheckState state, const absl::Status& error);

// One JSON object on a line, to stdout.
void PrintJson(const Json& value);

// Columns as wide as their widest cell, two blanks between them; no borders.
std::string TextTable(const std::vector<std::string>& head,
                      const std::vector<std::vector<std::string>>& rows);

// A list: {"items": [...]} for scripts; for people a table of `rows`, or the
// sentence `none` where there are none.
void PrintList(bool json, const Json& items, const std::vector<std::string>& head,
               const std::vector<std::vector<std::string>>& rows, absl::string_view none);

// Row JSON as JSON; null for the empty text.
Json RowOrNull(absl::string_view json);

// "3 min ago", "in 12 s"; "never" without a time.
std::string Ago(std::optional<absl::Time> time, absl::Time now);

// "1 patient", "2 patients".
std::string Plural(int64_t count, absl::string_view one, absl::string_view many = "");

// `text` as one word of a shell's command line: in quotes where it needs them.
std::string ShellWord(absl::string_view text);

// stdout is a terminal: colour and redrawn lines are welcome (and NO_COLOR is
// not set).
bool OnTerminal();
// `text` in the colour, on a terminal only.
enum class Colour { kGreen, kYellow, kRed, kDim, kBold };
std::string Paint(Colour colour, absl::string_view text);
Colour ColourOf(CheckState state);

// The three versions of a conflict side by side, a line a field; fields in
// which they differ are marked. Row JSON each; empty = not known, "null" =
// deleted. Contents are shown: for a person who may see them.
std::string ConflictTable(absl::string_view base_json, absl::string_view archived_json,
                          absl::string_view chosen_json);

}  // namespace ptdoc::sync
