// What devices compare their rows with.
#include "common/model/digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

constexpr char kKey[] = "0123456789abcdef";

Change Made(const EntityKey& key, const std::string& name) {
  Change change;
  change.key = key;
  change.operation = Operation::kCreate;
  change.complete = true;
  change.last_modified = 1;
  change.fields = Fields({{"Id", Value::Text(key.id)}, {"Name", Value::Text(name)}});
  return change;
}

class DigestTest : public testing::Test {
 protected:
  void Push(std::vector<Change> changes) {
    PushBatch batch;
    batch.who = who_;
    batch.batch_id = service_.NextBatchId();
    batch.changes = std::move(changes);
    const absl::StatusOr<PushAnswer> answer = service_.Push(batch);
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
  void PushPatients(int count) {
    std::vector<Change> changes;
    for (int i = 0; i < count; ++i) changes.push_back(Made({"Patient", absl::StrCat(i)}, "A"));
    Push(std::move(changes));
  }
  void Delete(const EntityKey& key) {
    Change gone;
    gone.key = key;
    gone.operation = Operation::kDelete;
    gone.last_modified = 2;
    gone.base_revision = service_.Head(key)->version.revision;
    gone.base_check = service_.Head(key)->version.check;
    Push({gone});
  }
  DigestQuery Query() {
    DigestQuery query;
    query.pull.who = who_;
    query.key = kKey;
    return query;
  }
  RangesAnswer Ranges(const DigestQuery& query) {
    absl::StatusOr<RangesAnswer> answer = service_.engine().DigestRanges(query);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *std::move(answer) : RangesAnswer();
  }
  RowsAnswer Rows(const DigestQuery& query) {
    absl::StatusOr<RowsAnswer> answer = service_.engine().DigestRows(query);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *std::move(answer) : RowsAnswer();
  }

  TestService service_;
  const Principal who_{kTenant, "tablet", "", Role::kDevice, ""};
};

TEST_F(DigestTest, RangesCoverTheWholeLogWithoutGaps) {
  PushPatients(25);
  Push({Made({"Visit", "v"}, "V")});
  Delete({"Patient", "3"});
  DigestQuery query = Query();
  query.range_rows = 10;
  query.pull.types = {"Patient"};

  const RangesAnswer answer = Ranges(query);

  ASSERT_THAT(answer.ranges, SizeIs(3));
  EXPECT_TRUE(answer.end);
  EXPECT_EQ(answer.up_to, 27);
  EXPECT_EQ(answer.ranges[0].after, 0);
  EXPECT_EQ(answer.ranges[1].after, answer.ranges[0].up_to);
  EXPECT_EQ(answer.ranges[2].after, answer.ranges[1].up_to);
  EXPECT_EQ(answer.ranges[2].up_to, 27);
  // The deleted one is in no range, and the visit is of another type.
  EXPECT_EQ(answer.ranges[0].rows + answer.ranges[1].rows + answer.ranges[2].rows, 24u);
  uint64_t first = 0;
  for (Revision revision = 1; revision <= answer.ranges[0].up_to; ++revision) {
    if (revision == 4) continue;
    const EntityKey key{"Patient", absl::StrCat(revision - 1)};
    first += LeafDigest(*DigestKeyFrom(kKey), service_.Head(key)->version.check);
  }
  EXPECT_EQ(answer.ranges[0].digest, first);
}

TEST_F(DigestTest, ARangeChangesWithTheContentAndTheKey) {
  PushPatients(3);
  const uint64_t before = Ranges(Query()).ranges[0].digest;
  DigestQuery other = Query();
  other.key = "0123456789abcdeX";
  EXPECT_NE(Ranges(other).ranges[0].digest, before);

  Change edit = Made({"Patient", "1"}, "B");
  edit.operation = Operation::kUpdate;
  edit.base_revision = 2;
  edit.base_check = service_.Head({"Patient", "1"})->version.check;
  Push({edit});

  const RangesAnswer after = Ranges(Query());
  ASSERT_THAT(after.ranges, SizeIs(1));
  EXPECT_EQ(after.ranges[0].rows, 3u);
  EXPECT_NE(after.ranges[0].digest, before);
}

TEST_F(DigestTest, OneCallIsBoundedAndTheNextGoesOn) {
  for (int i = 0; i < 5; ++i) {
    std::vector<Change> changes;
    for (int k = 0; k < 4000; ++k) {
      changes.push_back(Made({"Patient", absl::StrCat(i, "-", k)}, "A"));
    }
    Push(std::move(changes));
  }

  const RangesAnswer first = Ranges(Query());
  DigestQuery more = Query();
  more.after = first.ranges.back().up_to;
  more.up_to = first.up_to;
  const RangesAnswer second = Ranges(more);

  EXPECT_FALSE(first.end);
  EXPECT_THAT(first.ranges, SizeIs(16));
  EXPECT_TRUE(second.end);
  EXPECT_THAT(second.ranges, SizeIs(4));
  EXPECT_EQ(second.ranges.back().up_to, 20'000);
}

TEST_F(DigestTest, RowsOfEntitiesTellFieldsTombstonesAndStrangers) {
  PushPatients(2);
  Delete({"Patient", "1"});
  DigestQuery query = Query();
  query.entities = {{"Patient", "0"}, {"Patient", "1"}, {"Patient", "?"}};

  const RowsAnswer answer = Rows(query);

  ASSERT_THAT(answer.rows, SizeIs(2));
  EXPECT_THAT(answer.rows[0].names, ElementsAre("Id", "Name"));
  EXPECT_EQ(answer.rows[0].digests[1], FieldDigest(*DigestKeyFrom(kKey), Value::Text("A")));
  EXPECT_EQ(answer.rows[0].check, service_.Head({"Patient", "0"})->version.check);
  EXPECT_TRUE(answer.rows[1].deleted);
  EXPECT_THAT(answer.missing, ElementsAre(EntityKey{"Patient", "?"}));
  EXPECT_EQ(answer.newest, 3);
}

TEST_F(DigestTest, RowsOfARangeComeInPages) {
  PushPatients(2500);
  DigestQuery query = Query();
  size_t rows = 0;
  int pages = 0;
  while (query.after < 2500) {
    const RowsAnswer answer = Rows(query);
    rows += answer.rows.size();
    ASSERT_GT(answer.covered, query.after);
    query.after = answer.covered;
    ++pages;
  }

  EXPECT_EQ(rows, 2500u);
  EXPECT_EQ(pages, 3);
}

TEST_F(DigestTest, TheCursorsPlaceIsToldAndAForeignOneRefused) {
  PushPatients(3);
  PullQuery pull;
  pull.who = who_;
  const absl::StatusOr<PullPage> page = service_.engine().Pull(pull);
  ASSERT_TRUE(page.ok() && page->caught_up);
  PushPatients(1);
  DigestQuery query = Query();
  query.pull.cursor = page->cursor;

  EXPECT_EQ(Ranges(query).cursor, 3);
  EXPECT_EQ(Rows(query).cursor, 3);

  query.pull.cursor = "nonsense";
  EXPECT_EQ(ReasonOf(service_.engine().DigestRanges(query).status()), "CURSOR_MALFORMED");
  EXPECT_EQ(ReasonOf(service_.engine().DigestRows(query).status()), "CURSOR_MALFORMED");
}

TEST_F(DigestTest, NothingIsReadForABadKeyOrRange) {
  DigestQuery query = Query();
  query.key = "short";
  EXPECT_EQ(ReasonOf(service_.engine().DigestRanges(query).status()), "FIELD");
  EXPECT_EQ(ReasonOf(service_.engine().DigestRows(query).status()), "FIELD");
  query = Query();
  query.after = 5;
  query.up_to = 4;
  EXPECT_EQ(ReasonOf(service_.engine().DigestRanges(query).status()), "FIELD");
  query = Query();
  query.entities.assign(kDigestKeysMax + 1, {"Patient", "0"});
  EXPECT_EQ(ReasonOf(service_.engine().DigestRows(query).status()), "MESSAGE_TOO_LARGE");
}

TEST_F(DigestTest, AnotherTenantsRowsAreInNoDigest) {
  PushPatients(3);
  DigestQuery query = Query();
  query.pull.who.tenant = "other";
  query.entities = {{"Patient", "0"}};

  EXPECT_THAT(Ranges(query).ranges, SizeIs(0));
  EXPECT_THAT(Rows(query).missing, SizeIs(1));
}

}  // namespace
}  // namespace ptdoc::sync
