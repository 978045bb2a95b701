// Versions of others in the app's tables.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ApplyTest : public ReplicaTest {
 protected:
  static Version V(const std::string& type, const std::string& id, Revision revision,
                   std::vector<Field> fields) {
    Version version;
    version.key = {type, id};
    version.revision = revision;
    version.check = "checkchk";
    version.last_modified = 1'000;
    fields.push_back({"Id", Value::Text(id)});
    version.fields = Fields(std::move(fields));
    return version;
  }
  static Version Patient(const std::string& id, Revision revision, const std::string& name) {
    return V("Patient", id, revision, {{"Name", Value::Text(name)}, {"Phone", Value::Null()}});
  }
  static Version Visit(const std::string& id, Revision revision, const std::string& patient,
                       const std::string& code) {
    return V("Visit", id, revision,
             {{"PatientId", patient.empty() ? Value::Null() : Value::Text(patient)},
              {"Note", Value::Text("n")},
              {"SignatureHash", Value::Null()},
              {"Code", Value::Text(code)}});
  }
  static Version Gone(const std::string& type, const std::string& id, Revision revision) {
    Version version;
    version.key = {type, id};
    version.revision = revision;
    version.check = "checkchk";
    version.deleted = true;
    return version;
  }
  static IncomingPage Page(std::vector<Version> versions) {
    static int number = 0;
    IncomingPage page;
    page.versions = std::move(versions);
    page.cursor = absl::StrCat("cursor", ++number);
    page.batch_end = true;
    return page;
  }
  Lines SetAsides() {
    return a_.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside ORDER BY EntityId");
  }
};

// The app held its file for minutes, or its disk was full.
TEST_F(ApplyTest, PageThatHadToWaitDoesNotSetTheClockBack) {
  a_.Begin(kClinic);
  IncomingPage page = Page({Patient("p1", 1, "Ann")});
  page.server_time = clock_.Now();
  a_.replica().ObserveServerTime(page.server_time);
  clock_.Advance(absl::Minutes(5));

  a_.Apply(page);

  EXPECT_THAT(a_.Query("SELECT ClockOffsetNs FROM SyncControl"), ElementsAre("0"));
}

TEST_F(ApplyTest, PageIsAppliedOnceAndNeverComesBackAsAnEdit) {
  a_.Begin(kClinic);
  const IncomingPage page = Page({Patient("p1", 1, "Ann"), Visit("v1", 2, "p1", "c")});

  const PageReport first = a_.Apply(page);
  const PageReport again = a_.Apply(page);

  EXPECT_EQ(first.applied, 2u);
  EXPECT_EQ(again.applied, 0u);
  EXPECT_EQ(again.skipped, 2u);
  EXPECT_THAT(a_.Query("SELECT Id, Name FROM Patient"), ElementsAre("p1|Ann"));
  EXPECT_EQ(*a_.replica().Cursor(), page.cursor);
  EXPECT_EQ(a_.Drain().items, 0);
  EXPECT_FALSE(a_.Take().batch.has_value());
  EXPECT_THAT(a_.LedgerQuery("SELECT * FROM SyncStale"), IsEmpty());
  EXPECT_THAT(a_.LedgerQuery("SELECT * FROM SyncIntents"), IsEmpty());
}

TEST_F(ApplyTest, LowerRevisionNeverReplacesAHigherOne) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 5, "New")}));

  a_.Apply(Page({Patient("p1", 3, "Old")}));

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("New"));
}

TEST_F(ApplyTest, RowWithAnOpenEditIsNotedStaleAndFetchedLater) {
  BeginBoth();
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Name = 'Mine'");
  a_.Drain();

  const PageReport report = a_.Apply(Page({Patient("p1", 99, "Theirs")}));

  EXPECT_EQ(report.skipped, 1u);
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Mine"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Revision FROM SyncStale"), ElementsAre("p1|99"));
  EXPECT_THAT(*a_.replica().ToFetch(10), IsEmpty());
}

TEST_F(ApplyTest, UndrainedEditIsFoundInsideTheWriteTransaction) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann")}));
  a_.Sql("UPDATE Patient SET Name = 'Mine'");  // Nobody drained it.

  a_.Apply(Page({Patient("p1", 2, "Theirs")}));

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Mine"));
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("p1|1|0"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId FROM SyncStale"), ElementsAre("p1"));
}

TEST_F(ApplyTest, EditThatNobodyAnnouncedBecomesAnItemAndIsNotOverwritten) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann")}));
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Patient SET Name = 'Silent'");

  const PageReport report = a_.Apply(Page({Patient("p1", 2, "Theirs")}));

  EXPECT_TRUE(report.items_made);
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Silent"));
  const Taken taken = a_.Take();
  ASSERT_TRUE(taken.batch.has_value());
  EXPECT_EQ(taken.batch->changes[0].last_modified, 1'001);
}

TEST_F(ApplyTest, ColumnsThatAVersionLacksStayAndNewRowsGetTheDefault) {
  a_.Begin(kClinic);
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("A")}, {"Phone", Value::Text("7")}}),
                 V("Patient", "p2", 2, {{"Name", Value::Text("B")}})}));

  a_.Apply(
      Page({V("Patient", "p1", 3, {{"Name", Value::Text("C")}, {"Other", Value::Text("x")}})}));

  EXPECT_THAT(a_.Query("SELECT * FROM Patient ORDER BY Id"), ElementsAre("p1|C|7", "p2|B|none"));
  EXPECT_EQ(a_.Drain().items, 0);
  EXPECT_FALSE(a_.Take().batch.has_value());
}

TEST_F(ApplyTest, SwapOfUniqueValuesInsideAPagePasses) {
  a_.Begin(kClinic);
  a_.Apply(Page({Visit("v1", 1, "", "x"), Visit("v2", 2, "", "y")}));

  a_.Apply(Page({Visit("v1", 3, "", "y"), Visit("v2", 4, "", "x")}));

  EXPECT_THAT(a_.Query("SELECT Id, Code FROM Visit ORDER BY Id"), ElementsAre("v1|y", "v2|x"));
  EXPECT_THAT(SetAsides(), IsEmpty());
}

TEST_F(ApplyTest, RefusedVersionIsSetAsideAndTheRestApplies) {
  a_.Begin(kClinic);
  a_.Apply(Page({Visit("v1", 1, "", "x")}));

  const PageReport report = a_.Apply(
      Page({Visit("v2", 2, "", "x"), Visit("v3", 3, "nobody", "z"), Patient("p1", 4, "A")}));

  EXPECT_EQ(report.applied, 1u);
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p1"));
  EXPECT_THAT(SetAsides(),
              ElementsAre("v2|SQLITE_CONSTRAINT_UNIQUE", "v3|SQLITE_CONSTRAINT_FOREIGNKEY"));
}

TEST_F(ApplyTest, RefusedVersionIsSetAsideWhereTheFileHasNoForeignKeys) {
  a_.Begin("CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT CHECK(Name != 'bad'));");

  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("bad")}})}));

  EXPECT_THAT(SetAsides(), ElementsAre("p1|SQLITE_CONSTRAINT_CHECK"));
}

TEST_F(ApplyTest, SetAsideVersionIsAppliedWhenItPasses) {
  a_.Begin(kClinic);
  a_.Apply(Page({Visit("v1", 1, "late", "x")}));
  const Lines before = SetAsides();

  a_.Apply(Page({Patient("late", 2, "A")}));

  EXPECT_THAT(before, SizeIs(1));
  EXPECT_THAT(SetAsides(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT Id FROM Visit"), ElementsAre("v1"));
}

// As an answer to a fetch may be that was asked for before.
TEST_F(ApplyTest, OlderVersionThatArrivesLateLeavesTheNewerOneSetAside) {
  a_.Begin(kClinic);
  a_.Apply(Page({Visit("v1", 1, "", "x")}));
  a_.Apply(Page({Visit("v1", 5, "late", "x")}));

  a_.Apply(Page({Visit("v1", 3, "", "y")}));
  const Lines between = a_.Query("SELECT Code FROM Visit");
  a_.Apply(Page({Patient("late", 6, "A")}));

  EXPECT_THAT(between, ElementsAre("y"));
  EXPECT_THAT(SetAsides(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT PatientId, Code FROM Visit"), ElementsAre("late|x"));
}

TEST_F(ApplyTest, ValueThatTheColumnWouldChangeIsSetAside) {
  a_.Begin("CREATE TABLE T(Id TEXT PRIMARY KEY, N INTEGER)");

  a_.Apply(Page({V("T", "t1", 1, {{"N", Value::Text("7")}}),
                 V("T", "t2", 2, {{"N", Value::Text("seven")}})}));

  EXPECT_THAT(a_.Query("SELECT Id, N FROM T"), ElementsAre("t2|seven"));
  EXPECT_THAT(SetAsides(), ElementsAre("t1|AFFINITY"));
}

TEST_F(ApplyTest, CascadeThatWouldDeleteAnUnsentEditSetsItsCauseAside) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann")}));
  a_.Sql("INSERT INTO Visit(Id, PatientId, Note) VALUES('v1', 'p1', 'typed offline')");
  a_.Drain();

  a_.Apply(Page({Gone("Patient", "p1", 2)}));

  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), ElementsAre("typed offline"));
  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p1"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("p1|TOUCHES_EDIT|Visit/v1"));
}

TEST_F(ApplyTest, CascadeOfAPageThatWouldDeleteAnUnsentEditSetsItsCauseAloneAside) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann"), Patient("p2", 2, "Bob")}));
  a_.Sql("INSERT INTO Visit(Id, PatientId, Note) VALUES('v1', 'p1', 'typed offline')");
  a_.Drain();

  a_.Apply(Page({Patient("p2", 3, "Ben"), Gone("Patient", "p1", 4), Patient("p3", 5, "Cid")}));

  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), ElementsAre("typed offline"));
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient ORDER BY Id"), ElementsAre("Ann", "Ben", "Cid"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("p1|TOUCHES_EDIT|Visit/v1"));
}

TEST_F(ApplyTest, CascadeOverASyncedRowIsFetchedAndNotSentAsADeletion) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann"), Visit("v1", 2, "p1", "c")}));

  a_.Apply(Page({Gone("Patient", "p1", 3)}));
  const DrainReport drained = a_.Drain();

  EXPECT_EQ(drained.items, 0);
  EXPECT_THAT(a_.Query("SELECT Id FROM Visit"), IsEmpty());
  EXPECT_THAT(*a_.replica().ToFetch(10), ElementsAre(EntityKey{"Visit", "v1"}));
  EXPECT_FALSE(a_.Take().batch.has_value());
}

TEST_F(ApplyTest, WhatTheAppsTriggerChangesInAnAppliedRowIsPutBackAsSent) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER up AFTER UPDATE ON Patient BEGIN "
                        "UPDATE Patient SET Phone = 'trigger' WHERE Id = NEW.Id; END"));
  a_.Apply(
      Page({V("Patient", "p1", 1, {{"Name", Value::Text("A")}, {"Phone", Value::Text("1")}})}));

  a_.Apply(
      Page({V("Patient", "p1", 2, {{"Name", Value::Text("B")}, {"Phone", Value::Text("2")}})}));

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|B|2"));
  EXPECT_EQ(a_.Drain().items, 0);
}

// Rows of one page are written at a stroke only where nothing else happens.
TEST_F(ApplyTest, WhatTheAppsTriggerChangesInTheRowsOfAPageIsPutBackAsSent) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER up AFTER UPDATE ON Patient WHEN NEW.Id = 'p2' BEGIN "
                        "UPDATE Patient SET Phone = 'trigger' WHERE Id IN ('p1', 'p2'); END"));
  a_.Apply(Page({Patient("p1", 1, "A"), Patient("p2", 2, "B"), Patient("p3", 3, "C")}));

  a_.Apply(Page({Patient("p1", 4, "D"), Patient("p2", 5, "E"), Patient("p3", 6, "F")}));

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient WHERE Phone IS NOT 'trigger' ORDER BY Id"),
              ElementsAre("D", "E", "F"));
  EXPECT_EQ(a_.Drain().items, 0);
  EXPECT_FALSE(a_.Take().batch.has_value());
}

// A page of many rows is written without a savepoint around it.
class LargePageTest : public ApplyTest {
 protected:
  static constexpr int kRows = 100;
  static constexpr char kWrong[] = "SELECT Id FROM Patient WHERE Name != 'n' || substr(Id, 2)";

  // p1 to p100, of whom `odd` is called "odd".
  static IncomingPage Many(Revision first, int odd = 0) {
    std::vector<Version> versions;
    for (int i = 1; i <= kRows; ++i) {
      const std::string name = i == odd ? "odd" : absl::StrCat("n", i);
      versions.push_back(Patient(absl::StrCat("p", i), first + i, name));
    }
    return Page(std::move(versions));
  }
};

TEST_F(LargePageTest, WhatATriggerOfTheAppChangesInOneOfManyRowsIsPutBackAsSent) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER t AFTER INSERT ON Patient WHEN NEW.Id = 'p60' BEGIN "
                        "UPDATE Patient SET Phone = 'trigger' WHERE Id IN ('p1', 'p60'); END"));

  EXPECT_EQ(a_.Apply(Many(0)).applied, 100u);

  EXPECT_THAT(a_.Query("SELECT count(*) FROM Patient WHERE Phone IS NULL"), ElementsAre("100"));
  EXPECT_THAT(a_.Query(kWrong), IsEmpty());
  EXPECT_EQ(a_.Drain().items, 0);
  EXPECT_FALSE(a_.Take().batch.has_value());
}

TEST_F(LargePageTest, OneRefusedVersionOfManyIsSetAsideAlone) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER t BEFORE INSERT ON Patient WHEN NEW.Name = 'odd' BEGIN "
                        "SELECT RAISE(ABORT, 'no'); END"));

  a_.Apply(Many(0, 60));

  EXPECT_THAT(a_.Query("SELECT count(*) FROM Patient"), ElementsAre("99"));
  EXPECT_THAT(a_.Query(kWrong), IsEmpty());
  EXPECT_THAT(SetAsides(), ElementsAre("p60|SQLITE_CONSTRAINT_TRIGGER"));
  EXPECT_EQ(a_.Drain().items, 0);
}

TEST_F(LargePageTest, OneOfManyThatEndsTheTransactionIsSetAsideAlone) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER t BEFORE INSERT ON Patient WHEN NEW.Name = 'odd' BEGIN "
                        "SELECT RAISE(ROLLBACK, 'no'); END"));

  a_.Apply(Many(0, 60));

  EXPECT_THAT(a_.Query("SELECT count(*) FROM Patient"), ElementsAre("99"));
  EXPECT_THAT(a_.Query(kWrong), IsEmpty());
  EXPECT_THAT(SetAsides(), ElementsAre("p60|SQLITE_CONSTRAINT_TRIGGER"));
}

TEST_F(ApplyTest, SearchIndexFollowsWhatIsApplied) {
  a_.Begin(absl::StrCat(
      kClinic,
      "CREATE VIRTUAL TABLE Search USING fts5(Name, content='Patient');"
      "CREATE TRIGGER si AFTER INSERT ON Patient BEGIN INSERT INTO Search(rowid, Name) "
      "VALUES(NEW.rowid, NEW.Name); END;"
      "CREATE TRIGGER su AFTER UPDATE ON Patient BEGIN INSERT INTO Search(Search, rowid, Name) "
      "VALUES('delete', OLD.rowid, OLD.Name); INSERT INTO Search(rowid, Name) "
      "VALUES(NEW.rowid, NEW.Name); END"));

  a_.Apply(Page({Patient("p1", 1, "first")}));
  a_.Apply(Page({Patient("p1", 2, "second")}));

  EXPECT_THAT(a_.Query("SELECT rowid FROM Search('second')"), SizeIs(1));
  EXPECT_THAT(a_.Query("SELECT rowid FROM Search('first')"), IsEmpty());
  a_.Sql("INSERT INTO Search(Search, rank) VALUES('integrity-check', 1)");
}

TEST_F(ApplyTest, TableWhoseTriggersWeCannotRunIsWrittenWithTriggersOff) {
  a_.Begin(
      absl::StrCat(kClinic,
                   "CREATE TRIGGER t AFTER INSERT ON Patient BEGIN "
                   "UPDATE Patient SET Phone = app_function(NEW.Name) WHERE Id = NEW.Id; END"));

  const PageReport report = a_.Apply(Page({Patient("p1", 1, "Ann")}));

  EXPECT_EQ(report.applied, 1u);
  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Ann"));
  EXPECT_EQ(a_.Drain().items, 0);
}

TEST_F(ApplyTest, VersionThatATriggerOfTheAppIgnoresIsSetAside) {
  a_.Begin(absl::StrCat(kClinic,
                        "CREATE TRIGGER t BEFORE INSERT ON Patient WHEN NEW.Name = 'no' BEGIN "
                        "SELECT RAISE(IGNORE); END"));

  a_.Apply(Page({Patient("p1", 1, "no"), Patient("p2", 2, "yes")}));

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), ElementsAre("p2"));
  EXPECT_THAT(SetAsides(), ElementsAre("p1|SQLITE_CONSTRAINT_TRIGGER"));
}

TEST_F(ApplyTest, StampedColumnsFollowTheVersion) {
  a_.options().plan.all_tables = false;
  EntityConfig& config = a_.options().plan.entities.emplace_back();
  config.table = "T";
  config.last_modified_column = "At";
  config.modified_by_column = "Who";
  config.sync_state_column = "State";
  config.time_format = "unix_ms";
  a_.Begin("CREATE TABLE T(Id TEXT PRIMARY KEY, X TEXT, At INTEGER, Who TEXT, State TEXT)");
  Version version = V("T", "t1", 1, {{"X", Value::Text("x")}});
  version.last_modified = 1'700'000'000'123'000'000;
  version.modified_by = "dr";

  a_.Apply(Page({version}));

  EXPECT_THAT(a_.Query("SELECT * FROM T"), ElementsAre("t1|x|1700000000123|dr|Synced"));
  EXPECT_FALSE(a_.Take().batch.has_value());
}

TEST_F(ApplyTest, BlockedByTheAppChangesNothing) {
  a_.Begin(kClinic);
  a_.Sql("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE");
  const IncomingPage page = Page({Patient("p1", 1, "Ann")});

  const PageReport blocked = a_.Apply(page);
  const std::string cursor = *a_.replica().Cursor();
  a_.Sql("COMMIT");
  const PageReport done = a_.Apply(page);

  EXPECT_EQ(blocked.file, FileState::kBlockedByApp);
  EXPECT_EQ(cursor, "");
  EXPECT_EQ(done.applied, 1u);
}

TEST_F(ApplyTest, EveryFurtherTryWhileBlockedWritesNothing) {
  a_.Begin(kClinic);
  a_.Sql("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE");
  const IncomingPage page = Page({Patient("p1", 1, "Ann")});
  a_.Apply(page);
  const int64_t before = a_.ledger().db().total_changes();

  const PageReport again = a_.Apply(page);

  EXPECT_EQ(again.file, FileState::kBlockedByApp);
  EXPECT_EQ(a_.ledger().db().total_changes(), before);
  EXPECT_EQ(a_.Apply(Page({})).file, FileState::kReady);
  a_.Sql("COMMIT");
  EXPECT_EQ(a_.Apply(page).applied, 1u);
}

TEST_F(ApplyTest, RowAloneIsAppliedThoughItsTriggerMendsItsKeyLater) {
  a_.Begin(
      "CREATE TABLE Parent(Id TEXT PRIMARY KEY);"
      "CREATE TABLE Child(Id TEXT PRIMARY KEY, P TEXT REFERENCES Parent(Id));"
      "CREATE TRIGGER MakesParent AFTER INSERT ON Child"
      "  BEGIN INSERT OR IGNORE INTO Parent VALUES(new.P); END");

  const PageReport report = a_.Apply(Page({V("Child", "c1", 1, {{"P", Value::Text("p1")}})}));

  EXPECT_EQ(report.applied, 1u);
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId FROM SyncSetAside"), IsEmpty());
}

TEST_F(ApplyTest, RowAloneWithoutItsParentIsSetAside) {
  a_.Begin(
      "CREATE TABLE Parent(Id TEXT PRIMARY KEY);"
      "CREATE TABLE Child(Id TEXT PRIMARY KEY, P TEXT REFERENCES Parent(Id))");

  a_.Apply(Page({V("Child", "c1", 1, {{"P", Value::Text("p1")}})}));

  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("c1|SQLITE_CONSTRAINT_FOREIGNKEY|Child"));
}

TEST_F(ApplyTest, FetchedMissingEntityIsRemovedAndForgotten) {
  a_.Begin(kClinic);
  a_.Apply(Page({Patient("p1", 1, "Ann")}));
  ASSERT_TRUE(a_.ledger().NoteStale({{"Patient", "p1"}, 1, true}).ok());
  IncomingFetch fetch;
  fetch.missing = {{"Patient", "p1"}};

  ASSERT_TRUE(a_.replica().ApplyFetched(fetch).ok());

  EXPECT_THAT(a_.Query("SELECT Id FROM Patient"), IsEmpty());
  EXPECT_FALSE((*a_.ledger().FindState({"Patient", "p1"})).has_value());
  EXPECT_EQ(a_.Drain().items, 0);
}

// The fetch was asked for before the version came, and answered after it.
TEST_F(ApplyTest, MissingOfBeforeDoesNotRemoveWhatCameSince) {
  a_.Begin(kClinic);
  ASSERT_TRUE(a_.ledger().NoteStale({{"Patient", "p1"}, 0, true}).ok());
  a_.Apply(Page({Patient("p1", 1, "Ann")}));
  IncomingFetch fetch;
  fetch.missing = {{"Patient", "p1"}};

  ASSERT_TRUE(a_.replica().ApplyFetched(fetch).ok());

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Ann"));
  EXPECT_EQ((*a_.ledger().FindState({"Patient", "p1"}))->revision, 1);
}

TEST_F(ApplyTest, ColumnThatTheAppGainsIsBackfilledAndIsNoEdit) {
  a_.Begin(kClinic);
  b_.Begin(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT DEFAULT 'none', "
      "Extra TEXT)");
  b_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1', 'kept by the service')");
  Sync(b_);
  Sync(a_);
  a_.Sql("ALTER TABLE Patient ADD COLUMN Extra TEXT");

  Sync(a_);

  EXPECT_THAT(a_.Query("SELECT * FROM Patient"), ElementsAre("p1|Ann|1|kept by the service"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(ApplyTest, RowsOfEveryKindOfValueArriveUnchanged) {
  constexpr char kSchema[] =
      "CREATE TABLE T(K1, K2 TEXT, A, B BLOB, \"or\"\"der by\" TEXT, PRIMARY KEY(K1, K2)) "
      "WITHOUT ROWID";
  BeginBoth(kSchema);
  a_.Sql(
      "INSERT INTO T VALUES(x'00ff', 'k', 9223372036854775807, -0.0, 'Zoë'),"
      "(1, '', 9e999, CAST(x'ff00' AS TEXT), NULL), (1.5, 'a', '1', 1.0, 'x'),"
      "('r', 'z', -9223372036854775808, -9e999, 'nul' || char(0) || 'inside')");

  Sync(a_);
  Sync(b_);

  const std::string all =
      "SELECT quote(K1), quote(K2), quote(A), typeof(A), quote(B), typeof(B), hex(B), \"or\"\"der "
      "by\" FROM T ORDER BY K1, K2";
  EXPECT_THAT(b_.Query(all), SizeIs(4));
  EXPECT_EQ(b_.Query(all), a_.Query(all));
  EXPECT_THAT(b_.Query("SELECT hex(\"or\"\"der by\") FROM T WHERE K2 = 'z'"),
              ElementsAre("6E756C00696E73696465"));
}

TEST_F(ApplyTest, GeneratedColumnsAreNeverSentAndWideTablesArriveWhole) {
  std::string schema =
      "CREATE TABLE T(Id TEXT PRIMARY KEY, Twice TEXT AS (C0 || C0) STORED, Thrice AS (C0 || C1)";
  std::string values = "'t1'";
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&schema, ", C", i, " TEXT");
    absl::StrAppend(&values, ", 'v", i, "'");
  }
  BeginBoth(schema + ")");
  a_.Sql(absl::StrCat("INSERT INTO T VALUES(", values, ")"));
  const std::vector<std::string>& columns = a_.replica().plan().ByType("T")->columns;

  Sync(a_);
  Sync(b_);

  EXPECT_THAT(columns, SizeIs(101));
  EXPECT_THAT(columns, testing::Not(testing::Contains("Twice")));
  EXPECT_THAT(b_.Query("SELECT Twice, Thrice, C99 FROM T"), ElementsAre("v0v0|v0v1|v99"));
}

TEST_F(ApplyTest, AppRowsEqualOnBothSidesAreAdoptedAtInit) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  b_.Begin(kClinic, "INSERT INTO Patient VALUES('p1', 'Ann', '1'), ('p2', 'Bob', '2')");

  ASSERT_TRUE(b_.PullAll(service_).ok());

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("p2|0|0"));
}

TEST_F(ApplyTest, EqualRowWithALaterTimeIsSentAtInitForTheServiceMustLearnTheTime) {
  constexpr char kSchema[] = "CREATE TABLE T(Id TEXT PRIMARY KEY, X TEXT, At INTEGER)";
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.all_tables = false;
    EntityConfig& config = device->options().plan.entities.emplace_back();
    config.table = "T";
    config.last_modified_column = "At";
    config.time_format = "unix";
  }
  a_.Begin(kSchema, "INSERT INTO T VALUES('t1', 'x', 1000), ('t2', 'x', 1000)");
  Sync(a_);
  b_.Begin(kSchema, "INSERT INTO T VALUES('t1', 'x', 1000), ('t2', 'x', 2000)");

  ASSERT_TRUE(b_.PullAll(service_).ok());

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("t2|0|0"));
}

TEST_F(ApplyTest, RowThatIsBeingEditedIsNotAdoptedAtInit) {
  a_.Begin(kClinic);
  a_.Sql("INSERT INTO Patient VALUES('p1', 'Ann', '1')");
  Sync(a_);
  b_.Begin(kClinic, "INSERT INTO Patient VALUES('p1', 'Other', '1')");
  b_.Sql("UPDATE Patient SET Name = 'Ann'");  // Nobody drained it.

  ASSERT_TRUE(b_.PullAll(service_).ok());

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("p1|0|0"));
  Sync(b_);
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
