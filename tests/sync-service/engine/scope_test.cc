// What a token that is limited to some entity types may see and change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// May change patients and see exercises. There are notes, too.
class ScopeTest : public testing::Test {
 protected:
  ScopeTest() {
    desk_.rights =
        std::make_shared<const TypeRights>(TypeRights{{"Patient", "Form"}, {"Exercise"}});
    for (const char* type : {"Patient", "Note", "Exercise"}) {
      created_[type] = PushOne(service_, "a", Create({type, "1"}, Texts({{"V", "secret"}})));
    }
  }

  PullQuery Query(std::vector<std::string> types, const std::string& cursor = "") {
    PullQuery query;
    query.who = desk_;
    query.types = std::move(types);
    query.cursor = cursor;
    return query;
  }
  PullPage Pull(const PullQuery& query, const PullPosition* resume = nullptr) {
    absl::StatusOr<PullPage> page = service_.engine().Pull(query, resume);
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? *std::move(page) : PullPage();
  }
  static std::vector<std::string> TypesOf(const std::vector<Version>& versions) {
    std::vector<std::string> types;
    for (const Version& version : versions) types.push_back(version.key.type);
    return types;
  }
  ChangeResult Change(struct Change change) {
    PushBatch batch = BatchOf(service_, "desk", {std::move(change)});
    batch.who = desk_;
    return MustPush(service_, batch).results.at(0);
  }

  TestService service_;
  Principal desk_ = DeviceOf("desk");
  std::map<std::string, ChangeResult> created_;
};

TEST_F(ScopeTest, WhoNamesNoTypeSeesThoseOfItsToken) {
  const PullPage page = Pull(Query({}));

  EXPECT_THAT(TypesOf(page.versions), ElementsAre("Patient", "Exercise"));
  EXPECT_THAT(page.refused_types, IsEmpty());
  EXPECT_TRUE(page.caught_up);
}

TEST_F(ScopeTest, TypesThatAreNamedAndNotShownAreTold) {
  const PullPage page = Pull(Query({"Note", "Patient", "Form", "Other", "Note"}));

  EXPECT_THAT(TypesOf(page.versions), ElementsAre("Patient"));
  EXPECT_THAT(page.refused_types, ElementsAre("Note", "Other"));
}

TEST_F(ScopeTest, WhatComesLaterIsLeftOutJustTheSame) {
  const PullPage page = Pull(Query({"Note", "Patient"}));
  PushOne(service_, "a", Create({"Note", "2"}, Texts({{"V", "secret"}})));
  PushOne(service_, "a", Create({"Patient", "2"}, Texts({{"V", "x"}})));
  PushOne(service_, "a", Delete({"Note", "1"}, created_["Note"]));

  EXPECT_THAT(TypesOf(Pull(Query({"Note", "Patient"}, page.cursor)).versions),
              ElementsAre("Patient"));
  const PullPage resumed = Pull(Query({"Note", "Patient"}), &*page.next);
  EXPECT_THAT(TypesOf(resumed.versions), ElementsAre("Patient"));
  EXPECT_TRUE(resumed.caught_up);
}

TEST_F(ScopeTest, NothingOfWhatWasAskedForIsAnErrorThatSaysSo) {
  const absl::Status status = service_.engine().Pull(Query({"Note"})).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ReasonOf(status), "TYPE_FORBIDDEN");
  EXPECT_EQ(ReasonOf(service_.engine().CheckPull(Query({"Note"}))), "TYPE_FORBIDDEN");
}

TEST_F(ScopeTest, CursorOfMoreTypesOrFewerIsOfAnotherScope) {
  const std::string some = Pull(Query({"Note", "Patient"})).cursor;
  PullQuery all = Query({"Note", "Patient"});
  all.who.rights = nullptr;
  const std::string every = Pull(all).cursor;

  EXPECT_EQ(ReasonOf(service_.engine().Pull(Query({"Note", "Patient"}, every)).status()),
            "SCOPE_CHANGED");
  all.cursor = some;
  EXPECT_EQ(ReasonOf(service_.engine().Pull(all).status()), "SCOPE_CHANGED");
  // It is the cursor of what was shown, however that was named.
  EXPECT_THAT(Pull(Query({"Patient"}, some)).refused_types, IsEmpty());
}

TEST_F(ScopeTest, FeedIsOpenedAnewWhereTheRightsChangeBelowIt) {
  const PullPage page = Pull(Query({"Note", "Patient"}));
  PullQuery wider = Query({"Note", "Patient"});
  wider.who.rights = nullptr;

  const absl::Status status = service_.engine().Pull(wider, &*page.next).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "DRAINING");
}

TEST_F(ScopeTest, FetchLeavesOutWhatIsNotShownAndDoesNotCallItMissing) {
  const std::vector<EntityKey> keys = {
      {"Note", "1"}, {"Note", "none"}, {"Patient", "1"}, {"Patient", "none"}};

  const absl::StatusOr<FetchPage> page = service_.engine().Fetch(desk_, keys);

  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(TypesOf(page->versions), ElementsAre("Patient"));
  EXPECT_THAT(page->missing, ElementsAre(EntityKey{"Patient", "none"}));
  EXPECT_THAT(page->refused_types, ElementsAre("Note"));
}

TEST_F(ScopeTest, DigestsAreOfWhatIsShown) {
  DigestQuery query;
  query.pull = Query({"Note", "Patient", "Exercise"});
  query.key = "0123456789abcdef";

  const absl::StatusOr<RangesAnswer> ranges = service_.engine().DigestRanges(query);
  const absl::StatusOr<RowsAnswer> rows = service_.engine().DigestRows(query);
  query.entities = {{"Note", "1"}, {"Note", "none"}, {"Patient", "1"}};
  const absl::StatusOr<RowsAnswer> entities = service_.engine().DigestRows(query);

  ASSERT_TRUE(ranges.ok() && rows.ok() && entities.ok());
  EXPECT_EQ(ranges->ranges.at(0).rows, 2u);
  EXPECT_EQ(rows->rows.size(), 2u);
  EXPECT_EQ(entities->rows.size(), 1u);
  EXPECT_THAT(entities->missing, IsEmpty());
}

TEST_F(ScopeTest, RunShowsWhatAPullShows) {
  PushBatch batch = BatchOf(
      service_, "desk",
      {Create({"Patient", "2"}, Texts({{"V", "x"}})), Create({"Note", "2"}, Texts({{"V", "x"}}))});
  batch.who = desk_;

  const absl::StatusOr<RunAnswer> answer = service_.engine().Run(batch, Query({"Patient", "Note"}));

  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->push.results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(answer->push.results[1].error_code, ErrorCode::kTypeForbidden);
  EXPECT_THAT(TypesOf(answer->page.versions), ElementsAre("Patient"));
  EXPECT_THAT(answer->page.refused_types, ElementsAre("Note"));
}

TEST_F(ScopeTest, OnlyWhatTheTokenMayChangeIsTaken) {
  const ChangeResult seen =
      Change(Delta({"Exercise", "1"}, created_["Exercise"], Texts({{"V", "changed"}})));
  const ChangeResult unseen =
      Change(Delta({"Note", "1"}, created_["Note"], Texts({{"V", "changed"}})));
  const ChangeResult gone = Change(Delete({"Note", "1"}, created_["Note"]));
  const ChangeResult taken =
      Change(Delta({"Patient", "1"}, created_["Patient"], Texts({{"V", "changed"}})));

  EXPECT_EQ(seen.error_code, ErrorCode::kTypeForbidden);
  EXPECT_THAT(seen.error_message, HasSubstr("not change it"));
  EXPECT_FALSE(seen.retryable);
  for (const ChangeResult& result : {unseen, gone}) {
    EXPECT_EQ(result.error_code, ErrorCode::kTypeForbidden);
    EXPECT_THAT(result.error_message, HasSubstr("does not include"));
    EXPECT_FALSE(result.current.has_value());
  }
  EXPECT_EQ(taken.outcome, Outcome::kAccepted);
  EXPECT_EQ(service_.Head({"Note", "1"})->version.fields, Texts({{"V", "secret"}}));
}

TEST_F(ScopeTest, AnswerThatIsRepeatedForAnotherTokenShowsNothingOfOtherTypes) {
  struct Change newer = Delta({"Note", "1"}, created_["Note"], Texts({{"V", "newer secret"}}));
  service_.clock().Advance(absl::Minutes(1));
  newer.last_modified = service_.Now();
  PushOne(service_, "a", newer);
  struct Change late = Delta({"Note", "1"}, created_["Note"], Texts({{"V", "mine"}}));
  late.last_modified = service_.Ago(3600);
  PushBatch batch = BatchOf(service_, "desk", {late});
  const ChangeResult first = MustPush(service_, batch).results.at(0);
  ASSERT_TRUE(first.current.has_value())
      << static_cast<int>(first.outcome) << " " << first.rule << " " << first.error_message;

  batch.who = desk_;
  const PushAnswer again = MustPush(service_, batch);
  batch.changes.clear();
  batch.settle = true;
  const PushAnswer settled = MustPush(service_, batch);

  EXPECT_EQ(again.results.at(0).outcome, Outcome::kConflict);
  EXPECT_FALSE(again.results.at(0).current.has_value());
  EXPECT_FALSE(settled.results.at(0).current.has_value());
}

TEST_F(ScopeTest, WhatTheServiceDoesNotTakeItShowsToNobody) {
  service_.options.allowed_types = {"Patient", "Note"};
  service_.Reopen();
  PullQuery all = Query({});
  all.who.rights = nullptr;

  EXPECT_THAT(TypesOf(Pull(all).versions), ElementsAre("Patient", "Note"));
  EXPECT_THAT(TypesOf(Pull(Query({})).versions), ElementsAre("Patient"));
  EXPECT_THAT(Pull(Query({"Exercise", "Patient"})).refused_types, ElementsAre("Exercise"));
}

}  // namespace
}  // namespace ptdoc::sync
