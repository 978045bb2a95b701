// What a device makes of a row that the service merged (docs/CONFLICTS.md, row 9).
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr TimeNs kEarly = 2'900'000'000'000'000'000;
constexpr TimeNs kLate = 3'000'000'000'000'000'000;
constexpr char kArchives[] =
    "SELECT ResolutionType, Rule, IsResolved, ArchivedDataJson FROM SyncConflictArchives";

// p1 stands at the service, which merges patients; both devices know it.
class MergeAnswerTest : public ReplicaTest {
 protected:
  void BeginShared(const std::string& schema_of_b = kClinic) {
    service_.SetPolicy("Patient", ConflictPolicy::kMergeFields);
    a_.Begin(kClinic);
    b_.Begin(schema_of_b);
    a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
    SyncBoth();
  }
  static void Edit(TestDevice& device, const std::string& set, TimeNs time) {
    device.Sql("UPDATE Patient SET " + set);
    device.Drain();
    device.SetItemTime("p1", time);
  }
  Revision BaseOf(TestDevice& device) {
    return (*device.ledger().FindState({"Patient", "p1"}))->revision;
  }
};

TEST_F(MergeAnswerTest, RowAndBaseChangeTogetherAndNobodyIsAskedWhereNothingIsLost) {
  BeginShared();
  Edit(a_, "Name = 'Anna'", kEarly);
  Edit(b_, "Phone = '2'", kLate);
  Sync(a_);
  const Taken taken = b_.Take();
  const IncomingAnswer answer = *service_.Push("dev-b", *taken.batch, "");

  const AnswerReport report = b_.Finish(answer);

  ASSERT_THAT(report.conflicts, SizeIs(1));
  EXPECT_EQ(report.conflicts[0].resolution, Resolution::kMerged);
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|2"));
  EXPECT_EQ(BaseOf(b_), answer.results[0].revision);
  EXPECT_THAT(b_.LedgerQuery(kArchives),
              ElementsAre(R"(Merged|9|1|{"Id":"p1","Name":"Ann","Phone":"2"})"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ConflictId FROM SyncConflictArchives"),
              ElementsAre(ServiceArchives().at(0).conflict_id));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_FALSE(b_.Take().batch.has_value());  // What was merged is no edit.
  SyncBoth();
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|2"));
  EXPECT_THAT(a_.LedgerQuery(kArchives), IsEmpty());
}

TEST_F(MergeAnswerTest, AValueThatLostIsKeptOpenUnderTheServicesId) {
  BeginShared();
  Edit(a_, "Phone = '2'", kLate);
  Edit(b_, "Name = 'Anna', Phone = '3'", kEarly);
  Sync(a_);

  Sync(b_);

  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|2"));
  EXPECT_THAT(b_.LedgerQuery(kArchives),
              ElementsAre(R"(Merged|9|0|{"Id":"p1","Name":"Anna","Phone":"3"})"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ConflictId FROM SyncConflictArchives"),
              ElementsAre(ServiceArchives().at(0).conflict_id));
}

TEST_F(MergeAnswerTest, WhoseRowStandsKeepsNoLossAndWhoLostHearsOfIt) {
  BeginShared();
  Edit(a_, "Phone = '2'", kEarly);
  Edit(b_, "Phone = '3'", kLate);
  Sync(a_);

  Sync(b_);
  Sync(a_);

  EXPECT_THAT(b_.LedgerQuery(kArchives), IsEmpty());
  EXPECT_EQ(BaseOf(b_), BaseOf(a_));
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|3"));
  EXPECT_THAT(a_.LedgerQuery(kArchives),
              ElementsAre(R"(Merged|9|0|{"Id":"p1","Name":"Ann","Phone":"2"})"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ConflictId FROM SyncConflictArchives"),
              ElementsAre(ServiceArchives().at(0).conflict_id));
}

// Where the newer edit stands when the answer comes.
class NewerEditTest : public MergeAnswerTest, public testing::WithParamInterface<bool> {};

TEST_P(NewerEditTest, KeepsRowAndBaseAndIsMergedInItsTurn) {
  const bool drained = GetParam();
  BeginShared();
  Edit(a_, "Name = 'Anna'", kEarly);
  Edit(b_, "Phone = '2'", kLate);
  Sync(a_);
  const Taken taken = b_.Take();
  const IncomingAnswer answer = *service_.Push("dev-b", *taken.batch, "");
  const Revision before = BaseOf(b_);
  b_.Sql("UPDATE Patient SET Phone = '4'");
  if (drained) b_.Drain();

  b_.Finish(answer);

  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|4"));
  EXPECT_EQ(BaseOf(b_), before);
  b_.Drain();
  b_.SetItemTime("p1", kLate + 1);
  SyncBoth();
  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|4"));
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|4"));
}

INSTANTIATE_TEST_SUITE_P(InQueueOrLog, NewerEditTest, testing::Bool());

TEST_F(MergeAnswerTest, AMergedRowThatTheSchemaRefusesIsSetAsideAndTheRowStaysAsSent) {
  std::string strict = kClinic;
  strict.replace(strict.find("Name TEXT"), 9, "Name TEXT CHECK(Name <> 'Anna')");
  BeginShared(strict);
  Edit(a_, "Name = 'Anna'", kEarly);
  Edit(b_, "Phone = '2'", kLate);
  Sync(a_);

  Sync(b_);

  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|2"));
  EXPECT_THAT(b_.LedgerQuery("SELECT Code FROM SyncSetAside"),
              ElementsAre("SQLITE_CONSTRAINT_CHECK"));
  EXPECT_FALSE(b_.Take().batch.has_value());  // Not sent for ever.
  a_.Sql("UPDATE Patient SET Name = 'Ann Lee'");
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann Lee|2"));
}

// An app that lacks a column neither sends it nor takes it from others.
TEST_F(MergeAnswerTest, AColumnThatOneAppDoesNotHaveSurvivesTheMerge) {
  BeginShared(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT);"
      "CREATE TABLE Visit(Id TEXT PRIMARY KEY, PatientId TEXT, Note TEXT,"
      " SignatureHash TEXT, Code TEXT)");
  Edit(a_, "Phone = '2'", kEarly);
  Edit(b_, "Name = 'Anna'", kLate);
  Sync(a_);

  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna|2"));
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Anna"));
  EXPECT_THAT(b_.LedgerQuery(kArchives), IsEmpty());  // Its row stands, as far as it sees.
}

}  // namespace
}  // namespace ptdoc::sync
