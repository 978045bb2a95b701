#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

ChangeResult Start(TestService& service, const FieldList& fields) {
  return PushOne(service, "a", At(Create(kP1, Texts(fields)), service.Ago(600)));
}

Fields HeadFields(TestService& service) {
  return service.Head(kP1)->version.fields;
}

TEST(BaseTest, FieldsThatADeltaDoesNotNameComeFromItsBaseNotFromCurrent) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"City", "old"}});
  PushOne(service, "a", At(Delta(kP1, base, Texts({{"City", "new"}})), service.Ago(60)));

  const ChangeResult result =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(30)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}, {"City", "old"}}));
}

TEST(BaseTest, ColumnsThatAWholeRowLacksComeFromItsBase) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"NewColumn", "n"}});
  Change older_app = Delta(kP1, base, Texts({{"Name", "y"}}));
  older_app.complete = true;

  PushOne(service, "b", older_app);

  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}, {"NewColumn", "n"}}));
}

TEST(BaseTest, NullErasesAFieldAndAbsenceDoesNot) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"City", "c"}});
  Fields sent;
  sent.Set("City", Value::Null());

  PushOne(service, "a", Delta(kP1, base, sent));

  EXPECT_TRUE(HeadFields(service).Find("City")->is_null());
  EXPECT_EQ(*HeadFields(service).Find("Name"), Value::Text("x"));
}

TEST(BaseTest, DeltaOnAnUnknownBaseIsAskedForWhole) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}});
  ChangeResult above = base;
  above.revision = 99;
  ChangeResult other_check = base;
  other_check.check = "12345678";
  const ChangeResult other_entity =
      PushOne(service, "a", Create(Patient("p2"), Texts({{"Name", "z"}})));

  for (const ChangeResult& unknown : {above, other_check, other_entity}) {
    const ChangeResult result = PushOne(service, "a", Delta(kP1, unknown, Texts({{"Name", "y"}})));

    EXPECT_EQ(result.outcome, Outcome::kFailed);
    EXPECT_EQ(result.error_code, ErrorCode::kBaseUnknown);
    EXPECT_TRUE(result.retryable);
    EXPECT_TRUE(result.conflict_id.empty());
  }
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "x"}}));
  EXPECT_TRUE(service.Archives().empty());
}

TEST(BaseTest, WholeRowOnAnUnknownBaseIsDecidedAsAConflict) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"NewColumn", "n"}});
  Change whole = Delta(kP1, base, Texts({{"Name", "y"}}));
  whole.base_check = "12345678";
  whole.complete = true;

  const ChangeResult result = PushOne(service, "b", At(whole, service.Ago(10)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  // The base is gone, so that what this app does not know comes from current.
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}, {"NewColumn", "n"}}));
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_TRUE(service.Archives()[0].base_json.empty());
}

TEST(BaseTest, WholeRowOnAnUnknownBaseTakesNothingFromATombstone) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"NewColumn", "n"}});
  PushOne(service, "a", At(Delete(kP1, base), service.Ago(60)));
  Change whole = Delta(kP1, base, Texts({{"Name", "y"}}));
  whole.base_check = "12345678";
  whole.complete = true;

  const ChangeResult result = PushOne(service, "b", At(whole, service.Ago(10)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}}));
}

TEST(BaseTest, BaseWithoutACheckFitsByItsRevision) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}});
  Change unchecked = Delta(kP1, base, Texts({{"Name", "y"}}));
  unchecked.base_check.clear();

  EXPECT_EQ(PushOne(service, "b", unchecked).outcome, Outcome::kAccepted);
}

TEST(BaseTest, DeletionNeedsNoBase) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}});
  ChangeResult unknown = base;
  unknown.check = "12345678";

  const ChangeResult result = PushOne(service, "b", At(Delete(kP1, unknown), service.Ago(1)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_TRUE(service.Head(kP1)->version.deleted);
}

TEST(BaseTest, FieldsOfADeletionAreIgnored) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}});
  Change deletion = Delete(kP1, base);
  deletion.fields = Texts({{"Name", "y"}});

  PushOne(service, "a", deletion);

  EXPECT_TRUE(service.Head(kP1)->version.deleted);
  EXPECT_TRUE(HeadFields(service).empty());
}

TEST(BaseTest, RecreatedRowTakesNothingFromItsBase) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"City", "c"}});
  Change recreated = Delta(kP1, base, Texts({{"Name", "another"}}));
  recreated.operation = Operation::kCreate;
  recreated.complete = true;

  const ChangeResult result = PushOne(service, "a", recreated);

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "another"}}));
}

TEST(BaseTest, CreatingOverATombstoneIsAccepted) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}});
  PushOne(service, "a", Delete(kP1, base));

  const ChangeResult result = PushOne(service, "b", Create(kP1, Texts({{"Name", "y"}})));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}}));
}

TEST(BaseTest, EditOfADeletedRowIsAConflict) {
  TestService service;
  const ChangeResult base = Start(service, {{"Name", "x"}, {"City", "c"}});
  PushOne(service, "a", At(Delete(kP1, base), service.Ago(60)));

  const ChangeResult result =
      PushOne(service, "b", At(Delta(kP1, base, Texts({{"Name", "y"}})), service.Ago(30)));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}, {"City", "c"}}));
  ASSERT_EQ(service.Archives().size(), 1u);
  EXPECT_EQ(service.Archives()[0].archived_json, "null");
}

TEST(BaseTest, ThinClientCreatesWithAnUpdateAtBaseZero) {
  TestService service;

  const ChangeResult result = PushOne(service, "a", Delta(kP1, {}, Texts({{"Name", "x"}})));

  EXPECT_EQ(result.outcome, Outcome::kAccepted);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "x"}}));
}

TEST(BaseTest, DeltaAtBaseZeroErasesNoColumnsOfWhatIsThere) {
  TestService service;
  Start(service, {{"Name", "x"}, {"City", "c"}});

  const ChangeResult result = PushOne(service, "b", Delta(kP1, {}, Texts({{"Name", "y"}})));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}, {"City", "c"}}));
}

TEST(BaseTest, WholeRowAtBaseZeroIsWhatItsSenderMade) {
  TestService service;
  Start(service, {{"Name", "x"}, {"City", "c"}});

  const ChangeResult result = PushOne(service, "b", Create(kP1, Texts({{"Name", "y"}})));

  EXPECT_EQ(result.resolution, Resolution::kLocalWins);
  EXPECT_EQ(HeadFields(service), Texts({{"Name", "y"}}));
}

}  // namespace
}  // namespace ptdoc::sync
