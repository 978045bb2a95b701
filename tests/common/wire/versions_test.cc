#include <gtest/gtest.h>

#include "common/wire/convert.h"
#include "tests/common/wire/random_values.h"

namespace ptdoc::sync {
namespace {

constexpr uint64_t kVersionsSeed = 20260218;

absl::StatusOr<std::vector<Version>> Read(const v1::PullResponse& response) {
  v1::PullResponse received;
  EXPECT_TRUE(received.ParseFromString(response.SerializeAsString()));
  return VersionsFromProto(&received);
}

v1::PullResponse OneVersion() {
  v1::PullResponse response;
  v1::Version* const version = response.add_versions();
  version->set_entity_type("Patient");
  version->set_entity_id("p1");
  version->set_revision(1);
  return response;
}

ChangeResult ReadResult(const v1::ChangeResult& result) {
  v1::PushResponse response;
  *response.add_results() = result;
  const auto results = ResultsFromProto(&response);
  EXPECT_TRUE(results.ok());
  return results->at(0);
}

TEST(VersionsTest, RandomVersionsSurviveBothForms) {
  SCOPED_TRACE(testing::Message() << "seed " << kVersionsSeed);
  SeededRng rng(kVersionsSeed);
  for (int round = 0; round < 200; ++round) {
    std::vector<Version> versions;
    for (uint64_t i = rng.Below(30); i > 0; --i) versions.push_back(RandomVersion(rng));
    v1::PullResponse packed;
    v1::PullResponse cells;
    v1::PullResponse maps;

    PackVersions(versions, packed.mutable_tables());
    PackVersions(versions, cells.mutable_tables(), RowForm::kCells);
    for (const Version& version : versions) VersionToProto(version, maps.add_versions());

    EXPECT_EQ(Read(packed).value(), versions) << "round " << round;
    EXPECT_EQ(Read(cells).value(), versions) << "round " << round;
    EXPECT_EQ(Read(maps).value(), versions) << "round " << round;
  }
}

TEST(VersionsTest, PackingSpendsLessThanMaps) {
  std::vector<Version> versions(100);
  for (size_t i = 0; i < versions.size(); ++i) {
    versions[i].key = {"Patient", "0190b5f0-0000-7000-8000-00000000" + std::to_string(1000 + i)};
    versions[i].revision = 1;
    versions[i].fields.Set("Id", Value::Text(versions[i].key.id));
    versions[i].fields.Set("LastName", Value::Text("Meier"));
  }
  v1::PullResponse packed;
  v1::PullResponse maps;

  PackVersions(versions, packed.mutable_tables());
  for (const Version& version : versions) VersionToProto(version, maps.add_versions());

  EXPECT_LT(packed.ByteSizeLong() * 3, maps.ByteSizeLong() * 2);
}

TEST(VersionsTest, WireSizeIsAnUpperBound) {
  SCOPED_TRACE(testing::Message() << "seed " << kVersionsSeed);
  SeededRng rng(kVersionsSeed);
  for (int i = 0; i < 200; ++i) {
    Version version = RandomVersion(rng);
    version.conflict.reset();
    v1::PullResponse response;

    VersionToProto(version, response.add_versions());

    EXPECT_GE(WireSizeOf(version), response.ByteSizeLong());
  }
}

TEST(VersionsTest, AMessageThatNoServiceMakesIsAnErrorWithoutReason) {
  v1::PullResponse no_id = OneVersion();
  no_id.mutable_versions(0)->clear_entity_id();
  v1::PullResponse no_revision = OneVersion();
  no_revision.mutable_versions(0)->clear_revision();
  v1::PullResponse no_value = OneVersion();
  (*no_value.mutable_versions(0)->mutable_fields())["Name"].Clear();
  v1::PullResponse short_row;
  short_row.add_tables()->add_columns("Name");
  short_row.mutable_tables(0)->set_entity_type("Patient");
  short_row.mutable_tables(0)->add_rows()->set_entity_id("p1");

  EXPECT_TRUE(Read(OneVersion()).ok());
  EXPECT_TRUE(absl::IsInternal(Read(no_id).status()));
  EXPECT_TRUE(absl::IsInternal(Read(no_revision).status()));
  EXPECT_TRUE(absl::IsInternal(Read(no_value).status()));
  EXPECT_TRUE(absl::IsInternal(Read(short_row).status()));
}

TEST(ResultsTest, SurvivesTheWireWithItsVersion) {
  SeededRng rng(kVersionsSeed);
  ChangeResult result;
  result.key = {"Patient", "p1"};
  result.outcome = Outcome::kConflict;
  result.resolution = Resolution::kServerWins;
  result.revision = 12;
  result.check = "12345678";
  result.current = RandomVersion(rng);
  result.rule = "8";
  result.conflict_id = "c1";
  v1::ChangeResult proto;

  ResultToProto(result, &proto);
  const ChangeResult read = ReadResult(proto);

  EXPECT_EQ(read.key, result.key);
  EXPECT_EQ(read.outcome, result.outcome);
  EXPECT_EQ(read.resolution, result.resolution);
  EXPECT_EQ(read.revision, 12);
  EXPECT_EQ(read.check, "12345678");
  EXPECT_EQ(read.current, result.current);
  EXPECT_EQ(read.rule, "8");
  EXPECT_EQ(read.conflict_id, "c1");
  EXPECT_EQ(read.error_code, ErrorCode::kNone);
}

TEST(ResultsTest, AFailureSurvivesTheWire) {
  ChangeResult result;
  result.outcome = Outcome::kFailed;
  result.error_code = ErrorCode::kBaseUnknown;
  result.error_message = "send all fields";
  result.retryable = true;
  v1::ChangeResult proto;

  ResultToProto(result, &proto);
  const ChangeResult read = ReadResult(proto);

  EXPECT_EQ(proto.error_code(), "BASE_UNKNOWN");
  EXPECT_EQ(read.error_code, ErrorCode::kBaseUnknown);
  EXPECT_EQ(read.error_message, "send all fields");
  EXPECT_TRUE(read.retryable);
}

TEST(ResultsTest, AnUnknownOutcomeIsAFailureThatIsNotRetried) {
  v1::ChangeResult proto;
  proto.set_outcome(static_cast<v1::Outcome>(99));
  proto.set_retryable(true);

  const ChangeResult read = ReadResult(proto);

  EXPECT_EQ(read.outcome, Outcome::kFailed);
  EXPECT_FALSE(read.retryable);
  EXPECT_NE(read.error_code, ErrorCode::kNone);
  EXPECT_NE(read.error_message, "");
}

TEST(ResultsTest, AnUnknownResolutionIsAConflictByWhetherTheRowMustChange) {
  v1::ChangeResult stays;
  stays.set_outcome(v1::OUTCOME_CONFLICT);
  stays.set_resolution(static_cast<v1::Resolution>(99));
  v1::ChangeResult changes = stays;
  *changes.mutable_current() = OneVersion().versions(0);

  EXPECT_EQ(ReadResult(stays).resolution, Resolution::kLocalWins);
  EXPECT_EQ(ReadResult(changes).resolution, Resolution::kServerWins);
}

}  // namespace
}  // namespace ptdoc::sync
