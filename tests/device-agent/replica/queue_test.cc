// Draining the log, coalescing, and taking batches.
#include <fstream>

#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class QueueTest : public ReplicaTest {};

TEST_F(QueueTest, InsertBecomesACreateAndLaterAnUpdate) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', NULL)");
  a_.Drain();
  const Lines created = a_.Queue();

  a_.Sql("UPDATE Patient SET Name = 'Anne'");
  a_.Drain();

  EXPECT_THAT(created, ElementsAre("p1|0|0"));
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|1|0"));
}

TEST_F(QueueTest, InsertBecomesACreateWhenATriggerStampsItsColumns) {
  a_.options().plan.all_tables = false;
  EntityConfig& config = a_.options().plan.entities.emplace_back();
  config.table = "T";
  config.sync_state_column = "State";
  a_.Begin("CREATE TABLE T(Id TEXT PRIMARY KEY, X TEXT, State TEXT)");
  a_.Sql("INSERT INTO T(Id, X) VALUES('t1', 'x')");
  a_.Drain();
  const Lines created = a_.Queue();

  a_.Sql("UPDATE T SET X = 'y'");
  a_.Drain();

  EXPECT_THAT(created, ElementsAre("t1|0|0"));
  EXPECT_THAT(a_.Queue(), ElementsAre("t1|1|0"));
}

TEST_F(QueueTest, RowsFromBeforeInitAreInitialAndLoseWithTheSmallestTime) {
  a_.Begin(kClinic, "INSERT INTO Patient VALUES('p1', 'Ann', NULL), ('p2', 'Bob', NULL)");

  EXPECT_EQ(a_.enqueued(), 2);
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Operation, LastModifiedNs, Flags & 8 FROM "
                             "SyncQueueItems ORDER BY Id"),
              ElementsAre("p1|0|0|8", "p2|0|0|8"));
  EXPECT_TRUE((*a_.replica().Facts()).initial);
}

TEST_F(QueueTest, LongLogGoesIntoTheQueueInParts) {
  a_.options().drain_rows_max = 10;
  a_.Begin(kClinic);
  a_.Drain();
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) "
      "INSERT INTO Patient(Id) SELECT printf('p%02d', i) FROM n");
  a_.Sql("DELETE FROM Patient WHERE Id = 'p01'");

  const DrainReport first = a_.Drain();
  const size_t after_one = a_.Queue().size();
  const Taken early = a_.Take();
  const DrainReport last = a_.Drain();
  const Taken taken = a_.Take();

  EXPECT_TRUE(first.more);
  EXPECT_EQ(after_one, 10u);
  // What is sent is as new as the rows that are read for it: nothing yet.
  EXPECT_FALSE(early.batch.has_value());
  EXPECT_TRUE(early.more);
  EXPECT_FALSE(last.more);
  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_THAT(taken.batch->changes, SizeIs(24));
  EXPECT_EQ(taken.batch->changes.front().key.id, "p02");
}

// What it takes along is counted together.
TEST_F(QueueTest, LongLogBehindAMigrationIsDrainedWhole) {
  a_.options().drain_rows_max = 10;
  a_.Begin(kClinic);
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) "
      "INSERT INTO Patient(Id) SELECT 'p' || i FROM n");
  a_.Drain();
  a_.Sql("ALTER TABLE Patient ADD COLUMN Street TEXT");
  a_.Sql("UPDATE Patient SET Street = 'x'");

  EXPECT_FALSE(a_.Drain().more);
}

TEST_F(QueueTest, InitTwiceEnqueuesNothingTwice) {
  a_.Begin(kClinic, "INSERT INTO Patient VALUES('p1', 'Ann', NULL)");
  a_.Close();

  a_.Init();

  EXPECT_EQ(a_.enqueued(), 0);
}

TEST_F(QueueTest, RowCreatedAndDeletedUnsentIsCompletedWithoutSending) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', NULL)");
  a_.Drain();
  a_.Sql("DELETE FROM Patient");

  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_EQ(taken.completed, 1);
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|2|2"));
}

TEST_F(QueueTest, UndoneEditIsNotSent) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', NULL)");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'Anne'");
  a_.Drain();
  a_.Sql("UPDATE Patient SET Name = 'Ann'");

  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(QueueTest, OnlyChangedFieldsAndTheKeyAreSentOnABase) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Phone = '2'");

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  ASSERT_THAT(taken.batch->changes, SizeIs(1));
  const Change& change = taken.batch->changes[0];
  EXPECT_EQ(change.operation, Operation::kUpdate);
  EXPECT_GT(change.base_revision, 0);
  EXPECT_EQ(change.base_check.size(), 8u);
  EXPECT_FALSE(change.complete);
  EXPECT_EQ(change.fields, Fields({{"Id", Value::Text("p1")}, {"Phone", Value::Text("2")}}));
}

TEST_F(QueueTest, DifferencesThatACollationHidesAreSent) {
  a_.Begin("CREATE TABLE T(Id TEXT PRIMARY KEY, A TEXT COLLATE NOCASE, B)");
  a_.Sql("INSERT INTO T VALUES('x', 'abc', 1)");
  Sync(a_);
  a_.Sql("UPDATE T SET A = 'ABC', B = 1.0");

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_EQ(taken.batch->changes[0].fields,
            Fields({{"A", Value::Text("ABC")}, {"B", Value::Real(1)}, {"Id", Value::Text("x")}}));
}

TEST_F(QueueTest, DeletedAndCreatedAgainIsSentAsAWholeCreateOnItsBase) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("DELETE FROM Patient; INSERT INTO Patient VALUES('p1', 'Other', '1')");

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  const Change& change = taken.batch->changes[0];
  EXPECT_EQ(change.operation, Operation::kCreate);
  EXPECT_GT(change.base_revision, 0);
  EXPECT_TRUE(change.complete);
}

TEST_F(QueueTest, EditDuringSendingWaitsForTheAnswer) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken first = a_.Take();
  a_.Sql(
      "BEGIN; UPDATE Patient SET Name = 'Anne'; INSERT INTO Patient VALUES('p2', 'Bob', ''); "
      "COMMIT");

  const Taken second = a_.Take();

  ASSERT_TRUE(first.batch.has_value());
  EXPECT_FALSE(second.batch.has_value());  // What the app committed with it waits, too.
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|1", "p1|1|0", "p2|0|0"));
}

TEST_F(QueueTest, WaitingEditIsSentOnTheAnsweredRevision) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  const Taken first = a_.Take();
  a_.Sql("UPDATE Patient SET Name = 'Anne'");
  a_.Take();
  const IncomingAnswer answer = *service_.Push("dev-a", *first.batch, "");

  a_.Finish(answer);
  const Taken second = a_.Take();

  ASSERT_TRUE(second.batch.has_value());
  EXPECT_EQ(second.batch->changes[0].base_revision, answer.results[0].revision);
  EXPECT_EQ(second.batch->changes[0].fields,
            Fields({{"Id", Value::Text("p1")}, {"Name", Value::Text("Anne")}}));
}

TEST_F(QueueTest, LimitsCutABatchAndSayThatMoreWaits) {
  a_.Begin(kClinic);
  for (int i = 0; i < 5; ++i) {
    a_.Sql(absl::StrCat("INSERT INTO Patient VALUES('p", i, "', 'Ann', '1')"));
  }
  TakeLimits limits;
  limits.changes = 2;

  const Taken first = a_.Take(limits);
  limits.bytes = 1;
  const Taken second = a_.Take(limits);
  const Taken third = a_.Take();

  EXPECT_THAT(first.batch->changes, SizeIs(2));
  EXPECT_TRUE(first.more);
  EXPECT_THAT(second.batch->changes, SizeIs(1));
  EXPECT_THAT(third.batch->changes, SizeIs(2));
  EXPECT_FALSE(third.more);
  EXPECT_THAT(*a_.replica().OpenBatches(),
              ElementsAre(first.batch->batch_id, second.batch->batch_id, third.batch->batch_id));
}

TEST_F(QueueTest, RowThatIsTooLargeFailsAloneAndForGood) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('big', printf('%.*c', 5000, 'x'), ''), ('p2', 'Bob', '')");
  TakeLimits limits;
  limits.row_bytes = 1000;

  const Taken taken = a_.Take(limits);

  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_THAT(taken.batch->changes, SizeIs(1));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Status, RetryCount = MaxRetries FROM "
                             "SyncQueueItems ORDER BY Id"),
              ElementsAre("big|3|1", "p2|1|0"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE Status = 3")[0],
              HasSubstr("ROW_TOO_LARGE"));
}

TEST_F(QueueTest, EditOfAFailedRowReturnsItToPending) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('big', printf('%.*c', 5000, 'x'), '')");
  TakeLimits limits;
  limits.row_bytes = 1000;
  a_.Take(limits);
  a_.Sql("UPDATE Patient SET Name = 'small'");

  a_.Drain();

  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Status, RetryCount, ErrorMessage FROM "
                             "SyncQueueItems"),
              ElementsAre("big|0|0|-"));
}

TEST_F(QueueTest, SecondWaitingItemMadeBySqlIsMerged) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Drain();
  ASSERT_TRUE(a_.ledger()
                  .db()
                  .Exec("INSERT INTO SyncQueueItems(EntityType, EntityId, Operation, EnqueuedAt, "
                        "Status) VALUES('Patient', 'p1', 1, '2026-02-17T04:45:00.000Z', 0)")
                  .ok());

  const Taken taken = a_.Take();

  EXPECT_THAT(taken.batch->changes, SizeIs(1));
  EXPECT_THAT(a_.Queue(), ElementsAre("p1|0|1"));
}

TEST_F(QueueTest, KeyWithNullIsAProblemAndNoItem) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES(NULL, 'Ann', '1')");

  const DrainReport report = a_.Drain();

  EXPECT_THAT(report.problems, testing::Contains(HasSubstr("INVALID_KEY")));
  EXPECT_THAT(a_.Queue(), IsEmpty());
}

TEST_F(QueueTest, ChangedKeyIsADeletionAndACreation) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Id = 'p2'");

  const Taken taken = a_.Take();

  ASSERT_THAT(taken.batch->changes, SizeIs(2));
  EXPECT_EQ(taken.batch->changes[0].operation, Operation::kDelete);
  EXPECT_EQ(taken.batch->changes[1].operation, Operation::kCreate);
  EXPECT_EQ(taken.batch->changes[1].base_revision, 0);
}

TEST_F(QueueTest, RowPushedOutByReplaceIsSentAsADeletion) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Visit(Id, Code) VALUES('v1', 'X')");
  Sync(a_);
  a_.Sql("INSERT OR REPLACE INTO Visit(Id, Code) VALUES('v2', 'X')");

  const Taken taken = a_.Take();

  std::map<std::string, Operation> sent;
  for (const Change& change : taken.batch->changes) sent[change.key.id] = change.operation;
  EXPECT_EQ(sent, (std::map<std::string, Operation>{{"v1", Operation::kDelete},
                                                    {"v2", Operation::kCreate}}));
}

TEST_F(QueueTest, MassDeletionTogetherWithASchemaChangeWaitsForAPerson) {
  a_.Begin(kClinic);
  for (int i = 0; i < 40; ++i) {
    a_.Sql(absl::StrCat("INSERT INTO Visit(Id, Code) VALUES('v", i, "', 'c", i, "')"));
  }
  Sync(a_);
  a_.Sql("BEGIN; DELETE FROM Visit WHERE rowid > 10; CREATE TABLE Other(x); COMMIT");

  const Taken held = a_.Take();
  const int64_t confirmed = *a_.replica().ConfirmDeletions();
  const Taken sent = a_.Take();

  EXPECT_FALSE(held.batch.has_value());
  EXPECT_EQ(confirmed, 30);
  ASSERT_TRUE(sent.batch.has_value());
  EXPECT_THAT(sent.batch->changes, SizeIs(30));
}

TEST_F(QueueTest, TableStaysSyncedWhenOneOfItsKeysIsANumber) {
  a_.Begin("CREATE TABLE T(Id PRIMARY KEY, X)");
  a_.Sql("INSERT INTO T VALUES('a', 1), (7, 2)");
  a_.Close();
  a_.Open();

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_THAT(a_.Queue(), ElementsAre("[\"a\"]|0|1", "[7]|0|1"));
  EXPECT_THAT((*a_.replica().Facts()).warnings, IsEmpty());
}

TEST_F(QueueTest, TableThatIsAwaySendsNothingAndSaysSo) {
  a_.options().plan.all_tables = false;
  a_.options().plan.entities.resize(1);
  a_.options().plan.entities[0].table = "Patient";
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Drain();
  a_.Sql("ALTER TABLE Patient RENAME TO Patient_old");

  const DrainReport report = a_.Drain();
  const Taken taken = a_.Take();

  EXPECT_THAT(report.problems, testing::Contains(HasSubstr("Patient is not as it was")));
  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|0|0"));
}

TEST_F(QueueTest, TableWhoseKeyIsAnotherSendsNothingAndSaysSo) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Id TO Uuid; UPDATE Patient SET Name = 'Anne'");

  const DrainReport report = a_.Drain();
  const Taken taken = a_.Take();
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Uuid TO Id");
  const Taken later = a_.Take();

  EXPECT_THAT(report.problems, testing::Contains(HasSubstr("its key was Id and is Uuid")));
  EXPECT_FALSE(taken.batch.has_value());
  ASSERT_TRUE(later.batch.has_value());
  EXPECT_EQ(*later.batch->changes.at(0).fields.Find("Name"), Value::Text("Anne"));
}

TEST_F(QueueTest, InitTakesANewKeyForGood) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Close();
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Id TO Uuid");

  a_.Init();
  a_.Open();

  EXPECT_NE(a_.replica().plan().ByType("Patient"), nullptr);
  EXPECT_THAT(a_.Drain().problems, testing::Not(testing::Contains(HasSubstr("key"))));
}

TEST_F(QueueTest, TableKeepsItsNumberWhileItIsAway) {
  a_.Begin(kClinic);
  const int number = a_.replica().plan().ByType("Visit")->number;
  a_.Sql("DROP TABLE Visit; CREATE TABLE Other(Id TEXT PRIMARY KEY)");
  a_.Drain();
  a_.Close();
  a_.Sql("CREATE TABLE Visit(Id TEXT PRIMARY KEY, Note TEXT)");

  a_.Open();

  EXPECT_EQ(a_.replica().plan().ByType("Visit")->number, number);
  EXPECT_NE(a_.replica().plan().ByType("Other")->number, number);
}

TEST_F(QueueTest, VictimOfAReplaceThatDidNotHappenIsNotSent) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Visit(Id, Code) VALUES('v1', 'X')");
  Sync(a_);
  a_.Sql("INSERT OR IGNORE INTO Visit(Id, Code) VALUES('v2', 'X')");

  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT Id FROM Visit"), ElementsAre("v1"));
}

TEST_F(QueueTest, SecondAgentStandsBack) {
  a_.Begin(kClinic);

  const auto second = Replica::Open(a_.options(), clock_, rng_);

  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(second.status()), "SECOND_AGENT");
}

TEST_F(QueueTest, SecondAgentStandsBackWhateverItsOwnFileIsAndByWhateverNameItKnowsTheApps) {
  a_.Begin(kClinic);
  ReplicaOptions other = a_.options();
  other.state = dir_ + "/elsewhere.sync";
  ReplicaOptions by_link = other;
  by_link.database = dir_ + "/link.db";
  std::filesystem::create_symlink(a_.options().database, by_link.database);

  EXPECT_EQ(ReasonOf(Replica::Open(other, clock_, rng_).status()), "SECOND_AGENT");
  EXPECT_EQ(ReasonOf(Replica::Open(by_link, clock_, rng_).status()), "SECOND_AGENT");
  EXPECT_EQ(ReasonOf(Replica::Initialise(by_link, clock_, rng_).status()), "SECOND_AGENT");
  EXPECT_FALSE(std::filesystem::exists(other.state));
}

TEST_F(QueueTest, TwoAppsCannotShareAnAgentsOwnFile) {
  a_.Begin(kClinic);
  b_.Sql(kClinic);
  b_.options().state = a_.options().state;

  EXPECT_EQ(ReasonOf(Replica::Initialise(b_.options(), clock_, rng_).status()), "SECOND_AGENT");
}

TEST_F(QueueTest, OwnFileThatCannotBeOpenedJustNowIsNotToBeMovedAway) {
  a_.Begin(kClinic);
  a_.Close();
  std::filesystem::create_directory(a_.options().state + "-wal");

  const absl::Status away = Replica::Open(a_.options(), clock_, rng_).status();

  EXPECT_EQ(ReasonOf(away), "STATE_AWAY");
  EXPECT_THAT(std::string(away.message()), HasSubstr("Leave it where it is"));
}

TEST_F(QueueTest, OwnFileThatIsDamagedIsToBeMovedAway) {
  a_.Begin(kClinic);
  a_.Close();
  std::ofstream(a_.options().state, std::ios::trunc) << std::string(8192, 'x');

  const absl::Status damaged = Replica::Open(a_.options(), clock_, rng_).status();

  EXPECT_EQ(ReasonOf(damaged), "STATE_UNUSABLE");
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("Move it away"));
}

TEST_F(QueueTest, FileThatInitNeverSawIsRefused) {
  a_.Sql(kClinic);

  const auto opened = Replica::Open(a_.options(), clock_, rng_);

  EXPECT_EQ(ReasonOf(opened.status()), "NOT_INITIALISED");
}

TEST_F(QueueTest, FileThatTheAppHoldsIsBlockedAndNotAnError) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  a_.Sql("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE Patient SET Name = 'x'");

  const DrainReport blocked = a_.Drain();
  a_.Sql("COMMIT; PRAGMA locking_mode=NORMAL; SELECT * FROM Patient");
  const DrainReport free = a_.Drain();

  EXPECT_EQ(blocked.file, FileState::kBlockedByApp);
  EXPECT_EQ(free.file, FileState::kReady);
  EXPECT_EQ(free.items, 1);
}

TEST_F(QueueTest, SeveralBatchesAreTakenAtOnceAsIfOneAfterTheOther) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient(Id) VALUES('p1'), ('p2'), ('p3'), ('p4'), ('p5')");
  TakeLimits limits;
  limits.batches = 3;
  limits.changes = 2;

  const TakeReport taken = a_.Take(limits);
  const TakeReport again = a_.Take(limits);

  std::vector<std::string> ids;
  for (const auto& batch : taken.batches) {
    for (const Change& change : batch->changes) ids.push_back(change.key.id);
    ids.push_back("-");
    EXPECT_NE(a_.replica().InMemory(batch->batch_id), nullptr);
  }
  EXPECT_THAT(ids, ElementsAre("p1", "p2", "-", "p3", "p4", "-", "p5", "-"));
  EXPECT_FALSE(taken.more);
  EXPECT_THAT(again.batches, IsEmpty());
  EXPECT_THAT(*a_.replica().OpenBatches(), SizeIs(3));
}

}  // namespace
}  // namespace ptdoc::sync
