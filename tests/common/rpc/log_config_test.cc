#include "common/rpc/log_config.h"

#include <gtest/gtest.h>

namespace ptdoc::sync {
namespace {

const ConfigSchema& LogSchema() {
  static const ConfigSchema* const kSchema = new ConfigSchema(
      WithLogKeys({"PTDOC_TEST_", {{"sync", "interval", ConfigType::kDuration, "30s", ""}}, {}}));
  return *kSchema;
}

absl::StatusOr<Config> LoadLog(const Environment& environment) {
  return Config::Load(LogSchema(), "", environment);
}

TEST(LogConfigTest, ContentFreeInfoLinesAreWrittenWhenNothingIsSaid) {
  const absl::StatusOr<Config> config = LoadLog({});

  ASSERT_TRUE(config.ok()) << config.status();
  const LogOptions options = LogOptionsOf(config->Section("log"));
  EXPECT_EQ(options.level, LogLevel::kInfo);
  EXPECT_EQ(options.format, LogFormat::kConsole);
  EXPECT_EQ(options.entity_ids, EntityIds::kHash);
  EXPECT_EQ(config->Section("sync").Duration("interval"), absl::Seconds(30));
}

TEST(LogConfigTest, EveryKeyIsTakenWhenItIsSaid) {
  const absl::StatusOr<Config> config = LoadLog({{"PTDOC_TEST_LOG_LEVEL", "warning"},
                                                 {"PTDOC_TEST_LOG_FORMAT", "json"},
                                                 {"PTDOC_TEST_LOG_ENTITY_IDS", "plain"}});

  ASSERT_TRUE(config.ok()) << config.status();
  const LogOptions options = LogOptionsOf(config->Section("log"));
  EXPECT_EQ(options.level, LogLevel::kWarning);
  EXPECT_EQ(options.format, LogFormat::kJson);
  EXPECT_EQ(options.entity_ids, EntityIds::kPlain);
}

TEST(LogConfigTest, EveryLevelIsReadByItsName) {
  const std::map<std::string, LogLevel> levels = {{"debug", LogLevel::kDebug},
                                                  {"info", LogLevel::kInfo},
                                                  {"warning", LogLevel::kWarning},
                                                  {"error", LogLevel::kError}};
  for (const auto& [name, level] : levels) {
    const absl::StatusOr<Config> config = LoadLog({{"PTDOC_TEST_LOG_LEVEL", name}});

    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(LogOptionsOf(config->Section("log")).level, level) << name;
  }
}

}  // namespace
}  // namespace ptdoc::sync
