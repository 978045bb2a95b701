#include "sync-service/engine/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/model/entity_id.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

ChangeResult PushRefused(TestService& service, Change change, const std::string& user = "") {
  PushBatch batch = BatchOf(service, "a", {std::move(change)});
  batch.changes.push_back(Create(Patient("good"), Texts({{"Name", "x"}})));
  batch.who.user = user;
  const PushAnswer answer = MustPush(service, batch);
  EXPECT_EQ(answer.results[0].outcome, Outcome::kFailed);
  EXPECT_FALSE(answer.results[0].retryable);
  EXPECT_EQ(answer.results[0].revision, 0);
  EXPECT_EQ(answer.results[0].rule, "2");
  EXPECT_FALSE(answer.results[0].error_message.empty());
  // The rest goes on.
  EXPECT_NE(answer.results[1].outcome, Outcome::kFailed);
  return answer.results[0];
}

TEST(ValidateTest, DefectOfTheWireIsTheResult) {
  TestService service;
  Change change = Create(kP1, Texts({{"Name", "x"}}));
  change.defect = {ErrorCode::kInvalidValue, "field Age has no value"};

  const ChangeResult result = PushRefused(service, change);

  EXPECT_EQ(result.error_code, ErrorCode::kInvalidValue);
  EXPECT_EQ(result.error_message, "field Age has no value");
}

TEST(ValidateTest, ChangeWithoutATypeIsInvalid) {
  TestService service;

  EXPECT_EQ(PushRefused(service, Create({"", "p1"}, {})).error_code, ErrorCode::kInvalidChange);
}

TEST(ValidateTest, ChangeWithoutAnIdHasAnInvalidKey) {
  TestService service;

  EXPECT_EQ(PushRefused(service, Create({"Patient", ""}, {})).error_code, ErrorCode::kInvalidKey);
}

TEST(ValidateTest, IdThatNoRowCanHaveIsAnInvalidKey) {
  TestService service;

  for (const char* id : {"[x", "[ 1]", "[]", "[null]", "[1] "}) {
    const ChangeResult result = PushRefused(service, Create({"Patient", id}, {}));

    EXPECT_EQ(result.error_code, ErrorCode::kInvalidKey) << id;
    EXPECT_NE(result.error_message.find("entity_id"), std::string::npos) << id;
    EXPECT_EQ(result.error_message.find(id), std::string::npos) << id;
  }
}

TEST(ValidateTest, IdsOfTextsThatBeginWithABracketAndOfSeveralColumnsAreTaken) {
  TestService service;

  for (const char* id : {"[\"[x\"]", "[\"a\",1]", "[1]"}) {
    const ChangeResult result =
        PushOne(service, "a", Create({"Patient", id}, Texts({{"Name", "x"}})));

    EXPECT_EQ(result.outcome, Outcome::kAccepted) << id;
  }
}

TEST(ValidateTest, TypeThatIsNotConfiguredIsForbidden) {
  TestService service;
  service.options.allowed_types = {"Patient"};
  service.Reopen();

  EXPECT_EQ(PushRefused(service, Create({"Secret", "s1"}, {})).error_code,
            ErrorCode::kTypeForbidden);
}

TEST(ValidateTest, OtherUserThanTheTokensIsRefusedUnlessReoffered) {
  TestService service;
  Change change = Create(kP1, Texts({{"Name", "x"}}));
  change.modified_by = "bob";

  EXPECT_EQ(PushRefused(service, change, "ann").error_code, ErrorCode::kUserMismatch);

  change.reoffer = true;
  PushBatch batch = BatchOf(service, "a", {change});
  batch.who.user = "ann";
  EXPECT_EQ(MustPush(service, batch).results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(service.Head(kP1)->version.modified_by, "bob");
  EXPECT_EQ(service.Head(kP1)->user, "ann");
}

TEST(ValidateTest, ChangeWithoutAClaimIsTheTokensUsers) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {Create(kP1, Texts({{"Name", "x"}}))});
  batch.who.user = "ann";

  MustPush(service, batch);

  EXPECT_EQ(service.Head(kP1)->version.modified_by, "ann");
}

TEST(ValidateTest, MalformedBaseIsInvalid) {
  TestService service;
  Change negative = Create(kP1, {});
  negative.base_revision = -1;
  Change short_check = Create(kP1, {});
  short_check.base_check = "1234567";

  EXPECT_EQ(PushRefused(service, negative).error_code, ErrorCode::kInvalidChange);
  EXPECT_EQ(PushRefused(service, short_check).error_code, ErrorCode::kInvalidChange);
}

TEST(ValidateTest, LongClaimIsInvalid) {
  TestService service;
  Change change = Create(kP1, {});
  change.modified_by = std::string(kUserBytesMax + 1, 'u');

  EXPECT_EQ(PushRefused(service, change).error_code, ErrorCode::kInvalidChange);
}

TEST(ValidateTest, LargeRowIsRefusedAlone) {
  TestService service;
  service.options.max_row_bytes = 100;
  service.Reopen();

  EXPECT_EQ(PushRefused(service, Create(kP1, Texts({{"Name", std::string(97, 'x')}}))).error_code,
            ErrorCode::kRowTooLarge);
  EXPECT_EQ(PushOne(service, "a", Create(kP1, Texts({{"Name", std::string(96, 'x')}}))).outcome,
            Outcome::kAccepted);
}

TEST(ValidateTest, DeltaThatMakesTheRowTooLargeIsRefused) {
  TestService service;
  service.options.max_row_bytes = 100;
  service.Reopen();
  const ChangeResult base =
      PushOne(service, "a", Create(kP1, Texts({{"Name", std::string(90, 'x')}})));

  const ChangeResult result =
      PushRefused(service, Delta(kP1, base, Texts({{"City", "longer than is left"}})));

  EXPECT_EQ(result.error_code, ErrorCode::kRowTooLarge);
}

TEST(ValidateTest, LimitsOfABatchAreNamedAndNothingIsTaken) {
  TestService service;
  const std::vector<Change> too_many(kBatchChangesMax + 1, Create(kP1, {}));
  const std::vector<Change> long_id = {
      Create(kP1, {}), Create(Patient(std::string(kEntityIdBytesMax + 1, 'i')), {})};
  const std::vector<Change> long_type = {
      Create({std::string(kEntityTypeBytesMax + 1, 't'), "1"}, {})};

  const absl::Status many = service.Push(BatchOf(service, "a", too_many)).status();
  const absl::Status id = service.Push(BatchOf(service, "a", long_id)).status();
  const absl::Status type = service.Push(BatchOf(service, "a", long_type)).status();

  for (const absl::Status& status : {many, id, type}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
  }
  EXPECT_THAT(std::string(many.message()), testing::HasSubstr("5000"));
  EXPECT_THAT(std::string(id.message()), testing::HasSubstr("entity_id of change 1"));
  EXPECT_THAT(std::string(type.message()), testing::HasSubstr("entity_type of change 0"));
  EXPECT_FALSE(service.Head(kP1).has_value());
}

TEST(ValidateTest, IdAtTheLimitIsTaken) {
  TestService service;

  const ChangeResult result =
      PushOne(service, "a", Create(Patient(std::string(kEntityIdBytesMax, 'i')), {}));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
}

TEST(ValidateTest, DigestTellsListsOfEntitiesApart) {
  const Change a = Create({"T", "ab"}, {});
  const Change b = Create({"Ta", "b"}, {});

  EXPECT_NE(EntitiesDigest({a}), EntitiesDigest({b}));
  EXPECT_NE(EntitiesDigest({a, b}), EntitiesDigest({b, a}));
  EXPECT_EQ(EntitiesDigest({a}), EntitiesDigest({Delete({"T", "ab"}, {})}));
}

TEST(ValidateTest, ReasonCodeIsShortAndPlain) {
  EXPECT_TRUE(CheckReasonCode("wrong-patient_2.b").ok());
  for (const std::string& code :
       {std::string(), std::string("free text"), std::string("\xc3\xa9"), std::string(65, 'a')}) {
    EXPECT_EQ(ReasonOf(CheckReasonCode(code)), "FIELD") << code;
  }
}

}  // namespace
}  // namespace ptdoc::sync
