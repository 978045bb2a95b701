#include "sync-service/store/codec.h"

#include <limits>

#include "tests/contract/store_contract_fixture.h"

namespace ptdoc::sync {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

std::string RandomName(Rng& rng) {
  constexpr const char* kNames[] = {"", "Patient", "Visit", "a longer name than the others"};
  return kNames[rng.Below(4)];
}

ChangeResult RandomResult(Rng& rng) {
  ChangeResult result;
  result.key = {RandomName(rng), RandomText(rng)};
  result.outcome = static_cast<Outcome>(1 + rng.Below(4));
  result.resolution = static_cast<Resolution>(rng.Below(10));
  result.revision = RandomInteger(rng);
  result.check = rng.Below(3) == 0 ? "" : rng.Bytes(8);
  result.rule = RandomName(rng);
  result.conflict_id = RandomName(rng);
  result.error_code = static_cast<ErrorCode>(rng.Below(11));
  result.error_message = RandomName(rng);
  result.retryable = rng.Below(2) == 0;
  return result;
}

TEST(CodecTest, FieldTimesTakeNoBytesWhenAllAreTheVersions) {
  const std::vector<TimeNs> times = {70, 70, 70};

  EXPECT_EQ(EncodeFieldTimes(times, 70), "");
  EXPECT_EQ(Get(DecodeFieldTimes("", 70, 3)), times);
}

TEST(CodecTest, FieldTimesReturnAsTheyWere) {
  const std::vector<TimeNs> times = {0, 1, kMax, kMin, -1, 1'771'303'500'123'456'789};
  for (const TimeNs version_time : {TimeNs{0}, TimeNs{1'771'303'500'000'000'000}, kMax, kMin}) {
    const std::string bytes = EncodeFieldTimes(times, version_time);

    EXPECT_EQ(Get(DecodeFieldTimes(bytes, version_time, times.size())), times) << version_time;
  }
}

TEST(CodecTest, FieldWritersReturnAsTheyWereAndTakeNoBytesWhereAllAreOne) {
  const std::vector<int64_t> writers = {0, 300, 1};

  EXPECT_EQ(Get(DecodeFieldWriters(EncodeFieldWriters(writers), 3)), writers);
  EXPECT_EQ(EncodeFieldWriters(std::vector<int64_t>(3, 0)), "");
  EXPECT_EQ(Get(DecodeFieldWriters("", 3)), std::vector<int64_t>(3, 0));
  EXPECT_TRUE(absl::IsDataLoss(DecodeFieldWriters(EncodeFieldWriters(writers), 2).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeFieldWriters(EncodeFieldWriters(writers), 4).status()));
}

TEST(CodecTest, FieldTimesOfAnotherNumberOfFieldsAreDataLoss) {
  const std::vector<TimeNs> times = {1, 2, 3};
  const std::string bytes = EncodeFieldTimes(times, 0);

  EXPECT_TRUE(absl::IsDataLoss(DecodeFieldTimes(bytes, 0, 2).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeFieldTimes(bytes, 0, 4).status()));
}

TEST(CodecTest, NoticeReturnsAsItWas) {
  const ConflictNotice notice = {"c-1", Resolution::kKeyCollision, std::string("d\0", 2), kMax};

  EXPECT_EQ(Get(DecodeNotice(EncodeNotice(notice))), notice);
}

TEST(CodecTest, NoticeOfAReviewReturnsAsItWas) {
  const ConflictNotice notice = {"c-2", Resolution::kManual, "d", 7, "c-1"};

  EXPECT_EQ(Get(DecodeNotice(EncodeNotice(notice))), notice);
  EXPECT_TRUE(absl::IsDataLoss(DecodeNotice(EncodeNotice(notice) + "x").status()));
}

TEST(CodecTest, ResultsReturnAsTheyWere) {
  SeededRng rng(21);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(testing::Message() << "seed 21, round " << round);
    const Revision last = RandomInteger(rng);
    std::vector<ChangeResult> results;
    for (uint64_t i = rng.Below(9); i > 0; --i) results.push_back(RandomResult(rng));

    const std::vector<ChangeResult> decoded =
        Get(DecodeResults(EncodeResults(results, last), last));

    ASSERT_EQ(decoded.size(), results.size());
    for (size_t i = 0; i < results.size(); ++i) ExpectEqual(decoded[i], results[i]);
  }
}

TEST(CodecTest, AcceptedRowOfABatchTakesFewBytesBesideItsKey) {
  std::vector<ChangeResult> results;
  for (int i = 0; i < 1000; ++i) {
    ChangeResult result;
    result.key = Patient("0123456789abcdef0123456789abcdef");
    result.outcome = Outcome::kAccepted;
    result.rule = "6";
    result.revision = 1'000'000 + i;
    result.check = "12345678";
    results.push_back(result);
  }

  EXPECT_LE(EncodeResults(results, 1'000'999).size() / results.size(), 32u + 17u);
}

// Whatever a damaged file holds: a status, never a crash or an endless vector.
TEST(CodecTest, DamagedBytesAreDataLossOrOtherValues) {
  SeededRng rng(22);
  std::vector<ChangeResult> results = {RandomResult(rng), RandomResult(rng), RandomResult(rng)};
  const std::string good = EncodeResults(results, 9);
  int refused = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(rng.Next());
    const absl::Status status = DecodeResults(bad, 9).status();
    EXPECT_TRUE(status.ok() || absl::IsDataLoss(status));
    refused += status.ok() ? 0 : 1;
    EXPECT_TRUE(absl::IsDataLoss(DecodeResults(good.substr(0, at), 9).status())) << at;
  }
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(absl::IsDataLoss(DecodeResults(good + "x", 9).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeNotice("").status()));
}

}  // namespace
}  // namespace ptdoc::sync
