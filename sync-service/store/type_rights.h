#pragma once

#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// The entity types that a token may see and change. Where both sets are empty it
// may see and change every type, those that come to be later included.
struct TypeRights {
  std::set<std::string, std::less<>> types;      // may be seen and changed
  std::set<std::string, std::less<>> read_only;  // may be seen

  bool limited() const { return !types.empty() || !read_only.empty(); }
  bool MaySee(absl::string_view type) const {
    return !limited() || types.contains(type) || read_only.contains(type);
  }
  bool MayChange(absl::string_view type) const { return !limited() || types.contains(type); }

  friend bool operator==(const TypeRights&, const TypeRights&) = default;
};

}  // namespace ptdoc::sync
