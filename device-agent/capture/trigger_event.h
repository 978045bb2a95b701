#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// What an application's trigger (its text in sqlite_master) listens to: absent
// if it is not an UPDATE trigger, else the columns of its UPDATE OF in lower
// case; none = every update.
std::optional<std::vector<std::string>> UpdateColumnsOfTrigger(absl::string_view sql);

}  // namespace ptdoc::sync
