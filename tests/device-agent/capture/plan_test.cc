#include "device-agent/capture/plan.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "common/model/reason.h"
#include "tests/device-agent/capture/capture_support.h"

namespace ptdoc::sync {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

Plan PlanOf(absl::string_view sql, const PlanRequest& request = AllTables()) {
  sqlite::Database db = OpenMemory();
  Must(db, sql);
  return MustPlan(db, request);
}

PlanRequest Asking(const EntityConfig& config, bool all_tables = false) {
  PlanRequest request;
  request.entities = {config};
  request.all_tables = all_tables;
  return request;
}

EntityConfig Table(const std::string& table) {
  EntityConfig config;
  config.table = table;
  return config;
}

absl::Status PlanError(absl::string_view sql, const PlanRequest& request) {
  sqlite::Database db = OpenMemory();
  Must(db, sql);
  return MakePlan(db, request).status();
}

// The reason why the only table is refused; "" if it is planned.
std::string ReasonFor(absl::string_view sql) {
  const Plan plan = PlanOf(sql);
  if (plan.refusals.size() != 1) return "";
  EXPECT_FALSE(plan.refusals[0].what.empty());
  EXPECT_FALSE(plan.refusals[0].remedy.empty());
  return plan.refusals[0].reason;
}

std::vector<std::string> WarningsFor(absl::string_view sql,
                                     const PlanRequest& request = AllTables()) {
  const Plan plan = PlanOf(sql, request);
  EXPECT_FALSE(plan.tables.empty());
  return plan.tables.empty() ? std::vector<std::string>() : plan.tables.back().warnings;
}

constexpr char kUuid[] = "'6f1d0a52-9f51-4c8b-8f0e-1c2d3e4f5a6b'";

TEST(MakePlanTest, DescribesATable) {
  const Plan plan = PlanOf(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY NOT NULL, Zip INT, Name TEXT, "
      "Full TEXT AS (Name || Zip))");

  ASSERT_EQ(plan.tables.size(), 1u);
  const TablePlan& entry = plan.tables[0];
  EXPECT_EQ(entry.number, 1);
  EXPECT_EQ(entry.type, "Patient");
  EXPECT_EQ(entry.table, "Patient");
  EXPECT_THAT(entry.key, ElementsAre("Id"));
  EXPECT_THAT(entry.key_affinities, ElementsAre(Affinity::kText));
  EXPECT_THAT(entry.columns, ElementsAre("Id", "Name", "Zip"));
  EXPECT_THAT(entry.affinities, ElementsAre(Affinity::kText, Affinity::kText, Affinity::kInteger));
  EXPECT_EQ(entry.apply_mode, ApplyMode::kTriggersOn);
  EXPECT_THAT(entry.warnings, IsEmpty());
  EXPECT_EQ(plan.ByType("Patient"), &entry);
  EXPECT_EQ(plan.ByTable("patient"), &entry);
  EXPECT_EQ(plan.ByNumber(1), &entry);
  EXPECT_EQ(plan.ByNumber(2), nullptr);
  EXPECT_EQ(plan.KeyWidth(), 1);
}

TEST(MakePlanTest, TakesAColumnWithoutANameForOneLikeAnyOther) {
  const Plan plan = PlanOf("CREATE TABLE t(k TEXT PRIMARY KEY, \"\" TEXT, v TEXT)");

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_THAT(plan.tables[0].columns, ElementsAre("", "k", "v"));
}

TEST(MakePlanTest, TakesNamesInTheFilesSpelling) {
  EntityConfig config = Table("PATIENT");
  config.type = "Person";
  config.exclude_columns = {"NOTE"};
  config.columns = {"name", "note"};
  config.last_modified_column = "CHANGED";

  const Plan plan = PlanOf(
      "CREATE TABLE Other(Id TEXT PRIMARY KEY);"
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name, Note, Changed)",
      Asking(config));

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_EQ(plan.tables[0].type, "Person");
  EXPECT_EQ(plan.tables[0].config.table, "Patient");
  EXPECT_EQ(plan.tables[0].config.last_modified_column, "Changed");
  EXPECT_THAT(plan.tables[0].columns, ElementsAre("Id", "Name"));
}

TEST(MakePlanTest, RefusesWhatCannotBeSynced) {
  EXPECT_EQ(ReasonFor("CREATE TABLE t(a TEXT)"), "NO_KEY");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"), "INTEGER_KEY");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id BIGINT PRIMARY KEY, a) WITHOUT ROWID"), "INTEGER_KEY");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(a INT, b INTEGER, PRIMARY KEY (a, b))"), "INTEGER_KEY");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id PRIMARY KEY); INSERT INTO t VALUES ('x'), (7)"),
            "INTEGER_KEY");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id TEXT COLLATE RTRIM PRIMARY KEY)"), "KEY_COLLATION");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id TEXT, PRIMARY KEY (id COLLATE RTRIM)) WITHOUT ROWID"),
            "KEY_COLLATION");
  for (const char* collation : {"NOCASE", "RTRIM"}) {
    EXPECT_EQ(ReasonFor(absl::StrCat("CREATE TABLE t(id TEXT COLLATE ", collation,
                                     ", PRIMARY KEY (id COLLATE BINARY))")),
              "KEY_COLLATION");
  }
  EXPECT_EQ(ReasonFor("CREATE TABLE t(a TEXT,b TEXT,c TEXT,d TEXT,e TEXT,f TEXT,g TEXT,h TEXT,"
                      "i TEXT, PRIMARY KEY (a,b,c,d,e,f,g,h,i))"),
            "KEY_TOO_WIDE");
  EXPECT_EQ(ReasonFor("CREATE TABLE SyncQueueItems(Id TEXT PRIMARY KEY)"), "SYNC_TABLE");
}

TEST(MakePlanTest, PlansKeysOfWhichAPartIsNoInteger) {
  EXPECT_EQ(ReasonFor("CREATE TABLE t(a INT, b TEXT, PRIMARY KEY (a, b))"), "");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id BLOB PRIMARY KEY)"), "");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(id UNIQUEIDENTIFIER PRIMARY KEY); INSERT INTO t VALUES ("
                      "'6f1d0a52-9f51-4c8b-8f0e-1c2d3e4f5a6b')"),
            "");
  EXPECT_EQ(ReasonFor("CREATE TABLE t(a TEXT,b TEXT,c TEXT,d TEXT,e TEXT,f TEXT,g TEXT,h TEXT,"
                      "PRIMARY KEY (a,b,c,d,e,f,g,h))"),
            "");
}

TEST(MakePlanTest, KnowsWhichColumnsOfAKeyIgnoreCase) {
  const Plan plan = PlanOf("CREATE TABLE t(a TEXT, b TEXT COLLATE NOCASE, PRIMARY KEY (b, a))");

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_THAT(plan.tables[0].ignores_case, ElementsAre(true, false));
  EXPECT_TRUE(plan.tables[0].IgnoresCase());
}

TEST(MakePlanTest, RefusesVirtualTablesAndTheirShadows) {
  const Plan plan = PlanOf("CREATE VIRTUAL TABLE Notes USING fts5(body)");

  EXPECT_THAT(plan.tables, IsEmpty());
  EXPECT_GE(plan.refusals.size(), 5u);
  for (const Refusal& refusal : plan.refusals) EXPECT_EQ(refusal.reason, "VIRTUAL");
}

TEST(MakePlanTest, LeavesOutWhatTellsTheAppItsMigrations) {
  sqlite::Database db = OpenMemory();
  Must(db,
       "CREATE TABLE \"__EFMigrationsHistory\"(MigrationId TEXT PRIMARY KEY, ProductVersion TEXT);"
       "CREATE TABLE alembic_version(version_num VARCHAR(32) PRIMARY KEY);"
       "CREATE TABLE meta(key LONGVARCHAR NOT NULL UNIQUE PRIMARY KEY, value LONGVARCHAR);"
       "CREATE TABLE Migrations(id TEXT PRIMARY KEY, migration TEXT, batch INTEGER)");
  for (const Refusal& refusal : MustPlan(db, AllTables()).refusals) {
    EXPECT_EQ(refusal.reason, "APP_MIGRATIONS") << refusal.table;
  }
  EXPECT_THAT(MustPlan(db, AllTables()).tables, IsEmpty());
  // A table of birds that migrate, and one that somebody names.
  Must(db,
       "CREATE TABLE birds(id TEXT PRIMARY KEY);"
       "ALTER TABLE Migrations RENAME COLUMN batch TO species;"
       "DROP TABLE meta; CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT)");
  PlanRequest request = AllTables();
  request.entities.emplace_back().table = "alembic_version";
  const Plan plan = MustPlan(db, request);
  ASSERT_THAT(plan.refusals, SizeIs(1));
  EXPECT_EQ(plan.refusals[0].table, "__EFMigrationsHistory");
  EXPECT_THAT(plan.tables, SizeIs(4));
}

TEST(MakePlanTest, RefusesByNameWhatIsNoTableOfTheApps) {
  const auto reason = [](const char* name) {
    sqlite::Database db = OpenMemory();
    Must(db, "CREATE TABLE t(id TEXT PRIMARY KEY); CREATE VIEW v AS SELECT 1; ANALYZE");
    const Plan plan = MustPlan(db, Asking(Table(name)));
    return plan.refusals.empty() ? std::string() : plan.refusals[0].reason;
  };

  EXPECT_EQ(reason("V"), "VIEW");
  EXPECT_EQ(reason("sqlite_stat1"), "SYSTEM_TABLE");
  EXPECT_EQ(reason("SyncLog"), "SYNC_TABLE");
}

TEST(MakePlanTest, NamesAColumnThatWouldDoAsAKey) {
  const Plan plan =
      PlanOf("CREATE TABLE t(id INTEGER PRIMARY KEY, n TEXT UNIQUE, guid TEXT NOT NULL UNIQUE)");

  ASSERT_EQ(plan.refusals.size(), 1u);
  EXPECT_THAT(plan.refusals[0].remedy, HasSubstr("key = \"guid\""));
}

TEST(MakePlanTest, NamesTheColumnsThatWouldDoWhereThereIsNoKey) {
  const Plan plan = PlanOf(
      "CREATE TABLE cookies(host TEXT NOT NULL, name TEXT NOT NULL, port INTEGER NOT NULL, v);"
      "CREATE UNIQUE INDEX u ON cookies(host, name, port);"
      "CREATE TABLE stats(origin TEXT NOT NULL, user TEXT, n, UNIQUE(origin, user))");

  ASSERT_EQ(plan.refusals.size(), 2u);
  for (const Refusal& refusal : plan.refusals) EXPECT_EQ(refusal.reason, "NO_KEY");
  EXPECT_THAT(plan.refusals[0].remedy, HasSubstr("key = \"host, name, port\""));
  EXPECT_THAT(plan.refusals[0].remedy, Not(HasSubstr("NULL there")));
  EXPECT_THAT(plan.refusals[1].remedy, HasSubstr("key = \"origin, user\""));
  EXPECT_THAT(plan.refusals[1].remedy, HasSubstr("NULL there are not synced"));
}

TEST(MakePlanTest, KeepsTheIntegerBesideAConfiguredKeyOnTheDevice) {
  EntityConfig config = Table("t");
  config.key = {"GUID"};

  const Plan plan = PlanOf("CREATE TABLE t(id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE, a)",
                           Asking(config));

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_THAT(plan.tables[0].key, ElementsAre("guid"));
  EXPECT_THAT(plan.tables[0].columns, ElementsAre("a", "guid"));
}

TEST(MakePlanTest, RefusesAConfiguredKeyThatIsNotUnique) {
  for (const char* key : {"a", "b", "c"}) {
    EntityConfig config = Table("t");
    config.key = {key};
    const Plan plan = PlanOf(
        "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT, c TEXT, "
        "UNIQUE (a, b)); CREATE UNIQUE INDEX x ON t(c) WHERE a > b",
        Asking(config));
    ASSERT_EQ(plan.refusals.size(), 1u) << key;
    EXPECT_EQ(plan.refusals[0].reason, "NO_KEY");
  }
}

TEST(MakePlanTest, NamesWhatTheFileLacks) {
  constexpr char kTable[] = "CREATE TABLE t(id TEXT PRIMARY KEY, a)";
  const auto error_of = [&](auto change) {
    EntityConfig config = Table("t");
    change(config);
    return PlanError(kTable, Asking(config));
  };
  const auto expect_missing = [](const absl::Status& status, const char* name) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  };

  expect_missing(error_of([](EntityConfig& c) { c.table = "gone"; }), "gone");
  expect_missing(error_of([](EntityConfig& c) { c.columns = {"a", "x1"}; }), "x1");
  expect_missing(error_of([](EntityConfig& c) { c.exclude_columns = {"x2"}; }), "x2");
  expect_missing(error_of([](EntityConfig& c) { c.key = {"x3"}; }), "x3");
  expect_missing(error_of([](EntityConfig& c) { c.last_modified_column = "x4"; }), "x4");
  expect_missing(error_of([](EntityConfig& c) { c.sync_state_column = "x5"; }), "x5");
}

TEST(MakePlanTest, RefusesAConfigurationThatContradictsItself) {
  constexpr char kTable[] =
      "CREATE TABLE t(id TEXT PRIMARY KEY, a, g AS (a));"
      "CREATE TABLE u(id TEXT PRIMARY KEY)";
  const auto error_of = [&](auto change) {
    EntityConfig config = Table("t");
    change(config);
    return PlanError(kTable, Asking(config)).code();
  };
  constexpr auto kContradiction = absl::StatusCode::kInvalidArgument;

  EXPECT_EQ(error_of([](EntityConfig& c) { c.exclude_columns = {"ID"}; }), kContradiction);
  EXPECT_EQ(error_of([](EntityConfig& c) { c.modified_by_column = "id"; }), kContradiction);
  EXPECT_EQ(error_of([](EntityConfig& c) { c.modified_by_column = "g"; }), kContradiction);
  EXPECT_EQ(error_of([](EntityConfig& c) { c.time_format = "lunar"; }), kContradiction);
  EXPECT_EQ(error_of([](EntityConfig& c) { c.type = std::string(257, 't'); }), kContradiction);
  PlanRequest twice = Asking(Table("t"));
  twice.entities.push_back(Table("T"));
  EXPECT_EQ(PlanError(kTable, twice).code(), kContradiction);
  PlanRequest one_type = Asking(Table("t"), /*all_tables=*/true);
  one_type.entities[0].type = "u";
  EXPECT_EQ(PlanError(kTable, one_type).code(), kContradiction);
}

TEST(MakePlanTest, CountsRowsAndThoseWithNullInTheirKey) {
  PlanRequest request = AllTables();
  request.count_rows = true;

  const Plan plan = PlanOf(
      "CREATE TABLE t(a TEXT, b TEXT, PRIMARY KEY (a, b));"
      "INSERT INTO t VALUES ('x', 'y'), (NULL, 'y'), ('x', NULL)",
      request);

  EXPECT_EQ(plan.tables.at(0).rows, 3);
  EXPECT_EQ(plan.tables.at(0).rows_with_null_key, 2);
}

TEST(MakePlanTest, WarnsOfKeysThatMayBeNull) {
  EXPECT_THAT(WarningsFor("CREATE TABLE t(a TEXT PRIMARY KEY)"),
              ElementsAre(HasSubstr("may hold NULL")));
  EXPECT_THAT(WarningsFor("CREATE TABLE t(a TEXT PRIMARY KEY) WITHOUT ROWID"), IsEmpty());
}

TEST(MakePlanTest, WarnsOfNumbersThatAreCountedWithinAKey) {
  EXPECT_THAT(WarningsFor("CREATE TABLE t(parcel TEXT NOT NULL, line INTEGER NOT NULL, "
                          "PRIMARY KEY (parcel, line))"),
              ElementsAre(AllOf(HasSubstr("\"line\" is a number"), HasSubstr("same parcel"))));
}

TEST(MakePlanTest, WarnsOfUuidsInBothCases) {
  constexpr char kTable[] = "CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL); INSERT INTO t VALUES ";

  EXPECT_THAT(WarningsFor(absl::StrCat(kTable, "(", kUuid, "), (upper('0", kUuid + 2, "))")),
              ElementsAre(HasSubstr("upper and in lower case")));
  EXPECT_THAT(WarningsFor(absl::StrCat(kTable, "(", kUuid, ")")), IsEmpty());
  EXPECT_THAT(WarningsFor(absl::StrCat(kTable, "(upper(", kUuid, "))")), IsEmpty());
}

TEST(MakePlanTest, WarnsOfKeysThatCarryAMeaning) {
  constexpr char kTable[] = "CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL); INSERT INTO t VALUES ";

  EXPECT_THAT(WarningsFor(absl::StrCat(kTable, "('MRN-00412'), ('MRN-00413')")),
              ElementsAre(HasSubstr("PHI")));
  EXPECT_THAT(WarningsFor(absl::StrCat(kTable, "('01HZY3V6Q4T8R2M5N7P9S1W3X5')")), IsEmpty());
}

TEST(MakePlanTest, WarnsOfReferencesThatLeadOut) {
  EXPECT_THAT(WarningsFor("CREATE TABLE p(a TEXT COLLATE RTRIM PRIMARY KEY); CREATE TABLE t("
                          "a TEXT PRIMARY KEY NOT NULL, p REFERENCES p)"),
              ElementsAre(HasSubstr("\"p\", which is not synced")));
}

TEST(MakePlanTest, WarnsOfTriggersAndOfWhatTheyCannotSee) {
  EXPECT_THAT(
      WarningsFor("CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL, b); CREATE TRIGGER Tr1 AFTER "
                  "INSERT ON t BEGIN SELECT 1; END; CREATE UNIQUE INDEX Ex ON t(lower(b))"),
      UnorderedElementsAre(HasSubstr("Tr1"), AllOf(HasSubstr("Ex"), HasSubstr("expression"))));
}

TEST(MakePlanTest, WarnsWhereOthersCouldNotInsert) {
  EntityConfig config = Table("t");
  config.exclude_columns = {"b", "c"};
  config.modified_by_column = "d";

  EXPECT_THAT(WarningsFor("CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL, b NOT NULL, c NOT NULL "
                          "DEFAULT 1, d NOT NULL)",
                          Asking(config)),
              ElementsAre(HasSubstr("\"b\" is NOT NULL")));
}

TEST(MakePlanTest, FindsTheTimeFormat) {
  constexpr char kTable[] = "CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL, m INTEGER);";
  EntityConfig config = Table("t");
  config.last_modified_column = "m";
  const PlanRequest request = Asking(config);
  config.time_format = "efcore";

  const Plan unknown = PlanOf(kTable, request);
  EXPECT_EQ(unknown.tables.at(0).time_format, TimeFormat::kUnixMillis);
  EXPECT_THAT(unknown.tables.at(0).warnings, ElementsAre(HasSubstr("time_format")));
  EXPECT_EQ(PlanOf(absl::StrCat(kTable, "INSERT INTO t VALUES (", kUuid, ", 1771303500)"), request)
                .tables.at(0)
                .time_format,
            TimeFormat::kUnixSeconds);
  EXPECT_EQ(PlanOf(kTable, Asking(config)).tables.at(0).time_format, TimeFormat::kEfCore);
}

TEST(MakePlanTest, KeepsTheNumbersOfInstalledTriggers) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE b(id TEXT PRIMARY KEY); CREATE TABLE c(id TEXT PRIMARY KEY)");
  MustInstall(db, MustPlan(db));
  Must(db,
       "CREATE TABLE tmp(id TEXT PRIMARY KEY, x); DROP TABLE b; ALTER TABLE tmp RENAME TO b;"
       "CREATE TABLE a(id TEXT PRIMARY KEY)");

  const Plan plan = MustPlan(db);

  EXPECT_EQ(plan.ByTable("c")->number, 2);
  EXPECT_EQ(plan.ByTable("b")->number, 3);
  EXPECT_EQ(plan.ByTable("a")->number, 4);
}

TEST(MakePlanTest, GivesNoNumberThatTheLogStillHolds) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE a(id TEXT PRIMARY KEY); CREATE TABLE b(id TEXT PRIMARY KEY)");
  MustInstall(db, MustPlan(db));
  Must(db,
       "INSERT INTO b VALUES ('x'); DROP TABLE a; DROP TABLE b; CREATE TABLE c(id TEXT "
       "PRIMARY KEY)");

  EXPECT_EQ(MustPlan(db).ByTable("c")->number, 3);
}

TEST(MakePlanTest, KeepsTheNumbersThatTheCallerRemembers) {
  sqlite::Database db = OpenMemory();
  Must(db,
       "CREATE TABLE a(id TEXT PRIMARY KEY); CREATE TABLE b(id TEXT PRIMARY KEY);"
       "CREATE TABLE c(id TEXT PRIMARY KEY);"
       "CREATE TRIGGER SyncT5_ai AFTER INSERT ON b BEGIN SELECT 1; END");
  PlanRequest request = AllTables();
  request.numbers = {{"a", 5}, {"b", 7}, {"c", 9}, {"gone", 12}};

  const Plan plan = MustPlan(db, request);

  EXPECT_EQ(plan.ByTable("b")->number, 5);
  EXPECT_EQ(plan.ByTable("c")->number, 9);
  EXPECT_EQ(plan.ByTable("a")->number, 13);
}

TEST(MakePlanTest, TurnsTriggersOffWhereOnlyTheAppCanRunThem) {
  sqlite::Database db = OpenMemory();
  Must(db,
       "CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL, b, s); CREATE TRIGGER srt AFTER INSERT "
       "ON t BEGIN UPDATE t SET s = title_sort(NEW.b) WHERE id = NEW.id; END");

  const Plan plan = MustPlan(db);

  EXPECT_EQ(plan.tables.at(0).apply_mode, ApplyMode::kTriggersOff);
  EXPECT_THAT(plan.tables.at(0).reason, HasSubstr("title_sort"));
  EXPECT_FALSE(db.Exec("INSERT INTO t VALUES ('x', 1, 1)").ok()) << "triggers must be on again";
}

// The sqlite3 program has the collation "uint"; nobody else has.
TEST(MakePlanTest, CapturesOnlyWhereNothingCanBeWritten) {
  const std::string path = absl::StrCat(testing::TempDir(), "/capture_only_", getpid(), ".db");
  std::remove(path.c_str());
  const std::string command =
      absl::StrCat("sqlite3 '", path,
                   "' 'CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL, b TEXT COLLATE uint UNIQUE)'");
  ASSERT_EQ(std::system(command.c_str()), 0);
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(path, sqlite::OpenOptions());
  ASSERT_TRUE(db.ok()) << db.status();

  const Plan plan = MustPlan(*db);
  MustInstall(*db, plan);

  ASSERT_EQ(plan.tables.size(), 1u);
  EXPECT_EQ(plan.tables[0].apply_mode, ApplyMode::kCaptureOnly);
  EXPECT_THAT(plan.tables[0].reason, Not(IsEmpty()));
  const std::string write =
      absl::StrCat("sqlite3 '", path, "' \"REPLACE INTO t VALUES ('a', 'x1'), ('b', 'x01')\"");
  ASSERT_EQ(std::system(write.c_str()), 0);
  EXPECT_THAT(LogTexts(*db, plan, 1), ElementsAre("I a", "D a", "I b"));
  std::remove(path.c_str());
}

TEST(MakePlanTest, WritesTablesThatAreNothingButAKey) {
  EXPECT_EQ(PlanOf("CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL)").tables.at(0).apply_mode,
            ApplyMode::kTriggersOn);
}

TEST(MakePlanTest, DoesNotTakeItsOwnLostTablesForABrokenApp) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL, b)");
  MustInstall(db, MustPlan(db));
  Must(db, "DROP TABLE SyncLog");

  EXPECT_EQ(MustPlan(db).tables.at(0).apply_mode, ApplyMode::kTriggersOn);
}

TEST(MakePlanTest, WorksInsideTheCallersTransaction) {
  sqlite::Database db = OpenMemory();
  Must(db, "CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL, b); BEGIN IMMEDIATE");

  EXPECT_EQ(MustPlan(db).tables.size(), 1u);
  EXPECT_TRUE(db.in_transaction());
}

// What a Django project has beside its models.
TEST(MakePlanTest, RefusesDjangosOwnTablesAndPlansAModelWithAUuid) {
  const Plan plan = PlanOf(
      "CREATE TABLE \"django_migrations\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "
      "\"app\" varchar(255) NOT NULL, \"applied\" datetime NOT NULL);"
      "CREATE TABLE \"auth_user_groups\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "
      "\"user_id\" integer NOT NULL);"
      "CREATE TABLE \"django_session\" (\"session_key\" varchar(40) NOT NULL PRIMARY KEY);"
      "CREATE TABLE \"clinic_patient\" (\"id\" char(32) NOT NULL PRIMARY KEY, \"name\" "
      "varchar(200) NOT NULL)");

  ASSERT_EQ(plan.refusals.size(), 2u);
  EXPECT_EQ(plan.refusals[0].reason, "APP_MIGRATIONS");
  EXPECT_EQ(plan.refusals[1].reason, "INTEGER_KEY");
  EXPECT_NE(plan.ByTable("clinic_patient"), nullptr);
}

TEST(PlanTest, WarnsOfStampsThatAreContent) {
  constexpr char kTable[] =
      "CREATE TABLE Patients(Id TEXT PRIMARY KEY NOT NULL, Name TEXT, LastModifiedUtc TEXT, "
      "SyncState INTEGER)";
  EntityConfig config;
  config.table = "Patients";
  config.sync_state_column = "SyncState";

  EXPECT_THAT(WarningsFor(kTable),
              ElementsAre(HasSubstr("say so in its [[entity]]: last_modified_column = "
                                    "\"LastModifiedUtc\", sync_state_column = \"SyncState\".")));
  EXPECT_THAT(WarningsFor(kTable, Asking(config)),
              ElementsAre(HasSubstr("[[entity]]: last_modified_column = \"LastModifiedUtc\".")));
}

}  // namespace
}  // namespace ptdoc::sync
