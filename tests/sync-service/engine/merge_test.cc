// Row 9 of the decision table in the engine: what is written, archived, told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/model/row_json.h"
#include "sync-service/engine/whole.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class MergeTest : public testing::Test {
 protected:
  MergeTest() {
    SetPolicy(ConflictPolicy::kMergeFields);
    base_ = PushOne(
        service_, "a",
        At(Create(kP1, Texts({{"City", "c"}, {"Name", "n"}, {"Phone", "1"}})), service_.Ago(100)));
  }

  void SetPolicy(ConflictPolicy policy) {
    TypePolicy merging;
    merging.policy = policy;
    service_.options.policies.Set("Patient", merging);
    service_.Reopen();
  }

  // A delta on the base, so many seconds ago.
  ChangeResult Edit(const std::string& device, const FieldList& fields, int64_t ago) {
    return Edit(device, base_, fields, ago);
  }
  ChangeResult Edit(const std::string& device, const ChangeResult& base, const FieldList& fields,
                    int64_t ago) {
    return PushOne(service_, device, At(Delta(kP1, base, Texts(fields)), service_.Ago(ago)));
  }
  Fields Now() { return service_.Head(kP1)->version.fields; }

  TestService service_;
  ChangeResult base_;
};

TEST_F(MergeTest, EditsOfDifferentFieldsBothStandAndNobodyIsAsked) {
  Edit("b", {{"Phone", "2"}}, 50);

  const ChangeResult result = Edit("c", {{"City", "d"}}, 40);

  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}));
  EXPECT_EQ(result.outcome, Outcome::kConflict);
  EXPECT_EQ(result.resolution, Resolution::kMerged);
  EXPECT_EQ(result.rule, "9");
  EXPECT_EQ(result.revision, 3);
  ASSERT_TRUE(result.current.has_value());
  EXPECT_EQ(result.current->fields, Now());
  EXPECT_EQ(result.current->revision, 3);
  // What was sent is a row of its own, which stands nowhere else.
  const std::vector<ArchiveRow> archives = service_.Archives();
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_EQ(archives[0].conflict_id, result.conflict_id);
  EXPECT_EQ(archives[0].resolution_type, "Merged");
  EXPECT_EQ(archives[0].rule, "9");
  EXPECT_EQ(archives[0].archived_json, R"({"City":"d","Name":"n","Phone":"1"})");
  EXPECT_EQ(archives[0].chosen_json, R"({"City":"d","Name":"n","Phone":"2"})");
  EXPECT_EQ(archives[0].base_json, R"({"City":"c","Name":"n","Phone":"1"})");
  EXPECT_EQ(archives[0].archived_device, "c");
  EXPECT_TRUE(archives[0].is_resolved);
  EXPECT_FALSE(service_.Head(kP1)->version.conflict.has_value());
}

TEST_F(MergeTest, TheLaterValueOfAFieldStandsAndTheOtherDeviceIsTold) {
  Edit("b", {{"Phone", "2"}}, 50);

  const ChangeResult result = Edit("c", {{"Phone", "3"}}, 40);

  EXPECT_EQ(Now(), Texts({{"City", "c"}, {"Name", "n"}, {"Phone", "3"}}));
  EXPECT_EQ(result.resolution, Resolution::kMerged);
  const std::vector<ArchiveRow> archives = service_.Archives();
  ASSERT_THAT(archives, SizeIs(1));  // What was sent stands: it is not archived.
  EXPECT_EQ(archives[0].conflict_id, result.conflict_id);
  EXPECT_EQ(archives[0].archived_json, R"({"City":"c","Name":"n","Phone":"2"})");
  EXPECT_EQ(archives[0].chosen_json, R"({"City":"c","Name":"n","Phone":"3"})");
  EXPECT_FALSE(archives[0].is_resolved);
  const std::optional<ConflictNotice> notice = service_.Head(kP1)->version.conflict;
  const ConflictNotice expected{result.conflict_id, Resolution::kMerged, "b", 2};
  EXPECT_EQ(notice, expected);
}

TEST_F(MergeTest, TheEarlierValueOfAFieldIsArchivedAndWritesNoVersion) {
  Edit("b", {{"Phone", "2"}}, 40);

  const ChangeResult result = Edit("c", {{"Phone", "3"}}, 50);

  EXPECT_EQ(result.resolution, Resolution::kMerged);
  EXPECT_EQ(result.revision, 2);
  EXPECT_EQ(service_.Head(kP1)->version.revision, 2);
  EXPECT_EQ(service_.Head(kP1)->version.last_modified, service_.Ago(40));
  const std::vector<ArchiveRow> archives = service_.Archives();
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_EQ(archives[0].archived_json, R"({"City":"c","Name":"n","Phone":"3"})");
  EXPECT_FALSE(archives[0].is_resolved);
}

// City: c is later. Name: b is.
TEST_F(MergeTest, WhereBothLoseEachHasARowOfItsOwn) {
  const ChangeResult first = Edit("b", {{"City", "b"}, {"Phone", "2"}}, 60);
  Edit("b", first, {{"Name", "b"}}, 30);

  const ChangeResult result = Edit("c", {{"City", "d"}, {"Name", "m"}}, 45);

  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "b"}, {"Phone", "2"}}));
  const std::vector<ArchiveRow> archives = service_.Archives();
  ASSERT_THAT(archives, SizeIs(2));
  EXPECT_EQ(archives[0].conflict_id, result.conflict_id);
  EXPECT_EQ(archives[0].archived_device, "c");
  EXPECT_EQ(archives[1].archived_device, "b");
  EXPECT_NE(archives[0].conflict_id, archives[1].conflict_id);
  EXPECT_FALSE(archives[0].is_resolved || archives[1].is_resolved);
  EXPECT_EQ(service_.Head(kP1)->version.conflict->conflict_id, archives[1].conflict_id);
  // The whole has the time and the author of what is later.
  EXPECT_EQ(service_.Head(kP1)->version.last_modified, service_.Ago(30));
  EXPECT_EQ(service_.Head(kP1)->device, "c");
  EXPECT_EQ(service_.Head(kP1)->raised_by, "b");
}

// The head is d's, its phone b's.
TEST_F(MergeTest, TheDeviceWhoseFieldLostIsToldAndNotTheHeads) {
  Edit("b", {{"Phone", "2"}}, 60);
  Edit("d", {{"City", "d"}}, 30);

  Edit("c", {{"Phone", "3"}}, 45);

  EXPECT_EQ(service_.Head(kP1)->version.conflict->lost_device, "b");
  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "3"}}));
}

TEST_F(MergeTest, OfEqualTimesTheGreaterDeviceStandsHoweverManyMergesCameBetween) {
  Edit("m", {{"Phone", "2"}}, 50);
  Edit("b", {{"City", "d"}}, 40);  // The head is b's now.
  service_.Reopen();

  Edit("c", {{"Phone", "3"}}, 50);
  Edit("z", {{"Phone", "4"}}, 50);

  EXPECT_EQ(*Now().Find("Phone"), Value::Text("4"));
  ASSERT_THAT(service_.Archives(), SizeIs(4));
  EXPECT_EQ(service_.Archives()[1].archived_device, "c");
}

// An older app: a row without the column, of which it knows nothing.
TEST_F(MergeTest, ColumnsThatTheDeviceDoesNotKnowStayAsOthersWroteThem) {
  Edit("b", {{"Allergy", "latex"}}, 50);
  Change whole = Delta(kP1, base_, Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}));
  whole.complete = true;

  PushOne(service_, "old", At(whole, service_.Ago(40)));

  EXPECT_EQ(Now(), Texts({{"Allergy", "latex"}, {"City", "d"}, {"Name", "n"}, {"Phone", "1"}}));
}

TEST_F(MergeTest, WhatLiesBetweenTheBaseAndNowIsMergedWithWhateverItsNumber) {
  ChangeResult last = base_;
  for (int i = 0; i < 5; ++i) {
    last = Edit("b", last, {{"Phone", std::to_string(i + 2)}}, 50 - i);
  }

  Edit("c", {{"City", "d"}}, 60);

  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "6"}}));
}

TEST_F(MergeTest, WithoutItsBaseADeltaIsAskedForWholeAndTheWholeIsDecidedByTheLaterTime) {
  Edit("b", {{"Phone", "2"}}, 50);
  ChangeResult unknown = base_;
  unknown.check = "another!";

  const ChangeResult asked = Edit("c", unknown, {{"City", "d"}}, 40);
  Change whole = Delta(kP1, unknown, Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}));
  whole.complete = true;
  const ChangeResult decided = PushOne(service_, "c", At(whole, service_.Ago(40)));

  EXPECT_EQ(asked.error_code, ErrorCode::kBaseUnknown);
  EXPECT_EQ(decided.rule, "8");
  EXPECT_EQ(decided.resolution, Resolution::kLocalWins);
  EXPECT_EQ(*Now().Find("Phone"), Value::Text("1"));
}

TEST_F(MergeTest, ARowMadeAnewUnderItsKeyIsNeverMerged) {
  Edit("b", {{"Phone", "2"}}, 50);
  Change anew = Create(kP1, Texts({{"Name", "another"}}));
  anew.base_revision = base_.revision;
  anew.base_check = base_.check;

  const ChangeResult result = PushOne(service_, "c", At(anew, service_.Ago(40)));

  EXPECT_EQ(result.rule, "8");
  EXPECT_EQ(Now(), Texts({{"Name", "another"}}));
}

TEST_F(MergeTest, ADeletionIsDecidedByTheLaterTimeInEitherOrder) {
  for (const bool deletion_first : {true, false}) {
    for (const int64_t deleted_ago : {30, 60}) {
      TestService service;
      service.options.policies = service_.options.policies;
      service.Reopen();
      const ChangeResult base =
          PushOne(service, "a", At(Create(kP1, Texts({{"Name", "n"}})), service.Ago(100)));
      const Change deletion = At(Delete(kP1, base), service.Ago(deleted_ago));
      const Change edit = At(Delta(kP1, base, Texts({{"Name", "m"}})), service.Ago(45));

      PushOne(service, "b", deletion_first ? deletion : edit);
      const ChangeResult second = PushOne(service, "c", deletion_first ? edit : deletion);

      EXPECT_EQ(second.rule, "8");
      EXPECT_EQ(service.Head(kP1)->version.deleted, deleted_ago == 30);
      EXPECT_THAT(service.Archives(), SizeIs(1));
    }
  }
}

TEST_F(MergeTest, ASignatureIsNeverMerged) {
  Edit("b", {{"Phone", "2"}}, 30);

  const ChangeResult signs = Edit("c", {{"City", "d"}, {"SignatureHash", "9f"}}, 40);
  const ChangeResult after = Edit("d", {{"Name", "m"}}, 10);

  EXPECT_EQ(signs.rule, "7");
  EXPECT_EQ(after.resolution, Resolution::kRejectedImmutable);
  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}, {"SignatureHash", "9f"}}));
}

// c wrote what b had written already, later: a third one between them loses.
TEST_F(MergeTest, OneValueFromTwoDevicesHasTheLaterTime) {
  Edit("b", {{"City", "b"}, {"Phone", "2"}}, 60);
  Edit("c", {{"Phone", "2"}}, 40);
  EXPECT_EQ(service_.Head(kP1)->version.revision, 2);
  service_.Reopen();

  const ChangeResult between = Edit("d", {{"Phone", "3"}}, 50);

  EXPECT_EQ(between.revision, 2);
  EXPECT_EQ(*Now().Find("Phone"), Value::Text("2"));
  EXPECT_EQ(service_.Head(kP1)->raised_by, "c");
  // c's own row lacked b's city: it stands in the archive, and nobody is asked.
  EXPECT_TRUE(service_.Archives()[0].is_resolved);
}

TEST_F(MergeTest, AClampedTimeLosesWhereSomebodyElseWroteAndKeepsTheRest) {
  Edit("b", {{"Phone", "2"}}, 99);

  const ChangeResult result = Edit("c", {{"City", "d"}, {"Phone", "3"}}, -3600);

  EXPECT_EQ(result.resolution, Resolution::kMerged);
  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}));
}

// A client sends two changes of one entity in a batch: the second was made from
// the first, and knows nothing of what that was merged with.
TEST_F(MergeTest, TheNextChangeOfTheBatchIsMergedTooAndOverwritesNothing) {
  Edit("b", {{"Phone", "2"}}, 50);
  const Change first = At(Delta(kP1, base_, Texts({{"City", "d"}})), service_.Ago(40));
  Change second = At(Delta(kP1, base_, Texts({{"City", "c"}, {"Name", "m"}, {"Phone", "1"}})),
                     service_.Ago(30));
  second.complete = true;

  const PushAnswer answer = MustPush(service_, BatchOf(service_, "c", {first, second}));

  EXPECT_EQ(answer.results[1].resolution, Resolution::kMerged);
  // Its city is as the base has it, and not as the first change: an undo.
  EXPECT_EQ(Now(), Texts({{"City", "c"}, {"Name", "m"}, {"Phone", "2"}}));
}

TEST_F(MergeTest, AMergedRowThatWouldBeTooLargeIsNotMade) {
  service_.options.max_row_bytes = 600;
  service_.Reopen();
  Edit("b", {{"Phone", std::string(400, 'x')}}, 50);

  const ChangeResult result = Edit("c", {{"City", std::string(400, 'y')}}, 40);

  EXPECT_EQ(result.rule, "8");
  EXPECT_EQ(*Now().Find("Phone"), Value::Text("1"));
  EXPECT_THAT(service_.Archives(), SizeIs(1));
}

TEST_F(MergeTest, ABatchSentAgainHasTheSameAnswerAndWritesNothing) {
  Edit("b", {{"Phone", "2"}}, 50);
  const PushBatch batch =
      BatchOf(service_, "c", {At(Delta(kP1, base_, Texts({{"City", "d"}})), service_.Ago(40))});
  const ChangeResult first = MustPush(service_, batch).results.at(0);

  const ChangeResult again = MustPush(service_, batch).results.at(0);

  EXPECT_EQ(again.resolution, first.resolution);
  EXPECT_EQ(again.revision, first.revision);
  EXPECT_EQ(again.conflict_id, first.conflict_id);
  EXPECT_EQ(again.current->fields, first.current->fields);
  EXPECT_THAT(service_.Archives(), SizeIs(1));
}

TEST_F(MergeTest, TheAuditNamesTheRow) {
  Edit("b", {{"Phone", "2"}}, 50);
  Edit("c", {{"City", "d"}}, 40);

  const AuditEvent event = service_.AuditRows().back().event;

  EXPECT_EQ(event.rule, "9");
  EXPECT_EQ(event.reason, "Merged");
  EXPECT_EQ(event.revision, 3);
}

// The types of a service that runs may be merged from tomorrow on.
TEST_F(MergeTest, VersionsFromBeforeThePolicyAreMergedByTheirFieldsTimes) {
  SetPolicy(ConflictPolicy::kLastWriteWins);
  const ChangeResult second = Edit("b", {{"Phone", "2"}}, 50);
  Edit("b", second, {{"City", "b"}}, 30);
  EXPECT_THAT(service_.Head(kP1)->field_writers, SizeIs(0));
  SetPolicy(ConflictPolicy::kMergeFields);

  Edit("c", {{"Phone", "3"}}, 40);

  EXPECT_EQ(Now(), Texts({{"City", "b"}, {"Name", "n"}, {"Phone", "3"}}));
}

TEST_F(MergeTest, WhatAReviewerWroteCountsFromThen) {
  Edit("b", {{"Phone", "2"}}, 50);
  const ChangeResult lost = Edit("c", {{"Phone", "3"}}, 60);
  ResolveRequest request;
  request.conflict_id = lost.conflict_id;
  request.action = ResolveAction::kEdit;
  request.content = Texts({{"City", "c"}, {"Name", "n"}, {"Phone", "right"}});
  request.expected_revision = 2;
  request.reason_code = "checked";
  ASSERT_TRUE(service_.engine().ResolveConflict(Admin(), request).ok());

  Edit("d", {{"City", "d"}, {"Phone", "4"}}, 10);

  EXPECT_EQ(Now(), Texts({{"City", "d"}, {"Name", "n"}, {"Phone", "right"}}));
}

// The row and the times that a service ends up with when these edits of one base
// arrive in this order.
std::string EndOf(const std::vector<Change>& edits, const std::vector<size_t>& order,
                  size_t* archived) {
  TestService service;
  TypePolicy merging;
  merging.policy = ConflictPolicy::kMergeFields;
  service.options.policies.Set("Patient", merging);
  service.Reopen();
  const ChangeResult base =
      PushOne(service, "d0",
              At(Create(kP1, Texts({{"A", "0"}, {"B", "0"}, {"C", "0"}})), service.Ago(1000)));
  for (const size_t i : order) {
    Change edit = edits[i];
    edit.base_revision = base.revision;
    edit.base_check = base.check;
    edit.last_modified = service.Ago(*edit.last_modified);
    PushOne(service, "d" + std::to_string(i % 3), edit);
  }
  const std::optional<StoredVersion> head = service.Head(kP1);
  *archived += service.Archives().size();
  std::string end = FieldsToJson(head->version.fields) + " " + RankDevice(*head);
  for (size_t i = 0; i < head->field_times.size(); ++i) {
    const int64_t ago = (service.Now() - head->field_times[i]) / 1'000'000'000;
    end += " " + std::to_string(ago) + FieldWriter(*head, i);
  }
  return end;
}

TEST(MergePropertyTest, EditsOfOneBaseGiveTheSameRowInEveryOrderOfArrival) {
  size_t archived = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SeededRng random(seed);
    std::vector<Change> edits;
    std::vector<size_t> order;
    for (size_t i = 0; i < 4; ++i) {
      Change edit = Delta(kP1, {}, {});
      for (const char* name : {"A", "B", "C"}) {
        if (random.Below(2) == 0) continue;
        edit.fields.Set(name, Value::Text(std::to_string(1 + random.Below(3))));
      }
      if (edit.fields.empty()) edit.fields.Set("A", Value::Text("9"));
      edit.last_modified = static_cast<int64_t>(random.Below(3));  // seconds ago: often equal
      edits.push_back(edit);
      order.push_back(i);
    }

    std::set<std::string> ends;
    do {
      ends.insert(EndOf(edits, order, &archived));
    } while (std::next_permutation(order.begin(), order.end()));

    EXPECT_THAT(ends, SizeIs(1));
  }
  EXPECT_GT(archived, 100u);
}

}  // namespace
}  // namespace ptdoc::sync
