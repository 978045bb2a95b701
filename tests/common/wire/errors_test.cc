#include "common/wire/errors.h"

#include <gtest/gtest.h>

#include "common/model/reason.h"
#include "google/rpc/error_details.pb.h"

namespace ptdoc::sync {
namespace {

TEST(ErrorsTest, ReasonAndMetadataSurviveTheTrailer) {
  const absl::Status status = ReasonError(absl::StatusCode::kFailedPrecondition, "EPOCH_CHANGED",
                                          "restored", {{kMetaSharedRevision, "41"}});

  const absl::Status read =
      StatusFromDetails(status.code(), status.message(), ErrorDetails(status));

  EXPECT_EQ(read.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(read.message(), "restored");
  EXPECT_EQ(ReasonOf(read), "EPOCH_CHANGED");
  EXPECT_EQ(ReasonMetadata(read), ReasonMetadata(status));
}

TEST(ErrorsTest, AFieldErrorCarriesABadRequest) {
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ErrorDetails(FieldError("page_token", "not ours"))));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::BadRequest bad_request;

  ASSERT_TRUE(details.details(1).UnpackTo(&bad_request));

  EXPECT_EQ(bad_request.field_violations(0).field(), "page_token");
}

TEST(ErrorsTest, ARetryDelayCarriesARetryInfo) {
  const absl::Status status = WithRetryAfterMs(
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED", "later"), 1'500);
  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.ParseFromString(ErrorDetails(status)));

  ASSERT_TRUE(details.details(1).UnpackTo(&retry));
  const absl::Status read = StatusFromDetails(status.code(), "later", ErrorDetails(status));

  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(ReasonMetadata(read)[kMetaRetryAfterMs], "1500");
}

TEST(ErrorsTest, AStatusWithoutReasonHasNoDetails) {
  EXPECT_EQ(ErrorDetails(absl::InternalError("x")), "");
  EXPECT_EQ(ErrorDetails(absl::OkStatus()), "");
}

TEST(ErrorsTest, DetailsOfAnotherDomainAreNotOurs) {
  google::rpc::ErrorInfo info;
  info.set_reason("EPOCH_CHANGED");
  info.set_domain("example.com");
  google::rpc::Status details;
  details.add_details()->PackFrom(info);

  const absl::Status read =
      StatusFromDetails(absl::StatusCode::kFailedPrecondition, "no", details.SerializeAsString());

  EXPECT_EQ(ReasonOf(read), "");
  EXPECT_EQ(read.code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ErrorsTest, GarbageInTheTrailerLeavesCodeAndMessage) {
  const absl::Status read =
      StatusFromDetails(absl::StatusCode::kUnavailable, "cut", "\xFF\xFF garbage");

  EXPECT_EQ(read, absl::UnavailableError("cut"));
}

}  // namespace
}  // namespace ptdoc::sync
