// Apps that change their schema, each device at a time of its own.
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kPatient[] =
    "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT, Age TEXT)";

// As Django, Alembic and EF Core rebuild a table. `columns` are those of both.
std::string Rebuild(const std::string& table, const std::string& body, const std::string& columns,
                    const std::string& values) {
  return absl::StrCat("PRAGMA foreign_keys=OFF; BEGIN; CREATE TABLE new__", table, "(", body,
                      "); INSERT INTO new__", table, "(", columns, ") SELECT ", values, " FROM ",
                      table, "; DROP TABLE ", table, "; ALTER TABLE new__", table, " RENAME TO ",
                      table, "; COMMIT;");
}

class ChangeTest : public SchemaTest {
 protected:
  void BeginPatients() {
    BeginBoth(kPatient);
    a_.Sql(
        "INSERT INTO Patient VALUES('p1', 'Ann', '1', '30'), ('p2', 'Bob', '2', '40'),"
        "('p3', 'Cid', NULL, NULL)");
    SyncBoth();
  }
  Lines ServiceArchive() {
    Lines lines;
    for (const ArchiveRow& row : ServiceArchives()) lines.push_back(row.key.id);
    return lines;
  }
};

TEST_F(ChangeTest, DroppedColumnStaysWithTheOthersAndComesBackWhenItIsAddedAgain) {
  BeginPatients();
  a_.Sql("ALTER TABLE Patient DROP COLUMN Phone");
  a_.Sql("UPDATE Patient SET Name = 'Anna' WHERE Id = 'p1'");
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Anna|1|30"));
  b_.Sql("UPDATE Patient SET Phone = '22' WHERE Id = 'p2'");
  SyncBoth();

  a_.Sql("ALTER TABLE Patient ADD COLUMN Phone TEXT");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Id, Name, Phone, Age FROM Patient ORDER BY Id"),
              ElementsAre("p1|Anna|1|30", "p2|Bob|22|40", "p3|Cid|-|-"));
  EXPECT_THAT(ServiceArchive(), IsEmpty());
  ExpectSame();
}

TEST_F(ChangeTest, RenamedColumnTakesItsValuesAlong) {
  BeginPatients();
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  SyncBoth();
  b_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  SyncBoth();
  b_.Sql("UPDATE Patient SET Telephone = '33' WHERE Id = 'p3'");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Patient ORDER BY Id"),
              ElementsAre("p1|Ann|1|30", "p2|Bob|2|40", "p3|Cid|33|-"));
  EXPECT_THAT(ServiceArchive(), IsEmpty());
  ExpectSame();
}

// b comes late: what its migration carries over is older than what a's people
// have typed since.
TEST_F(ChangeTest, RenamedColumnNeverBringsAnOldValueBack) {
  BeginPatients();
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  Sync(a_);
  a_.Sql("UPDATE Patient SET Telephone = '11' WHERE Id = 'p1'");
  SyncBoth();

  b_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Patient ORDER BY Id"),
              ElementsAre("p1|Ann|11|30", "p2|Bob|2|40", "p3|Cid|-|-"));
  ExpectSame();
}

TEST_F(ChangeTest, RenamedColumnKeepsAnEditOfAnUnsentRow) {
  BeginPatients();
  b_.Sql("UPDATE Patient SET Phone = '99' WHERE Id = 'p2'");  // Not sent yet.
  b_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  a_.Sql("ALTER TABLE Patient RENAME COLUMN Phone TO Telephone");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Telephone FROM Patient WHERE Id = 'p2'"), ElementsAre("99"));
  ExpectSame();
}

// The migration of b fills the new column as that of a did, long after people
// have changed it on a.
TEST_F(ChangeTest, DataMigrationOfALateDeviceDoesNotUndoWhatPeopleTyped) {
  BeginPatients();
  const std::string migration =
      "BEGIN; ALTER TABLE Patient ADD COLUMN Initial TEXT;"
      "UPDATE Patient SET Initial = substr(Name, 1, 1); COMMIT";
  a_.Sql(migration);
  Sync(a_);
  a_.Sql("UPDATE Patient SET Initial = 'by hand' WHERE Id = 'p1'");
  SyncBoth();

  b_.Sql(migration);
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT Id, Initial FROM Patient ORDER BY Id"),
              ElementsAre("p1|by hand", "p2|B", "p3|C"));
  ExpectSame();
}

TEST_F(ChangeTest, RetypedColumnWaitsForTheOthersAndThenArrives) {
  BeginPatients();
  const std::string migration =
      Rebuild("Patient", "Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT, Age INTEGER",
              "Id, Name, Phone, Age", "Id, Name, Phone, CAST(Age AS INTEGER)");
  a_.Sql(migration);
  a_.Drain();
  a_.Sql("UPDATE Patient SET Age = 31 WHERE Id = 'p1'");
  SyncBoth();
  b_.Sql("UPDATE Patient SET Name = 'Rob' WHERE Id = 'p2'");
  SyncBoth();

  b_.Sql(migration);
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Id, Name, Age, typeof(Age) FROM Patient ORDER BY Id"),
              ElementsAre("p1|Ann|31|integer", "p2|Rob|40|integer", "p3|Cid|-|null"));
  ExpectSame();
}

TEST_F(ChangeTest, RebuiltTableIsWatchedAgainAndWhatHappenedMeanwhileIsFound) {
  BeginPatients();
  a_.Sql(Rebuild("Patient", "Id TEXT PRIMARY KEY, Name TEXT NOT NULL, Phone TEXT, Age TEXT",
                 "Id, Name, Phone, Age", "Id, Name, Phone, Age"));
  // No trigger sees these.
  a_.Sql(
      "UPDATE Patient SET Phone = 'new' WHERE Id = 'p1'; DELETE FROM Patient WHERE Id = 'p2';"
      "INSERT INTO Patient VALUES('p4', 'Dan', '4', '4')");

  a_.Drain();  // One cycle.
  a_.Sql("UPDATE Patient SET Name = 'Seen' WHERE Id = 'p3'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM Patient ORDER BY Id"),
              ElementsAre("p1|Ann|new|30", "p3|Seen|-|-", "p4|Dan|4|4"));
  ExpectSame();
}

TEST_F(ChangeTest, RenamedTableGoesOnUnderItsTypeWhenTheConfigurationSaysSo) {
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.all_tables = false;
    device->options().plan.entities = {EntityConfig()};
    device->options().plan.entities[0].table = "Patient";
  }
  BeginPatients();
  a_.Sql("ALTER TABLE Patient RENAME TO Client; UPDATE Client SET Name = 'Early' WHERE Id = 'p1'");
  a_.Drain();
  a_.Sql("UPDATE Client SET Name = 'Late' WHERE Id = 'p2'");
  const auto waiting = a_.replica().Facts();
  EXPECT_THAT(waiting->file_problem, HasSubstr("no synced table"));

  a_.options().plan.entities[0].type = "Patient";
  a_.options().plan.entities[0].table = "Client";
  a_.Open();
  SyncBoth();
  b_.Sql("UPDATE Patient SET Name = 'Back' WHERE Id = 'p3'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT Id, Name FROM Patient ORDER BY Id"),
              ElementsAre("p1|Early", "p2|Late", "p3|Back"));
  EXPECT_EQ(a_.Query("SELECT * FROM Client ORDER BY Id"),
            b_.Query("SELECT * FROM Patient ORDER BY Id"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(ChangeTest, NewTableComesToTheOthersWhenTheyHaveIt) {
  BeginPatients();
  for (TestDevice* device : {&a_, &b_}) device->set_names_types(true);
  constexpr char kVisit[] =
      "CREATE TABLE Visit(Id TEXT PRIMARY KEY, Patient TEXT REFERENCES Patient(Id), Note TEXT)";
  a_.Sql(kVisit);
  a_.Drain();
  a_.Sql("INSERT INTO Visit VALUES('v1', 'p1', 'first')");
  SyncBoth();
  b_.Sql("UPDATE Patient SET Name = 'Zoe' WHERE Id = 'p1'");
  SyncBoth();

  b_.Sql(kVisit);
  SyncBoth();
  b_.Sql("INSERT INTO Visit VALUES('v2', 'p2', 'second')");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM Visit ORDER BY Id"),
              ElementsAre("v1|p1|first", "v2|p2|second"));
  ExpectSame();
}

TEST_F(ChangeTest, TableThatIsDroppedAndMadeAnewDeletesNothingUnasked) {
  BeginPatients();
  a_.Sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) "
      "INSERT INTO Patient SELECT 'q' || i, 'Name', NULL, NULL FROM n");
  SyncBoth();
  a_.Sql("DROP TABLE Patient");
  Sync(b_);
  a_.Drain();
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());

  a_.Sql(kPatient);
  SyncBoth();

  // Nobody can tell an empty table from one whose rows are to come back: nothing
  // is deleted anywhere before a person says so.
  EXPECT_THAT(b_.Query("SELECT count(*) FROM Patient"), ElementsAre("33"));
  EXPECT_EQ(a_.replica().Facts()->held, 33u);
}

TEST_F(ChangeTest, ColumnsThatOneConfigurationLeavesOutStayAsTheyAre) {
  b_.options().plan.all_tables = false;
  b_.options().plan.entities = {EntityConfig()};
  b_.options().plan.entities[0].table = "Patient";
  b_.options().plan.entities[0].exclude_columns = {"Age"};
  BeginPatients();
  EXPECT_THAT(b_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Ann|1|-"));
  b_.Sql("UPDATE Patient SET Age = 'local', Name = 'Eve' WHERE Id = 'p1'");
  SyncBoth();
  EXPECT_THAT(a_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Eve|1|30"));
  a_.Sql("UPDATE Patient SET Age = '31' WHERE Id = 'p1'");
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Eve|1|local"));

  b_.options().plan.entities[0].exclude_columns.clear();
  b_.options().plan.entities[0].columns = {"Id", "Name"};
  b_.Open();
  a_.Sql("UPDATE Patient SET Phone = '111', Name = 'Fay' WHERE Id = 'p1'");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Fay|1|local"));
  EXPECT_THAT(a_.Query("SELECT * FROM Patient WHERE Id = 'p1'"), ElementsAre("p1|Fay|111|31"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

TEST_F(ChangeTest, AfterApplyKeepsWhatTheAppDerives) {
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.all_tables = false;
    device->options().plan.entities = {EntityConfig()};
    EntityConfig& config = device->options().plan.entities[0];
    config.table = "T";
    config.exclude_columns = {"Sum"};
    config.after_apply = {"UPDATE T SET Sum = A + B WHERE Sum IS NOT A + B"};
  }
  constexpr char kSchema[] = "CREATE TABLE T(K TEXT PRIMARY KEY, A INT, B INT, Sum INT)";
  BeginBoth(kSchema);
  a_.Sql("INSERT INTO T VALUES('1', 1, 2, 3)");
  SyncBoth();
  b_.Sql("UPDATE T SET A = 5, Sum = 7");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM T"), ElementsAre("1|5|2|7"));
  EXPECT_THAT(b_.Query("SELECT * FROM T"), ElementsAre("1|5|2|7"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
