// What only this store has: its tables, their indexes, the hashes of keys.
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/sync-service/store/sqlite_harness.h"

namespace ptdoc::sync {
namespace {

std::string ReadSchemaDocument() {
  std::ifstream file(PTDOC_SOURCE_DIR "/docs/SCHEMA.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> Strings(sqlite::Database& db, const std::string& sql) {
  std::vector<std::string> result;
  sqlite::Statement rows = Get(db.Prepare(sql));
  while (Get(rows.Step())) result.emplace_back(std::string(rows.Text(0)));
  return result;
}

TEST(SqliteSchemaTest, EveryTableAndColumnIsDocumented) {
  SqliteHarness harness;
  harness.Open().reset();
  sqlite::Database db = harness.Raw();
  const std::string document = ReadSchemaDocument();
  const std::vector<std::string> tables =
      Strings(db, "SELECT name FROM sqlite_master WHERE type = 'table'");
  ASSERT_GT(tables.size(), 10u);

  for (const std::string& table : tables) {
    const size_t at = document.find("### `" + table + "`");
    ASSERT_NE(at, std::string::npos) << table;
    const std::string section = document.substr(at, document.find("\n##", at + 1) - at);
    const std::string columns = absl::StrCat("SELECT name FROM pragma_table_xinfo('", table, "')");
    for (const std::string& column : Strings(db, columns)) {
      EXPECT_TRUE(absl::StrContains(section, absl::StrCat("`", column, "`")))
          << table << "." << column;
    }
  }
}

TEST(SqliteSchemaTest, ConflictsHaveTheSharedColumnsAndTimesAsText) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ArchiveRow row;
  row.conflict_id = "c-1";
  row.key = Patient("a");
  row.resolution_type = "RejectedImmutable";
  row.archived_json = "null";
  row.archived_time = ToTimeNs(At(0)) + 1;
  row.detected_at = At(0) + absl::Microseconds(1'500);
  {
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    ASSERT_EQ(writer->Archive(kClinic, row), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  sqlite::Database db = harness.Raw();

  sqlite::Statement found =
      Get(db.Prepare("SELECT EntityType, ResolutionType, Reason, ArchivedVersionLastModifiedUtc,"
                     " ChosenVersionLastModifiedUtc, DetectedAt, ArchivedDataJson, BaseDataJson"
                     " FROM SyncConflictArchives WHERE IsResolved = 0 AND EntityId = 'a'"));

  ASSERT_TRUE(Get(found.Step()));
  EXPECT_EQ(found.Text(1), "RejectedImmutable");
  EXPECT_EQ(found.Text(3), "2026-02-17T04:45:00.000Z");
  EXPECT_EQ(found.Text(5), "2026-02-17T04:45:00.001Z");
  EXPECT_EQ(found.Text(6), "null");
  EXPECT_TRUE(found.IsNull(7));
}

// As a program of before the column left it, with a head that has times of its
// fields and one that has none.
TEST(SqliteSchemaTest, StoreOfBeforeFieldWritersIsOpenedAndGoesOn) {
  SqliteHarness harness;
  {
    const std::unique_ptr<Store> store = harness.Open();
    std::vector<NewVersion> versions = {Named(Patient("a"), "A"), Named(Patient("b"), "B")};
    versions[0].stored.field_times = {4'000};
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    Get(writer->Append(kClinic, versions, 1, At(0)));
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  ASSERT_EQ(harness.Raw().Exec("ALTER TABLE Versions DROP COLUMN FieldWriters;"
                               "ALTER TABLE SyncTokens DROP COLUMN Types;"
                               "ALTER TABLE SyncTokens DROP COLUMN ReadOnlyTypes;"
                               "PRAGMA user_version = 1"),
            absl::OkStatus());

  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "c", "C"), absl::OkStatus());

  const std::unique_ptr<StoreReader> reader = Get(store->BeginRead());
  const StoredVersion a = *Get(reader->Head(kClinic, Patient("a")));
  const StoredVersion b = *Get(reader->Head(kClinic, Patient("b")));
  EXPECT_EQ(a.field_times, std::vector<TimeNs>{4'000});
  EXPECT_EQ(b.field_times, std::vector<TimeNs>{b.version.last_modified});
  EXPECT_TRUE(a.field_writers.empty() && b.field_writers.empty());
  EXPECT_EQ(Get(reader->Head(kClinic, Patient("c")))->version.revision, 3);
  EXPECT_EQ(Get(harness.Raw().QueryInt("PRAGMA user_version")), 3);
}

TEST(SqliteSchemaTest, TokensOfBeforeTheyHadTypesHaveEveryType) {
  SqliteHarness harness;
  {
    const std::unique_ptr<Store> store = harness.Open();
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    ASSERT_EQ(writer->PutToken(MakeToken("t1")), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  ASSERT_EQ(harness.Raw().Exec("ALTER TABLE SyncTokens DROP COLUMN Types;"
                               "ALTER TABLE SyncTokens DROP COLUMN ReadOnlyTypes;"
                               "PRAGMA user_version = 2"),
            absl::OkStatus());

  const std::unique_ptr<Store> store = harness.Open();

  const std::vector<TokenRow> tokens = Get(Get(store->BeginRead())->ListTokens());
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_FALSE(tokens[0].rights.limited());
}

TEST(SqliteSchemaTest, EntitiesWithOneKeyHashAreToldApart) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "a", "A"), absl::OkStatus());
  ASSERT_EQ(TryCommit(*store, "b", "B"), absl::OkStatus());
  ASSERT_EQ(TryCommit(*store, "b", "Other", kOtherClinic), absl::OkStatus());
  // As if all three had one hash.
  ASSERT_EQ(harness.Raw().Exec("INSERT OR IGNORE INTO Heads"
                               " SELECT h.KeyHash, v.Id FROM Heads h, Versions v"),
            absl::OkStatus());
  ASSERT_EQ(TryCommit(*store, "b", "B2"), absl::OkStatus());

  const std::unique_ptr<StoreReader> reader = Get(store->BeginRead());

  EXPECT_EQ(Get(reader->Head(kClinic, Patient("b")))->version.revision, 3);
  EXPECT_EQ(Get(reader->History(kClinic, Patient("b"))).size(), 2u);
  EXPECT_EQ(Get(reader->Head(kClinic, Patient("a")))->version.revision, 1);
  EXPECT_EQ(*Get(reader->Head(kOtherClinic, Patient("b")))->version.fields.Find("Name"),
            Value::Text("Other"));
}

TEST(SqliteSchemaTest, KeysOfHeadsAreHashedWithTheStoresOwnKey) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  ASSERT_EQ(TryCommit(*store, "a", "A"), absl::OkStatus());
  SqliteHarness other_harness;
  const std::unique_ptr<Store> other = other_harness.Open();
  ASSERT_EQ(TryCommit(*other, "a", "A"), absl::OkStatus());

  EXPECT_NE(Get(harness.Raw().QueryInt("SELECT KeyHash FROM Heads")),
            Get(other_harness.Raw().QueryInt("SELECT KeyHash FROM Heads")));
}

// Reads that must not grow with the store.
TEST(SqliteSchemaTest, FrequentReadsUseAnIndex) {
  SqliteHarness harness;
  harness.Open().reset();
  sqlite::Database db = harness.Raw();
  for (const char* sql :
       {"SELECT * FROM Heads h JOIN Versions v ON v.Id = h.VersionId WHERE h.KeyHash = 1",
        "SELECT 1 FROM Receipts WHERE TenantId = 1 AND Device = 1 AND BatchId = 'b'",
        "SELECT max(Id) FROM Receipts WHERE Id > 1 AND Id <= 2",
        "SELECT count(*) FROM SyncConflictArchives WHERE IsResolved = 0 AND TenantId = 1",
        "SELECT * FROM SyncConflictArchives WHERE EntityType = 'a' AND EntityId = 'b'",
        "SELECT * FROM SyncTokens WHERE Hash = x'00'",
        "SELECT * FROM Versions WHERE (Previous > 0 OR Deleted = 1) AND Id > 1 AND Id <= 9"}) {
    sqlite::Statement plan = Get(db.Prepare(absl::StrCat("EXPLAIN QUERY PLAN ", sql)));
    while (Get(plan.Step())) {
      EXPECT_TRUE(absl::StartsWith(plan.Text(3), "SEARCH")) << sql << ": " << plan.Text(3);
    }
  }
}

TEST(SqliteSchemaTest, AVersionTakesLittleMoreThanItsContent) {
  SqliteHarness harness;
  const std::unique_ptr<Store> store = harness.Open();
  const std::string name(300, 'x');
  std::vector<NewVersion> versions;
  for (int i = 0; i < 2'000; ++i) {
    versions.push_back(
        Named(Patient(absl::StrCat(100'000'000 + i, "-89ab-cdef-0123-456789abcdef")), name));
    versions.back().stored.version.modified_by = "a user with a rather long name or a UUID";
    versions.back().stored.device = "a device with a rather long name or a UUID";
  }
  {
    const std::unique_ptr<StoreWriter> writer = Get(store->BeginWrite());
    Get(writer->Append(kClinic, versions, 1, At(0)));
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  sqlite::Database db = harness.Raw();

  const int64_t pages = Get(db.QueryInt("PRAGMA page_count"));

  // Content 307, identity 36, hash 32, a head 20, an empty store's pages 50, and
  // what pages leave free. The two names alone would add 80.
  EXPECT_LT(pages * 4096 / 2'000, 550);
}

}  // namespace
}  // namespace ptdoc::sync
