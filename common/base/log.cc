#include "common/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/base/time_text.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kValueBytesMax = 512;
constexpr size_t kEntityHashBytes = 8;
// What common/model/reason.h attaches; it begins with the reason's name.
constexpr char kReasonPayload[] = "ptdoc/reason";
constexpr char kSqliteCodePayload[] = "ptdoc/sqlite-code";

struct ProcessLog {
  LogOptions options;
  std::shared_ptr<spdlog::logger> logger;
  // Entity ids can be guessed (a record number); without the key their hashes
  // could be found by trying. A new one each start: nothing to keep secret.
  std::string entity_key;
  LogSink sink;  // null = stderr
};

std::shared_ptr<spdlog::logger> NewLogger() {
  auto logger =
      std::make_shared<spdlog::logger>("ptdoc", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);  // Log() has judged the level.
  return logger;
}

// Never destroyed: threads may log while the process ends.
ProcessLog& Process() {
  static ProcessLog* const process = [] {
    SystemRng rng;
    return new ProcessLog{LogOptions(), NewLogger(), rng.Bytes(32), nullptr};
  }();
  return *process;
}

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "DEBUG";
    case LogLevel::kInfo:
      return "INFO";
    case LogLevel::kWarning:
      return "WARNING";
    case LogLevel::kError:
      return "ERROR";
  }
  return "ERROR";
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string Shortened(absl::string_view value) {
  if (value.size() <= kValueBytesMax) return std::string(value);
  return absl::StrCat(value.substr(0, kValueBytesMax), "...");
}

// A JSON string; what is not UTF-8 is shown as \xNN. No value can end a line or
// forge a field.
std::string Quoted(absl::string_view value) {
  std::string out = "\"";
  for (const char c : IsUtf8(value) ? std::string(value) : absl::CHexEscape(value)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

bool IsPlainWord(absl::string_view value) {
  for (const char c : value) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
  }
  return !value.empty();
}

std::string ConsoleLine(LogLevel level, const char* event, std::initializer_list<LogField> fields) {
  std::string line = absl::StrCat(sync::FormatUtc(absl::Now()), " ", LevelName(level), " ", event);
  for (const LogField& field : fields) {
    const bool plain = field.number || IsPlainWord(field.value);
    absl::StrAppend(&line, " ", field.name, "=", plain ? field.value : Quoted(field.value));
  }
  return line;
}

std::string JsonLine(LogLevel level, const char* event, std::initializer_list<LogField> fields) {
  std::string line = absl::StrCat("{\"time\":\"", sync::FormatUtc(absl::Now()), "\",\"level\":\"",
                                  LevelName(level), "\",\"event\":", Quoted(event));
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",", Quoted(field.name), ":",
                    field.number ? field.value : Quoted(field.value));
  }
  line.push_back('}');
  return line;
}

}  // namespace

LogField LogField::Count(const char* name, int64_t value) {
  return {.name = name, .value = absl::StrCat(value), .number = true};
}

LogField LogField::Millis(const char* name, absl::Duration value) {
  const bool finite = value > -absl::InfiniteDuration() && value < absl::InfiniteDuration();
  if (!finite) return {.name = name, .value = "infinite"};
  return {.name = name,
          .value = absl::StrFormat("%.1f", absl::ToDoubleMilliseconds(value)),
          .number = true};
}

LogField LogField::Code(const char* name, absl::string_view value) {
  return {.name = name, .value = Shortened(value)};
}

LogField LogField::Entity(const char* name, absl::string_view entity_id) {
  const ProcessLog& process = Process();
  if (process.options.entity_ids == EntityIds::kPlain) return Code(name, entity_id);
  const std::string mac = HmacSha256(process.entity_key, entity_id);
  return {.name = name, .value = absl::BytesToHexString(mac.substr(0, kEntityHashBytes))};
}

LogField LogField::Error(const absl::Status& status) {
  std::string value = absl::StatusCodeToString(status.code());
  if (const auto code = status.GetPayload(kSqliteCodePayload); code.has_value()) {
    absl::StrAppend(&value, " sqlite=", std::string(*code));
  }
  if (const auto payload = status.GetPayload(kReasonPayload); payload.has_value()) {
    const std::string bytes(*payload);
    const absl::string_view reason = ByteReader(bytes).String();
    absl::StrAppend(&value, " ", reason, ": ", status.message());
  }
  return {.name = "error", .value = Shortened(value)};
}

void InitLog(const LogOptions& options) {
  ProcessLog& process = Process();
  process.options = options;
  process.logger = NewLogger();
}

void SetLogSink(LogSink sink) {
  Process().sink = std::move(sink);
}

void Log(LogLevel level, const char* event, std::initializer_list<LogField> fields) {
  const ProcessLog& process = Process();
  if (level < process.options.level) return;
  const bool json = process.options.format == LogFormat::kJson;
  const std::string line =
      json ? JsonLine(level, event, fields) : ConsoleLine(level, event, fields);
  if (process.sink) return process.sink(line);
  // As text, not as a format string: a value may hold braces.
  process.logger->log(SpdlogLevel(level), spdlog::string_view_t(line));
}

}  // namespace ptdoc::sync
