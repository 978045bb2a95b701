#include "common/wire/packing.h"

#include <utility>

#include "common/wire/cells.h"

namespace ptdoc::sync {
namespace {

// What the cells of ordinary fields take, so that a row's are got at once.
size_t RoomOf(const Fields& fields) {
  constexpr size_t kHeaderBytes = 2;
  constexpr size_t kNumberBytes = 8;
  size_t bytes = 0;
  for (const Field& field : fields) {
    const Value::Type type = field.value.type();
    const bool is_long = type == Value::Type::kText || type == Value::Type::kBlob;
    bytes += kHeaderBytes + (is_long ? field.value.bytes().size() : kNumberBytes);
  }
  return bytes;
}

bool SameColumns(const google::protobuf::RepeatedPtrField<std::string>& columns,
                 const Fields& fields) {
  if (static_cast<size_t>(columns.size()) != fields.size()) return false;
  auto column = columns.begin();
  for (const Field& field : fields) {
    if (*column++ != field.name) return false;
  }
  return true;
}

bool IsTextOf(const Value& value, absl::string_view text) {
  return value.type() == Value::Type::kText && value.bytes() == text;
}

}  // namespace

bool TablePacker::Fits(const PackItem& item) const {
  if (table_ == nullptr) return false;
  if (table_->entity_type() != item.key.type) return false;
  if (table_->integer_key() != item.integer_key) return false;
  // A row cannot say "no user" in a table that has one.
  if (item.user.empty() && !table_->modified_by_user_id().empty()) return false;
  // A table of deletions alone takes the columns of the first row that has any.
  if (item.deleted || !columns_set_) return true;
  return SameColumns(table_->columns(), item.fields);
}

void TablePacker::OpenTable(const PackItem& item) {
  table_ = tables_->Add();
  columns_set_ = false;
  table_->set_entity_type(ToUtf8(item.key.type));
  table_->set_integer_key(item.integer_key);
  table_->set_modified_by_user_id(ToUtf8(item.user));
}

void TablePacker::SetColumns(const PackItem& item) {
  columns_set_ = true;
  for (const Field& field : item.fields) {
    table_->add_columns(ToUtf8(field.name));
    if (table_->id_column().empty() && IsTextOf(field.value, item.key.id)) {
      table_->set_id_column(ToUtf8(field.name));
    }
  }
}

bool TablePacker::IdIsInColumn(const PackItem& item) const {
  if (item.deleted || item.key.id.empty() || table_->id_column().empty()) return false;
  const Value* const value = item.fields.Find(table_->id_column());
  return value != nullptr && IsTextOf(*value, item.key.id);
}

v1::PackedRow* TablePacker::Add(const PackItem& item) {
  if (!Fits(item)) OpenTable(item);
  if (!item.deleted && !columns_set_) SetColumns(item);
  v1::PackedRow* const row = table_->add_rows();
  if (!IdIsInColumn(item)) row->set_entity_id(ToUtf8(item.key.id));
  std::string user = ToUtf8(item.user);
  if (user != table_->modified_by_user_id()) row->set_modified_by_user_id(std::move(user));
  if (item.deleted) return row;
  if (form_ == RowForm::kCells) {
    std::string* const cells = row->mutable_cells();
    cells->reserve(RoomOf(item.fields));
    for (const Field& field : item.fields) AppendCell(field.value, cells);
  } else {
    for (const Field& field : item.fields) ValueToProto(field.value, row->add_values());
  }
  return row;
}

int FindColumn(const google::protobuf::RepeatedPtrField<std::string>& columns,
               absl::string_view name) {
  if (name.empty()) return -1;
  for (int i = 0; i < columns.size(); ++i) {
    if (columns[i] == name) return i;
  }
  return -1;
}

RowValues TakeValues(size_t columns, v1::PackedRow* row) {
  RowValues taken;
  if (!row->cells().empty()) {
    taken.defect = row->values().empty() ? ReadCells(row->cells(), columns, &taken.values)
                                         : ValueDefect::kMalformed;
    taken.defect_at = taken.values.size();
    return taken;
  }
  taken.values.reserve(static_cast<size_t>(row->values_size()));
  for (v1::Value& value : *row->mutable_values()) {
    const ValueDefect defect = ValueFromProto(&value, &taken.values.emplace_back());
    if (defect == ValueDefect::kNone || taken.defect != ValueDefect::kNone) continue;
    taken.defect = defect;
    taken.defect_at = taken.values.size() - 1;
  }
  return taken;
}

std::string TakeRowId(int id_column, const std::vector<Value>& values, v1::PackedRow* row) {
  if (!row->entity_id().empty()) return std::move(*row->mutable_entity_id());
  if (id_column < 0 || static_cast<size_t>(id_column) >= values.size()) return "";
  const Value& value = values[static_cast<size_t>(id_column)];
  return value.type() == Value::Type::kText ? value.bytes() : "";
}

}  // namespace ptdoc::sync
