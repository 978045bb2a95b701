// Files that are set back, replaced or lost, and services that are restored.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class RecoveryTest : public ReplicaTest {
 protected:
  // Copies a file as a backup program would.
  static void Copy(const std::string& from, const std::string& to) {
    for (const char* suffix : {"", "-wal", "-journal"}) {
      std::filesystem::remove(to + suffix);
      if (std::filesystem::exists(from + suffix)) {
        std::filesystem::copy_file(from + suffix, to + suffix);
      }
    }
  }
  std::string Backup() const { return dir_ + "/backup.db"; }
  absl::Status Uninstall() { return Replica::Uninstall(a_.options(), clock_, rng_); }
  absl::Status Reopen() { return Replica::Open(a_.options(), clock_, rng_).status(); }
  // Of the agent's own file, as any SQLite client reads it.
  Lines StateQuery(const std::string& sql) {
    auto state = sqlite::Database::Open(a_.options().state, {});
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? TestDevice::Rows(*state, sql) : Lines();
  }
};

TEST_F(RecoveryTest, UninstalledFileStaysAsItWasUntilInit) {
  constexpr char kSchema[] = "SELECT sql FROM sqlite_master ORDER BY name";
  a_.Sql(kClinic);
  const Lines before = a_.Query(kSchema);
  a_.Init();
  a_.Open();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Phone = '2'");  // Nobody drained it.
  a_.Close();

  ASSERT_TRUE(Uninstall().ok());

  EXPECT_EQ(a_.Query(kSchema), before);
  EXPECT_EQ(ReasonOf(Reopen()), "NOT_INITIALISED");
  EXPECT_TRUE(Uninstall().ok());
  EXPECT_EQ(a_.Query(kSchema), before);
  EXPECT_THAT(StateQuery("SELECT EntityId, Operation, Status FROM SyncQueueItems WHERE Status = 0"),
              ElementsAre("p1|1|0"));
  a_.Sql("UPDATE Patient SET Phone = '3'");  // Nobody could capture it.
  a_.Init();
  a_.Open();
  Sync(a_);
  ASSERT_THAT(ServiceArchives(), SizeIs(1));
  EXPECT_THAT(a_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(HasSubstr("\"Phone\":\"3\"")));
}

TEST_F(RecoveryTest, UninstallStandsBackWhileAnAgentWorksOnTheFile) {
  a_.Begin(kClinic);

  const absl::Status refused = Uninstall();

  EXPECT_EQ(ReasonOf(refused), "SECOND_AGENT");
  EXPECT_THAT(a_.Query("SELECT count(*) FROM sqlite_master WHERE name = 'SyncLog'"),
              ElementsAre("1"));
}

TEST_F(RecoveryTest, UninstallOfAFileThatInitNeverSawLeavesNothingBeside) {
  a_.Sql(kClinic);

  EXPECT_TRUE(Uninstall().ok());

  EXPECT_FALSE(std::filesystem::exists(a_.options().database + ".sync"));
  EXPECT_FALSE(std::filesystem::exists(a_.options().database + ".sync.lock"));
}

TEST_F(RecoveryTest, AppFileThatIsSetBackIsNoticedAndNothingAcknowledgedIsLost) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  Copy(a_.options().database, Backup());
  a_.Sql("UPDATE Patient SET Name = 'Newer'; INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  Sync(a_);
  a_.Close();
  a_.CloseApp();
  Copy(Backup(), a_.options().database);
  a_.OpenApp();

  a_.Open();
  const DrainReport report = a_.Drain();
  SyncBoth();

  EXPECT_TRUE(report.recovery_begun);
  EXPECT_EQ(report.file, FileState::kRecovering);
  const Lines expected = {"p1|Newer|1", "p2|Bob|2"};
  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_EQ(b_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_THAT(ServiceArchives(), IsEmpty());
  EXPECT_FALSE((*a_.replica().Facts()).recovering);
}

TEST_F(RecoveryTest, EditsInAFileThatWasSetBackAreOffered) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  Copy(a_.options().database, Backup());
  a_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  Sync(a_);
  a_.Close();
  a_.CloseApp();
  Copy(Backup(), a_.options().database);
  a_.OpenApp();
  a_.Sql("UPDATE Patient SET Phone = '77'; INSERT INTO Patient VALUES('p3', 'Cy', '3')");

  a_.Open();
  SyncBoth();

  const Lines expected = {"p1|Ann|77", "p2|Bob|2", "p3|Cy|3"};
  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_EQ(b_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
}

TEST_F(RecoveryTest, ReplacedFileIsNoticedByItsInodeWhileTheAgentRuns) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  a_.CloseApp();
  const std::string other = dir_ + "/other.db";
  {
    sqlite::OpenOptions options;
    options.mode = sqlite::OpenOptions::Mode::kCreate;
    sqlite::Database db = *sqlite::Database::Open(other, options);
    ASSERT_TRUE(db.Exec(kClinic).ok());
    ASSERT_TRUE(db.Exec("INSERT INTO Patient VALUES('p2', 'Bob', '2')").ok());
  }
  std::filesystem::rename(other, a_.options().database);
  a_.OpenApp();

  const DrainReport report = a_.Drain();
  SyncBoth();

  EXPECT_TRUE(report.recovery_begun);
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
  EXPECT_THAT(b_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
}

TEST_F(RecoveryTest, LostLedgerIsRebuiltFromThePull) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  a_.Close();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(a_.options().state + suffix);
  }
  a_.Sql("UPDATE Patient SET Phone = '2'");

  a_.Open();
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|2"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

// Nobody but this device has it any more.
TEST_F(RecoveryTest, ChildThatARestoredServiceLostIsOfferedBeforeItsParentGoes) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("INSERT INTO Visit VALUES('v1', 'p1', 'acknowledged', NULL, NULL)");
  Sync(a_);

  service_.RestoreFrom(Backup());
  ASSERT_TRUE(a_.replica().BeginRebaseline(0).ok());
  service_.set_witness("");
  IncomingPage page = *service_.Pull(a_.name(), "", 0, {});
  page.caught_up = false;
  a_.Apply(page);
  b_.Sql("DELETE FROM Patient");
  Sync(b_);
  SyncBoth();

  const absl::StatusOr<IncomingFetch> held = service_.Fetch("dev-a", {{"Visit", "v1"}});
  ASSERT_TRUE(held.ok() && held->versions.size() == 1) << held.status();
  EXPECT_FALSE(held->versions[0].deleted);
  EXPECT_EQ(*held->versions[0].fields.Find("Note"), Value::Text("acknowledged"));
}

TEST_F(RecoveryTest, EditMadeDuringARecoveryDoesNotGoWithACascade) {
  BeginBoth();
  a_.Sql(
      "INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2');"
      "INSERT INTO Visit VALUES('v1', 'p1', 'first', NULL, NULL)");
  SyncBoth();
  a_.Close();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(a_.options().state + suffix);
  }
  a_.Open();
  a_.Drain();
  IncomingPage page = *service_.Pull(a_.name(), *a_.replica().Cursor(), 0, {});
  page.caught_up = false;
  a_.Apply(page);
  a_.Sql("UPDATE Visit SET PatientId = 'p2', Note = 'moved'");
  b_.Sql("DELETE FROM Patient WHERE Id = 'p2'");
  Sync(b_);
  SyncBoth();

  const absl::StatusOr<IncomingFetch> held = service_.Fetch("dev-a", {{"Visit", "v1"}});
  ASSERT_TRUE(held.ok() && held->versions.size() == 1) << held.status();
  EXPECT_EQ(*held->versions[0].fields.Find("Note"), Value::Text("moved"));
}

// The version that the service holds knows nothing of the column.
TEST_F(RecoveryTest, EditOfAGainedColumnAloneIsOffered) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  SyncBoth();
  for (TestDevice* device : {&a_, &b_}) {
    device->Sql("ALTER TABLE Patient ADD COLUMN Allergy TEXT");
  }
  SyncBoth();
  a_.Sql("UPDATE Patient SET Allergy = 'nuts' WHERE Id = 'p1'");
  a_.Close();
  ASSERT_TRUE(std::filesystem::remove(a_.options().state));

  a_.Init();
  a_.Open();
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Allergy FROM Patient ORDER BY Id"), ElementsAre("nuts", "-"));
  EXPECT_THAT(a_.Query("SELECT Allergy FROM Patient ORDER BY Id"), ElementsAre("nuts", "-"));
}

TEST_F(RecoveryTest, OldContentThatTheServiceKnowsNeverWins) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'old', '1')");
  SyncBoth();
  Copy(a_.options().database, Backup());
  b_.Sql("UPDATE Patient SET Name = 'new'");
  SyncBoth();
  a_.Close();
  a_.CloseApp();
  Copy(Backup(), a_.options().database);
  a_.OpenApp();

  a_.Open();
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("new"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("new"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(RecoveryTest, OpenBatchIsSettledFirstAndItsAnswerMovesNothing) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  Copy(a_.options().database, Backup());
  a_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  const Taken taken = a_.Take();
  ASSERT_TRUE(service_.Push("dev-a", *taken.batch, "").ok());
  a_.Close();
  a_.CloseApp();
  Copy(Backup(), a_.options().database);
  a_.OpenApp();
  a_.Open();
  const auto open = *a_.replica().OpenBatches();

  SyncBoth();

  EXPECT_THAT(open, SizeIs(1));
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient ORDER BY Id"), ElementsAre("p1", "p2"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(RecoveryTest, PageIsNotAppliedBeforeTheRecoveryIsReady) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  Copy(a_.options().database, Backup());
  a_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  Sync(a_);
  const IncomingPage late = *service_.Pull("dev-a", *a_.replica().Cursor());
  a_.Close();
  a_.CloseApp();
  Copy(Backup(), a_.options().database);
  a_.OpenApp();
  a_.Open();

  const PageReport report = a_.Apply(late);

  EXPECT_EQ(report.file, FileState::kRecovering);
  EXPECT_EQ(*a_.replica().Cursor(), "");
}

TEST_F(RecoveryTest, RestoredServiceIsHealedByItsDevices) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("UPDATE Patient SET Name = 'after'; INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  SyncBoth();
  b_.Sql("INSERT INTO Patient VALUES('p3', 'Cy', '3')");

  service_.RestoreFrom(Backup());
  SyncBoth();

  const Lines expected = {"p1|after|1", "p2|Bob|2", "p3|Cy|3"};
  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_EQ(b_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_FALSE((*a_.replica().Facts()).rebaselining);
}

TEST_F(RecoveryTest, ServiceThatForgetsAPushIsFoundOutThoughTheCursorFits) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("INSERT INTO Patient VALUES('p2', 'Bob', '2')");
  ASSERT_TRUE(a_.PushAll(service_).ok());

  service_.RollBackTo(Backup());
  b_.Sql("INSERT INTO Patient VALUES('p3', 'Cy', '3')");
  Sync(b_);
  SyncBoth();

  const Lines expected = {"p1|Ann|1", "p2|Bob|2", "p3|Cy|3"};
  EXPECT_EQ(a_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
  EXPECT_EQ(b_.Query("SELECT * FROM Patient ORDER BY Id"), expected);
}

TEST_F(RecoveryTest, ServiceThatForgetsWhatWasFetchedIsFoundOut) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  b_.Sql("UPDATE Patient SET Name = 'Newer'");
  ASSERT_TRUE(b_.PushAll(service_).ok());
  ASSERT_TRUE(a_.ledger().NoteStale({{"Patient", "p1"}, 2, false}).ok());
  ASSERT_TRUE(a_.FetchAll(service_).ok());

  service_.RollBackTo(Backup());
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Newer"));
  EXPECT_EQ((*a_.ledger().FindState({"Patient", "p1"}))->revision, 2);
  EXPECT_EQ(
      (*service_.Fetch("dev-a", {{"Patient", "p1"}})).versions[0].fields.Find("Name")->bytes(),
      "Newer");
}

TEST_F(RecoveryTest, DeletionThatTheServiceForgotIsDoneAgain) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("DELETE FROM Patient WHERE Id = 'p1'");
  SyncBoth();

  service_.RestoreFrom(Backup());
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p2"));
  EXPECT_THAT(b_.Query("SELECT Id FROM Patient"), ElementsAre("p2"));
}

// Nobody else has touched the row: the history that is gone must not decide.
TEST_F(RecoveryTest, EditMadeDuringARebaselineIsNoEditOfADeletedRow) {
  BeginBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  Sync(a_);

  service_.RestoreFrom(Backup());
  ASSERT_TRUE(a_.replica().BeginRebaseline(0).ok());
  a_.Sql("UPDATE Patient SET Name = 'Anne' WHERE Id = 'p1'");
  a_.Sql("DELETE FROM Patient WHERE Id = 'p2'; INSERT INTO Patient VALUES('p2', 'Bobby', '3')");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient ORDER BY Id"), ElementsAre("Anne", "Bobby"));
  EXPECT_THAT(b_.Query("SELECT Name FROM Patient ORDER BY Id"), ElementsAre("Anne", "Bobby"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(RecoveryTest, OldDeletionDoesNotTouchWhatWasMadeSince) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  a_.Sql("DELETE FROM Patient");
  SyncBoth();
  b_.Sql("INSERT INTO Patient VALUES('p1', 'Anew', '1')");
  Sync(b_);

  ASSERT_TRUE(a_.replica().BeginRebaseline(0).ok());
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Anew"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

// It lost to a version that the schema refused here, and that no history knows
// any more: nobody would ever send or remove it.
TEST_F(RecoveryTest, RowThatStaysAsSentGoesWithTheLossOfItsWinner) {
  BeginBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("INSERT INTO Visit(Id, Note) VALUES('v1', 'lost')");
  a_.Drain();
  b_.Sql("PRAGMA foreign_keys=OFF; INSERT INTO Visit(Id, PatientId) VALUES('v1', 'p9')");
  Sync(b_);
  Sync(a_);
  const Lines as_sent = a_.Query("SELECT Note FROM Visit");

  service_.RestoreFrom(Backup());
  Sync(a_);
  Sync(a_);

  EXPECT_THAT(as_sent, ElementsAre("lost"));
  EXPECT_THAT(a_.LedgerQuery("SELECT 1 FROM SyncSetAside"), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), IsEmpty());
  EXPECT_THAT(a_.LedgerQuery("SELECT ResolutionType FROM SyncConflictArchives"),
              ElementsAre("ServerWins"));
}

// The revisions of the new history are lower than those of the old one.
TEST_F(RecoveryTest, VersionSetAsideInALostHistoryGivesWay) {
  BeginBoth();
  a_.Sql("INSERT INTO Visit VALUES('v1', NULL, 'old', NULL, 'taken')");
  SyncBoth();
  ASSERT_TRUE(service_.store().Backup(Backup()).ok());
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  Version refused;
  refused.key = {"Visit", "v1"};
  refused.revision = 7;
  refused.deleted = true;
  ASSERT_TRUE(b_.ledger().PutSetAside({refused, "SQLITE_CONSTRAINT", "", 1}).ok());

  service_.RestoreFrom(Backup());
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), ElementsAre("old"));
  EXPECT_FALSE(b_.ledger().FindSetAside(refused.key)->has_value());
}

// The re-baseline ended while an item held it up; the item has gone since.
TEST_F(RecoveryTest, VersionSetAsideInALostHistoryIsFetchedAndNotTried) {
  BeginBoth();
  SyncBoth();
  Version of_before;
  of_before.key = {"Visit", "v9"};
  of_before.revision = -1;  // as MarkAllUnconfirmed leaves it
  of_before.fields = Fields({{"Id", Value::Text("v9")}, {"Note", Value::Text("of before")}});
  ASSERT_TRUE(b_.ledger().PutSetAside({of_before, "MISSING_PARENT", "", 1}).ok());

  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), IsEmpty());
  EXPECT_THAT(b_.LedgerQuery("SELECT 1 FROM SyncSetAside"), IsEmpty());
}

TEST_F(RecoveryTest, EditThatNobodyAnnouncedStaysWhereAVersionWasSetAside) {
  BeginBoth();
  SyncBoth();
  Version of_before;
  of_before.key = {"Visit", "v9"};
  of_before.revision = -1;  // as MarkAllUnconfirmed leaves it
  ASSERT_TRUE(b_.ledger().PutSetAside({of_before, "MISSING_PARENT", "", 1}).ok());
  ASSERT_TRUE(b_.ledger().DropVoidSetAside().ok());
  ASSERT_TRUE(b_.app().EnableTriggers(false).ok());
  b_.Sql("INSERT INTO Visit VALUES('v9', NULL, 'silent', NULL, NULL)");

  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Note FROM Visit"), ElementsAre("silent"));
  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), ElementsAre("silent"));
}

TEST_F(RecoveryTest, TouchedRowThatWasDeletedElsewhereGoesInARebaseline) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  b_.Sql("DELETE FROM Patient WHERE Id = 'p1'");
  Sync(b_);
  a_.Sql("UPDATE Patient SET Name = Name");
  a_.Drain();

  ASSERT_TRUE(a_.replica().BeginRebaseline(1'000).ok());
  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), IsEmpty());
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

// As an agent does whose push stream is open: it takes, it does not drain.
TEST_F(RecoveryTest, WriteWithTriggersOffIsFoundByAnAgentThatOnlyTakes) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  a_.Take();
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'blind'");
  ASSERT_TRUE(a_.app().EnableTriggers(true).ok());
  a_.Take();

  clock_.Advance(absl::Minutes(2));
  for (int i = 0; i < 20 && *a_.replica().Maintain(); ++i) continue;
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Name FROM Patient"), ElementsAre("blind"));
}

TEST_F(RecoveryTest, OwnWritesAreNoReasonToScan) {
  BeginBoth();
  b_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(b_);
  Sync(a_);
  a_.Take();

  clock_.Advance(absl::Minutes(2));

  EXPECT_FALSE(*a_.replica().Maintain());
}

TEST_F(RecoveryTest, RowDeletedElsewhereGoesInARebaselineAndIsNotResurrected) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  SyncBoth();
  b_.Sql("DELETE FROM Patient WHERE Id = 'p1'");
  Sync(b_);

  ASSERT_TRUE(a_.replica().BeginRebaseline(1'000).ok());
  Sync(a_);
  Sync(b_);

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p2"));
  EXPECT_THAT(b_.Query("SELECT Id FROM Patient"), ElementsAre("p2"));
}

TEST_F(RecoveryTest, DroppedObjectsComeBackAndWhatHappenedMeanwhileIsFound) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");
  SyncBoth();
  const Lines triggers =
      a_.Query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'SyncT%'");
  for (const std::string& trigger : triggers) a_.Sql("DROP TRIGGER " + trigger);
  a_.Sql("UPDATE Patient SET Name = 'silent' WHERE Id = 'p1'; DELETE FROM Patient WHERE Id = 'p2'");

  SyncBoth();

  EXPECT_FALSE((*a_.replica().Facts()).recovering);
  EXPECT_THAT(b_.Query("SELECT * FROM Patient"), ElementsAre("p1|silent|1"));
  EXPECT_EQ(a_.Query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE "
                     "'SyncT%'")
                .size(),
            triggers.size());
}

TEST_F(RecoveryTest, EditWithoutAnyTimeLosesAfterDroppedTablesAndIsArchived) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  SyncBoth();
  for (const std::string& trigger :
       a_.Query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'SyncT%'")) {
    a_.Sql("DROP TRIGGER " + trigger);
  }
  a_.Sql("DROP TABLE SyncLog; DROP TABLE SyncControl; UPDATE Patient SET Phone = '2'");

  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|1"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives"),
              ElementsAre(R"({"Id":"p1","Name":"Ann","Phone":"2"})"));
  EXPECT_THAT(ServiceArchives(), SizeIs(1));
}

TEST_F(RecoveryTest, CutLogIsDrainedAgainFromTheSentRow) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Phone = '2'");
  a_.Drain();
  a_.Sql("DELETE FROM SyncLog WHERE Seq = (SELECT max(Seq) FROM SyncLog)");

  const DrainReport report = a_.Drain();

  EXPECT_FALSE(report.recovery_begun);
  EXPECT_TRUE(a_.Take().batch.has_value());
}

}  // namespace
}  // namespace ptdoc::sync
