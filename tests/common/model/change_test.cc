#include "common/model/change.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

const EntityKey kPatient{"Patient", "p1"};

Fields PatientFields() {
  return Fields({{"Id", Value::Text("p1")}, {"Name", Value::Text("Ada")}});
}

QueueHealth Queue(uint32_t pending, uint32_t failed) {
  QueueHealth queue;
  queue.pending = pending;
  queue.failed = failed;
  return queue;
}

// Stores and devices compare these across releases: they may never change.
TEST(ContentHashTest, IsAsWrittenDown) {
  EXPECT_EQ(absl::BytesToHexString(ContentHash(kPatient, false, PatientFields())),
            "004e433778a393b6b287c94fd3106d6f76192d502b5dcc3f3afb1394f9a0d144");
  EXPECT_EQ(absl::BytesToHexString(ContentHash(kPatient, true, Fields())),
            "f998028e9f7d34f4700ac9154715eee88f428b7685e90b247189bc9a54aa4c32");
}

TEST(ContentHashTest, DiffersWhenIdentityOrContentDiffers) {
  const std::string hash = ContentHash(kPatient, false, PatientFields());
  Fields other = PatientFields();
  other.Set("Name", Value::Blob("Ada"));

  EXPECT_NE(hash, ContentHash({"Patient", "p2"}, false, PatientFields()));
  EXPECT_NE(hash, ContentHash({"Patien", "tp1"}, false, PatientFields()));
  EXPECT_NE(hash, ContentHash(kPatient, false, other));
  EXPECT_NE(ContentHash(kPatient, false, Fields()), ContentHash(kPatient, true, Fields()));
}

TEST(ContentHashTest, IsTheSameForEveryDeletedVersionOfAnEntity) {
  EXPECT_EQ(ContentHash(kPatient, true, PatientFields()), ContentHash(kPatient, true, Fields()));
}

TEST(VersionCheckTest, IsAsWrittenDown) {
  const std::string hash = ContentHash(kPatient, false, PatientFields());

  EXPECT_EQ(absl::BytesToHexString(VersionCheck(kPatient, 7, hash)), "8120cfae92d783ed");
}

TEST(VersionCheckTest, DiffersWhenIdentityRevisionOrContentDiffers) {
  const std::string hash = ContentHash(kPatient, false, PatientFields());
  const std::string check = VersionCheck(kPatient, 7, hash);

  EXPECT_NE(check, VersionCheck({"Patient", "p2"}, 7, hash));
  EXPECT_NE(check, VersionCheck(kPatient, 8, hash));
  EXPECT_NE(check, VersionCheck(kPatient, 7, ContentHash(kPatient, true, Fields())));
}

TEST(HealthOfTest, FollowsThePendingItems) {
  EXPECT_EQ(HealthOf(Queue(0, 0)), HealthLevel::kOk);
  EXPECT_EQ(HealthOf(Queue(100, 0)), HealthLevel::kOk);
  EXPECT_EQ(HealthOf(Queue(101, 0)), HealthLevel::kWarning);
  EXPECT_EQ(HealthOf(Queue(500, 0)), HealthLevel::kWarning);
  EXPECT_EQ(HealthOf(Queue(501, 0)), HealthLevel::kCritical);
}

TEST(HealthOfTest, WarnsWhenAnItemFailed) {
  EXPECT_EQ(HealthOf(Queue(0, 1)), HealthLevel::kWarning);
  EXPECT_EQ(HealthOf(Queue(501, 1)), HealthLevel::kCritical);
}

TEST(HealthOfTest, LeavesTheFirstUploadOut) {
  QueueHealth queue = Queue(50'000, 0);
  queue.initial = true;

  EXPECT_EQ(HealthOf(queue), HealthLevel::kOk);
  queue.failed = 1;
  EXPECT_EQ(HealthOf(queue), HealthLevel::kWarning);
}

TEST(ChangeNamesTest, AreAsInSqlAndJson) {
  EXPECT_EQ(ResolutionName(Resolution::kNone), "");
  EXPECT_EQ(ResolutionName(Resolution::kLocalWins), "LocalWins");
  EXPECT_EQ(ResolutionName(Resolution::kServerWins), "ServerWins");
  EXPECT_EQ(ResolutionName(Resolution::kMerged), "Merged");
  EXPECT_EQ(ResolutionName(Resolution::kSignedWins), "SignedWins");
  EXPECT_EQ(ResolutionName(Resolution::kLockedWins), "LockedWins");
  EXPECT_EQ(ResolutionName(Resolution::kManual), "Manual");
  EXPECT_EQ(ResolutionName(Resolution::kRejectedImmutable), "RejectedImmutable");
  EXPECT_EQ(ResolutionName(Resolution::kRejectedLocked), "RejectedLocked");
  EXPECT_EQ(ResolutionName(Resolution::kKeyCollision), "KeyCollision");
  EXPECT_EQ(OperationName(Operation::kCreate), "Create");
  EXPECT_EQ(OperationName(Operation::kUpdate), "Update");
  EXPECT_EQ(OperationName(Operation::kDelete), "Delete");
  EXPECT_EQ(OutcomeName(Outcome::kAccepted), "Accepted");
  EXPECT_EQ(OutcomeName(Outcome::kUnchanged), "Unchanged");
  EXPECT_EQ(OutcomeName(Outcome::kConflict), "Conflict");
  EXPECT_EQ(OutcomeName(Outcome::kFailed), "Failed");
}

TEST(ChangeNamesTest, EveryResolutionHasAReasonOfItsOwn) {
  for (int a = 1; a <= 9; ++a) {
    const absl::string_view reason = ResolutionReason(static_cast<Resolution>(a));
    EXPECT_FALSE(reason.empty()) << a;
    for (int b = 1; b < a; ++b) EXPECT_NE(reason, ResolutionReason(static_cast<Resolution>(b)));
  }
  EXPECT_EQ(ResolutionReason(Resolution::kNone), "");
  EXPECT_EQ(ResolutionReason(Resolution::kRejectedImmutable), "Entity is signed and immutable");
}

TEST(ErrorCodeTest, ComesBackFromItsName) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(ErrorCodeFromName(ErrorCodeName(code)), code) << i;
  }
  EXPECT_EQ(ErrorCodeName(ErrorCode::kRowTooLarge), "ROW_TOO_LARGE");
  EXPECT_EQ(ErrorCodeName(ErrorCode::kNone), "");
}

TEST(ErrorCodeTest, IsInternalForAnUnknownName) {
  EXPECT_EQ(ErrorCodeFromName("SOMETHING_NEWER"), ErrorCode::kInternal);
}

}  // namespace
}  // namespace ptdoc::sync
