#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/model/reason.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"
#include "tests/common/wire/random_values.h"

namespace ptdoc::sync {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kChangesSeed = 20260217;

bool SameChange(const Change& a, const Change& b) {
  return a.key == b.key && a.operation == b.operation && a.base_revision == b.base_revision &&
         a.base_check == b.base_check && a.integer_key == b.integer_key &&
         a.last_modified == b.last_modified && a.modified_by == b.modified_by &&
         a.fields == b.fields && a.complete == b.complete && a.reoffer == b.reoffer;
}

// Through bytes, as over a network.
v1::PushRequest Sent(const v1::PushRequest& request) {
  v1::PushRequest received;
  EXPECT_TRUE(received.ParseFromString(request.SerializeAsString()));
  return received;
}

std::vector<Change> Read(const v1::PushRequest& request) {
  v1::PushRequest received = Sent(request);
  auto changes = ChangesFromProto(received.mutable_changes(), received.mutable_tables());
  EXPECT_TRUE(changes.ok()) << changes.status();
  return *std::move(changes);
}

v1::Change GoodChange() {
  v1::Change change;
  change.set_entity_type("Patient");
  change.set_entity_id("p1");
  change.set_operation(v1::OPERATION_CREATE);
  (*change.mutable_fields())["Name"].set_text("Anna");
  return change;
}

v1::RowSet GoodTable() {
  v1::RowSet table;
  table.set_entity_type("Patient");
  table.add_columns("Id");
  table.add_columns("Age");
  table.set_id_column("Id");
  v1::PackedRow* const row = table.add_rows();
  row->set_operation(v1::OPERATION_UPDATE);
  row->set_last_modified_ns(5);
  row->add_values()->set_text("p1");
  row->add_values()->set_integer(42);
  return table;
}

Change ReadOne(const v1::Change& change) {
  v1::PushRequest request;
  *request.add_changes() = change;
  return Read(request).at(0);
}

Change ReadOne(const v1::RowSet& table) {
  v1::PushRequest request;
  *request.add_tables() = table;
  return Read(request).at(0);
}

TEST(ChangesTest, RandomChangesSurvivePackingInOrder) {
  SCOPED_TRACE(testing::Message() << "seed " << kChangesSeed);
  SeededRng rng(kChangesSeed);
  for (int round = 0; round < 400; ++round) {
    std::vector<Change> changes;
    for (uint64_t i = rng.Below(30); i > 0; --i) changes.push_back(RandomChange(rng));
    v1::PushRequest request;

    PackChanges(changes, &request, round % 2 == 0 ? RowForm::kValues : RowForm::kCells);
    const std::vector<Change> read = Read(request);

    ASSERT_EQ(read.size(), changes.size());
    for (size_t i = 0; i < changes.size(); ++i) {
      EXPECT_EQ(read[i].defect.message, "") << "round " << round << " change " << i;
      EXPECT_TRUE(SameChange(read[i], changes[i])) << "round " << round << " change " << i;
    }
  }
}

TEST(ChangesTest, CellsSpendLessThanValues) {
  Change change;
  change.key = {"Patient", "p1"};
  for (const char* const name : {"City", "FirstName", "LastName", "Phone"}) {
    change.fields.Set(name, Value::Text("some text"));
  }
  const auto size = [&](RowForm form) {
    v1::PushRequest request;
    PackChanges({&change, 1}, &request, form);
    return request.ByteSizeLong();
  };

  EXPECT_EQ(size(RowForm::kValues) - size(RowForm::kCells), 4 * 3 - 2);
}

TEST(ChangesTest, RandomChangesSurviveTheFormForPeople) {
  SCOPED_TRACE(testing::Message() << "seed " << kChangesSeed);
  SeededRng rng(kChangesSeed);
  for (int i = 0; i < 500; ++i) {
    const Change change = RandomChange(rng);
    v1::Change proto;

    ChangeToProto(change, &proto);

    EXPECT_TRUE(SameChange(ReadOne(proto), change)) << "change " << i;
  }
}

TEST(ChangesTest, RowsOfOneShapeShareATableAndTheIdIsSentOnce) {
  std::vector<Change> changes(3);
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i].key = {"Patient", "p" + std::to_string(i)};
    changes[i].modified_by = "anna";
    changes[i].last_modified = 1;
    changes[i].fields.Set("Id", Value::Text(changes[i].key.id));
  }
  v1::PushRequest request;

  PackChanges(changes, &request);

  ASSERT_EQ(request.tables_size(), 1);
  EXPECT_EQ(request.tables(0).id_column(), "Id");
  EXPECT_EQ(request.tables(0).modified_by_user_id(), "anna");
  EXPECT_EQ(request.tables(0).rows(2).entity_id(), "");
  EXPECT_EQ(request.tables(0).rows(2).modified_by_user_id(), "");
}

TEST(ChangesTest, ADeletionStandsInTheTableOfTheRowsAroundIt) {
  std::vector<Change> changes(3);
  for (Change& change : changes) change.key = {"Patient", "p1"};
  changes[0].operation = Operation::kDelete;
  changes[1].fields.Set("Name", Value::Text("Anna"));
  changes[2].operation = Operation::kDelete;
  v1::PushRequest request;

  PackChanges(changes, &request);

  EXPECT_EQ(request.tables_size(), 1);
  EXPECT_EQ(Read(request)[1].fields, changes[1].fields);
}

TEST(ChangesTest, MapsComeBeforeTables) {
  v1::PushRequest request;
  *request.add_tables() = GoodTable();
  *request.add_changes() = GoodChange();

  const std::vector<Change> changes = Read(request);

  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].operation, Operation::kCreate);
  EXPECT_EQ(changes[1].operation, Operation::kUpdate);
}

TEST(ChangesTest, AGoodChangeHasNoDefect) {
  EXPECT_EQ(ReadOne(GoodChange()).defect.code, ErrorCode::kNone);
  EXPECT_EQ(ReadOne(GoodTable()).defect.code, ErrorCode::kNone);
}

TEST(ChangesTest, AnUnsetValueIsInvalidValueNamingTheField) {
  v1::Change change = GoodChange();
  (*change.mutable_fields())["Phone"].Clear();

  const Change read = ReadOne(change);

  EXPECT_EQ(read.defect.code, ErrorCode::kInvalidValue);
  EXPECT_THAT(read.defect.message, HasSubstr("Phone"));
}

TEST(ChangesTest, NanIsInvalidValueInMapsAndRows) {
  v1::Change change = GoodChange();
  (*change.mutable_fields())["Weight"].set_real(std::numeric_limits<double>::quiet_NaN());
  v1::RowSet table = GoodTable();
  table.mutable_rows(0)->mutable_values(1)->set_real(std::numeric_limits<double>::quiet_NaN());

  EXPECT_EQ(ReadOne(change).defect.code, ErrorCode::kInvalidValue);
  EXPECT_EQ(ReadOne(table).defect.code, ErrorCode::kInvalidValue);
}

TEST(ChangesTest, ADefectNeverShowsContent) {
  v1::Change change = GoodChange();
  (*change.mutable_fields())["Diagnosis"].set_text("secret-content");
  (*change.mutable_fields())["Phone"].Clear();

  EXPECT_THAT(ReadOne(change).defect.message, Not(HasSubstr("secret-content")));
}

TEST(ChangesTest, AnUnknownOrUnspecifiedOperationIsInvalidChange) {
  v1::Change unspecified = GoodChange();
  unspecified.set_operation(v1::OPERATION_UNSPECIFIED);
  v1::Change unknown = GoodChange();
  unknown.set_operation(static_cast<v1::Operation>(77));

  EXPECT_EQ(ReadOne(unspecified).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(unknown).defect.code, ErrorCode::kInvalidChange);
}

TEST(ChangesTest, ATimeOutsideTheRangeIsInvalidChange) {
  v1::Change early = GoodChange();
  early.mutable_last_modified_utc()->set_seconds(-1);
  v1::Change late = GoodChange();
  late.mutable_last_modified_utc()->set_seconds(10'000'000'000);
  v1::Change crooked = GoodChange();
  crooked.mutable_last_modified_utc()->set_nanos(1'000'000'000);
  v1::RowSet table = GoodTable();
  table.mutable_rows(0)->set_last_modified_ns(-1);

  EXPECT_EQ(ReadOne(early).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(late).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(crooked).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(table).defect.code, ErrorCode::kInvalidChange);
}

TEST(ChangesTest, AnAbsentTimeStaysAbsent) {
  EXPECT_EQ(ReadOne(GoodChange()).last_modified, std::nullopt);
}

TEST(ChangesTest, MissingIdentityIsADefect) {
  v1::Change no_type = GoodChange();
  no_type.clear_entity_type();
  v1::Change no_id = GoodChange();
  no_id.clear_entity_id();
  v1::RowSet no_column = GoodTable();
  no_column.clear_id_column();
  v1::RowSet not_text = GoodTable();
  not_text.set_id_column("Age");

  EXPECT_EQ(ReadOne(no_type).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(no_id).defect.code, ErrorCode::kInvalidKey);
  EXPECT_EQ(ReadOne(no_column).defect.code, ErrorCode::kInvalidKey);
  EXPECT_EQ(ReadOne(not_text).defect.code, ErrorCode::kInvalidKey);
}

TEST(ChangesTest, AMalformedBaseIsInvalidChange) {
  v1::Change negative = GoodChange();
  negative.set_base_revision(-1);
  v1::Change short_check = GoodChange();
  short_check.set_base_check("abc");

  EXPECT_EQ(ReadOne(negative).defect.code, ErrorCode::kInvalidChange);
  EXPECT_EQ(ReadOne(short_check).defect.code, ErrorCode::kInvalidChange);
}

TEST(ChangesTest, ARowThatDoesNotFitItsColumnsIsRefusedAlone) {
  v1::RowSet table = GoodTable();
  v1::PackedRow short_row = table.rows(0);
  short_row.mutable_values()->RemoveLast();
  *table.add_rows() = short_row;
  v1::PushRequest request;
  *request.add_tables() = table;

  const std::vector<Change> changes = Read(request);

  EXPECT_EQ(changes[0].defect.code, ErrorCode::kNone);
  EXPECT_EQ(changes[1].defect.code, ErrorCode::kInvalidChange);
}

TEST(ChangesTest, DuplicateColumnsAreInvalidChange) {
  v1::RowSet table = GoodTable();
  table.set_columns(1, "Id");

  EXPECT_EQ(ReadOne(table).defect.code, ErrorCode::kInvalidChange);
}

TEST(ChangesTest, ADeletionHasNoContentWhateverWasSent) {
  v1::Change change = GoodChange();
  change.set_operation(v1::OPERATION_DELETE);

  const Change read = ReadOne(change);

  EXPECT_TRUE(read.fields.empty());
  EXPECT_EQ(read.defect.code, ErrorCode::kNone);
}

TEST(ChangesTest, TooManyChangesAreRefusedWhole) {
  v1::PushRequest request;
  for (size_t i = 0; i <= kWireChangesMax; ++i) request.add_changes();

  const absl::Status status =
      ChangesFromProto(request.mutable_changes(), request.mutable_tables()).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
}

TEST(ChangesTest, ATableThatWouldGrowTooMuchInMemoryIsRefusedWhole) {
  v1::PushRequest request;
  v1::RowSet* const table = request.add_tables();
  table->add_columns(std::string(1 << 20, 'x'));
  for (int i = 0; i < 200; ++i) table->add_rows()->add_values();

  const absl::Status status =
      ChangesFromProto(request.mutable_changes(), request.mutable_tables()).status();

  EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
}

TEST(ChangesTest, TextThatIsNotUtf8DoesNotMakeTheMessageUnreadable) {
  Change change;
  change.key = {"Patient", "p1"};
  change.modified_by = "\xFF\xFE";
  change.fields.Set("Name", Value::Text("\xC3\x28"));
  v1::PushRequest request;

  PackChanges({&change, 1}, &request);
  const Change read = Read(request).at(0);

  EXPECT_EQ(read.fields, change.fields);
  EXPECT_EQ(read.modified_by, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(ToUtf8Test, KeepsGoodCharactersAndReplacesTheRest) {
  EXPECT_EQ(ToUtf8(absl::string_view("a\xFFz\xC3\xBC")), "a\xEF\xBF\xBDz\xC3\xBC");
}

TEST(QueueHealthTest, SurvivesTheWire) {
  QueueHealth queue;
  queue.pending = 5;
  queue.processing = 1;
  queue.failed = 2;
  queue.oldest_pending_at = absl::FromUnixMillis(1'771'303'500'123);
  queue.open_conflicts = 3;
  queue.set_aside = 4;
  queue.initial = true;
  v1::QueueHealth proto;

  QueueHealthToProto(queue, &proto);
  const QueueHealth read = QueueHealthFromProto(proto);

  EXPECT_EQ(read.pending, 5U);
  EXPECT_EQ(read.processing, 1U);
  EXPECT_EQ(read.failed, 2U);
  EXPECT_EQ(read.oldest_pending_at, queue.oldest_pending_at);
  EXPECT_EQ(read.last_sync_at, std::nullopt);
  EXPECT_EQ(read.open_conflicts, 3U);
  EXPECT_EQ(read.set_aside, 4U);
  EXPECT_TRUE(read.initial);
  EXPECT_EQ(proto.health(), HealthToProto(HealthOf(queue)));
}

}  // namespace
}  // namespace ptdoc::sync
