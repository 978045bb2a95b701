#include "common/rpc/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

ConfigSchema Schema() {
  ConfigSchema schema;
  schema.env_prefix = "PTDOC_SYNC_";
  schema.keys = {
      {"server", "listen", ConfigType::kText, "127.0.0.1:5171"},
      {"server", "behind_proxy", ConfigType::kBool, "false"},
      {"sync", "interval", ConfigType::kDuration, "30s"},
      {"sync", "batch_bytes", ConfigType::kBytes, "1MiB"},
      {"sync", "max_retries", ConfigType::kInteger, "3"},
      {"sync", "entity_types", ConfigType::kTextList},
      {"log", "level", ConfigType::kText, "info", "debug|info"},
      {"entity", "type", ConfigType::kText},
      {"entity", "policy", ConfigType::kText, "last_write_wins", "last_write_wins|manual"},
      {"entity", "references", ConfigType::kTextMap},
      {"entity", "after_apply", ConfigType::kOneOrMoreTexts},
  };
  schema.repeated = {"entity"};
  schema.empty = {"auth"};
  return schema;
}

// What every error says beside what is wrong and where.
const std::string kNothing = ". Nothing was started or changed. ";
const std::string kCorrect = "Correct it there.";

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ptdoc-config-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~ConfigTest() override { std::filesystem::remove_all(dir_); }

  std::string Path() const { return dir_ + "/service.toml"; }

  absl::StatusOr<Config> Load(const std::string& toml, const Environment& environment = {},
                              const std::vector<ConfigFlag>& flags = {}) {
    std::ofstream(Path()) << toml;
    return Config::Load(schema_, Path(), environment, flags);
  }

  std::string ErrorOf(const std::string& toml, const Environment& environment = {}) {
    const absl::Status status = Load(toml, environment).status();
    EXPECT_EQ(ReasonOf(status), "CONFIG");
    return std::string(status.message());
  }

  const ConfigSchema schema_ = Schema();
  std::string dir_;
};

TEST_F(ConfigTest, EveryTypeIsReadFromTheFile) {
  const absl::StatusOr<Config> config = Load(R"(
    [server]
    listen = "127.0.0.1:0"
    behind_proxy = true
    [sync]
    interval = "2h"
    batch_bytes = 4096
    max_retries = 5
    entity_types = ["Patient", "Note"]
    [[entity]]
    type = "Patient"
    references = {Clinic = "Clinic"}
    [[entity]]
    type = "Note"
    policy = "manual"
  )");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Section("server").Text("listen"), "127.0.0.1:0");
  EXPECT_TRUE(config->Section("server").Bool("behind_proxy"));
  EXPECT_EQ(config->Section("sync").Duration("interval"), absl::Hours(2));
  EXPECT_EQ(config->Section("sync").Bytes("batch_bytes"), 4096);
  EXPECT_EQ(config->Section("sync").Integer("max_retries"), 5);
  EXPECT_THAT(config->Section("sync").TextList("entity_types"), ElementsAre("Patient", "Note"));
  ASSERT_EQ(config->Repeated("entity").size(), 2U);
  EXPECT_THAT(config->Repeated("entity")[0].TextMap("references"),
              ElementsAre(Pair("Clinic", "Clinic")));
  EXPECT_EQ(config->Repeated("entity")[0].Text("policy"), "last_write_wins");
  EXPECT_EQ(config->Repeated("entity")[1].Text("policy"), "manual");
  EXPECT_EQ(config->file(), Path());
}

TEST_F(ConfigTest, BuiltInValuesStandWithoutAFile) {
  const absl::StatusOr<Config> config = Config::Load(schema_, "", {});

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Section("sync").Duration("interval"), absl::Seconds(30));
  EXPECT_EQ(config->Section("sync").Bytes("batch_bytes"), 1 << 20);
  EXPECT_FALSE(config->Section("sync").IsSet("interval"));
  EXPECT_TRUE(config->Repeated("entity").empty());
}

TEST_F(ConfigTest, EnvironmentBeatsFileAndFlagBeatsEnvironment) {
  const Environment environment = {{"PTDOC_SYNC_SYNC_INTERVAL", "1m"},
                                   {"PTDOC_SYNC_SERVER_LISTEN", "127.0.0.1:2"}};

  const absl::StatusOr<Config> config =
      Load("[sync]\ninterval = \"5s\"\nmax_retries = 7\n", environment,
           {{"server.listen", "127.0.0.1:3", "--listen"}});

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Section("sync").Duration("interval"), absl::Minutes(1));
  EXPECT_EQ(config->Section("sync").Integer("max_retries"), 7);
  EXPECT_EQ(config->Section("server").Text("listen"), "127.0.0.1:3");
}

TEST_F(ConfigTest, EveryValueTellsWhereItComesFrom) {
  const absl::StatusOr<Config> config =
      Load("[sync]\nmax_retries = 7\n", {{"PTDOC_SYNC_SYNC_INTERVAL", "1m"}},
           {{"server.listen", "127.0.0.1:3", "--listen"}});

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Section("sync").Where("max_retries"), Path() + ":2");
  EXPECT_EQ(config->Section("sync").Where("interval"), "environment PTDOC_SYNC_SYNC_INTERVAL");
  EXPECT_EQ(config->Section("server").Where("listen"), "flag --listen");
  EXPECT_EQ(config->Section("sync").Where("batch_bytes"), "built in");
}

TEST_F(ConfigTest, AListInTheEnvironmentHasCommas) {
  const absl::StatusOr<Config> config =
      Load("", {{"PTDOC_SYNC_SYNC_ENTITY_TYPES", "Patient, Note"}});

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->Section("sync").TextList("entity_types"), ElementsAre("Patient", "Note"));
}

TEST_F(ConfigTest, VariablesThatNameNoKeyAreLeftAlone) {
  EXPECT_TRUE(Load("", {{"PTDOC_SYNC_SERVICE_PORT", "tcp://10.0.0.1:5171"}}).ok());
}

TEST_F(ConfigTest, AnUnknownKeyNamesItsLineAndTheNearestKey) {
  EXPECT_EQ(ErrorOf("[sync]\nmax_retries = 1\nintervall = \"5s\"\n"),
            Path() + ":3: unknown key \"intervall\" in [sync]" + kNothing +
                "Write \"interval\" if that is what you mean, or take it out.");
}

TEST_F(ConfigTest, AKeyInTheWrongSectionIsToldItsOwn) {
  EXPECT_EQ(
      ErrorOf("[server]\nmax_retries = 1\n"),
      Path() + ":2: unknown key \"max_retries\" in [server]" + kNothing + "Move it into [sync].");
  EXPECT_EQ(ErrorOf("interval = \"5s\"\n"), Path() +
                                                ":1: unknown key \"interval\" outside a section" +
                                                kNothing + "Move it into [sync].");
}

TEST_F(ConfigTest, AnUnknownKeyThatIsLikeNoOtherIsToldWhereTheKeysAre) {
  EXPECT_EQ(ErrorOf("[sync]\nfrobnication = 1\n"),
            Path() + ":2: unknown key \"frobnication\" in [sync]" + kNothing +
                "Take it out; docs/OPERATIONS.md lists what there is.");
}

TEST_F(ConfigTest, AKeyWithTheNameOfASectionIsToldHow) {
  EXPECT_EQ(ErrorOf("sync = 1\n"), Path() + ":1: \"sync\" is a section, not a key" + kNothing +
                                       "Write [sync], and its keys below it.");
}

TEST_F(ConfigTest, AnUnknownSectionNamesItsLineAndTheNearestSection) {
  EXPECT_EQ(ErrorOf("\n[snyc]\ninterval = \"5s\"\n"),
            Path() + ":2: unknown section [snyc]" + kNothing +
                "Write \"sync\" if that is what you mean, or take it out.");
}

TEST_F(ConfigTest, AnUnknownKeyInARepeatedSectionNamesItsLine) {
  EXPECT_EQ(ErrorOf("[[entity]]\ntype = \"A\"\n[[entity]]\ntpye = \"B\"\n"),
            Path() + ":4: unknown key \"tpye\" in [entity]" + kNothing +
                "Write \"type\" if that is what you mean, or take it out.");
}

TEST_F(ConfigTest, ARepeatedSectionWrittenOnceInSingleBracketsIsToldHow) {
  EXPECT_EQ(
      ErrorOf("[entity]\ntype = \"A\"\n"),
      Path() + ":1: section [entity] stands once for each entity" + kNothing + "Write [[entity]].");
}

TEST_F(ConfigTest, AWrongTypeNamesItsLineAndWhatIsWanted) {
  EXPECT_EQ(ErrorOf("[sync]\ninterval = 30\n"),
            Path() + ":2: [sync] interval must be a duration such as \"30s\", \"2h\" or \"90d\"" +
                kNothing + kCorrect);
  EXPECT_EQ(ErrorOf("[sync]\n\ninterval = \"soon\"\n"),
            Path() + ":3: [sync] interval must be a duration such as \"30s\", \"2h\" or \"90d\"" +
                kNothing + kCorrect);
  EXPECT_EQ(ErrorOf("[sync]\nmax_retries = \"3\"\n"),
            Path() + ":2: [sync] max_retries must be a whole number" + kNothing + kCorrect);
  EXPECT_EQ(ErrorOf("[sync]\nbatch_bytes = -1\n"),
            Path() + ":2: [sync] batch_bytes must be a size such as \"1MiB\" or 1048576" +
                kNothing + kCorrect);
  EXPECT_EQ(ErrorOf("[sync]\nentity_types = [\"a\", 1]\n"),
            Path() + ":2: [sync] entity_types must be a list of texts" + kNothing + kCorrect);
}

TEST_F(ConfigTest, AWrongValueInTheEnvironmentNamesTheVariable) {
  EXPECT_EQ(ErrorOf("", {{"PTDOC_SYNC_SYNC_MAX_RETRIES", "many"}}),
            "environment PTDOC_SYNC_SYNC_MAX_RETRIES: [sync] max_retries must be a whole number" +
                kNothing + kCorrect);
}

TEST_F(ConfigTest, AValueThatIsNoChoiceNamesTheChoices) {
  EXPECT_EQ(ErrorOf("[log]\nlevel = \"loud\"\n"),
            Path() + ":2: [log] level must be one of debug, info" + kNothing + kCorrect);
}

TEST_F(ConfigTest, BrokenTomlNamesItsLine) {
  EXPECT_THAT(ErrorOf("[sync]\ninterval = \n"), HasSubstr(Path() + ":2: not TOML"));
}

TEST_F(ConfigTest, AMissingFileIsNotFound) {
  const absl::Status status = Config::Load(schema_, dir_ + "/none.toml", {}).status();

  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(ReasonOf(status), "CONFIG");
  EXPECT_THAT(std::string(status.message()), HasSubstr(dir_ + "/none.toml"));
}

TEST_F(ConfigTest, ADirectoryIsNoFile) {
  const absl::Status status = Config::Load(schema_, dir_, {}).status();

  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

TEST_F(ConfigTest, OneTextIsAListOfOneWhereBothAreAllowed) {
  const absl::StatusOr<Config> config = Load(
      "[[entity]]\nafter_apply = \"A, B\"\n[[entity]]\nafter_apply = [\"A\", \"B\"]\n"
      "[[entity]]\nafter_apply = \"\"\n");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->Repeated("entity")[0].TextList("after_apply"), ElementsAre("A, B"));
  EXPECT_THAT(config->Repeated("entity")[1].TextList("after_apply"), ElementsAre("A", "B"));
  EXPECT_TRUE(config->Repeated("entity")[2].TextList("after_apply").empty());
  EXPECT_THAT(ErrorOf("[[entity]]\nafter_apply = 1\n"), HasSubstr("a text in quotes or a list"));
}

TEST_F(ConfigTest, ASectionWithoutKeysMayStandEmpty) {
  EXPECT_TRUE(Load("[auth]\n").ok());
  EXPECT_THAT(ErrorOf("[auth]\ntokens = 1\n"), HasSubstr(":1: [auth] has no keys"));
}

TEST_F(ConfigTest, AnyTextIsReadAsItWasWritten) {
  std::string odd = "\"quoted\" \\ back # \u00e9 'single' \x7f";
  for (char c = 1; c < 0x20; ++c) odd.push_back(c);
  odd.push_back('\0');
  odd.append("end");
  const absl::StatusOr<std::string> written = TomlText(odd);
  ASSERT_TRUE(written.ok()) << written.status();

  const absl::StatusOr<Config> config = Load("[[entity]]\ntype = " + *written + "\n");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Repeated("entity")[0].Text("type"), odd);
  EXPECT_TRUE(absl::IsInvalidArgument(TomlText("\xff").status()));
}

TEST_F(ConfigTest, AProgramsOwnErrorOfAMissingKeyNamesItsTable) {
  const absl::StatusOr<Config> config = Load("\n[[entity]]\npolicy = \"manual\"\n");
  ASSERT_TRUE(config.ok()) << config.status();

  EXPECT_THAT(config->Repeated("entity")[0].Error("type", "is missing").message(),
              HasSubstr(Path() + ":2: [entity] type: is missing"));
}

TEST_F(ConfigTest, AProgramsOwnErrorNamesThePlace) {
  const absl::StatusOr<Config> config = Load("[server]\nlisten = \"nowhere\"\n");
  ASSERT_TRUE(config.ok());

  const absl::Status status = config->Section("server").Error("listen", "is not host:port");

  EXPECT_EQ(status.message(),
            Path() + ":2: [server] listen: is not host:port" + kNothing + kCorrect);
}

TEST_F(ConfigTest, TheFileIsTheGivenOneThenTheEnvironmentsThenACandidate) {
  std::ofstream(Path()) << "";
  const Environment environment = {{"PTDOC_SYNC_CONFIG", Path()}};
  const std::string other = dir_ + "/other.toml";
  std::ofstream(other.c_str()) << "";

  EXPECT_EQ(FindConfigFile(schema_, other, environment, {}).value(), other);
  EXPECT_EQ(FindConfigFile(schema_, "", environment, {other}).value(), Path());
  EXPECT_EQ(FindConfigFile(schema_, "", {}, {dir_ + "/none", other}).value(), other);
  EXPECT_EQ(FindConfigFile(schema_, "", {}, {dir_ + "/none"}).value(), "");
}

TEST_F(ConfigTest, AFileThatIsNamedAndMissingIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(FindConfigFile(schema_, dir_ + "/none", {}, {}).status()));
  EXPECT_TRUE(absl::IsNotFound(
      FindConfigFile(schema_, "", {{"PTDOC_SYNC_CONFIG", dir_ + "/none"}}, {}).status()));
}

}  // namespace
}  // namespace ptdoc::sync
