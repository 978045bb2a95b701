// The app's own time, user and state columns, as EF Core writes them, from device to device.
#include "device-agent/capture/stamp.h"
#include "tests/schemas/schema_fixture.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

constexpr char kStampedPatients[] =
    "CREATE TABLE Patient(Id TEXT PRIMARY KEY NOT NULL, Name TEXT,"
    " LastModifiedUtc TEXT NOT NULL DEFAULT '0001-01-01 00:00:00', ModifiedByUserId TEXT,"
    " SyncState INTEGER NOT NULL DEFAULT 0)";
constexpr char kForm[] =
    "20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
    "\\.[0-9][0-9][0-9][0-9][0-9][0-9][0-9]";

class StampsTest : public SchemaTest {
 protected:
  void Configure(const std::string& time_format = "efcore") {
    for (TestDevice* device : {&a_, &b_}) {
      EntityConfig patient;
      patient.table = "Patient";
      patient.last_modified_column = "LastModifiedUtc";
      patient.modified_by_column = "ModifiedByUserId";
      patient.sync_state_column = "SyncState";
      patient.time_format = time_format;
      patient.user = absl::StrCat("user of ", device->name());
      device->options().user = patient.user;
      device->options().plan.all_tables = false;
      device->options().plan.entities = {patient};
    }
  }
  static std::string TimeOf(TestDevice& device, const std::string& id) {
    return device.Query("SELECT LastModifiedUtc FROM Patient WHERE Id = '" + id + "'").at(0);
  }
  static std::string Stamps(TestDevice& device, const std::string& id) {
    return device
        .Query("SELECT LastModifiedUtc, ModifiedByUserId, SyncState FROM Patient WHERE Id = '" +
               id + "'")
        .at(0);
  }
  static TimeNs Ns(const std::string& text) {
    return ParseStamp(TimeFormat::kEfCore, Value::Text(text)).value_or(0);
  }
};

TEST_F(StampsTest, EachEditIsStampedHereAndArrivesAsItWasStamped) {
  Configure();
  BeginBoth(kStampedPatients);

  a_.Sql("INSERT INTO Patient(Id, Name) VALUES('p', 'Ann')");
  SyncBoth();
  const std::string first = TimeOf(a_, "p");
  EXPECT_THAT(Stamps(a_, "p"), MatchesRegex(absl::StrCat(kForm, "\\|user of dev-a\\|[01]")));
  EXPECT_EQ(Stamps(b_, "p"), first + "|user of dev-a|1");
  b_.Sql("UPDATE Patient SET Name = 'Bea'");
  SyncBoth();

  EXPECT_EQ(Stamps(a_, "p"), TimeOf(b_, "p") + "|user of dev-b|1");
  EXPECT_GT(TimeOf(a_, "p"), first);
  ExpectSame();
}

// 100 ns, as .NET counts: a time that the app wrote before init is the row's time.
TEST_F(StampsTest, TimesFromBeforeInitArriveToTheLastDigit) {
  Configure();
  a_.Begin(kStampedPatients,
           "INSERT INTO Patient VALUES('digits', 'a', '2026-02-17 04:45:00.1234567', 'ann', 1),"
           "('short', 'b', '2026-02-17 04:45:00.5', 'ann', 1),"
           "('whole', 'c', '2026-02-17 04:45:00', 'ann', 1),"
           "('offset', 'd', '2026-02-17 05:45:00.1234567+01:00', 'ann', 1),"
           "('iso', 'e', '2026-02-16T23:15:00.1234567-05:30', 'ann', 1),"
           "('unset', 'f', '0001-01-01 00:00:00', NULL, 0)");
  b_.Begin(kStampedPatients);

  SyncBoth();

  EXPECT_EQ(TimeOf(b_, "digits"), "2026-02-17 04:45:00.1234567");
  EXPECT_EQ(TimeOf(b_, "short"), "2026-02-17 04:45:00.5000000");
  EXPECT_EQ(TimeOf(b_, "whole"), "2026-02-17 04:45:00.0000000");
  EXPECT_EQ(TimeOf(b_, "offset"), "2026-02-17 04:45:00.1234567");
  EXPECT_EQ(TimeOf(b_, "iso"), "2026-02-17 04:45:00.1234567");
  // No content: what A wrote stays there as it is, and nobody sends it.
  EXPECT_EQ(TimeOf(a_, "offset"), "2026-02-17 05:45:00.1234567+01:00");
  for (TestDevice* device : {&a_, &b_}) {
    ASSERT_TRUE(device->ledger().PutInt("compare", 1).ok());
    while (*device->replica().Maintain()) continue;
    EXPECT_THAT(device->OpenQueue(), IsEmpty());
  }
  ExpectSame();
}

// The later of two rows from before init wins, whatever its zone and however many digits.
TEST_F(StampsTest, TheLaterTimeWinsHoweverItIsWritten) {
  Configure();
  a_.Begin(kStampedPatients,
           "INSERT INTO Patient VALUES('zone', 'of a', '2026-02-17 08:00:00+05:00', 'ann', 1),"
           "('digit', 'of a', '2026-02-17 04:45:00.1234567', 'ann', 1),"
           "('trimmed', 'of a', '2026-02-17 04:45:00.12', 'ann', 1)");
  b_.Begin(kStampedPatients,
           "INSERT INTO Patient VALUES('zone', 'of b', '2026-02-17 03:00:00.0000001', 'bob', 1),"
           "('digit', 'of b', '2026-02-17 04:45:00.1234568', 'bob', 1),"
           "('trimmed', 'of b', '2026-02-17 04:45:00.1199999', 'bob', 1)");

  SyncBoth();

  for (TestDevice* device : {&a_, &b_}) {
    EXPECT_THAT(device->Query("SELECT Id, Name FROM Patient ORDER BY Id"),
                ElementsAre("digit|of b", "trimmed|of a", "zone|of b"));
  }
  EXPECT_EQ(TimeOf(a_, "digit"), "2026-02-17 04:45:00.1234568");
  EXPECT_EQ(ServiceArchives().size(), 3u);
  ExpectSame();
}

TEST_F(StampsTest, ATimeThatTheAppWritesItselfStaysAndIsNoEdit) {
  Configure();
  BeginBoth(kStampedPatients);
  a_.Sql("INSERT INTO Patient(Id, Name) VALUES('p', 'Ann')");
  SyncBoth();

  a_.Sql(
      "UPDATE Patient SET Name = 'Eve', LastModifiedUtc = '2026-02-17 04:45:00.1234567',"
      " ModifiedByUserId = 'eve'");
  SyncBoth();
  EXPECT_EQ(TimeOf(a_, "p"), "2026-02-17 04:45:00.1234567");
  EXPECT_THAT(Stamps(b_, "p"), MatchesRegex(absl::StrCat(kForm, "\\|eve\\|1")));
  // The stamp alone is nothing that anybody sends.
  b_.Sql("UPDATE Patient SET LastModifiedUtc = '2026-03-01 00:00:00', ModifiedByUserId = 'x'");
  EXPECT_FALSE(b_.Take().batch.has_value());
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
  ExpectSame();
}

// A new device, whose table is empty: nothing there shows how its app writes times.
TEST_F(StampsTest, EachDeviceWritesItsOwnForm) {
  Configure();
  b_.options().plan.entities[0].time_format = "ticks";
  a_.Begin(kStampedPatients,
           "INSERT INTO Patient VALUES('p', 'a', '2026-02-17 04:45:00.1234567', 'x', 1)");
  b_.Begin(
      "CREATE TABLE Patient(Id TEXT PRIMARY KEY NOT NULL, Name TEXT, LastModifiedUtc INTEGER,"
      " ModifiedByUserId TEXT, SyncState TEXT)");
  SyncBoth();
  EXPECT_EQ(Stamps(b_, "p"), "639069003001234567|x|Synced");

  b_.Sql("UPDATE Patient SET Name = 'b'");
  SyncBoth();

  EXPECT_THAT(Stamps(a_, "p"), MatchesRegex(absl::StrCat(kForm, "\\|user of dev-b\\|1")));
  const Value ticks = Value::Integer(std::stoll(TimeOf(b_, "p")));
  EXPECT_EQ(ParseStamp(TimeFormat::kTicks, ticks), Ns(TimeOf(a_, "p")));
  EXPECT_THAT(a_.OpenQueue(), IsEmpty());
  EXPECT_THAT(b_.OpenQueue(), IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
