#include "common/merge/fields.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/decision_table.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;

using Row = std::vector<std::pair<std::string, std::string>>;

// "NULL" stands for itself.
Fields FieldsOf(const Row& row) {
  Fields fields;
  for (const auto& [name, text] : row) {
    fields.Set(name, text == "NULL" ? Value::Null() : Value::Text(text));
  }
  return fields;
}

Candidate Version(const Row& row, TimeNs time, const std::string& device,
                  const Candidate* base = nullptr) {
  Candidate version;
  version.fields = FieldsOf(row);
  version.time = time;
  version.device = device;
  version.content_hash = ContentHash({"Patient", "p1"}, false, version.fields);
  return Stamped(version, base);
}

class MergeFieldsTest : public testing::Test {
 protected:
  const Candidate base_ = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "1"}}, 1, "base");
};

TEST_F(MergeFieldsTest, WhatOneSideChangedIsKeptAndNothingIsLost) {
  const Candidate current = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a", &base_);
  const Candidate incoming =
      Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b", &base_);

  const MergedFields merged = MergeFields(base_, current, incoming);

  EXPECT_EQ(merged.fields, FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}));
  EXPECT_THAT(merged.times, ElementsAre(7, 1, 5));
  EXPECT_THAT(merged.writers, ElementsAre("b", "base", "a"));
  EXPECT_FALSE(merged.current_lost || merged.incoming_lost);
  EXPECT_FALSE(merged.is_current || merged.is_incoming);
}

TEST_F(MergeFieldsTest, OfAFieldThatBothChangedTheLaterStandsAndTheOtherIsLost) {
  const Candidate early = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a", &base_);
  const Candidate late = Version({{"City", "d"}, {"Name", "n"}, {"Phone", "3"}}, 7, "b", &base_);

  const MergedFields late_arrives = MergeFields(base_, early, late);
  const MergedFields early_arrives = MergeFields(base_, late, early);

  EXPECT_EQ(late_arrives.fields, late.fields);
  EXPECT_TRUE(late_arrives.is_incoming);
  EXPECT_TRUE(late_arrives.current_lost && late_arrives.current_lost_value);
  EXPECT_FALSE(late_arrives.incoming_lost);
  EXPECT_THAT(late_arrives.losers, ElementsAre("a"));
  EXPECT_EQ(early_arrives.fields, late.fields);
  EXPECT_TRUE(early_arrives.is_current);
  EXPECT_TRUE(early_arrives.incoming_lost && early_arrives.incoming_lost_value);
  EXPECT_FALSE(early_arrives.current_lost);
}

// The head is of 9, its phone of 5.
TEST_F(MergeFieldsTest, TheFieldsOwnTimeDecidesAndNotTheHeads) {
  const Candidate older = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a", &base_);
  const Candidate head = Version({{"City", "c"}, {"Name", "m"}, {"Phone", "2"}}, 9, "c", &older);
  const Candidate incoming =
      Version({{"City", "c"}, {"Name", "n"}, {"Phone", "3"}}, 7, "b", &base_);

  const MergedFields merged = MergeFields(base_, head, incoming);

  EXPECT_EQ(merged.fields, FieldsOf({{"City", "c"}, {"Name", "m"}, {"Phone", "3"}}));
  EXPECT_THAT(merged.times, ElementsAre(1, 9, 7));
  EXPECT_TRUE(merged.current_lost);
  EXPECT_THAT(merged.losers, ElementsAre("a"));  // Not the head's author.
}

TEST_F(MergeFieldsTest, BothSidesMayLose) {
  const Candidate older = Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 5, "a", &base_);
  const Candidate head = Version({{"City", "d"}, {"Name", "m"}, {"Phone", "1"}}, 9, "a", &older);
  const Candidate incoming =
      Version({{"City", "e"}, {"Name", "o"}, {"Phone", "1"}}, 7, "b", &base_);

  const MergedFields merged = MergeFields(base_, head, incoming);

  EXPECT_EQ(merged.fields, FieldsOf({{"City", "e"}, {"Name", "m"}, {"Phone", "1"}}));
  EXPECT_TRUE(merged.current_lost);
  EXPECT_TRUE(merged.incoming_lost);
}

TEST_F(MergeFieldsTest, OfEqualTimesTheGreaterDeviceStandsThenTheGreaterValue) {
  const Candidate a = Version({{"City", "z"}, {"Name", "n"}, {"Phone", "1"}}, 5, "a", &base_);
  const Candidate b = Version({{"City", "y"}, {"Name", "n"}, {"Phone", "1"}}, 5, "b", &base_);
  const Candidate same_device =
      Version({{"City", "x"}, {"Name", "n"}, {"Phone", "1"}}, 5, "b", &base_);

  EXPECT_EQ(MergeFields(base_, a, b).fields, b.fields);
  EXPECT_EQ(MergeFields(base_, b, a).fields, b.fields);
  EXPECT_EQ(MergeFields(base_, b, same_device).fields, b.fields);
  EXPECT_EQ(MergeFields(base_, same_device, b).fields, b.fields);
}

TEST_F(MergeFieldsTest, OneValueFromBothSidesIsNoLossAndTakesTheLaterTime) {
  const Candidate current = Version({{"City", "d"}, {"Name", "m"}, {"Phone", "1"}}, 5, "a", &base_);
  const Candidate incoming =
      Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b", &base_);

  const MergedFields merged = MergeFields(base_, current, incoming);

  EXPECT_TRUE(merged.is_current);
  EXPECT_THAT(merged.times, ElementsAre(7, 5, 1));
  EXPECT_THAT(merged.writers, ElementsAre("b", "a", "base"));
  EXPECT_FALSE(merged.current_lost || merged.incoming_lost);
}

TEST_F(MergeFieldsTest, WhatWasChangedAndChangedBackIsAChange) {
  const Candidate there = Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 5, "a", &base_);
  const Candidate back = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "1"}}, 9, "a", &there);
  const Candidate incoming =
      Version({{"City", "e"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b", &base_);

  const MergedFields merged = MergeFields(base_, back, incoming);

  EXPECT_EQ(*merged.fields.Find("City"), Value::Text("c"));
  EXPECT_TRUE(merged.incoming_lost);
}

TEST_F(MergeFieldsTest, ColumnsThatOneSideDoesNotKnowStayAsTheOtherHasThem) {
  const Candidate current =
      Version({{"Allergy", "latex"}, {"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a", &base_);
  const Candidate gained =
      Version({{"Allergy", "NULL"}, {"City", "d"}, {"Name", "n"}, {"Phone", "1"}, {"Zip", "9"}}, 7,
              "b", &base_);

  const MergedFields merged = MergeFields(base_, current, gained);

  EXPECT_EQ(
      merged.fields,
      FieldsOf({{"Allergy", "latex"}, {"City", "d"}, {"Name", "n"}, {"Phone", "2"}, {"Zip", "9"}}));
  EXPECT_FALSE(merged.current_lost || merged.incoming_lost);
}

TEST_F(MergeFieldsTest, AClampedChangeLosesWhatOthersChangedAndKeepsWhatNobodyDid) {
  const Candidate current = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 2, "a", &base_);
  Candidate incoming;
  incoming.clamped = true;
  incoming.time = 9;
  incoming.device = "z";
  incoming.fields = FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "3"}});
  incoming = Stamped(incoming, &base_);

  const MergedFields merged = MergeFields(base_, current, incoming);

  EXPECT_EQ(merged.fields, FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}));
  EXPECT_THAT(merged.writers, ElementsAre("", "base", "a"));
}

TEST_F(MergeFieldsTest, AFieldThatStandsByAClampedTimeLosesATie) {
  Candidate current;
  current.clamped = true;
  current.time = 2;
  current.device = "z";
  current.fields = FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}});
  current = Stamped(current, &base_);
  const Candidate incoming =
      Version({{"City", "e"}, {"Name", "n"}, {"Phone", "1"}}, 2, "a", &base_);

  EXPECT_EQ(MergeFields(base_, current, incoming).fields, incoming.fields);
}

TEST_F(MergeFieldsTest, LostNullIsALossButNoValue) {
  const Candidate current =
      Version({{"City", "NULL"}, {"Name", "n"}, {"Phone", "1"}}, 5, "a", &base_);
  const Candidate incoming =
      Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b", &base_);

  const MergedFields late_value = MergeFields(base_, current, incoming);
  const MergedFields early_null = MergeFields(base_, incoming, current);

  EXPECT_TRUE(late_value.current_lost);
  EXPECT_FALSE(late_value.current_lost_value);
  EXPECT_TRUE(early_null.incoming_lost);
  EXPECT_FALSE(early_null.incoming_lost_value);
}

// A version of before has one time for all: its own.
TEST_F(MergeFieldsTest, FieldsWithoutTimesHaveTheVersions) {
  Candidate current = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a", &base_);
  current.field_times.clear();
  current.field_writers.clear();
  const Candidate earlier = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "3"}}, 4, "b", &base_);
  const Candidate later = Version({{"City", "c"}, {"Name", "n"}, {"Phone", "4"}}, 6, "b", &base_);

  EXPECT_EQ(MergeFields(base_, current, earlier).fields, current.fields);
  EXPECT_EQ(*MergeFields(base_, current, later).fields.Find("Phone"), Value::Text("4"));
}

TEST_F(MergeFieldsTest, ResolverMergesByTheBaseAndNamesRowNine) {
  OneEntity entity(ConflictPolicy::kMergeFields);
  entity.Start(base_);
  entity.Arrive({Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a"), 1});

  const Decision decision =
      entity.Arrive({Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b"), 1});

  EXPECT_STREQ(decision.rule, "9");
  EXPECT_EQ(decision.resolution, Resolution::kMerged);
  EXPECT_EQ(decision.winner, Winner::kIncoming);
  EXPECT_TRUE(decision.archive_incoming);
  EXPECT_FALSE(decision.archive_current);
  EXPECT_EQ(entity.head()->fields, FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}));
}

// Whatever current holds stands in what was sent: nobody has to hear of it.
TEST_F(MergeFieldsTest, AChangeThatHoldsAllOfCurrentIsAccepted) {
  OneEntity entity(ConflictPolicy::kMergeFields);
  entity.Start(base_);
  entity.Arrive({Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a"), 1});

  const Decision decision =
      entity.Arrive({Version({{"City", "d"}, {"Name", "n"}, {"Phone", "2"}}, 4, "b"), 1});

  EXPECT_STREQ(decision.rule, "9");
  EXPECT_EQ(decision.outcome, Outcome::kAccepted);
  EXPECT_FALSE(decision.archive_incoming || decision.archive_current);
  EXPECT_EQ(entity.head()->time, 5);
  EXPECT_EQ(entity.head()->device, "a");
}

TEST_F(MergeFieldsTest, WithoutAKnownBaseTheLaterWholeRowStands) {
  OneEntity entity(ConflictPolicy::kMergeFields);
  entity.Start(base_);
  entity.Arrive({Version({{"City", "c"}, {"Name", "n"}, {"Phone", "2"}}, 5, "a"), 1});

  const Decision decision =
      entity.Arrive({Version({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}, 7, "b"), 77});

  EXPECT_STREQ(decision.rule, "8");
  EXPECT_EQ(decision.resolution, Resolution::kLocalWins);
  EXPECT_EQ(entity.head()->fields, FieldsOf({{"City", "d"}, {"Name", "n"}, {"Phone", "1"}}));
}

// Random edits made from one base, with few times and values, so that ties and
// equal values are common.
class PermutationTest : public testing::Test {
 protected:
  static constexpr const char* kNames[] = {"A", "B", "C", "D"};

  static Candidate RandomEdit(Rng& rng, const Candidate& base, int number) {
    Candidate edit = base;
    edit.field_times.clear();
    edit.field_writers.clear();
    edit.time = base.time + 1 + static_cast<TimeNs>(rng.Below(3));
    edit.device = absl::StrCat("tablet-", number % 3);
    // What changes nothing is none, and agents do not send it.
    while (edit.fields == base.fields) {
      for (const char* name : kNames) {
        if (rng.Below(2) == 0) continue;
        const std::string text = absl::StrCat(rng.Below(3));
        edit.fields.Set(name, rng.Below(6) == 0 ? Value::Null() : Value::Text(text));
      }
    }
    edit.content_hash = ContentHash({"Patient", "p1"}, false, edit.fields);
    return edit;
  }

  // Content, times and writers of what stands in the end.
  static std::string Fingerprint(const Candidate& head) {
    std::string text = absl::StrCat(head.time, " ", head.device, " ", head.deleted, ":");
    size_t index = 0;
    for (const Field& field : head.fields) {
      absl::StrAppend(&text, " ", field.name, "=", field.value.bytes(), "/",
                      static_cast<int>(field.value.type()), "@", head.field_times[index], " ",
                      head.field_writers[index]);
      ++index;
    }
    return text;
  }

  static Candidate Base() {
    return Version({{"A", "0"}, {"B", "0"}, {"C", "0"}, {"D", "NULL"}}, 10, "tablet-0");
  }
};

TEST_F(PermutationTest, EditsOfOneBaseGiveTheSameRowInEveryOrderOfArrival) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    std::vector<Candidate> edits;
    std::vector<size_t> order;
    for (size_t i = 0; i < 2 + rng.Below(3); ++i) {
      edits.push_back(RandomEdit(rng, Base(), static_cast<int>(i)));
      order.push_back(i);
    }

    std::set<std::string> results;
    do {
      OneEntity entity(ConflictPolicy::kMergeFields);
      entity.Start(Base());
      for (const size_t i : order) entity.Arrive({edits[i], 1});
      results.insert(Fingerprint(*entity.head()));
    } while (std::next_permutation(order.begin(), order.end()));

    ASSERT_THAT(results, testing::SizeIs(1));
  }
}

// A value that was changed either stands, or whoever held it is archived.
TEST_F(PermutationTest, EveryValueThatLosesStandsInALosersVersion) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    OneEntity entity(ConflictPolicy::kMergeFields);
    entity.Start(Base());
    for (int i = 0; i < 4; ++i) {
      const Candidate before = *entity.head();
      const Candidate edit = RandomEdit(rng, Base(), i);

      const Decision decision = entity.Arrive({edit, 1});

      for (const char* name : kNames) {
        const Value& stands = *entity.head()->fields.Find(name);
        const bool sent_lost = *edit.fields.Find(name) != *Base().fields.Find(name) &&
                               *edit.fields.Find(name) != stands;
        ASSERT_TRUE(!sent_lost || decision.archive_incoming) << name;
        if (*before.fields.Find(name) == stands) continue;
        // What was replaced is the base's value, or is archived.
        const bool was_base = *before.fields.Find(name) == *Base().fields.Find(name);
        ASSERT_TRUE(decision.archive_current || was_base) << name;
      }
    }
  }
}

// With a deletion among them: whether the row is there, and what edits later than
// the deletion made of it.
TEST_F(PermutationTest, WithADeletionTheLatestDecidesAboutTheRowInEveryOrder) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SeededRng rng(seed);
    std::vector<Candidate> edits;
    for (int i = 0; i < 3; ++i) edits.push_back(RandomEdit(rng, Base(), i));
    Candidate& deletion = edits[2];
    deletion.deleted = true;
    deletion.fields = Fields();
    deletion.content_hash = ContentHash({"Patient", "p1"}, true, {});
    // Two of one content are one version; an edit that changes nothing is none.
    if (edits[0].fields == edits[1].fields) continue;
    std::vector<size_t> order = {0, 1, 2};

    std::set<bool> stands;
    do {
      OneEntity entity(ConflictPolicy::kMergeFields);
      entity.Start(Base());
      for (const size_t i : order) entity.Arrive({edits[i], 1});
      stands.insert(!entity.head()->deleted);
    } while (std::next_permutation(order.begin(), order.end()));

    ASSERT_THAT(stands, testing::SizeIs(1));
  }
}

}  // namespace
}  // namespace ptdoc::sync
