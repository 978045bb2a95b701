#include "device-agent/capture/stamp.h"

#include <gmock/gmock.h>

#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

using testing::Optional;

constexpr TimeNs kTime = int64_t{1'771'303'500'123} * 1'000'000;  // 2026-02-17T04:45:00.123Z

TEST(StampTest, IsWrittenInTheFormOfTheApp) {
  EXPECT_EQ(FormatStamp(TimeFormat::kIso8601, kTime + 999),
            Value::Text("2026-02-17T04:45:00.123Z"));
  EXPECT_EQ(FormatStamp(TimeFormat::kEfCore, kTime), Value::Text("2026-02-17 04:45:00.1230000"));
  EXPECT_EQ(FormatStamp(TimeFormat::kEfCore, kTime + 456'799),
            Value::Text("2026-02-17 04:45:00.1234567"));
  EXPECT_EQ(FormatStamp(TimeFormat::kUnixSeconds, kTime), Value::Integer(1'771'303'500));
  EXPECT_EQ(FormatStamp(TimeFormat::kUnixMillis, kTime), Value::Integer(1'771'303'500'123));
  EXPECT_EQ(FormatStamp(TimeFormat::kTicks, kTime), Value::Integer(639'069'003'001'230'000));
  EXPECT_EQ(FormatStamp(TimeFormat::kTicks, kTime + 456'799),
            Value::Integer(639'069'003'001'234'567));
}

TEST(StampTest, IsReadBackFromEveryForm) {
  for (const TimeFormat format :
       {TimeFormat::kIso8601, TimeFormat::kEfCore, TimeFormat::kUnixMillis, TimeFormat::kTicks}) {
    EXPECT_THAT(ParseStamp(format, FormatStamp(format, kTime)), Optional(kTime));
  }
}

TEST(StampTest, IsReadFromTextsOfOtherForms) {
  const auto read = [](const char* text) {
    return ParseStamp(TimeFormat::kIso8601, Value::Text(text)).value_or(0) / 1'000'000'000;
  };
  constexpr int64_t kSeconds = 1'771'303'500;

  EXPECT_EQ(read("2026-02-17 04:45:00"), kSeconds);
  EXPECT_EQ(read("2026-02-17T05:45:00+01:00"), kSeconds);
  EXPECT_EQ(read("2026-02-16T23:15:00.5-0530"), kSeconds);
  EXPECT_EQ(read("2026-02-17"), kSeconds - 17'100);
}

TEST(StampTest, IsAbsentWhereThereIsNoTime) {
  for (const char* text : {"", "now", "2026-02-31T00:00:00Z", "2026-02-17T04:45Z",
                           "2026-02-17T04:45:00Zulu", "0001-01-01 00:00:00", "1771303500"}) {
    EXPECT_EQ(ParseStamp(TimeFormat::kIso8601, Value::Text(text)), std::nullopt) << text;
  }
  EXPECT_EQ(ParseStamp(TimeFormat::kUnixSeconds, Value::Null()), std::nullopt);
  EXPECT_EQ(ParseStamp(TimeFormat::kUnixSeconds, Value::Integer(0)), std::nullopt);
  EXPECT_EQ(ParseStamp(TimeFormat::kUnixMillis, Value::Integer(INT64_MAX)), std::nullopt);
  EXPECT_EQ(ParseStamp(TimeFormat::kTicks, Value::Integer(1)), std::nullopt);
}

TEST(StampTest, SqlMakesWhatTheFunctionMakes) {
  sqlite::Database db = OpenMemory();

  for (const TimeFormat format :
       {TimeFormat::kIso8601, TimeFormat::kEfCore, TimeFormat::kUnixSeconds,
        TimeFormat::kUnixMillis, TimeFormat::kTicks}) {
    for (const int64_t ms : {int64_t{1'771'303'500'123}, int64_t{1'771'303'559'999}, int64_t{1}}) {
      EXPECT_EQ(One(db, absl::StrCat("SELECT ", StampSql(format, absl::StrCat(ms)))),
                FormatStamp(format, ms * 1'000'000));
    }
  }
}

TEST(StampTest, FormatIsFoundFromRows) {
  const auto detect = [](const char* values) {
    sqlite::Database db = OpenMemory();
    Must(db, absl::StrCat("CREATE TABLE T(M); INSERT INTO T VALUES ", values));
    const std::vector<TableInfo> schema = *ReadSchema(db);
    return *DetectTimeFormat(db, schema[0], schema[0].columns[0]);
  };

  EXPECT_THAT(detect("('2026-02-17T04:45:00Z'), ('2026-02-17 04:45:00'), "
                     "('2026-02-17T04:45:00.123Z'), (NULL)"),
              Optional(TimeFormat::kIso8601));
  EXPECT_THAT(detect("('2026-02-17 04:45:00.1234567')"), Optional(TimeFormat::kEfCore));
  EXPECT_THAT(detect("(1771303500)"), Optional(TimeFormat::kUnixSeconds));
  EXPECT_THAT(detect("(1771303500123)"), Optional(TimeFormat::kUnixMillis));
  EXPECT_THAT(detect("(639069003001230000)"), Optional(TimeFormat::kTicks));
  EXPECT_EQ(detect("(NULL), ('soon'), (x'00')"), std::nullopt);
}

}  // namespace
}  // namespace ptdoc::sync
