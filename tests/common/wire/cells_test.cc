#include "common/wire/cells.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/wire/convert.h"
#include "tests/common/wire/random_values.h"

namespace ptdoc::sync {
namespace {

constexpr uint64_t kCellsSeed = 20260219;

std::string CellsOf(const std::vector<Value>& values) {
  std::string cells;
  for (const Value& value : values) AppendCell(value, &cells);
  return cells;
}

ValueDefect DefectOf(absl::string_view cells, size_t count) {
  std::vector<Value> values;
  return ReadCells(cells, count, &values);
}

// One row of two columns whose cells are as given.
Change ReadRow(const std::string& cells, bool with_values = false) {
  v1::PushRequest request;
  v1::RowSet* const table = request.add_tables();
  table->set_entity_type("Patient");
  table->add_columns("Age");
  table->add_columns("Id");
  table->set_id_column("Id");
  v1::PackedRow* const row = table->add_rows();
  row->set_operation(v1::OPERATION_UPDATE);
  row->set_cells(cells);
  if (with_values) row->add_values()->set_integer(1);
  return ChangesFromProto(request.mutable_changes(), request.mutable_tables()).value().at(0);
}

TEST(CellsTest, EveryKindOfValueSurvives) {
  SCOPED_TRACE(testing::Message() << "seed " << kCellsSeed);
  SeededRng rng(kCellsSeed);
  std::vector<Value> values = {Value::Null(),
                               Value::Integer(0),
                               Value::Integer(std::numeric_limits<int64_t>::min()),
                               Value::Integer(std::numeric_limits<int64_t>::max()),
                               Value::Real(-0.0),
                               Value::Real(std::numeric_limits<double>::infinity()),
                               Value::Text(""),
                               Value::Text(std::string("a\0b\xFF", 4)),
                               Value::Blob(std::string(40'000, 'x'))};
  for (int i = 0; i < 2000; ++i) values.push_back(RandomValue(rng));
  std::vector<Value> read;

  const ValueDefect defect = ReadCells(CellsOf(values), values.size(), &read);

  EXPECT_EQ(defect, ValueDefect::kNone);
  EXPECT_EQ(read, values);
}

TEST(CellsTest, NoCutAndNoOtherCountPasses) {
  const std::string cells = CellsOf({Value::Integer(-300), Value::Text("abc"), Value::Real(1.5)});
  for (size_t size = 0; size < cells.size(); ++size) {
    EXPECT_EQ(DefectOf(absl::string_view(cells).substr(0, size), 3), ValueDefect::kMalformed);
  }
  for (const size_t count : {0, 2, 4, 1'000'000'000}) {
    EXPECT_EQ(DefectOf(cells, count), ValueDefect::kMalformed);
  }
}

TEST(CellsTest, WhatNoAgentWritesIsRefused) {
  EXPECT_EQ(DefectOf("\x05", 1), ValueDefect::kMalformed) << "no such type";
  EXPECT_EQ(DefectOf("\x08", 1), ValueDefect::kMalformed) << "NULL with a length";
  EXPECT_EQ(DefectOf(std::string(10, '\xFF') + '\x01', 1), ValueDefect::kMalformed)
      << "a long varint";
  EXPECT_EQ(DefectOf(std::string("\x02\0\0\0\0\0\0\xF8\x7F", 9), 1), ValueDefect::kNotANumber);
}

TEST(CellsTest, ARowThatCannotBeReadIsADefectOfThatChange) {
  const std::string good = CellsOf({Value::Integer(4), Value::Text("p1")});

  EXPECT_EQ(ReadRow(good).key.id, "p1");
  EXPECT_EQ(ReadRow(good).defect.code, ErrorCode::kNone);
  EXPECT_EQ(ReadRow(good.substr(0, 3)).defect.code, ErrorCode::kInvalidKey) << "the key is cut off";
  EXPECT_EQ(ReadRow(good + "x").defect.code, ErrorCode::kInvalidValue);
  EXPECT_EQ(ReadRow(good, /*with_values=*/true).defect.code, ErrorCode::kInvalidKey);
}

}  // namespace
}  // namespace ptdoc::sync
