#include "common/merge/policy.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/match.h"

namespace ptdoc::sync {
namespace {

// What apps write as text for "not locked".
constexpr std::array<absl::string_view, 5> kFalseTexts = {"", "0", "false", "f", "no"};

// The field, or null where it is absent, NULL or the rule is switched off.
const Value* FindSet(const Fields& fields, const std::string& name) {
  if (name.empty()) return nullptr;
  const Value* value = fields.Find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool IsFalseText(const std::string& text) {
  const auto is_text = [&text](absl::string_view no) { return absl::EqualsIgnoreCase(text, no); };
  return std::any_of(kFalseTexts.begin(), kFalseTexts.end(), is_text);
}

}  // namespace

absl::string_view PolicyName(ConflictPolicy policy) {
  switch (policy) {
    case ConflictPolicy::kLastWriteWins:
      return "last_write_wins";
    case ConflictPolicy::kMergeFields:
      return "merge_fields";
    case ConflictPolicy::kManual:
      return "manual";
  }
  return "";
}

ConflictPolicy PolicyFromName(absl::string_view name) {
  for (const ConflictPolicy policy : {ConflictPolicy::kMergeFields, ConflictPolicy::kManual}) {
    if (PolicyName(policy) == name) return policy;
  }
  return ConflictPolicy::kLastWriteWins;
}

void PolicySet::Set(absl::string_view type, TypePolicy policy) {
  policies_.insert_or_assign(std::string(type), std::move(policy));
}

const TypePolicy& PolicySet::For(absl::string_view type) const {
  const auto it = policies_.find(type);
  return it == policies_.end() ? builtin_ : it->second;
}

bool IsSigned(const TypePolicy& policy, const Fields& fields) {
  const Value* value = FindSet(fields, policy.signature_field);
  if (value == nullptr) return false;
  const bool is_number =
      value->type() == Value::Type::kInteger || value->type() == Value::Type::kReal;
  return is_number || !value->bytes().empty();
}

bool IsLocked(const TypePolicy& policy, const Fields& fields) {
  const Value* value = FindSet(fields, policy.locked_field);
  if (value == nullptr) return false;
  switch (value->type()) {
    case Value::Type::kNull:
      return false;
    case Value::Type::kInteger:
      return value->integer() != 0;
    case Value::Type::kReal:
      return value->real() != 0;
    case Value::Type::kText:
      return !IsFalseText(value->bytes());
    case Value::Type::kBlob:
      return !value->bytes().empty();
  }
  return false;
}

}  // namespace ptdoc::sync
