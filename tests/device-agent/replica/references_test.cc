// Tables whose integers are each device's own: foreign keys travel as ids.
#include <algorithm>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kShelf[] = R"sql(
CREATE TABLE author(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT);
CREATE TABLE book(id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, title TEXT,
  author_id INTEGER REFERENCES author(id) ON DELETE SET NULL,
  sequel_of INTEGER REFERENCES book(id));
CREATE TABLE tag(id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE);
CREATE TABLE book_tags(id INTEGER PRIMARY KEY,
  book_id INTEGER NOT NULL REFERENCES book(id) ON DELETE CASCADE ON UPDATE CASCADE,
  tag_id INTEGER NOT NULL REFERENCES tag(id) ON DELETE CASCADE, UNIQUE(book_id, tag_id));
)sql";

// What the shelf holds, without its integers.
constexpr char kBooks[] =
    "SELECT b.uuid, b.title, a.uuid, s.uuid FROM book b LEFT JOIN author a ON a.id = b.author_id "
    "LEFT JOIN book s ON s.id = b.sequel_of ORDER BY b.uuid";
constexpr char kTags[] =
    "SELECT b.uuid, t.slug FROM book_tags l LEFT JOIN book b ON b.id = l.book_id "
    "LEFT JOIN tag t ON t.id = l.tag_id ORDER BY 1, 2";

EntityConfig Keyed(const std::string& table, std::vector<std::string> key) {
  EntityConfig config;
  config.table = table;
  config.key = std::move(key);
  return config;
}

class ReferencesTest : public ReplicaTest {
 protected:
  ReferencesTest() {
    for (TestDevice* device : {&a_, &b_}) {
      device->options().plan.entities = {Keyed("author", {"uuid"}), Keyed("book", {"uuid"}),
                                         Keyed("tag", {"slug"}),
                                         Keyed("book_tags", {"book_id", "tag_id"})};
      device->options().plan.all_tables = false;
    }
  }
  // Numbers differ from the first row on.
  void BeginShelves() {
    a_.Begin(kShelf);
    b_.Begin(kShelf,
             "INSERT INTO author VALUES (1, 'other', 'B.'), (2, 'another', 'B2');"
             "INSERT INTO book VALUES (1, 'bb', 'of B', 1, NULL);"
             "INSERT INTO tag VALUES (4, 'dull')");
  }
  // And a book with a tag on both, by whatever numbers.
  void BeginWithALink(bool foreign_keys) {
    BeginShelves();
    if (foreign_keys) a_.Sql("PRAGMA foreign_keys = ON");
    a_.Sql(
        "INSERT INTO tag VALUES (1, 'good');"
        "INSERT INTO book VALUES (5, 'b1', 'One', NULL, NULL);"
        "INSERT INTO book_tags VALUES (1, 5, 1)");
    SyncBoth();
  }
  void ExpectTheSame() {
    EXPECT_EQ(a_.Query(kBooks), b_.Query(kBooks));
    EXPECT_EQ(a_.Query(kTags), b_.Query(kTags));
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(device->Query("PRAGMA foreign_key_check"), IsEmpty());
      EXPECT_THAT(device->OpenQueue(), IsEmpty());
      EXPECT_THAT(device->LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"), IsEmpty());
    }
  }
  // Nothing is found that nobody announced.
  void ExpectNothingToCompare() {
    for (TestDevice* device : {&a_, &b_}) {
      ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
      while (*device->replica().Maintain()) continue;
      EXPECT_THAT(device->OpenQueue(), IsEmpty()) << device->name();
    }
  }
};

TEST_F(ReferencesTest, AForeignKeyArrivesAsTheIntegerOfTheOtherDevice) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (1, 'ann', 'Ann');"
      "INSERT INTO book(uuid, title, author_id) VALUES ('b1', 'One', 1);"
      "INSERT INTO book(uuid, title, author_id, sequel_of) VALUES ('b2', 'Two', 1, 1)");

  SyncBoth();

  EXPECT_THAT(b_.Query(kBooks), ElementsAre("b1|One|ann|-", "b2|Two|ann|b1", "bb|of B|other|-"));
  EXPECT_THAT(b_.Query("SELECT id FROM author WHERE uuid = 'ann'"), ElementsAre("3"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, OnTheWireStandsTheIdOfTheRow) {
  a_.Begin(kShelf,
           "INSERT INTO author VALUES (7, 'ann', 'Ann');"
           "INSERT INTO book VALUES (3, 'b1', 'One', 7, 3)");

  const Taken taken = a_.Take();

  ASSERT_TRUE(taken.batch.has_value());
  ASSERT_THAT(taken.batch->changes, SizeIs(2));
  const Fields& book = taken.batch->changes[1].fields;
  EXPECT_EQ(*book.Find("author_id"), Value::Text("ann"));
  EXPECT_EQ(*book.Find("sequel_of"), Value::Text("b1"));
  EXPECT_EQ(book.Find("id"), nullptr);
  EXPECT_FALSE(taken.batch->changes[1].integer_key);
}

TEST_F(ReferencesTest, RowsThatReferToEachOtherArriveTogether) {
  BeginShelves();
  // A circle of three, and one that refers to itself, in the wrong order.
  a_.Sql(
      "BEGIN; PRAGMA defer_foreign_keys = ON;"
      "INSERT INTO book VALUES (11, 'x', 'X', NULL, 12), (12, 'y', 'Y', NULL, 13),"
      " (13, 'z', 'Z', NULL, 11), (14, 'self', 'S', NULL, 14); COMMIT");

  SyncBoth();

  EXPECT_THAT(b_.Query(kBooks), Contains("self|S|-|self"));
  EXPECT_THAT(b_.Query(kBooks), Contains("x|X|-|y"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, ALinkIsKnownByTheRowsThatItLinks) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO tag VALUES (1, 'good'), (2, 'long');"
      "INSERT INTO book VALUES (5, 'b1', 'One', NULL, NULL);"
      "INSERT INTO book_tags VALUES (1, 5, 1), (2, 5, 2)");
  SyncBoth();
  EXPECT_THAT(b_.Query(kTags), ElementsAre("b1|good", "b1|long"));

  // Both devices link the same two: one entity, though no integer is the same.
  a_.Sql(
      "INSERT INTO book_tags(book_id, tag_id) SELECT book.id, tag.id FROM book, tag "
      "WHERE uuid = 'bb' AND slug = 'dull'");
  b_.Sql(
      "INSERT INTO book_tags(book_id, tag_id) SELECT book.id, tag.id FROM book, tag "
      "WHERE uuid = 'bb' AND slug = 'dull'");
  SyncBoth();

  EXPECT_THAT(a_.Query(kTags), ElementsAre("b1|good", "b1|long", "bb|dull"));
  EXPECT_THAT(ServiceArchives(), IsEmpty());
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, WhatGoesWithItsParentIsDeletedEverywhere) {
  BeginWithALink(/*foreign_keys=*/true);
  ASSERT_THAT(b_.Query(kTags), ElementsAre("b1|good"));

  a_.Sql("DELETE FROM book WHERE uuid = 'b1'");
  a_.Drain();

  EXPECT_THAT(a_.OpenQueue(), ElementsAre("b1|2|0", "[\"b1\",\"good\"]|2|0"));
  SyncBoth();
  EXPECT_THAT(b_.Query(kTags), IsEmpty());
  ExpectTheSame();
}

TEST_F(ReferencesTest, ANumberThatIsGivenOutAgainIsAnotherRow) {
  BeginWithALink(/*foreign_keys=*/true);

  // Within one drain: the link of the old 5 goes, a new one of the new 5 comes,
  // and goes, and comes.
  a_.Sql(
      "DELETE FROM book WHERE id = 5;"
      "INSERT INTO book VALUES (5, 'b2', 'Two', NULL, NULL);"
      "INSERT INTO book_tags VALUES (9, 5, 1); DELETE FROM book WHERE id = 5;"
      "INSERT INTO book VALUES (5, 'b3', 'Three', NULL, NULL);"
      "INSERT INTO book_tags VALUES (9, 5, 1)");
  SyncBoth();

  EXPECT_THAT(b_.Query(kBooks), ElementsAre("b3|Three|-|-", "bb|of B|other|-"));
  EXPECT_THAT(b_.Query(kTags), ElementsAre("b3|good"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

// A page deletes a row, and another one gets its number: what was linked to the one
// is not what is linked to the other.
TEST_F(ReferencesTest, ALinkIsDeletedByTheNumbersOfNow) {
  BeginWithALink(/*foreign_keys=*/false);
  ASSERT_THAT(b_.Query("SELECT id FROM tag WHERE slug = 'good'"), ElementsAre("5"));

  // The old link's deletion comes last.
  a_.Sql(
      "PRAGMA foreign_keys = OFF; DELETE FROM tag WHERE slug = 'good';"
      "INSERT INTO tag VALUES (9, 'new'); INSERT INTO book_tags VALUES (2, 5, 9);"
      "DELETE FROM book_tags WHERE id = 1");
  SyncBoth();

  // The old number stays with what named it until the next comparison.
  EXPECT_THAT(b_.Query("SELECT id FROM tag WHERE slug = 'new'"), ElementsAre("6"));
  EXPECT_THAT(b_.Query(kTags), ElementsAre("b1|new"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, ALinkThatGoesWithAPageIsKnownByTheNumbersOfBefore) {
  BeginWithALink(/*foreign_keys=*/false);

  // To A the link stays, and refers to nothing. (Within one millisecond it would look like
  // a tag with a new name, and all rows would be compared.)
  a_.Sql("PRAGMA foreign_keys = OFF; DELETE FROM tag WHERE slug = 'good'");
  absl::SleepFor(absl::Milliseconds(2));
  a_.Sql("INSERT INTO tag VALUES (9, 'new')");
  SyncBoth();

  // The old number is kept for what may still name it.
  EXPECT_THAT(b_.Query("SELECT id FROM tag WHERE slug = 'new'"), ElementsAre("6"));
  EXPECT_THAT(b_.Query(kTags), IsEmpty());
  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code FROM SyncSetAside"),
              ElementsAre("[\"b1\",\"good\"]|MISSING_PARENT"));
}

// While what the app did to its links is not drained, their numbers keep their meaning.
TEST_F(ReferencesTest, APageWaitsForLinksThatAreNotDrained) {
  BeginWithALink(/*foreign_keys=*/false);
  a_.Sql(
      "PRAGMA foreign_keys = OFF; DELETE FROM tag WHERE slug = 'good';"
      "INSERT INTO tag VALUES (9, 'new')");
  ASSERT_TRUE(a_.PushAll(service_).ok());

  // Between B's look at its queue and the page.
  b_.Drain();
  b_.Sql("DELETE FROM book_tags");
  ASSERT_TRUE(b_.PullAll(service_).ok());
  b_.Drain();

  EXPECT_THAT(b_.OpenQueue(), ElementsAre("[\"b1\",\"good\"]|2|0"));
}

TEST_F(ReferencesTest, RenumberedRowsSendNothing) {
  BeginWithALink(/*foreign_keys=*/true);

  a_.Sql("UPDATE book SET id = 77 WHERE uuid = 'b1'");
  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(a_.Query("SELECT book_id FROM book_tags"), ElementsAre("77"));
  SyncBoth();
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, ARowThatGetsAnotherIdTakesItsChildrenAlong) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (7, 'ann', 'Ann');"
      "INSERT INTO book VALUES (5, 'b1', 'One', 7, NULL)");
  SyncBoth();

  a_.Sql("UPDATE author SET uuid = 'anna' WHERE id = 7");
  SyncBoth();

  EXPECT_THAT(b_.Query(kBooks), ElementsAre("b1|One|anna|-", "bb|of B|other|-"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, AVersionWaitsForTheRowThatItRefersTo) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (7, 'ann', 'Ann');"
      "INSERT INTO book VALUES (5, 'b1', 'One', 7, NULL)");
  ASSERT_TRUE(a_.PushAll(service_).ok());
  // The author is newer than its book on the feed.
  a_.Sql("UPDATE author SET name = 'Anna' WHERE id = 7");
  Sync(a_);
  b_.set_page_size(1);
  const auto page = service_.Pull("dev-b", "", 1);
  ASSERT_TRUE(page.ok());
  IncomingPage only_book = *page;
  std::erase_if(only_book.versions, [](const Version& v) { return v.key.type != "book"; });
  only_book.caught_up = false;

  b_.Apply(only_book);

  EXPECT_THAT(b_.LedgerQuery("SELECT EntityId, Code, ConstraintName FROM SyncSetAside"),
              ElementsAre("b1|MISSING_PARENT|author/ann"));
  SyncBoth();
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, AnIntegerThatRefersToNothingIsNotSent) {
  BeginShelves();
  SyncBoth();
  a_.Sql("INSERT INTO book VALUES (5, 'b1', 'One', 99, NULL)");

  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.OpenQueue(), ElementsAre("b1|0|3"));
  EXPECT_THAT(a_.LedgerQuery("SELECT ErrorMessage FROM SyncQueueItems WHERE EntityId = 'b1'"),
              ElementsAre(HasSubstr("DANGLING_REFERENCE: the column author_id of this book")));

  // What it refers to comes later, as where foreign keys are off.
  a_.Sql("INSERT INTO author VALUES (99, 'late', 'Late')");
  SyncBoth();
  EXPECT_THAT(b_.Query(kBooks), Contains("b1|One|late|-"));
  ExpectTheSame();
}

TEST_F(ReferencesTest, ALinkToNothingIsNotSyncedAndSaid) {
  BeginShelves();
  SyncBoth();
  a_.Sql("INSERT INTO book_tags VALUES (1, 98, 99)");

  const DrainReport drained = a_.Drain();

  EXPECT_THAT(drained.problems, ElementsAre(HasSubstr("INVALID_KEY")));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  a_.Sql("DELETE FROM book_tags");
  SyncBoth();
  ExpectTheSame();
}

TEST_F(ReferencesTest, ALinkThatOutlivedItsRowIsDeletedLater) {
  BeginWithALink(/*foreign_keys=*/false);
  // Foreign keys are off, and the two deletions are drained apart.
  a_.Sql("DELETE FROM book WHERE id = 5");
  Sync(a_);
  a_.Sql("DELETE FROM book_tags");
  SyncBoth();

  EXPECT_THAT(b_.Query(kTags), IsEmpty());
  ExpectTheSame();
}

TEST_F(ReferencesTest, AConflictIsArchivedAndRestoredWithIds) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (7, 'ann', 'Ann'), (8, 'eve', 'Eve');"
      "INSERT INTO book VALUES (5, 'b1', 'One', 7, NULL)");
  SyncBoth();
  a_.Sql("UPDATE book SET author_id = 8 WHERE uuid = 'b1'");
  b_.Sql("UPDATE book SET author_id = NULL WHERE uuid = 'b1'");
  b_.Drain();
  b_.SetItemTime("b1", ToTimeNs(clock_.Now()));
  Sync(b_);
  SyncBoth();

  const Lines lost =
      a_.LedgerQuery("SELECT ConflictId, ArchivedDataJson FROM SyncConflictArchives");
  ASSERT_THAT(lost, ElementsAre(HasSubstr("\"author_id\":\"eve\"")));
  EXPECT_THAT(a_.Query(kBooks), Contains("b1|One|-|-"));
  ASSERT_TRUE(a_.replica().RestoreArchived(lost[0].substr(0, lost[0].find('|'))).ok());
  SyncBoth();
  EXPECT_THAT(b_.Query(kBooks), Contains("b1|One|eve|-"));
  ExpectTheSame();
}

TEST_F(ReferencesTest, ARecoveryFindsTheRowsByTheirIds) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (7, 'ann', 'Ann'); INSERT INTO tag VALUES (1, 'good');"
      "INSERT INTO book VALUES (5, 'b1', 'One', 7, NULL), (6, 'b2', 'Two', 7, 5);"
      "INSERT INTO book_tags VALUES (1, 5, 1), (2, 6, 1)");
  SyncBoth();
  b_.Close();
  for (const char* end : {"", "-wal", "-shm"}) {
    std::filesystem::remove(b_.options().state + end);
  }
  b_.Sql("UPDATE book SET title = 'Changed' WHERE uuid = 'b2'");
  b_.Open();

  SyncBoth();

  EXPECT_THAT(a_.Query(kBooks), Contains("b2|Changed|ann|b1"));
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, OtherMeaningsOfAnIntegerWaitForInit) {
  BeginShelves();
  a_.Sql(
      "INSERT INTO author VALUES (7, 'ann', 'Ann');"
      "INSERT INTO book VALUES (5, 'b1', 'One', 7, NULL)");
  SyncBoth();
  a_.Close();
  a_.options().plan.entities[1].references = {{"author_id", ""}};
  a_.Open();
  a_.Sql("UPDATE book SET title = 'Uno'");

  const Taken taken = a_.Take();

  EXPECT_FALSE(taken.batch.has_value());
  EXPECT_THAT(a_.Drain().problems, Contains(HasSubstr("refer to rows of")));
  a_.Close();
  a_.options().plan.entities[1].references.clear();
  a_.Open();
  SyncBoth();
  EXPECT_THAT(b_.Query(kBooks), Contains("b1|Uno|ann|-"));
  ExpectTheSame();
}

TEST_F(ReferencesTest, WithTriggersOffWhatGoesWithItsParentIsKnown) {
  BeginWithALink(/*foreign_keys=*/true);
  b_.Sql("CREATE TRIGGER only_the_app AFTER DELETE ON book BEGIN SELECT app_function(1); END");
  ASSERT_EQ(b_.Take().file, FileState::kReady);
  ASSERT_EQ(b_.replica().plan().ByType("book")->apply_mode, ApplyMode::kTriggersOff);

  a_.Sql("DELETE FROM book WHERE uuid = 'b1'");
  SyncBoth();

  EXPECT_THAT(b_.Query(kTags), IsEmpty());
  ExpectTheSame();
  ExpectNothingToCompare();
}

TEST_F(ReferencesTest, ValuesThatChangePlacesInAUniqueReferencePass) {
  constexpr char kDesks[] =
      "CREATE TABLE person(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);"
      "CREATE TABLE desk(k TEXT PRIMARY KEY NOT NULL, person_id INTEGER NOT NULL UNIQUE "
      "REFERENCES person(id))";
  for (TestDevice* device : {&a_, &b_}) {
    device->options().plan.entities = {Keyed("person", {"uuid"}), Keyed("desk", {})};
  }
  a_.Begin(kDesks,
           "INSERT INTO person VALUES (1, 'ann'), (2, 'bob');"
           "INSERT INTO desk VALUES ('d1', 1), ('d2', 2)");
  b_.Begin(kDesks, "INSERT INTO person VALUES (1, 'eve')");
  SyncBoth();

  a_.Sql(
      "BEGIN; UPDATE desk SET person_id = -1 WHERE k = 'd1';"
      "UPDATE desk SET person_id = 1 WHERE k = 'd2';"
      "UPDATE desk SET person_id = 2 WHERE k = 'd1'; COMMIT");
  SyncBoth();

  EXPECT_THAT(b_.Query("SELECT k, uuid FROM desk JOIN person ON id = person_id ORDER BY k"),
              ElementsAre("d1|bob", "d2|ann"));
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

// --- Random histories.

class Library {
 public:
  Library(TestDevice& device, Rng& rng) : device_(device), rng_(rng) {}

  void Act() {
    const std::string id = NewUuid(rng_).substr(0, 8);
    switch (rng_.Below(9)) {
      case 0:
        return Run("INSERT INTO author(uuid, name) VALUES ('" + id + "', 'n')");
      case 1:
        return Run("INSERT INTO book(uuid, title, author_id, sequel_of) VALUES ('" + id +
                   "', 't', " + Any("author") + ", " + Any("book") + ")");
      case 2:
        return Run("INSERT OR IGNORE INTO tag(slug) VALUES ('s" + absl::StrCat(rng_.Below(5)) +
                   "')");
      case 3:
        return Run("INSERT OR IGNORE INTO book_tags(book_id, tag_id) SELECT " + Any("book") + ", " +
                   Any("tag"));
      case 4:
        return Run("UPDATE book SET author_id = " + Any("author") + ", sequel_of = " + Any("book") +
                   " WHERE id = " + Any("book"));
      case 5:
        return Run(
            "UPDATE OR IGNORE book SET id = id + 1 WHERE NOT EXISTS (SELECT 1 FROM book c "
            "WHERE c.sequel_of = book.id) AND id = " +
            Any("book"));
      case 6:
        return Run(
            "DELETE FROM book WHERE NOT EXISTS (SELECT 1 FROM book c WHERE c.sequel_of = "
            "book.id) AND id = " +
            Any("book"));
      case 7:
        return Run("DELETE FROM author WHERE id = " + Any("author"));
      default:
        return Run("DELETE FROM book_tags WHERE id = " + Any("book_tags"));
    }
  }

 private:
  std::string Any(const std::string& table) {
    return absl::StrCat("(SELECT id FROM ", table, " ORDER BY id LIMIT 1 OFFSET ", rng_.Below(6),
                        ")");
  }
  void Run(const std::string& sql) {
    // Some of it the schema refuses: a NULL in a link.
    (void)device_.app().Exec(sql);
  }

  TestDevice& device_;
  Rng& rng_;
};

class RandomReferencesTest : public ReferencesTest, public testing::WithParamInterface<int> {
 protected:
  // Every book and link that the service holds is here, or set aside with a reason.
  void ExpectAsOnTheService(TestDevice& device) {
    const Lines books = device.Query(kBooks);
    const Lines tags = device.Query(kTags);
    size_t expected = 0;
    std::string cursor;
    for (bool more = true; more;) {
      const auto page = service_.Pull(device.name(), cursor);
      ASSERT_TRUE(page.ok()) << page.status();
      more = !page->caught_up;
      cursor = page->cursor;
      for (const Version& version : page->versions) {
        if (version.deleted) continue;
        const auto text = [&](const char* field) {
          const Value* value = version.fields.Find(field);
          return value == nullptr || value->is_null() ? std::string("-") : value->bytes();
        };
        const std::string book = absl::StrCat(text("uuid"), "|", text("title"), "|",
                                              text("author_id"), "|", text("sequel_of"));
        const std::string link = absl::StrCat(text("book_id"), "|", text("tag_id"));
        const bool is_book = version.key.type == "book";
        if (!is_book && version.key.type != "book_tags") continue;
        ++expected;
        const bool here = is_book ? std::count(books.begin(), books.end(), book) == 1
                                  : std::count(tags.begin(), tags.end(), link) == 1;
        const bool aside = device.ledger().FindSetAside(version.key)->has_value();
        EXPECT_TRUE(here || aside) << device.name() << " " << version.key.id;
      }
    }
    EXPECT_GE(expected, 0u);
  }
};

TEST_P(RandomReferencesTest, DevicesAgreeOnWhatRefersToWhat) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  SeededRng rng(static_cast<uint64_t>(GetParam()));
  TestDevice c(dir_, "dev-c", clock_, rng_);
  c.options().plan = a_.options().plan;
  BeginShelves();
  c.Begin(kShelf);
  std::vector<TestDevice*> devices = {&a_, &b_, &c};
  for (TestDevice* device : devices) device->Sql("PRAGMA foreign_keys = ON");
  for (int step = 0; step < 90; ++step) {
    TestDevice& device = *devices[rng.Below(3)];
    if (rng.Below(4) == 0) {
      Sync(device);
    } else {
      Library(device, rng).Act();
    }
  }
  for (int round = 0; round < 4; ++round) {
    for (TestDevice* device : devices) Sync(*device);
  }

  // What was deleted here and referred to there is set aside on both, with a reason.
  for (TestDevice* device : devices) {
    EXPECT_THAT(device->Query("PRAGMA foreign_key_check"), IsEmpty());
    for (const std::string& item :
         device->LedgerQuery("SELECT EntityType, EntityId, Status, ErrorMessage FROM "
                             "SyncQueueItems WHERE Status IN (0, 1, 3)")) {
      ADD_FAILURE() << device->name() << " " << item;
    }
  }
  size_t aside = 0;
  for (TestDevice* device : devices)
    aside += device->LedgerQuery("SELECT 1 FROM SyncSetAside").size();
  for (TestDevice* device : devices) ExpectAsOnTheService(*device);
  if (aside == 0) {
    EXPECT_EQ(a_.Query(kBooks), b_.Query(kBooks));
    EXPECT_EQ(a_.Query(kTags), c.Query(kTags));
    ExpectNothingToCompare();
  }
  c.Close();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomReferencesTest, testing::Range(1, 9));

}  // namespace
}  // namespace ptdoc::sync
