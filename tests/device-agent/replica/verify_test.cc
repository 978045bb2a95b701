// Rows against what the service holds.
#include "device-agent/replica/verify.h"

#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class VerifyTest : public ReplicaTest {
 protected:
  DigestQuery Query(TestDevice& device, const VerifyProgress& progress) {
    DigestQuery query;
    query.pull.who = service_.Who(device.name());
    query.pull.cursor = *device.replica().Cursor();
    query.pull.witness = *device.ledger().Get("witness");
    query.key = progress.digest_key;
    return query;
  }
  void Judge(TestDevice& device, const DigestQuery& query, VerifyProgress* progress) {
    const absl::StatusOr<RowsAnswer> answer = service_.engine().DigestRows(query);
    ASSERT_TRUE(answer.ok()) << answer.status();
    TheirRows theirs;
    for (const RowDigest& row : answer->rows) theirs.shapes.push_back(row.names);
    for (size_t i = 0; i < answer->rows.size(); ++i) {
      const RowDigest& row = answer->rows[i];
      theirs.rows.push_back(
          {row.key, row.revision, row.check, row.deleted, &theirs.shapes[i], row.digests});
    }
    theirs.missing = answer->missing;
    theirs.cursor = answer->cursor;
    theirs.newest = answer->newest;
    const absl::StatusOr<FileState> judged = device.replica().VerifyJudge(theirs, progress);
    ASSERT_TRUE(judged.ok()) << judged.status();
    ASSERT_EQ(*judged, FileState::kReady);
  }
  void AskRanges(TestDevice& device, VerifyProgress* progress) {
    DigestQuery query = Query(device, *progress);
    query.range_rows = 2;
    const absl::StatusOr<RangesAnswer> answer = service_.engine().DigestRanges(query);
    ASSERT_TRUE(answer.ok()) << answer.status();
    for (const RangeDigest& range : answer->ranges) {
      progress->ranges.push_back({range.after, range.up_to, range.rows, range.digest, 0, 0});
    }
    progress->up_to = answer->up_to;
    progress->phase = VerifyPhase::kRows;
  }
  void Slices(TestDevice& device, VerifyProgress* progress) {
    while (progress->type_at < progress->types.size()) {
      std::vector<EntityKey> ask;
      const auto state = device.replica().VerifySlice(progress, &ask);
      ASSERT_TRUE(state.ok()) << state.status();
      ASSERT_EQ(*state, FileState::kReady);
      asked_ += ask.size();
      DigestQuery query = Query(device, *progress);
      query.entities = ask;
      if (!ask.empty()) Judge(device, query, progress);
    }
    progress->type_at = 0;
    progress->after_id.clear();
  }
  // What device-agent/rpc/verify.cc does over the network.
  VerifyProgress Verify(TestDevice& device) {
    asked_ = 0;
    differing_ = 0;
    VerifyProgress progress = *device.replica().BeginVerify();
    AskRanges(device, &progress);
    Slices(device, &progress);
    progress.phase = VerifyPhase::kRanged;
    for (const VerifyRange& range : std::vector(progress.ranges)) {
      if (range.equal()) continue;
      ++differing_;
      DigestQuery query = Query(device, progress);
      query.after = range.after;
      query.up_to = range.up_to;
      Judge(device, query, &progress);
    }
    progress.phase = VerifyPhase::kAround;
    Slices(device, &progress);
    return progress;
  }
  static Lines Found(const VerifyProgress& progress) {
    Lines lines;
    for (const auto& [key, finding] : progress.findings) {
      lines.push_back(absl::StrCat(key.type, " ", key.id, " ", static_cast<int>(finding.kind)));
      for (const std::string& column : finding.columns) absl::StrAppend(&lines.back(), " ", column);
    }
    return lines;
  }
  // Behind the triggers' back.
  void Silently(TestDevice& device, const std::string& sql) {
    ASSERT_TRUE(device.app().EnableTriggers(false).ok());
    device.Sql(sql);
    ASSERT_TRUE(device.app().EnableTriggers(true).ok());
  }
  void Repair(TestDevice& device, VerifyProgress* progress, bool push) {
    for (auto& [key, finding] : progress->findings) {
      const auto repaired = device.replica().RepairRow(push, &finding);
      ASSERT_TRUE(repaired.ok()) << repaired.status();
      EXPECT_TRUE(finding.repaired);
    }
  }
  void BeginWithFive() {
    BeginBoth();
    for (int i = 1; i <= 5; ++i) {
      a_.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Ann', '", i, "')"));
    }
    SyncBoth();
  }

  size_t asked_ = 0;      // rows that were looked at singly
  size_t differing_ = 0;  // ranges
};

TEST_F(VerifyTest, EqualRowsAreToldByRangesAlone) {
  BeginWithFive();

  const VerifyProgress progress = Verify(b_);

  EXPECT_EQ(progress.counts.at("Patient").rows(), 5u);
  EXPECT_EQ(progress.counts.at("Patient").equal(), 5u);
  EXPECT_THAT(progress.findings, IsEmpty());
  EXPECT_EQ(asked_, 0u);
  EXPECT_EQ(differing_, 0u);
}

TEST_F(VerifyTest, AFlippedByteIsFoundWhateverTheLedgerSays) {
  BeginWithFive();
  Silently(b_, "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'");

  const VerifyProgress progress = Verify(b_);

  EXPECT_THAT(Found(progress), ElementsAre("Patient p3 1 Name"));
  EXPECT_EQ(progress.counts.at("Patient").equal(), 4u);
  EXPECT_EQ(progress.counts.at("Patient").different, 1u);
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(VerifyTest, AFlippedByteIsFoundWhereTheLedgerWasFlippedToo) {
  BeginWithFive();
  Silently(b_, "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'");
  const RowState honest = **b_.ledger().FindState({"Patient", "p3"});
  RowState forged = honest;
  forged.row.hashes[1] = b_.ledger().HashOf(Value::Text("Anm"));
  ASSERT_TRUE(b_.ledger().PutState(forged).ok());

  EXPECT_THAT(Found(Verify(b_)), ElementsAre("Patient p3 1 Name"));
}

TEST_F(VerifyTest, RowsThatNobodyAnnouncedAreFound) {
  BeginWithFive();
  Silently(b_, "DELETE FROM Patient WHERE Id = 'p1'; INSERT INTO Patient VALUES('p9', 'X', '9')");

  const VerifyProgress progress = Verify(b_);

  EXPECT_THAT(Found(progress), ElementsAre("Patient p1 2", "Patient p9 3"));
  EXPECT_EQ(progress.counts.at("Patient").rows(), 6u);
  EXPECT_EQ(progress.counts.at("Patient").equal(), 4u);
}

TEST_F(VerifyTest, ARowThatTheLedgerNeverHeardOfIsFoundByItsRange) {
  BeginWithFive();
  Silently(b_, "DELETE FROM Patient WHERE Id = 'p2'");
  ASSERT_TRUE(b_.ledger().DeleteState({"Patient", "p2"}).ok());

  EXPECT_THAT(Found(Verify(b_)), ElementsAre("Patient p2 2"));
  EXPECT_GT(differing_, 0u);
}

TEST_F(VerifyTest, ARowDeletedAtTheServiceIsFoundWhereTheDeviceBelievesInIt) {
  BeginWithFive();
  const RowState old = **b_.ledger().FindState({"Patient", "p4"});
  a_.Sql("DELETE FROM Patient WHERE Id = 'p4'");
  SyncBoth();
  Silently(b_, "INSERT INTO Patient VALUES('p4', 'Ann', '4')");
  ASSERT_TRUE(b_.ledger().PutState(old).ok());

  EXPECT_THAT(Found(Verify(b_)), ElementsAre("Patient p4 3"));
}

TEST_F(VerifyTest, EditsAndUnpulledVersionsWait) {
  BeginWithFive();
  b_.Sql("UPDATE Patient SET Name = 'mine' WHERE Id = 'p1'");
  b_.Sql("DELETE FROM Patient WHERE Id = 'p2'");
  b_.Sql("INSERT INTO Patient VALUES('p8', 'new', '8')");
  a_.Sql("UPDATE Patient SET Name = 'theirs' WHERE Id = 'p3'");
  a_.Sql("INSERT INTO Patient VALUES('p7', 'new', '7')");
  a_.Sql("DELETE FROM Patient WHERE Id = 'p4'");
  Sync(a_);

  const VerifyProgress progress = Verify(b_);

  const VerifyCount& count = progress.counts.at("Patient");
  EXPECT_THAT(Found(progress), IsEmpty());
  EXPECT_EQ(count.rows_here, 5u);
  EXPECT_EQ(count.waiting_here, 4u);   // p1, p8, p3, p4
  EXPECT_EQ(count.waiting_there, 2u);  // p2, p7
  EXPECT_EQ(count.equal(), 1u);
}

TEST_F(VerifyTest, AVersionThatTheSchemaRefusesWaits) {
  a_.Begin(kClinic);
  b_.Begin(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT CHECK(Name != 'bad'), Phone TEXT);");
  a_.Sql("INSERT INTO Patient VALUES('p1', 'good', '1'), ('p2', 'bad', '2')");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'bad' WHERE Id = 'p1'");
  SyncBoth();

  const VerifyProgress progress = Verify(b_);

  EXPECT_THAT(Found(progress), IsEmpty());
  EXPECT_EQ(progress.counts.at("Patient").waiting_here, 1u);
  EXPECT_EQ(progress.counts.at("Patient").waiting_there, 1u);
}

TEST_F(VerifyTest, ColumnsThatTheDeviceHasNotAreNoDifference) {
  a_.Begin(kClinic);
  b_.Begin("CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT);");
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bea', '2')");
  SyncBoth();
  Silently(b_, "UPDATE Patient SET Name = 'Bex' WHERE Id = 'p2'");

  const VerifyProgress progress = Verify(b_);

  EXPECT_THAT(Found(progress), ElementsAre("Patient p2 1 Name"));
  EXPECT_EQ(progress.counts.at("Patient").equal(), 1u);
  EXPECT_EQ(asked_, 2u);  // No check can prove a part of a version.
}

TEST_F(VerifyTest, AColumnThatTheAppHasGainedIsNoDifferenceUntilItIsWritten) {
  BeginWithFive();
  b_.Sql("ALTER TABLE Patient ADD COLUMN Ward TEXT DEFAULT 'none'");
  Sync(b_);
  EXPECT_THAT(Found(Verify(b_)), IsEmpty());

  Silently(b_, "UPDATE Patient SET Ward = 'A' WHERE Id = 'p5'");

  EXPECT_THAT(Found(Verify(b_)), ElementsAre("Patient p5 1 Ward"));
}

TEST_F(VerifyTest, RepairArchivesTheRowAndPutsTheServicesBack) {
  BeginWithFive();
  Silently(b_,
           "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'; DELETE FROM Patient WHERE Id = 'p1'");
  VerifyProgress progress = Verify(b_);
  ASSERT_THAT(progress.findings, SizeIs(2));

  Repair(b_, &progress, /*push=*/false);
  ASSERT_TRUE(b_.FetchAll(service_).ok());

  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("Ann", "Ann", "Ann", "Ann", "Ann"));
  EXPECT_THAT(
      b_.LedgerQuery("SELECT EntityId, ResolutionType, ArchivedDataJson, IsResolved FROM "
                     "SyncConflictArchives ORDER BY EntityId"),
      ElementsAre("p1|Repaired|null|1", R"(p3|Repaired|{"Id":"p3","Name":"Anm","Phone":"3"}|0)"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(Found(Verify(b_)), IsEmpty());
}

TEST_F(VerifyTest, RepairByPushSendsTheRow) {
  BeginWithFive();
  Silently(b_,
           "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'; INSERT INTO Patient VALUES('p9', "
           "'X', '9')");
  VerifyProgress progress = Verify(b_);

  Repair(b_, &progress, /*push=*/true);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient WHERE Id IN ('p3', 'p9') ORDER BY Id"),
              ElementsAre("Anm", "X"));
  EXPECT_THAT(Found(Verify(b_)), IsEmpty());
}

TEST_F(VerifyTest, RepairTakesNoRowThatTheServiceNeverHad) {
  BeginWithFive();
  Silently(b_, "INSERT INTO Patient VALUES('p9', 'X', '9')");
  VerifyProgress progress = Verify(b_);

  Repair(b_, &progress, /*push=*/false);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient WHERE Id = 'p9'"), ElementsAre("X"));
  EXPECT_THAT(b_.LedgerQuery("SELECT 1 FROM SyncConflictArchives"), IsEmpty());
}

TEST_F(VerifyTest, RepairLeavesARowThatWasEditedSince) {
  BeginWithFive();
  Silently(b_, "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'");
  VerifyProgress progress = Verify(b_);
  b_.Sql("UPDATE Patient SET Name = 'edit' WHERE Id = 'p3'");

  VerifyFinding& finding = progress.findings.begin()->second;
  ASSERT_TRUE(b_.replica().RepairRow(/*push=*/false, &finding).ok());

  EXPECT_FALSE(finding.repaired);
  EXPECT_THAT(b_.OpenQueue(), SizeIs(1));
}

TEST_F(VerifyTest, AnUnfinishedOneGoesOn) {
  BeginWithFive();
  Silently(b_, "UPDATE Patient SET Name = 'Anm' WHERE Id = 'p3'");
  VerifyProgress progress = Verify(b_);
  progress.phase = VerifyPhase::kAround;
  progress.after = {Value::Text("p3"), Value::Integer(-7)};
  progress.waiting[{"Patient", "p4"}] = true;
  ASSERT_TRUE(b_.replica().SaveVerify(&progress).ok());
  b_.Open();

  const absl::StatusOr<VerifyProgress> again = b_.replica().BeginVerify();

  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->resumed);
  EXPECT_EQ(EncodeVerify(*again), EncodeVerify(progress));
  clock_.Advance(kVerifyResumeMax);
  EXPECT_FALSE(b_.replica().BeginVerify()->resumed);
  ASSERT_TRUE(b_.replica().SaveVerify(nullptr).ok());
  EXPECT_FALSE(b_.replica().BeginVerify()->resumed);
}

TEST_F(VerifyTest, BytesOfAnUnfinishedOneThatAreNoneAreRefused) {
  BeginWithFive();
  const std::string bytes = EncodeVerify(Verify(b_));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeVerify(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeVerify(bytes + "x").ok());
}

}  // namespace
}  // namespace ptdoc::sync
