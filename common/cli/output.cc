#include "common/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/base/time_text.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

// Cuts the first sentence off `text`: up to ". " or the final period.
std::string TakeSentence(absl::string_view* text) {
  const size_t end = text->find(". ");
  std::string sentence(text->substr(0, end));
  *text = end == absl::string_view::npos ? absl::string_view() : text->substr(end + 2);
  while (!sentence.empty() && sentence.back() == '.') sentence.pop_back();
  return sentence;
}

// Characters on a terminal: bytes that begin a UTF-8 character.
size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Pad(absl::string_view text, size_t width) {
  const size_t have = Width(text);
  return absl::StrCat(text, std::string(have < width ? width - have : 0, ' '));
}

Json ParseRow(absl::string_view json) {
  Json row = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  return row.is_object() ? row : Json(nullptr);
}

// One cell: text as itself, cut so that three columns fit a screen.
std::string Cell(const Json& row, const std::string& field) {
  constexpr size_t kCellCharsMax = 34;
  if (!row.is_object()) return "";
  const auto found = row.find(field);
  if (found == row.end()) return "";
  std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (Width(text) <= kCellCharsMax) return text;
  size_t end = kCellCharsMax - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string Heading(absl::string_view name, absl::string_view json) {
  if (json.empty()) return absl::StrCat(name, " (not known)");
  if (json == "null") return absl::StrCat(name, " (deleted)");
  return std::string(name);
}

}  // namespace

UserError ErrorOf(const absl::Status& status) {
  UserError error;
  error.reason = ReasonOf(status);
  if (error.reason.empty()) {
    error.reason = absl::StatusCodeToString(status.code());
    if (absl::IsDataLoss(status)) {
      error.what = "A file is damaged";
      error.effect = "Nothing was changed; what the file holds may be lost";
      error.remedy = "Look at its disk, and put a backup in its place (docs/OPERATIONS.md)";
      return error;
    }
    error.what = "The operation failed";
    error.effect = "Nothing was lost";
    error.remedy = "See the log for what happened before, then try again";
    return error;
  }
  absl::string_view text = status.message();
  error.what = TakeSentence(&text);
  error.effect = TakeSentence(&text);
  while (!text.empty() && text.back() == '.') text.remove_suffix(1);
  error.remedy = std::string(text);
  return error;
}

std::string ErrorLine(const UserError& error) {
  std::string line = absl::StrCat(error.what, " (", error.reason, ").");
  if (!error.effect.empty()) absl::StrAppend(&line, " ", error.effect, ".");
  if (!error.remedy.empty()) absl::StrAppend(&line, " ", error.remedy, ".");
  return line;
}

int ExitCodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "CONFIG" || reason == "USAGE") return kExitUsage;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnreachable;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitNotPermitted;
    default:
      return kExitFailed;
  }
}

int Fail(const absl::Status& status, bool json) {
  const UserError error = ErrorOf(status);
  if (json) {
    const Json object = {{"error",
                          {{"reason", error.reason},
                           {"message", error.what},
                           {"effect", error.effect},
                           {"remedy", error.remedy}}}};
    std::fprintf(stderr, "%s\n",
                 object.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "%s\n", ErrorLine(error).c_str());
  }
  return ExitCodeOf(status);
}

const char* CheckStateName(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "OK";
    case CheckState::kWarning:
      return "WARNING";
    case CheckState::kCritical:
      return "CRITICAL";
    case CheckState::kUnknown:
      break;
  }
  return "UNKNOWN";
}

int PrintCheck(CheckState state, absl::string_view text) {
  std::printf("PTDOC %s - %s\n", CheckStateName(state), std::string(text).c_str());
  std::fflush(stdout);
  return static_cast<int>(state);
}

int PrintCheck(CheckState state, const absl::Status& error) {
  return PrintCheck(state, ErrorLine(ErrorOf(error)));
}

void PrintJson(const Json& value) {
  // Bytes that are not UTF-8 can only come from names; they are replaced.
  std::printf("%s\n", value.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

std::string TextTable(const std::vector<std::string>& head,
                      const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  widths.reserve(head.size());
  for (const std::string& cell : head) widths.push_back(Width(cell));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string out;
  const auto append = [&](const std::vector<std::string>& row, bool heading) {
    std::vector<std::string> cells;
    cells.reserve(row.size());
    for (size_t i = 0; i < row.size(); ++i) cells.push_back(Pad(row[i], widths[i]));
    std::string line = absl::StrJoin(cells, "  ");
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&out, heading ? Paint(Colour::kDim, line) : line, "\n");
  };
  append(head, true);
  for (const auto& row : rows) append(row, false);
  return out;
}

void PrintList(bool json, const Json& items, const std::vector<std::string>& head,
               const std::vector<std::vector<std::string>>& rows, absl::string_view none) {
  if (json) return PrintJson({{"items", items}});
  std::fputs(rows.empty() ? absl::StrCat(none, "\n").c_str() : TextTable(head, rows).c_str(),
             stdout);
}

Json RowOrNull(absl::string_view json) {
  if (json.empty()) return nullptr;
  return Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
}

std::string Ago(std::optional<absl::Time> time, absl::Time now) {
  if (!time.has_value()) return "never";
  if (*time > now + absl::Milliseconds(500)) return "in " + HumanDuration(*time - now);
  return HumanDuration(std::max(now - *time, absl::ZeroDuration())) + " ago";
}

std::string Plural(int64_t count, absl::string_view one, absl::string_view many) {
  if (count == 1) return absl::StrCat("1 ", one);
  return many.empty() ? absl::StrCat(count, " ", one, "s") : absl::StrCat(count, " ", many);
}

std::string ShellWord(absl::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("-_./:@=+,").find(c) != absl::string_view::npos;
  });
  if (plain) return std::string(text);
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

bool OnTerminal() {
  return isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

std::string Paint(Colour colour, absl::string_view text) {
  if (!OnTerminal()) return std::string(text);
  const char* code = "0";
  switch (colour) {
    case Colour::kGreen:
      code = "32";
      break;
    case Colour::kYellow:
      code = "33";
      break;
    case Colour::kRed:
      code = "31";
      break;
    case Colour::kDim:
      code = "2";
      break;
    case Colour::kBold:
      code = "1";
      break;
  }
  return absl::StrCat("\033[", code, "m", text, "\033[0m");
}

Colour ColourOf(CheckState state) {
  return state == CheckState::kOk        ? Colour::kGreen
         : state == CheckState::kWarning ? Colour::kYellow
                                         : Colour::kRed;
}

std::string ConflictTable(absl::string_view base_json, absl::string_view archived_json,
                          absl::string_view chosen_json) {
  const Json base = ParseRow(base_json);
  const Json archived = ParseRow(archived_json);
  const Json chosen = ParseRow(chosen_json);
  std::set<std::string> fields;
  for (const Json* row : {&base, &archived, &chosen}) {
    if (!row->is_object()) continue;
    for (const auto& item : row->items()) fields.insert(item.key());
  }
  std::vector<std::vector<std::string>> rows;
  for (const std::string& field : fields) {
    const std::string lost = Cell(archived, field);
    const std::string won = Cell(chosen, field);
    rows.push_back({lost == won ? " " : "*", field, Cell(base, field), lost, won});
  }
  return TextTable({" ", "field", Heading("base", base_json), Heading("archived", archived_json),
                    Heading("stands now", chosen_json)},
                   rows);
}

}  // namespace ptdoc::sync
