#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ptdoc::sync {

// The log's front: an event name (a literal) and typed fields. There is no way
// to pass free text but Code(), which takes literals and our own reason names,
// so entity contents cannot reach a log line (promise P9).
enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kConsole, kJson };
enum class EntityIds { kHash, kPlain };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kConsole;
  EntityIds entity_ids = EntityIds::kHash;
};

class LogField {
 public:
  static LogField Count(const char* name, int64_t value);
  static LogField Millis(const char* name, absl::Duration value);
  // A type name, device id, tenant, batch id, reason, rule: never content. Any
  // bytes: the log quotes them, and cuts them after 512.
  static LogField Code(const char* name, absl::string_view value);
  // An entity id: as a hash (16 hex digits, keyed anew with every start of the
  // process) unless the configuration says plain.
  static LogField Entity(const char* name, absl::string_view entity_id);
  // "error": the status code, SQLite's result code if it has one, and reason and
  // message if it is one of ours (common/model/reason.h: they carry no content).
  static LogField Error(const absl::Status& status);

  const char* name;
  std::string value;
  bool number = false;
};

// Sets up the process-wide log, to stderr. Call once, before any thread.
void InitLog(const LogOptions& options);

// For tests: from now on each line goes there in place of stderr; null: to
// stderr again. Before any thread.
using LogSink = std::function<void(absl::string_view line)>;
void SetLogSink(LogSink sink);

// Thread-safe. Writes nothing below the level set.
void Log(LogLevel level, const char* event, std::initializer_list<LogField> fields = {});

}  // namespace ptdoc::sync
