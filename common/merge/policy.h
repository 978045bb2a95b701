#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "common/model/value.h"

namespace ptdoc::sync {

enum class ConflictPolicy : uint8_t { kLastWriteWins, kMergeFields, kManual };

// As the configuration spells it: "last_write_wins".
absl::string_view PolicyName(ConflictPolicy policy);
// kLastWriteWins for a name that is none.
ConflictPolicy PolicyFromName(absl::string_view name);

// How conflicts of one type are decided (docs/CONFLICTS.md). A field name that
// is empty switches that rule off.
struct TypePolicy {
  ConflictPolicy policy = ConflictPolicy::kLastWriteWins;
  std::string signature_field = "SignatureHash";
  std::string locked_field = "IsLocked";
};

// The policies of all types; a type that is not named has the built-in one.
class PolicySet {
 public:
  using Map = std::map<std::string, TypePolicy, std::less<>>;

  void Set(absl::string_view type, TypePolicy policy);
  // Valid until the next Set.
  const TypePolicy& For(absl::string_view type) const;
  const Map& all() const { return policies_; }

 private:
  TypePolicy builtin_;
  Map policies_;
};

// Signed: the signature field is there and neither NULL nor empty ('' or a blob
// of no bytes), whatever its type.
bool IsSigned(const TypePolicy& policy, const Fields& fields);
// Locked: an integer or real other than 0, a text other than '', '0', 'false',
// 'f', 'no' (ASCII case ignored); a non-empty blob.
bool IsLocked(const TypePolicy& policy, const Fields& fields);

}  // namespace ptdoc::sync
