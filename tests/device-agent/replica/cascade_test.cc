// Foreign keys of tables that are written while the app's triggers are off.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// A trigger that only the app can run: Patient is written with triggers off.
constexpr char kTriggerOfTheApp[] =
    "CREATE TRIGGER only_the_app AFTER INSERT ON Patient BEGIN "
    "UPDATE Patient SET Phone = app_function(NEW.Name) WHERE Id = NEW.Id; END;";

class CascadeTest : public ReplicaTest {
 protected:
  static Version V(const std::string& type, const std::string& id, Revision revision,
                   std::vector<Field> fields, bool deleted = false) {
    Version version;
    version.key = {type, id};
    version.revision = revision;
    version.check = "checkchk";
    version.last_modified = 1'000;
    version.deleted = deleted;
    fields.push_back({"Id", Value::Text(id)});
    if (!deleted) version.fields = Fields(std::move(fields));
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
  static Version Child(const std::string& type, const std::string& id, Revision revision,
                       const std::string& parent) {
    return V(type, id, revision, {{"ParentId", Value::Text(parent)}});
  }
  void Compare() {
    ASSERT_TRUE(a_.ledger().PutInt("compare", 1).ok());
    while (*a_.replica().Maintain()) continue;
  }
};

TEST_F(CascadeTest, RowsDeletedWithTheirParentAreFetchedAndNotSentAsDeletions) {
  a_.Begin(absl::StrCat(kClinic, kTriggerOfTheApp));
  ASSERT_EQ(a_.replica().plan().ByType("Patient")->apply_mode, ApplyMode::kTriggersOff);
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("Ann")}}),
                 V("Visit", "v1", 2, {{"PatientId", Value::Text("p1")}}),
                 V("Visit", "v2", 3, {{"PatientId", Value::Null()}})}));

  const PageReport applied = a_.Apply(Page({V("Patient", "p1", 4, {}, true)}));
  const DrainReport drained = a_.Drain();
  Compare();

  EXPECT_THAT(a_.Query("SELECT Id FROM Visit"), ElementsAre("v2"));
  // At once, not with the next cycle.
  EXPECT_TRUE(applied.items_made);
  EXPECT_TRUE(drained.touched);
  EXPECT_EQ(drained.items, 0);
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(*a_.replica().ToFetch(10), ElementsAre(EntityKey{"Visit", "v1"}));
}

TEST_F(CascadeTest, StatementAfterApplyDoesNotTakeAnEditThatNoTriggerSaw) {
  a_.options().plan.all_tables = false;
  EntityConfig& patient = a_.options().plan.entities.emplace_back();
  patient.table = "Patient";
  patient.after_apply = {"UPDATE Visit SET Note = 'checked'"};
  a_.options().plan.entities.emplace_back().table = "Visit";
  a_.Begin(kClinic);
  a_.Apply(Page({V("Visit", "v1", 1, {{"Note", Value::Text("a")}}),
                 V("Visit", "v2", 2, {{"Note", Value::Text("b")}})}));
  ASSERT_TRUE(a_.app().EnableTriggers(false).ok());
  a_.Sql("UPDATE Visit SET Note = 'typed' WHERE Id = 'v2'");

  a_.Apply(Page({V("Patient", "p1", 3, {{"Name", Value::Text("Ann")}})}));

  EXPECT_THAT(a_.Query("SELECT Name FROM Patient"), ElementsAre("Ann"));
  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), ElementsAre("a", "typed"));
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("v2|1|0"));
}

TEST_F(CascadeTest, UnsentChildSetsTheDeletionOfItsParentAside) {
  a_.Begin(absl::StrCat(kClinic, kTriggerOfTheApp));
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("Ann")}})}));
  a_.Sql("INSERT INTO Visit(Id, PatientId, Note) VALUES('v1', 'p1', 'typed offline')");
  a_.Drain();

  a_.Apply(Page({V("Patient", "p1", 2, {}, true)}));

  EXPECT_THAT(a_.Query("SELECT Note FROM Visit"), ElementsAre("typed offline"));
  EXPECT_THAT(a_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("p1|TOUCHES_EDIT|Visit/v1"));
}

TEST_F(CascadeTest, IsFollowedOverTablesThatAreNotSyncedAndThroughItself) {
  a_.options().plan.all_tables = false;
  for (const char* table : {"Patient", "Leaf", "Tree"}) {
    a_.options().plan.entities.emplace_back().table = table;
  }
  a_.options().plan.entities[1].references = {{"ParentId", ""}};
  a_.Begin(absl::StrCat(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT);", kTriggerOfTheApp,
      "CREATE TABLE Local(No INTEGER PRIMARY KEY, Owner TEXT REFERENCES Patient ON DELETE CASCADE);"
      "CREATE TABLE Leaf(Id TEXT PRIMARY KEY, ParentId REFERENCES \"LOCAL\"(no) ON DELETE SET "
      "NULL);"
      "CREATE TABLE Tree(Id TEXT PRIMARY KEY, Owner TEXT REFERENCES Patient(Id) ON DELETE CASCADE,"
      " ParentId TEXT REFERENCES Tree(Id) ON DELETE CASCADE);"));
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("Ann")}})}));
  a_.Sql("INSERT INTO Local VALUES(7, 'p1')");
  a_.Apply(
      Page({V("Leaf", "l1", 2, {{"ParentId", Value::Integer(7)}}),
            V("Tree", "t1", 3, {{"Owner", Value::Text("p1")}, {"ParentId", Value::Text("t1")}}),
            Child("Tree", "t2", 4, "t1"), Child("Tree", "t3", 5, "t2")}));

  a_.Apply(Page({V("Patient", "p1", 6, {}, true)}));
  a_.Drain();

  EXPECT_THAT(a_.Query("SELECT * FROM Leaf"), ElementsAre("l1|-"));
  EXPECT_THAT(a_.Query("SELECT * FROM Tree"), IsEmpty());
  EXPECT_THAT(*a_.replica().ToFetch(10),
              UnorderedElementsAre(EntityKey{"Leaf", "l1"}, EntityKey{"Tree", "t1"},
                                   EntityKey{"Tree", "t2"}, EntityKey{"Tree", "t3"}));
}

TEST_F(CascadeTest, ChildOfTheSamePageIsPutBackAsItWasSent) {
  a_.Begin(absl::StrCat(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT);", kTriggerOfTheApp,
      "CREATE TABLE Visit(Id TEXT PRIMARY KEY, PatientId TEXT REFERENCES Patient(Id) ON DELETE "
      "CASCADE)"));
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("Ann")}}),
                 V("Patient", "p2", 2, {{"Name", Value::Text("Bob")}}),
                 V("Visit", "v1", 3, {{"PatientId", Value::Text("p1")}})}));

  // The visit moves to the other patient before the first goes, in this order.
  a_.Apply(Page(
      {V("Patient", "p1", 4, {}, true), V("Visit", "v1", 5, {{"PatientId", Value::Text("p2")}})}));

  EXPECT_THAT(a_.Query("SELECT * FROM Visit"), ElementsAre("v1|p2"));
  EXPECT_EQ(a_.Drain().items, 0);
  EXPECT_THAT(*a_.replica().ToFetch(10), IsEmpty());
}

TEST_F(CascadeTest, DeletionThatAPersonRestoresTakesItsChildrenAlong) {
  a_.Begin(absl::StrCat(kClinic, kTriggerOfTheApp));
  a_.Apply(Page({V("Patient", "p1", 1, {{"Name", Value::Text("Ann")}}),
                 V("Visit", "v1", 2, {{"PatientId", Value::Text("p1")}})}));
  ArchiveEntry entry;
  entry.conflict_id = "c1";
  entry.key = {"Patient", "p1"};
  entry.archived_json = "null";
  entry.detected_at = clock_.Now();
  ASSERT_TRUE(a_.ledger().PutArchive(entry).ok());

  ASSERT_TRUE(a_.replica().RestoreArchived("c1").ok());
  while (*a_.replica().Maintain()) continue;

  EXPECT_THAT(a_.Query("SELECT Id FROM Visit"), IsEmpty());
  EXPECT_THAT(a_.OpenQueue(), UnorderedElementsAre("p1|2|0", "v1|2|0"));
}

}  // namespace
}  // namespace ptdoc::sync
