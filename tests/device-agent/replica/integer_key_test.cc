// Tables that keep their integer keys: ranges, one side, and collisions.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr char kWard[] =
    "CREATE TABLE patient(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
    "CREATE TABLE visit(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " patient_id INTEGER REFERENCES patient(id) ON UPDATE CASCADE, note TEXT)";

class IntegerKeyTest : public ReplicaTest {
 protected:
  static EntityConfig Config(const std::string& table, IntegerKey how,
                             std::optional<IdRange> range = std::nullopt) {
    EntityConfig config;
    config.table = table;
    config.integer_key = how;
    config.id_range = range;
    return config;
  }
  static void Configure(TestDevice& device, IntegerKey how, std::optional<IdRange> range) {
    device.options().plan.entities = {Config("patient", how, range), Config("visit", how, range)};
    device.options().plan.all_tables = false;
  }
  void BeginRanges() {
    Configure(a_, IntegerKey::kRange, IdRange{1'000, 1'999});
    Configure(b_, IntegerKey::kRange, IdRange{2'000, 2'999});
    a_.Begin(kWard);
    b_.Begin(kWard);
  }
  void BeginOneSide() {
    Configure(a_, IntegerKey::kOneSide, std::nullopt);
    Configure(b_, IntegerKey::kOneSide, std::nullopt);
    BeginBoth(kWard);
  }
  // Without the end of Sync(): what waits for a person waits on.
  void Cycle() {
    for (int round = 0; round < 2; ++round) {
      for (TestDevice* device : {&a_, &b_}) {
        device->Drain();
        ASSERT_TRUE(device->PushAll(service_).ok());
        ASSERT_TRUE(device->PullAll(service_).ok());
        ASSERT_TRUE(device->FetchAll(service_).ok());
      }
    }
  }
  std::string Error(TestDevice& device, const std::string& id) {
    const Lines lines = device.LedgerQuery(
        "SELECT ErrorMessage FROM SyncQueueItems WHERE Status = 3 AND EntityId = '" + id + "'");
    return lines.empty() ? "" : lines[0];
  }
};

TEST_F(IntegerKeyTest, EachDeviceCountsInItsOwnRange) {
  BeginRanges();
  a_.Sql(
      "INSERT INTO patient(name) VALUES ('Ann'); INSERT INTO visit(patient_id, note) VALUES "
      "(last_insert_rowid(), 'x')");
  b_.Sql(
      "INSERT INTO patient(name) VALUES ('Bob'); INSERT INTO visit(patient_id, note) VALUES "
      "(last_insert_rowid(), 'y')");

  SyncBoth();
  // The row of the higher range does not raise the next number.
  a_.Sql("INSERT INTO patient(name) VALUES ('Cid')");
  SyncBoth();

  EXPECT_THAT(a_.Query("SELECT * FROM patient ORDER BY name"),
              ElementsAre("1000|Ann", "-2000|Bob", "1001|Cid"));
  EXPECT_THAT(b_.Query("SELECT * FROM patient ORDER BY name"),
              ElementsAre("1000|Ann", "2000|Bob", "1001|Cid"));
  EXPECT_THAT(a_.Query("SELECT patient_id, note FROM visit ORDER BY note"),
              ElementsAre("1000|x", "-2000|y"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(ServiceArchives(), IsEmpty());
}

TEST_F(IntegerKeyTest, EditsAndDeletionsOfTheOthersRowsFindThem) {
  BeginRanges();
  b_.Sql("INSERT INTO patient(name) VALUES ('Bob'), ('Eve')");
  SyncBoth();

  a_.Sql(
      "UPDATE patient SET name = 'Rob' WHERE id = -2000; DELETE FROM patient WHERE id = -2001;"
      "INSERT INTO visit(patient_id, note) VALUES (-2000, 'by a')");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM patient"), ElementsAre("2000|Rob"));
  EXPECT_THAT(b_.Query("SELECT id, patient_id FROM visit"), ElementsAre("1000|2000"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(IntegerKeyTest, ARowOutsideOfTheRangeIsRefusedAndTheSequencePutRight) {
  BeginRanges();
  SyncBoth();
  a_.Sql("DELETE FROM sqlite_sequence; INSERT INTO patient(name) VALUES ('Ann')");

  Sync(a_);
  a_.Sql("INSERT INTO patient(name) VALUES ('Eve')");
  SyncBoth();

  EXPECT_THAT(Error(a_, "1"), HasSubstr("ID_OUT_OF_RANGE: this row of patient"));
  EXPECT_THAT(b_.Query("SELECT * FROM patient"), ElementsAre("1000|Eve"));
  // A person gives it a number.
  a_.Sql("UPDATE patient SET id = 1500 WHERE name = 'Ann'");
  SyncBoth();
  EXPECT_THAT(b_.Query("SELECT * FROM patient"), ElementsAre("1000|Eve", "1500|Ann"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(IntegerKeyTest, RowsFromBeforeInitKeepTheirNumbers) {
  Configure(a_, IntegerKey::kRange, IdRange{1'000, 1'999});
  Configure(b_, IntegerKey::kRange, IdRange{2'000, 2'999});
  a_.Begin(kWard, "INSERT INTO patient VALUES (7, 'Old')");
  b_.Begin(kWard);
  a_.Sql("UPDATE patient SET name = 'Older'");

  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM patient"), ElementsAre("7|Older"));
  EXPECT_THAT(a_.Query("SELECT seq FROM sqlite_sequence WHERE name = 'patient'"),
              ElementsAre("999"));
}

TEST_F(IntegerKeyTest, ARangeThatIsNearlyUsedUpIsSaid) {
  BeginRanges();
  EXPECT_THAT(a_.replica().Facts()->warnings, Not(Contains(HasSubstr("numbers left"))));

  a_.Sql("INSERT INTO patient VALUES (1950, 'late')");

  EXPECT_THAT(a_.replica().Facts()->warnings,
              Contains(HasSubstr("patient has 49 numbers left of its id_range 1000-1999")));
}

TEST_F(IntegerKeyTest, TwoPatientsUnderOneNumberAreKeptApart) {
  BeginOneSide();
  a_.Sql("INSERT INTO patient VALUES (17, 'Ada')");
  b_.Sql(
      "INSERT INTO patient VALUES (17, 'Grace'), (18, 'Eve');"
      "INSERT INTO visit VALUES (1, 17, 'of Grace'), (2, 18, 'of Eve')");

  Cycle();

  // Grace waits with all that is hers; the rest of her batch went on.
  EXPECT_THAT(Error(b_, "17"), HasSubstr("KEY_COLLISION"));
  EXPECT_THAT(b_.OpenQueue(), ElementsAre("17|0|3", "1|0|0"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE EntityId = '1'"),
              ElementsAre(HasSubstr("WAITS_FOR_PARENT: the row refers to patient 17")));
  EXPECT_THAT(a_.Query("SELECT id, name FROM patient"), ElementsAre("17|Ada", "18|Eve"));
  EXPECT_THAT(a_.Query("SELECT note FROM visit"), ElementsAre("of Eve"));
  EXPECT_THAT(b_.Query("SELECT name FROM patient WHERE id = 17"), ElementsAre("Grace"));
  const std::vector<ArchiveRow> archives = ServiceArchives();
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_EQ(archives[0].resolution, Resolution::kKeyCollision);
  EXPECT_THAT(b_.LedgerQuery("SELECT ResolutionType, EntityId FROM SyncConflictArchives"),
              ElementsAre("KeyCollision|17"));
}

TEST_F(IntegerKeyTest, WhatHangsOnACollidedRowWaitsToTheLastGrandchild) {
  constexpr char kDeep[] =
      "CREATE TABLE patient(id INTEGER PRIMARY KEY, name TEXT,"
      " guardian INTEGER REFERENCES patient(id) ON UPDATE CASCADE);"
      "CREATE TABLE visit(id INTEGER PRIMARY KEY,"
      " patient_id INTEGER REFERENCES patient(id) ON UPDATE CASCADE);"
      "CREATE TABLE measure(id INTEGER PRIMARY KEY, visit_id INTEGER REFERENCES visit(id))";
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.entities = {Config("patient", IntegerKey::kOneSide),
                                       Config("visit", IntegerKey::kOneSide),
                                       Config("measure", IntegerKey::kOneSide)};
    device->options().plan.all_tables = false;
  }
  BeginBoth(kDeep);
  a_.Sql("INSERT INTO patient VALUES (17, 'Ada', NULL)");
  // The last first.
  b_.Sql(
      "INSERT INTO measure VALUES (101, 11), (102, 12);"
      "INSERT INTO visit VALUES (11, 18), (12, 19);"
      "INSERT INTO patient VALUES (18, 'Tim', 17), (19, 'Eve', 19), (17, 'Grace', NULL)");

  Cycle();

  EXPECT_THAT(a_.Query("SELECT id, name FROM patient ORDER BY id"),
              ElementsAre("17|Ada", "19|Eve"));
  EXPECT_THAT(a_.Query("SELECT id FROM visit"), ElementsAre("12"));
  EXPECT_THAT(a_.Query("SELECT id FROM measure"), ElementsAre("102"));
  EXPECT_THAT(b_.OpenQueue(), ElementsAre("101|0|0", "11|0|0", "18|0|0", "17|0|3"));

  b_.Sql("PRAGMA foreign_keys = ON; UPDATE patient SET id = 40 WHERE id = 17");
  Cycle();

  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query("SELECT id, name, guardian FROM patient ORDER BY id"),
                ElementsAre("17|Ada|-", "18|Tim|40", "19|Eve|19", "40|Grace|-"));
    EXPECT_THAT(device->Query("SELECT * FROM visit ORDER BY id"), ElementsAre("11|18", "12|19"));
    EXPECT_THAT(device->Query("SELECT id FROM measure ORDER BY id"), ElementsAre("101", "102"));
    EXPECT_THAT(device->OpenQueue(), IsEmpty());
  }
}

TEST_F(IntegerKeyTest, WhatTheConfigurationAloneSaysAboutParentsHolds) {
  constexpr char kBare[] =
      "CREATE TABLE patient(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
      "CREATE TABLE visit(id INTEGER PRIMARY KEY AUTOINCREMENT, patient_id INTEGER, note TEXT)";
  for (TestDevice* device : {&a_, &b_}) {
    Configure(*device, IntegerKey::kOneSide, std::nullopt);
    device->options().plan.entities[1].references = {{"patient_id", "patient"}};
  }
  BeginBoth(kBare);
  a_.Sql("INSERT INTO patient VALUES (17, 'Ada')");
  b_.Sql(
      "INSERT INTO visit VALUES (1, 17, 'of Grace'), (2, 18, 'of Eve'), (3, NULL, 'of nobody');"
      "INSERT INTO patient VALUES (17, 'Grace'), (18, 'Eve')");

  Cycle();

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("1|0|0", "17|0|3"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE EntityId = '1'"),
              ElementsAre(HasSubstr("WAITS_FOR_PARENT: the row refers to patient 17")));
  EXPECT_THAT(a_.Query("SELECT note FROM visit ORDER BY id"), ElementsAre("of Eve", "of nobody"));
  const int64_t item = b_.ledger().FindWaiting({"patient", "17"})->value().id;
  EXPECT_EQ(ReasonOf(b_.replica().CancelItem(item).status()), "REFERRED_TO");
}

TEST_F(IntegerKeyTest, AnotherNumberIsTheWayOutOfACollision) {
  BeginOneSide();
  a_.Sql("INSERT INTO patient VALUES (17, 'Ada')");
  b_.Sql("INSERT INTO patient VALUES (17, 'Grace'); INSERT INTO visit VALUES (1, 17, 'of Grace')");
  Cycle();

  b_.Sql("PRAGMA foreign_keys = ON; UPDATE patient SET id = 40 WHERE id = 17");
  Cycle();

  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query("SELECT * FROM patient ORDER BY id"),
                ElementsAre("17|Ada", "40|Grace"));
    EXPECT_THAT(device->Query("SELECT patient_id, note FROM visit"), ElementsAre("40|of Grace"));
    EXPECT_THAT(device->OpenQueue(), IsEmpty());
  }
  EXPECT_THAT(b_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE ErrorMessage LIKE "
                             "'WAITS_FOR_PARENT%' AND Status <> 2"),
              IsEmpty());
}

TEST_F(IntegerKeyTest, ACollidedRowIsNotCancelledFromUnderItsChildren) {
  BeginOneSide();
  a_.Sql("INSERT INTO patient VALUES (17, 'Ada')");
  b_.Sql("INSERT INTO patient VALUES (17, 'Grace'); INSERT INTO visit VALUES (1, 17, 'of Grace')");
  Cycle();
  const int64_t item = b_.ledger().FindWaiting({"patient", "17"})->value().id;

  EXPECT_EQ(ReasonOf(b_.replica().CancelItem(item).status()), "REFERRED_TO");
  b_.Sql("DELETE FROM visit");
  EXPECT_TRUE(b_.replica().CancelItem(item).ok());
  Cycle();

  EXPECT_THAT(b_.Query("SELECT * FROM patient"), ElementsAre("17|Ada"));
  EXPECT_THAT(b_.LedgerQuery("SELECT ArchivedDataJson FROM SyncConflictArchives WHERE "
                             "ResolutionType = 'Cancelled'"),
              ElementsAre(HasSubstr("Grace")));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT note FROM visit"), IsEmpty());
}

TEST_F(IntegerKeyTest, AChildGoesInOneBatchWithItsParentOrNotAtAll) {
  BeginOneSide();
  SyncBoth();
  // The child is older in the queue than the row that it refers to by now.
  b_.Sql("INSERT INTO patient VALUES (5, 'Eve'); INSERT INTO visit VALUES (1, 5, 'v')");
  SyncBoth();
  b_.Sql("UPDATE visit SET note = 'w'");
  b_.Drain();
  b_.Sql("INSERT INTO patient VALUES (6, 'Mia'); UPDATE visit SET patient_id = 6");
  TakeLimits limits;
  limits.changes = 1;
  limits.batches = 2;

  const Taken first = b_.Take(limits);

  ASSERT_THAT(first.batches, SizeIs(1));
  ASSERT_THAT(first.batch->changes, SizeIs(1));
  EXPECT_EQ(first.batch->changes[0].key.type, "patient");
  EXPECT_FALSE(b_.Take(limits).batch.has_value());
}

TEST_F(IntegerKeyTest, RowsThatReferToEachOtherDoNotWaitForEver) {
  constexpr char kPairs[] =
      "CREATE TABLE l(id INTEGER PRIMARY KEY, r INTEGER REFERENCES r);"
      "CREATE TABLE r(id INTEGER PRIMARY KEY, l INTEGER REFERENCES l)";
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.entities = {Config("l", IntegerKey::kOneSide),
                                       Config("r", IntegerKey::kOneSide)};
    device->options().plan.all_tables = false;
  }
  BeginBoth(kPairs);
  a_.Sql("BEGIN; INSERT INTO l VALUES (1, 1); INSERT INTO r VALUES (1, 1); COMMIT");

  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT * FROM l JOIN r"), ElementsAre("1|1|1|1"));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
}

TEST_F(IntegerKeyTest, RowsThatReferToEachOtherWaitTogether) {
  constexpr char kPairs[] =
      "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
      "CREATE TABLE l(id INTEGER PRIMARY KEY, r INTEGER REFERENCES r, p INTEGER REFERENCES p);"
      "CREATE TABLE r(id INTEGER PRIMARY KEY, l INTEGER REFERENCES l, p INTEGER REFERENCES p)";
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.entities = {Config("p", IntegerKey::kOneSide),
                                       Config("l", IntegerKey::kOneSide),
                                       Config("r", IntegerKey::kOneSide)};
    device->options().plan.all_tables = false;
  }
  BeginBoth(kPairs);
  a_.Sql("INSERT INTO p VALUES (17, 'Ada')");
  b_.Sql(
      "BEGIN; INSERT INTO p VALUES (17, 'Grace'), (18, 'Eve'); COMMIT;"
      "BEGIN; INSERT INTO l VALUES (1, 1, 18); INSERT INTO r VALUES (1, 1, 17); COMMIT;"
      "BEGIN; INSERT INTO l VALUES (2, 2, 17); INSERT INTO r VALUES (2, 2, 18); COMMIT;"
      "BEGIN; INSERT INTO l VALUES (3, 3, 18); INSERT INTO r VALUES (3, 3, 18); COMMIT");

  Cycle();

  EXPECT_THAT(a_.Query("SELECT id FROM l"), ElementsAre("3"));
  EXPECT_THAT(a_.Query("SELECT id FROM r"), ElementsAre("3"));
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityType, EntityId FROM SyncQueueItems WHERE Status IN (0, "
                             "3) ORDER BY 1, 2"),
              ElementsAre("l|1", "l|2", "p|17", "r|1", "r|2"));
}

}  // namespace
}  // namespace ptdoc::sync
