// The push direction: changes from untrusted messages, and packed by agents.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/wire/convert.h"
#include "common/wire/packing.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

using google::protobuf::RepeatedPtrField;

constexpr size_t kCheckBytes = 8;
constexpr size_t kShownNameBytesMax = 128;

absl::Status TooLarge(absl::string_view what) {
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     absl::StrCat(what, ". Nothing of this request was taken. Send less at once."));
}

void SetDefect(Change* change, ErrorCode code, std::string message) {
  if (change->defect.code != ErrorCode::kNone) return;  // The first one is told.
  change->defect = {code, std::move(message)};
}

// A field's name for a message to people.
std::string Shown(absl::string_view name) {
  if (name.size() > kShownNameBytesMax) return "A field with a very long name";
  return absl::StrCat("Field \"", name, "\"");
}

void NoteDefect(absl::string_view name, ValueDefect defect, Change* change) {
  switch (defect) {
    case ValueDefect::kNone:
      break;
    case ValueDefect::kUnset:
      SetDefect(change, ErrorCode::kInvalidValue,
                absl::StrCat(Shown(name), " has no value; NULL is {\"null\": true}."));
      break;
    case ValueDefect::kNotANumber:
      SetDefect(change, ErrorCode::kInvalidValue,
                absl::StrCat(Shown(name), " is NaN, which SQLite cannot hold."));
      break;
    case ValueDefect::kMalformed:
      SetDefect(change, ErrorCode::kInvalidValue,
                "cells does not hold one value for each column, or stands beside values.");
      break;
  }
}

Field FieldFromProto(absl::string_view name, v1::Value* in, Change* change) {
  Field field{std::string(name), Value::Null()};
  NoteDefect(name, ValueFromProto(in, &field.value), change);
  return field;
}

// What both forms of a change have.
void CheckCommon(Change* change) {
  if (change->key.type.empty()) {
    SetDefect(change, ErrorCode::kInvalidChange, "entity_type is empty.");
  }
  if (change->key.id.empty()) {
    SetDefect(change, ErrorCode::kInvalidKey, "entity_id is empty.");
  }
  if (change->base_revision < 0) {
    SetDefect(change, ErrorCode::kInvalidChange, "base_revision is negative.");
  }
  if (!change->base_check.empty() && change->base_check.size() != kCheckBytes) {
    SetDefect(change, ErrorCode::kInvalidChange, "base_check is not one that the service gave.");
  }
}

void SetOperation(v1::Operation operation, Change* change) {
  const std::optional<Operation> known = OperationFromProto(operation);
  if (known.has_value()) {
    change->operation = *known;
  } else {
    SetDefect(change, ErrorCode::kInvalidChange,
              "operation is none of OPERATION_CREATE, OPERATION_UPDATE, OPERATION_DELETE.");
  }
}

Change ChangeFromProto(v1::Change* in) {
  Change change;
  change.key.type = std::move(*in->mutable_entity_type());
  change.key.id = std::move(*in->mutable_entity_id());
  SetOperation(in->operation(), &change);
  change.base_revision = in->base_revision();
  change.base_check = std::move(*in->mutable_base_check());
  change.integer_key = in->integer_key();
  if (in->has_last_modified_utc()) {
    change.last_modified = TimeNsFromProto(in->last_modified_utc());
    if (!change.last_modified.has_value()) {
      SetDefect(&change, ErrorCode::kInvalidChange,
                "last_modified_utc is outside the years 1970 to 2262.");
    }
  }
  change.modified_by = std::move(*in->mutable_modified_by_user_id());
  change.complete = in->complete();
  change.reoffer = in->reoffer();
  CheckCommon(&change);
  // A deletion has no content, whatever was sent with it.
  if (change.operation == Operation::kDelete) return change;
  std::vector<Field> fields;
  fields.reserve(in->fields().size());
  for (auto& [name, value] : *in->mutable_fields()) {
    fields.push_back(FieldFromProto(name, &value, &change));
  }
  change.fields = Fields(std::move(fields));
  return change;
}

// The parts of a table that its rows share.
struct TableShape {
  const std::string type;
  const std::vector<std::string> columns;
  const bool integer_key;
  const std::string user;
  int id_column = -1;
  bool duplicate_columns = false;
};

TableShape ShapeOf(const v1::RowSet& table) {
  TableShape shape{table.entity_type(),
                   {table.columns().begin(), table.columns().end()},
                   table.integer_key(),
                   table.modified_by_user_id()};
  shape.id_column = FindColumn(table.columns(), table.id_column());
  const std::set<absl::string_view> names(shape.columns.begin(), shape.columns.end());
  shape.duplicate_columns = names.size() != shape.columns.size();
  return shape;
}

void SetRowFields(const TableShape& shape, RowValues row, Change* change) {
  const size_t count = row.values.size();
  const bool is_read = row.defect != ValueDefect::kMalformed;
  if (change->operation == Operation::kDelete && count == 0 && is_read) return;
  if (shape.duplicate_columns) {
    SetDefect(change, ErrorCode::kInvalidChange, "columns names a column twice.");
    return;
  }
  if (is_read && count != shape.columns.size()) {
    SetDefect(
        change, ErrorCode::kInvalidChange,
        absl::StrCat("the row has ", count, " values for ", shape.columns.size(), " columns."));
    return;
  }
  if (change->operation == Operation::kDelete && is_read) return;
  if (row.defect != ValueDefect::kNone) {
    const bool has_name = row.defect_at < shape.columns.size();
    NoteDefect(has_name ? shape.columns[row.defect_at] : "", row.defect, change);
  }
  if (!is_read) return;
  std::vector<Field> fields;
  fields.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    fields.push_back({shape.columns[i], std::move(row.values[i])});
  }
  change->fields = Fields(std::move(fields));
}

Change ChangeFromRow(const TableShape& shape, v1::PackedRow* row) {
  Change change;
  RowValues values = TakeValues(shape.columns.size(), row);
  change.key = {shape.type, TakeRowId(shape.id_column, values.values, row)};
  SetOperation(row->operation(), &change);
  change.base_revision = row->base_revision();
  change.base_check = std::move(*row->mutable_base_check());
  change.integer_key = shape.integer_key;
  change.last_modified = row->last_modified_ns();
  if (row->last_modified_ns() < 0) {
    SetDefect(&change, ErrorCode::kInvalidChange, "last_modified_ns is before 1970.");
  }
  change.modified_by = shape.user;
  if (!row->modified_by_user_id().empty()) {
    change.modified_by = std::move(*row->mutable_modified_by_user_id());
  }
  change.complete = row->complete();
  change.reoffer = row->reoffer();
  CheckCommon(&change);
  SetRowFields(shape, std::move(values), &change);
  return change;
}

// Returns how many changes there are.
absl::StatusOr<size_t> CheckSizes(size_t changes, const RepeatedPtrField<v1::RowSet>* tables) {
  size_t count = changes;
  size_t expanded = 0;
  if (tables != nullptr) {
    for (const v1::RowSet& table : *tables) {
      const size_t rows = static_cast<size_t>(table.rows_size());
      size_t row_bytes = table.entity_type().size() + table.modified_by_user_id().size();
      for (const std::string& column : table.columns()) row_bytes += column.size() + sizeof(Field);
      count += rows;
      expanded += rows * row_bytes;
    }
  }
  if (count > kWireChangesMax) {
    return TooLarge(absl::StrCat("The batch has ", count, " changes, more than ", kWireChangesMax));
  }
  if (expanded > kWireExpandedBytesMax) {
    return TooLarge("The columns of the batch's tables are too many or too long");
  }
  return count;
}

}  // namespace

absl::StatusOr<std::vector<Change>> ChangesFromProto(RepeatedPtrField<v1::Change>* changes,
                                                     RepeatedPtrField<v1::RowSet>* tables) {
  PT_ASSIGN_OR_RETURN(const size_t count, CheckSizes(static_cast<size_t>(changes->size()), tables));
  std::vector<Change> out;
  out.reserve(count);
  for (v1::Change& change : *changes) out.push_back(ChangeFromProto(&change));
  if (tables != nullptr) {
    for (v1::RowSet& table : *tables) {
      const TableShape shape = ShapeOf(table);
      for (v1::PackedRow& row : *table.mutable_rows()) out.push_back(ChangeFromRow(shape, &row));
    }
  }
  return out;
}

void PackChanges(std::span<const Change> changes, v1::PushRequest* request, RowForm form) {
  TablePacker packer(request->mutable_tables(), form);
  for (const Change& change : changes) {
    const bool deleted = change.operation == Operation::kDelete;
    v1::PackedRow* const row =
        packer.Add({change.key, deleted, change.integer_key, change.modified_by, change.fields});
    row->set_operation(OperationToProto(change.operation));
    row->set_base_revision(change.base_revision);
    row->set_base_check(change.base_check);
    row->set_last_modified_ns(change.last_modified.value_or(kSmallestTime));
    row->set_complete(change.complete);
    row->set_reoffer(change.reoffer);
  }
}

void ChangeToProto(const Change& change, v1::Change* out) {
  out->set_entity_type(ToUtf8(change.key.type));
  out->set_entity_id(ToUtf8(change.key.id));
  out->set_operation(OperationToProto(change.operation));
  out->set_base_revision(change.base_revision);
  out->set_base_check(change.base_check);
  out->set_integer_key(change.integer_key);
  if (change.last_modified) TimeNsToProto(*change.last_modified, out->mutable_last_modified_utc());
  out->set_modified_by_user_id(ToUtf8(change.modified_by));
  for (const Field& field : change.fields) {
    ValueToProto(field.value, &(*out->mutable_fields())[ToUtf8(field.name)]);
  }
  out->set_complete(change.complete);
  out->set_reoffer(change.reoffer);
}

}  // namespace ptdoc::sync
