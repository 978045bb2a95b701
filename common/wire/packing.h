#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/model/change.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "ptdoc/sync/v1/types.pb.h"

namespace ptdoc::sync {

// The packed form that both directions share. Used by this folder only.

// What decides which table a row can stand in. Refers to its arguments.
struct PackItem {
  const EntityKey& key;
  bool deleted;
  bool integer_key;
  const std::string& user;
  const Fields& fields;
};

// Appends rows to tables in order: a row goes into the last table if its type,
// columns and kind of key are the same (a deletion fits any columns), else into
// a new one. Fills identity, user and values; the caller fills the rest.
class TablePacker {
 public:
  // `tables` must outlive this.
  TablePacker(google::protobuf::RepeatedPtrField<v1::RowSet>* tables, RowForm form)
      : tables_(tables), form_(form) {}

  // Valid until the next call.
  v1::PackedRow* Add(const PackItem& item);

 private:
  bool Fits(const PackItem& item) const;
  void OpenTable(const PackItem& item);
  void SetColumns(const PackItem& item);
  bool IdIsInColumn(const PackItem& item) const;

  google::protobuf::RepeatedPtrField<v1::RowSet>* const tables_;
  const RowForm form_;
  v1::RowSet* table_ = nullptr;  // the last one that this opened
  bool columns_set_ = false;     // a row other than a deletion stands in it
};

// The place of `name` in `columns`; -1 if it is empty or not there.
int FindColumn(const google::protobuf::RepeatedPtrField<std::string>& columns,
               absl::string_view name);

struct RowValues {
  std::vector<Value> values;  // NULL where one has a defect; of malformed cells the first ones
  ValueDefect defect = ValueDefect::kNone;  // the first
  size_t defect_at = 0;                     // of which value
};
// Moves the values out of a row, whichever form they have.
RowValues TakeValues(size_t columns, v1::PackedRow* row);

// The row's own entity_id, moved out, else a copy of the text of its id column;
// empty if it has neither.
std::string TakeRowId(int id_column, const std::vector<Value>& values, v1::PackedRow* row);

}  // namespace ptdoc::sync
