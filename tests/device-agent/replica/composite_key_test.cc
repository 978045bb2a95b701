// Keys of several columns that are integers, or local integers, and what refers to them.
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

EntityConfig Entity(const std::string& table, std::vector<std::string> key,
                    IntegerKey how = IntegerKey::kRefuse) {
  EntityConfig config;
  config.table = table;
  config.key = std::move(key);
  config.integer_key = how;
  return config;
}

class CompositeTest : public ReplicaTest {
 protected:
  void Configure(const std::vector<EntityConfig>& entities) {
    for (TestDevice* device : {&a_, &b_}) {
      device->options().plan.entities = entities;
      device->options().plan.all_tables = false;
    }
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
  static Lines Waiting(TestDevice& device) {
    return device.LedgerQuery(
        "SELECT EntityType, EntityId, Status, substr(ErrorMessage, 1, instr(ErrorMessage, ':') - 1)"
        " FROM SyncQueueItems WHERE Status IN (0, 1, 3) ORDER BY 1, 2");
  }
  static Lines Aside(TestDevice& device) {
    return device.LedgerQuery(
        "SELECT EntityType, EntityId, Code, ConstraintName FROM SyncSetAside ORDER BY 1, 2");
  }
  // Nothing waits anywhere, and no comparison finds what nobody did.
  void ExpectAtRest() {
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(Waiting(*device), IsEmpty()) << device->name();
      EXPECT_THAT(Aside(*device), IsEmpty()) << device->name();
      EXPECT_THAT(device->Query("PRAGMA foreign_key_check"), IsEmpty());
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
      while (*device->replica().Maintain()) continue;
      EXPECT_THAT(Waiting(*device), IsEmpty()) << device->name() << " found what nobody did";
    }
  }
};

// --- Integers that are the same on every device: wards of houses.

// The columns that refer stand in another order than the key that they refer to.
constexpr char kHouse[] =
    "CREATE TABLE ward(house INTEGER, no INTEGER, name TEXT, PRIMARY KEY(house, no));"
    "CREATE TABLE bed(no INTEGER, house INTEGER, ward INTEGER, label TEXT,"
    " PRIMARY KEY(house, ward, no),"
    " FOREIGN KEY(ward, house) REFERENCES ward(no, house) ON UPDATE CASCADE);"
    "CREATE TABLE stay(id TEXT PRIMARY KEY, bed INTEGER, ward INTEGER, house INTEGER,"
    " FOREIGN KEY(bed, house, ward) REFERENCES bed(no, house, ward) ON UPDATE CASCADE)";

class CompositeCollisionTest : public CompositeTest {
 protected:
  void BeginHouses(const std::string& schema = kHouse) {
    Configure({Entity("ward", {}, IntegerKey::kOneSide), Entity("bed", {}, IntegerKey::kOneSide),
               Entity("stay", {})});
    BeginBoth(schema);
  }
  void Collide() {
    a_.Sql("INSERT INTO ward VALUES (1, 7, 'of Ada')");
    // The last first, each by itself.
    b_.Sql(
        "INSERT INTO stay VALUES ('s1', 3, 7, 1), ('s2', 4, 8, 1), ('s3', NULL, 7, 1);"
        "INSERT INTO bed VALUES (3, 1, 7, 'hers'), (4, 1, 8, 'other');"
        "INSERT INTO ward VALUES (1, 8, 'free'), (1, 7, 'of Grace')");
    Cycle();
  }
};

TEST_F(CompositeCollisionTest, WhatHangsOnACollidedRowWaitsAndTheRestGoes) {
  BeginHouses();

  Collide();

  EXPECT_THAT(Waiting(b_), ElementsAre("bed|[1,7,3]|0|WAITS_FOR_PARENT",
                                       "stay|s1|0|WAITS_FOR_PARENT", "ward|[1,7]|3|KEY_COLLISION"));
  EXPECT_THAT(a_.Query("SELECT name FROM ward ORDER BY no"), ElementsAre("of Ada", "free"));
  EXPECT_THAT(a_.Query("SELECT label FROM bed"), ElementsAre("other"));
  // A reference with a NULL in it refers to nothing, and waits for nothing.
  EXPECT_THAT(a_.Query("SELECT id FROM stay ORDER BY id"), ElementsAre("s2", "s3"));
  EXPECT_THAT(b_.Query("SELECT name FROM ward WHERE no = 7"), ElementsAre("of Grace"));
  const std::vector<ArchiveRow> archives = ServiceArchives();
  ASSERT_THAT(archives, SizeIs(1));
  EXPECT_EQ(archives[0].resolution, Resolution::kKeyCollision);
}

TEST_F(CompositeCollisionTest, AnotherNumberTakesChildrenAndGrandchildrenAlong) {
  BeginHouses();
  Collide();

  b_.Sql("PRAGMA foreign_keys = ON; UPDATE ward SET no = 40 WHERE no = 7");
  Cycle();

  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query("SELECT no, name FROM ward ORDER BY no"),
                ElementsAre("7|of Ada", "8|free", "40|of Grace"));
    EXPECT_THAT(device->Query("SELECT ward, no, label FROM bed ORDER BY no"),
                ElementsAre("40|3|hers", "8|4|other"));
    EXPECT_THAT(device->Query("SELECT id, house, ward, bed FROM stay ORDER BY id"),
                ElementsAre("s1|1|40|3", "s2|1|8|4", "s3|1|7|-"));
  }
  ExpectAtRest();
}

TEST_F(CompositeCollisionTest, ARowInTheMiddleThatCollidesHoldsUpItsOwnChildrenAlone) {
  BeginHouses();
  a_.Sql("INSERT INTO ward VALUES (1, 7, 'both know it')");
  SyncBoth();
  a_.Sql("INSERT INTO bed VALUES (3, 1, 7, 'by a'); INSERT INTO stay VALUES ('sa', 3, 7, 1)");
  b_.Sql(
      "INSERT INTO stay VALUES ('sb', 3, 7, 1), ('sc', 5, 7, 1);"
      "INSERT INTO bed VALUES (5, 1, 7, 'free'), (3, 1, 7, 'by b')");

  Cycle();

  EXPECT_THAT(Waiting(b_),
              ElementsAre("bed|[1,7,3]|3|KEY_COLLISION", "stay|sb|0|WAITS_FOR_PARENT"));
  EXPECT_THAT(a_.Query("SELECT no, label FROM bed ORDER BY no"), ElementsAre("3|by a", "5|free"));
  EXPECT_THAT(a_.Query("SELECT id FROM stay ORDER BY id"), ElementsAre("sa", "sc"));
  // What the other one's row says of this bed arrives here, and means this one: as long
  // as nobody has decided both are shown.
  EXPECT_THAT(b_.Query("SELECT id FROM stay ORDER BY id"), ElementsAre("sa", "sb", "sc"));
}

TEST_F(CompositeCollisionTest, ACollidedRowIsNotCancelledFromUnderItsChildren) {
  BeginHouses();
  Collide();
  const int64_t bed = b_.ledger().FindWaiting({"bed", "[1,7,3]"})->value().id;
  const int64_t ward = b_.ledger().FindWaiting({"ward", "[1,7]"})->value().id;

  EXPECT_EQ(ReasonOf(b_.replica().CancelItem(ward).status()), "REFERRED_TO");
  b_.Sql("DELETE FROM stay WHERE id = 's1'");
  EXPECT_TRUE(b_.replica().CancelItem(bed).ok());
  EXPECT_TRUE(b_.replica().CancelItem(ward).ok());
  Cycle();

  EXPECT_THAT(b_.Query("SELECT name FROM ward ORDER BY no"), ElementsAre("of Ada", "free"));
  EXPECT_THAT(a_.Query("SELECT label FROM bed"), ElementsAre("other"));
  ExpectAtRest();
}

// SQLite compares what refers with the affinity of what it refers to: '7' is 7.
TEST_F(CompositeCollisionTest, NumbersThatAreWrittenAsTextReferAllTheSame) {
  for (const char* type : {"TEXT", "", "REAL", "NUMERIC"}) {
    SCOPED_TRACE(type);
    const std::string schema = absl::StrCat(
        "CREATE TABLE ward(house INTEGER, no INTEGER, name TEXT, PRIMARY KEY(house, no));"
        "CREATE TABLE stay(id TEXT PRIMARY KEY, ward ",
        type, ", house ", type,
        ", FOREIGN KEY(house, ward) REFERENCES ward(house, no) ON UPDATE CASCADE)");
    const std::vector<EntityConfig> entities = {Entity("ward", {}, IntegerKey::kOneSide),
                                                Entity("stay", {})};
    TestDevice to(dir_, absl::StrCat("to", type), clock_, rng_);
    TestDevice from(dir_, absl::StrCat("from", type), clock_, rng_);
    std::filesystem::create_directory(dir_ + "/of-" + to.name());
    TestService service(dir_ + "/of-" + to.name(), clock_, rng_);
    for (TestDevice* device : {&to, &from}) {
      device->options().plan.entities = entities;
      device->options().plan.all_tables = false;
      device->Begin(schema);
    }
    to.Sql("INSERT INTO ward VALUES (1, 7, 'of Ada')");
    ASSERT_TRUE(to.Sync(service).ok());
    from.Sql(
        "PRAGMA foreign_keys = ON; INSERT INTO ward VALUES (1, 7, 'of Grace'), (1, 8, 'free');"
        "INSERT INTO stay VALUES ('s1', '7', '1'), ('s2', '8', '1')");
    from.Drain();

    ASSERT_TRUE(from.PushAll(service).ok());
    ASSERT_TRUE(to.PullAll(service).ok());

    EXPECT_THAT(to.Query("SELECT id FROM stay"), ElementsAre("s2"));
    EXPECT_THAT(Waiting(from),
                ElementsAre("stay|s1|0|WAITS_FOR_PARENT", "ward|[1,7]|3|KEY_COLLISION"));
    const int64_t ward = from.ledger().FindWaiting({"ward", "[1,7]"})->value().id;
    ASSERT_TRUE(from.PullAll(service).ok());
    EXPECT_EQ(ReasonOf(from.replica().CancelItem(ward).status()), "REFERRED_TO");
    from.Close();
    to.Close();
  }
}

// --- Integers that are each device's own: rooms of departments.

constexpr char kRooms[] =
    "CREATE TABLE dept(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT);"
    "CREATE TABLE room(id INTEGER PRIMARY KEY,"
    " dept_id INTEGER NOT NULL REFERENCES dept(id) ON UPDATE CASCADE, no TEXT NOT NULL, label TEXT,"
    " UNIQUE(dept_id, no));"
    "CREATE TABLE booking(id TEXT PRIMARY KEY, room_no TEXT, dept_id INTEGER, who TEXT,"
    " FOREIGN KEY(room_no, dept_id) REFERENCES room(no, dept_id)"
    " ON DELETE CASCADE ON UPDATE CASCADE)";
constexpr char kBookings[] =
    "SELECT b.id, b.who, d.code, r.no, r.label FROM booking b LEFT JOIN dept d ON d.id = b.dept_id "
    "LEFT JOIN room r ON r.dept_id = b.dept_id AND r.no = b.room_no ORDER BY b.id";

class CompositeReferenceTest : public CompositeTest {
 protected:
  // Numbers differ from the first row on.
  void BeginRooms() {
    Configure({Entity("dept", {"code"}), Entity("room", {"dept_id", "no"}), Entity("booking", {})});
    a_.Begin(kRooms);
    b_.Begin(kRooms,
             "INSERT INTO dept VALUES (1, 'other', 'o'), (2, 'more', 'm');"
             "INSERT INTO room VALUES (1, 1, '101', 'b''s')");
  }
  void BookOne() {
    a_.Sql(
        "PRAGMA foreign_keys = ON; INSERT INTO dept VALUES (1, 'ent', 'ENT');"
        "INSERT INTO room VALUES (9, 1, '101', 'small');"
        "INSERT INTO booking VALUES ('k1', '101', 1, 'Ann')");
  }
  IncomingPage Feed(const std::string& type) {
    IncomingPage only = *service_.Pull("dev-b", "");
    std::erase_if(only.versions, [&](const Version& v) { return v.key.type != type; });
    only.caught_up = false;
    only.cursor.clear();
    return only;
  }
};

TEST_F(CompositeReferenceTest, TheIntegerPartIsThatOfEachDevice) {
  BeginRooms();
  BookOne();

  SyncBoth();

  EXPECT_THAT(b_.Query(kBookings), ElementsAre("k1|Ann|ent|101|small"));
  EXPECT_THAT(b_.Query("SELECT dept_id FROM booking"), ElementsAre("3"));
  b_.Sql(
      "PRAGMA foreign_keys = ON; UPDATE booking SET who = 'Bob';"
      "INSERT INTO booking VALUES ('k2', '101', 1, 'in b''s'), ('k3', '101', NULL, 'nowhere')");
  SyncBoth();
  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query(kBookings),
                ElementsAre("k1|Bob|ent|101|small", "k2|in b's|other|101|b's", "k3|nowhere|-|-|-"));
  }
  ExpectAtRest();
}

TEST_F(CompositeReferenceTest, AChildThatComesBeforeEitherParentWaitsForBoth) {
  BeginRooms();
  BookOne();
  ASSERT_TRUE(a_.PushAll(service_).ok());

  b_.Apply(Feed("booking"));
  EXPECT_THAT(Aside(b_), ElementsAre("booking|k1|MISSING_PARENT|dept/ent"));
  b_.Apply(Feed("dept"));
  EXPECT_THAT(Aside(b_), ElementsAre("booking|k1|SQLITE_CONSTRAINT_FOREIGNKEY|booking"));
  EXPECT_THAT(b_.Query(kBookings), IsEmpty());
  b_.Apply(Feed("room"));

  EXPECT_THAT(b_.Query(kBookings), ElementsAre("k1|Ann|ent|101|small"));
  SyncBoth();
  ExpectAtRest();
}

TEST_F(CompositeReferenceTest, RenumberedParentsSendNothing) {
  BeginRooms();
  BookOne();
  SyncBoth();

  a_.Sql("UPDATE dept SET id = 70 WHERE code = 'ent'; UPDATE room SET id = id + 71");
  const Taken taken = a_.Take();

  EXPECT_THAT(a_.Query("SELECT dept_id FROM booking"), ElementsAre("70"));
  EXPECT_FALSE(taken.batch.has_value());
  SyncBoth();
  EXPECT_THAT(b_.Query(kBookings), ElementsAre("k1|Ann|ent|101|small"));
  ExpectAtRest();
}

TEST_F(CompositeReferenceTest, ARoomOfAnotherDepartmentTakesItsBookingsAlong) {
  BeginRooms();
  BookOne();
  SyncBoth();

  b_.Sql(
      "PRAGMA foreign_keys = ON;"
      "UPDATE room SET dept_id = 2, no = '7' WHERE label = 'small'");
  SyncBoth();

  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query(kBookings), ElementsAre("k1|Ann|more|7|small"));
    EXPECT_THAT(device->Query("SELECT count(*) FROM room"), ElementsAre("2"));
  }
  ExpectAtRest();
}

TEST_F(CompositeReferenceTest, DeletedRoomsTakeTheirBookingsAlongEverywhere) {
  BeginRooms();
  BookOne();
  SyncBoth();

  b_.Sql("PRAGMA foreign_keys = ON; DELETE FROM room WHERE label = 'small'");
  b_.Drain();

  EXPECT_THAT(b_.OpenQueue(), UnorderedElementsAre("[\"ent\",\"101\"]|2|0", "k1|2|0"));
  SyncBoth();
  EXPECT_THAT(a_.Query(kBookings), IsEmpty());
  ExpectAtRest();
}

// A booking that nothing is wrong with, from a device that does not know all its columns,
// beside one whose room is not there.
TEST_F(CompositeReferenceTest, OneWithoutItsRoomHoldsUpNoOther) {
  BeginRooms();
  BookOne();
  SyncBoth();
  const auto version = [](const std::string& id, Revision revision, std::vector<Field> fields) {
    Version out;
    out.key = {"booking", id};
    out.revision = revision;
    out.check = "checkchk";
    out.last_modified = 1'000;
    fields.push_back({"id", Value::Text(id)});
    out.fields = Fields(std::move(fields));
    return out;
  };
  IncomingPage page;
  page.versions = {version("k1", 1'000, {{"who", Value::Text("Eve")}}),
                   version("k9", 1'001,
                           {{"who", Value::Text("Tim")},
                            {"dept_id", Value::Text("ent")},
                            {"room_no", Value::Text("404")}})};
  page.batch_end = true;
  page.cursor = "later";

  b_.Apply(page);

  EXPECT_THAT(Aside(b_), ElementsAre("booking|k9|SQLITE_CONSTRAINT_FOREIGNKEY|booking"));
  EXPECT_THAT(b_.Query(kBookings), ElementsAre("k1|Eve|ent|101|small"));
}

// --- Links whose key says whose they are, and no foreign key declares it.

constexpr char kLibrary[] =
    "CREATE TABLE item(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);"
    "CREATE TABLE mood(id INTEGER PRIMARY KEY, item INTEGER NOT NULL, name TEXT NOT NULL,"
    " UNIQUE(item, name));"
    "CREATE TABLE vote(id INTEGER PRIMARY KEY, mood INTEGER NOT NULL, who TEXT NOT NULL,"
    " UNIQUE(mood, who))";

class LinkTest : public CompositeTest {
 protected:
  void SetUp() override {
    EntityConfig mood = Entity("mood", {"item", "name"});
    mood.references = {{"item", "item"}};
    EntityConfig vote = Entity("vote", {"mood", "who"});
    vote.references = {{"mood", "mood"}};
    Configure({Entity("item", {"path"}), mood, vote});
    BeginBoth(kLibrary);
    a_.Sql(
        "INSERT INTO item VALUES (1, 'x'), (2, 'y');"
        "INSERT INTO mood VALUES (1, 1, 'sad'), (2, 2, 'sad');"
        "INSERT INTO vote VALUES (1, 1, 'ann'), (2, 2, 'ann')");
    Cycle();
    ASSERT_EQ(b_.Query("SELECT who FROM vote").size(), 2u);
  }
  void ExpectOneOfEach() {
    Cycle();
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(device->Query("SELECT path FROM item"), ElementsAre("y")) << device->name();
      EXPECT_THAT(device->Query("SELECT item.path FROM mood LEFT JOIN item ON item.id = item"),
                  ElementsAre("y"))
          << device->name();
      EXPECT_THAT(device->Query("SELECT mood.name FROM vote LEFT JOIN mood ON mood.id = mood"),
                  ElementsAre("sad"))
          << device->name();
    }
    ExpectAtRest();
  }
};

TEST_F(LinkTest, DeletedAfterWhatItBelongsToItGoesOnOtherDevicesToo) {
  b_.Sql(
      "BEGIN; DELETE FROM item WHERE id = 1; DELETE FROM mood WHERE item = 1;"
      "DELETE FROM vote WHERE mood = 1; COMMIT");

  ExpectOneOfEach();
}

TEST_F(LinkTest, DeletedBeforeWhatItBelongsToItGoesOnOtherDevicesToo) {
  b_.Sql(
      "BEGIN; DELETE FROM vote WHERE mood = 1; DELETE FROM mood WHERE item = 1;"
      "DELETE FROM item WHERE id = 1; COMMIT");

  ExpectOneOfEach();
}

// By then other devices have let go what it is known by.
TEST_F(LinkTest, DeletedLaterThanWhatItBelongsToItGoesOnOtherDevicesToo) {
  b_.Sql("DELETE FROM item WHERE path = 'x'");
  Cycle();
  b_.Sql("DELETE FROM mood WHERE item NOT IN (SELECT id FROM item)");
  Cycle();
  b_.Sql("DELETE FROM vote WHERE mood NOT IN (SELECT id FROM mood)");

  ExpectOneOfEach();
}

TEST_F(LinkTest, LeftBehindItIsNotTakenForALinkOfANewRow) {
  // The greatest number, which SQLite would give again.
  b_.Sql("DELETE FROM item WHERE path = 'y'");
  Cycle();
  b_.Sql("INSERT INTO item VALUES (7, 'z')");
  Cycle();

  EXPECT_THAT(a_.Query("SELECT path FROM item"), ElementsAre("x", "z"));
  EXPECT_THAT(a_.Query("SELECT item.path FROM mood LEFT JOIN item ON item.id = item ORDER BY 1"),
              ElementsAre("-", "x"));
  // And nobody takes it for deleted, whose app has not deleted it.
  for (TestDevice* device : {&a_, &b_}) {
    ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
  }
  Cycle();
  EXPECT_THAT(a_.Query("SELECT name FROM mood"), SizeIs(2));
  b_.Sql("DELETE FROM mood WHERE item = 2; DELETE FROM vote WHERE mood = 2");
  Cycle();
  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query("SELECT item.path FROM mood LEFT JOIN item ON item.id = item"),
                ElementsAre("x"))
        << device->name();
    EXPECT_THAT(device->Query("SELECT who FROM vote"), ElementsAre("ann")) << device->name();
    ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
  }
  Cycle();
  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->LedgerQuery("SELECT * FROM SyncGoneNumbers"), IsEmpty()) << device->name();
  }
  ExpectAtRest();
}

// The app forbids that anything goes before its links.
TEST_F(LinkTest, GoesBeforeWhatAnAppLetsGoLastOnly) {
  for (TestDevice* device : {&a_, &b_}) {
    device->Sql(
        "CREATE TRIGGER used BEFORE DELETE ON item WHEN EXISTS (SELECT 1 FROM mood WHERE item = "
        "OLD.id) BEGIN SELECT RAISE(ABORT, 'it is used'); END");
  }
  b_.Sql(
      "BEGIN; DELETE FROM vote WHERE mood = 1; DELETE FROM mood WHERE item = 1;"
      "DELETE FROM item WHERE id = 1; COMMIT");

  ExpectOneOfEach();
}

// Whatever an app does to rows and links, in whatever order, and whenever it cleans up.
class RandomLinkTest : public LinkTest, public testing::WithParamInterface<uint64_t> {
 protected:
  std::string Any(const char* table) {
    return absl::StrCat("(SELECT id FROM ", table, " ORDER BY id LIMIT 1 OFFSET ", random_.Below(4),
                        ")");
  }
  std::string Step() {
    switch (random_.Below(8)) {
      case 0:
        return absl::StrCat("INSERT INTO item(path) VALUES ('p", ++made_, "')");
      case 1:
        return absl::StrCat("INSERT OR IGNORE INTO mood(item, name) SELECT id, 'm",
                            random_.Below(3), "' FROM item WHERE id = ", Any("item"));
      case 2:
        return absl::StrCat("INSERT OR IGNORE INTO vote(mood, who) SELECT m.id, 'v",
                            random_.Below(3),
                            "' FROM mood m JOIN item i ON i.id = m.item WHERE "
                            "m.id = ",
                            Any("mood"));
      case 3:
        return absl::StrCat("DELETE FROM item WHERE id = ", Any("item"));
      case 4:
        return absl::StrCat("BEGIN; DELETE FROM item WHERE id = ", Any("item"), "; ", kCleanUp,
                            "; COMMIT");
      case 5:
        return absl::StrCat("DELETE FROM mood WHERE id = ", Any("mood"));
      case 6:
        return absl::StrCat("DELETE FROM vote WHERE id = ", Any("vote"));
      default:
        return kCleanUp;
    }
  }
  static constexpr char kCleanUp[] =
      "DELETE FROM mood WHERE item NOT IN (SELECT id FROM item);"
      "DELETE FROM vote WHERE mood NOT IN (SELECT id FROM mood)";
  SeededRng random_{GetParam()};
  int made_ = 0;
};

TEST_P(RandomLinkTest, DevicesAgreeInTheEnd) {
  for (int step = 0; step < 60; ++step) {
    a_.Sql(Step());
    // So that numbers differ, and SQLite gives none of them again by itself. Links are a's
    // alone: b's app cleans nothing up.
    if (random_.Below(4) == 0) {
      b_.Sql(absl::StrCat("INSERT INTO item VALUES (", 1000 * (step + 1), ", 'q", step, "')"));
    }
    for (TestDevice* device : {&a_, &b_}) {
      if (random_.Below(3) != 0) continue;
      ASSERT_TRUE(device->Sync(service_).ok());
    }
    clock_.Advance(absl::Seconds(1));
  }
  for (int round = 0; round < 3; ++round) {
    a_.Sql(kCleanUp);
    for (TestDevice* device : {&a_, &b_}) {
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
    }
    Cycle();
  }

  constexpr char kAll[] =
      "SELECT path, name, who FROM item i LEFT JOIN mood m ON m.item = i.id LEFT JOIN vote v ON "
      "v.mood = m.id ORDER BY 1, 2, 3";
  EXPECT_EQ(a_.Query(kAll), b_.Query(kAll));
  for (const char* table : {"item", "mood", "vote"}) {
    EXPECT_EQ(a_.Query(absl::StrCat("SELECT count(*) FROM ", table)),
              b_.Query(absl::StrCat("SELECT count(*) FROM ", table)))
        << table;
  }
  ExpectAtRest();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomLinkTest, testing::Range<uint64_t>(1, 13));

}  // namespace
}  // namespace ptdoc::sync
