#include "common/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "common/base/bytes.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kTime[] = "[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+.[0-9][0-9][0-9]Z";

// What one call of Log writes to stderr.
std::string Written(const LogOptions& options, LogLevel level,
                    std::initializer_list<LogField> fields = {}) {
  InitLog(options);
  ::testing::internal::CaptureStderr();
  Log(level, "push_done", fields);
  return ::testing::internal::GetCapturedStderr();
}

std::string Console(std::initializer_list<LogField> fields) {
  return Written({}, LogLevel::kInfo, fields);
}

std::string Json(std::initializer_list<LogField> fields) {
  return Written({.format = LogFormat::kJson}, LogLevel::kInfo, fields);
}

// As common/model/reason.h attaches it.
absl::Status WithReason(absl::StatusCode code, absl::string_view message) {
  absl::Status status(code, message);
  ByteWriter payload;
  payload.String("EPOCH_CHANGED");
  payload.Varint(0);
  status.SetPayload("ptdoc/reason", absl::Cord(absl::string_view(payload.str())));
  return status;
}

TEST(LogTest, ConsoleLineHoldsTimeLevelEventAndFields) {
  const std::string line = Console({LogField::Count("changes", -3),
                                    LogField::Millis("took_ms", absl::Microseconds(1250)),
                                    LogField::Code("type", "visits")});

  EXPECT_THAT(line, MatchesRegex(std::string(kTime) +
                                 " INFO push_done changes=-3 took_ms=1.2 type=visits\n"));
}

TEST(LogTest, LinesGoToASinkWhileThereIsOne) {
  InitLog({});
  std::vector<std::string> lines;
  SetLogSink([&](absl::string_view line) { lines.emplace_back(line); });

  Log(LogLevel::kDebug, "below_the_level");
  Log(LogLevel::kInfo, "heard");
  SetLogSink(nullptr);
  Log(LogLevel::kInfo, "to_stderr_again");

  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], testing::EndsWith(" INFO heard"));
}

TEST(LogTest, JsonLineHoldsTheSame) {
  const std::string line = Json({LogField::Count("changes", 3), LogField::Code("type", "visits")});

  EXPECT_THAT(line, MatchesRegex(".\"time\":\"" + std::string(kTime) +
                                 "\",\"level\":\"INFO\",\"event\":\"push_done\",\"changes\":3,"
                                 "\"type\":\"visits\".\n"));
}

TEST(LogTest, ConsoleQuotesWhatIsNotOneWord) {
  const std::string line = Console({LogField::Code("a", "two words"), LogField::Code("b", ""),
                                    LogField::Code("c", "x=\"y\"\n2026 ERROR forged")});

  EXPECT_THAT(line, HasSubstr("a=\"two words\" b=\"\" "
                              "c=\"x=\\\"y\\\"\\u000a2026 ERROR forged\"\n"));
}

TEST(LogTest, JsonEscapesControlCharactersQuotesAndBytesThatAreNoText) {
  const std::string line = Json({LogField::Code("a", "q\"b\\n\n"), LogField::Code("b", "\xff{}"),
                                 LogField::Code("c", "caf\xc3\xa9")});

  EXPECT_THAT(line, HasSubstr(R"("a":"q\"b\\n\u000a")"));
  EXPECT_THAT(line, HasSubstr(R"("b":"\\xff{}")"));
  EXPECT_THAT(line, HasSubstr("\"c\":\"caf\xc3\xa9\""));
}

TEST(LogTest, LongValuesAreCut) {
  const std::string line = Console({LogField::Code("a", std::string(5000, 'x'))});

  EXPECT_LT(line.size(), 600u);
  EXPECT_THAT(line, HasSubstr("xxx..."));
}

TEST(LogTest, NothingIsWrittenBelowTheLevel) {
  EXPECT_EQ(Written({.level = LogLevel::kWarning}, LogLevel::kInfo), "");
  EXPECT_THAT(Written({.level = LogLevel::kWarning}, LogLevel::kWarning), HasSubstr("WARNING"));
  EXPECT_THAT(Written({.level = LogLevel::kDebug}, LogLevel::kDebug), HasSubstr("DEBUG"));
}

TEST(LogTest, EntityIdIsAHashUnlessTheOptionsSayPlain) {
  InitLog({});
  const LogField hashed = LogField::Entity("entity", "patient-4711");
  const LogField again = LogField::Entity("entity", "patient-4711");
  const LogField other = LogField::Entity("entity", "patient-4712");
  InitLog({.entity_ids = EntityIds::kPlain});
  const LogField plain = LogField::Entity("entity", "patient-4711");

  EXPECT_THAT(hashed.value, MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(hashed.value.size(), 16u);
  EXPECT_EQ(hashed.value, again.value);
  EXPECT_NE(hashed.value, other.value);
  EXPECT_EQ(plain.value, "patient-4711");
}

TEST(LogTest, ErrorOfOursHasReasonAndMessage) {
  const absl::Status status =
      WithReason(absl::StatusCode::kFailedPrecondition, "The service was restored.");

  EXPECT_EQ(LogField::Error(status).value,
            "FAILED_PRECONDITION EPOCH_CHANGED: The service was restored.");
}

TEST(LogTest, ErrorOfOthersHasItsCodeAlone) {
  EXPECT_EQ(LogField::Error(absl::NotFoundError("secret text")).value, "NOT_FOUND");
  EXPECT_EQ(LogField::Error(absl::OkStatus()).value, "OK");
}

TEST(LogTest, ErrorOfSqliteHasItsNumber) {
  absl::Status status = absl::InternalError("SQLITE_IOERR_FSYNC");
  status.SetPayload("ptdoc/sqlite-code", absl::Cord("1034"));

  EXPECT_EQ(LogField::Error(status).value, "INTERNAL sqlite=1034");
}

TEST(LogTest, InfiniteTimeIsNoJsonNumber) {
  EXPECT_THAT(Json({LogField::Millis("left_ms", absl::InfiniteDuration())}),
              HasSubstr("\"left_ms\":\"infinite\""));
}

}  // namespace
}  // namespace ptdoc::sync
