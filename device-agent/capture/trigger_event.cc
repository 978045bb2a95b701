#include "device-agent/capture/trigger_event.h"

#include "absl/strings/ascii.h"

namespace ptdoc::sync {
namespace {

struct Token {
  std::string text;     // lower case; without quotes
  bool quoted = false;  // then it is a name, never a keyword
  bool Is(absl::string_view word) const { return !quoted && text == word; }
};

// Splits the head of a CREATE TRIGGER. SQLite has accepted the text, so quotes
// and comments are closed.
class HeadReader {
 public:
  explicit HeadReader(absl::string_view sql) : sql_(sql) {}

  // An empty unquoted token at the end.
  Token Next() {
    SkipBlanks();
    if (sql_.empty()) return {};
    const char first = sql_.front();
    if (first == '"' || first == '`' || first == '\'') return Quoted(first);
    if (first == '[') return Quoted(']');
    size_t end = 0;
    while (end < sql_.size() && IsWord(sql_[end])) ++end;
    return Take(end == 0 ? 1 : end);
  }

 private:
  static bool IsWord(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_isalnum(byte) || c == '_' || c == '$' || byte >= 0x80;
  }

  void SkipBlanks() {
    while (!sql_.empty()) {
      if (absl::ascii_isspace(static_cast<unsigned char>(sql_.front()))) {
        sql_.remove_prefix(1);
      } else if (sql_.substr(0, 2) == "--") {
        SkipPast("\n");
      } else if (sql_.substr(0, 2) == "/*") {
        SkipPast("*/");
      } else {
        return;
      }
    }
  }

  void SkipPast(absl::string_view end) {
    const size_t at = sql_.find(end);
    sql_.remove_prefix(at == absl::string_view::npos ? sql_.size() : at + end.size());
  }

  Token Take(size_t size) {
    Token token{absl::AsciiStrToLower(sql_.substr(0, size)), false};
    sql_.remove_prefix(size);
    return token;
  }

  Token Quoted(char close) {
    Token token{"", true};
    sql_.remove_prefix(1);
    while (!sql_.empty()) {
      const char c = sql_.front();
      sql_.remove_prefix(1);
      if (c == close) {
        const bool doubled = close != ']' && !sql_.empty() && sql_.front() == close;
        if (!doubled) break;
        sql_.remove_prefix(1);
      }
      token.text.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    }
    return token;
  }

  absl::string_view sql_;
};

}  // namespace

std::optional<std::vector<std::string>> UpdateColumnsOfTrigger(absl::string_view sql) {
  HeadReader head(sql);
  Token token = head.Next();
  while (!token.Is("trigger") && !token.Is("")) token = head.Next();
  token = head.Next();
  if (token.Is("if")) {  // IF NOT EXISTS name
    head.Next();
    head.Next();
    head.Next();
  }
  token = head.Next();
  while (!token.Is("update")) {
    if (token.Is("insert") || token.Is("delete") || token.Is("")) return std::nullopt;
    token = head.Next();
  }
  std::vector<std::string> columns;
  if (!head.Next().Is("of")) return columns;
  for (token = head.Next(); !token.Is("on") && !token.Is(""); token = head.Next()) {
    if (!token.Is(",")) columns.push_back(token.text);
  }
  return columns;
}

}  // namespace ptdoc::sync
