#include "device-agent/capture/entity_key.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "common/model/reason.h"

namespace ptdoc::sync {

Value FoldedKeyValue(const TablePlan& table, size_t key_column, const Value& value) {
  const bool folds = key_column < table.ignores_case.size() && table.ignores_case[key_column];
  if (!folds || value.type() != Value::Type::kText) return value;
  if (value.bytes().find('\0') != std::string::npos) return Value::Null();
  return Value::Text(absl::AsciiStrToLower(value.bytes()));
}

absl::StatusOr<std::string> EntityIdOf(const TablePlan& table, std::span<const Value> key) {
  if (!table.IgnoresCase() || key.size() != table.key.size()) {
    return EncodeEntityId(key, table.key_affinities);
  }
  std::vector<Value> folded;
  folded.reserve(key.size());
  for (size_t i = 0; i < key.size(); ++i) folded.push_back(FoldedKeyValue(table, i, key[i]));
  return EncodeEntityId(folded, table.key_affinities);
}

absl::StatusOr<std::vector<Value>> KeyOfEntityId(const TablePlan& table, absl::string_view id) {
  PT_ASSIGN_OR_RETURN(std::vector<Value> key, DecodeEntityId(id, table.key_affinities));
  if (!table.IgnoresCase()) return key;
  // A device whose column does not ignore case makes other ids.
  for (size_t i = 0; i < key.size(); ++i) {
    if (FoldedKeyValue(table, i, key[i]) == key[i]) continue;
    return ReasonError(absl::StatusCode::kInvalidArgument, "INVALID_KEY",
                       absl::StrCat("The key column \"", table.key[i],
                                    "\" ignores case here: ids are in small letters"));
  }
  return key;
}

}  // namespace ptdoc::sync
