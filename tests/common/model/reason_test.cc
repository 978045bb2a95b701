#include "common/model/reason.h"

#include <map>
#include <string>

#include "absl/strings/cord.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ReasonTest, CarriesCodeMessageReasonAndMetadata) {
  const absl::Status status = ReasonError(absl::StatusCode::kFailedPrecondition, "EPOCH_CHANGED",
                                          "The store was restored", {{"a", "1"}, {"b", ""}});

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "The store was restored");
  EXPECT_EQ(ReasonOf(status), "EPOCH_CHANGED");
  EXPECT_THAT(ReasonMetadata(status), ElementsAre(Pair("a", "1"), Pair("b", "")));
}

TEST(ReasonTest, IsEmptyWhenTheStatusHasNone) {
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), "");
  EXPECT_EQ(ReasonOf(absl::OkStatus()), "");
  EXPECT_THAT(ReasonMetadata(absl::InternalError("x")), IsEmpty());
}

TEST(ReasonTest, FieldErrorNamesTheField) {
  const absl::Status status = FieldError("changes[3].entity_id", "It is too long");

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "FIELD");
  EXPECT_EQ(ReasonMetadata(status).at(kMetaField), "changes[3].entity_id");
}

TEST(ReasonTest, RetryAfterKeepsReasonMessageAndOtherMetadata) {
  const absl::Status first =
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED", "Too busy", {{"a", "1"}});

  const absl::Status status = WithRetryAfterMs(first, 1500);

  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "Too busy");
  EXPECT_EQ(ReasonOf(status), "OVERLOADED");
  EXPECT_THAT(ReasonMetadata(status), ElementsAre(Pair("a", "1"), Pair(kMetaRetryAfterMs, "1500")));
}

TEST(ReasonTest, RetryAfterReplacesAnEarlierOne) {
  const absl::Status status =
      WithRetryAfterMs(WithRetryAfterMs(absl::UnavailableError("x"), 10), 20);

  EXPECT_EQ(ReasonMetadata(status).at(kMetaRetryAfterMs), "20");
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(ReasonTest, SurvivesAPayloadThatIsGarbage) {
  absl::Status status = absl::InternalError("x");
  status.SetPayload("ptdoc/reason", absl::Cord("\x05zz"));

  EXPECT_EQ(ReasonOf(status), "");
}

}  // namespace
}  // namespace ptdoc::sync
