#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ptdoc::sync {

// Writes `text` and a newline to a new file that only its owner may read
// (0600), complete or not at all. ALREADY_EXISTS (reason FILE_EXISTS) if
// something stands at `path`; nothing is changed then.
absl::Status WriteSecretFile(const std::string& path, absl::string_view text);

// The same in place of a file that is there: at no moment is there none, or half
// of one.
absl::Status ReplaceSecretFile(const std::string& path, absl::string_view text);

// The directory, made with 0700 if it is not there.
absl::Status MakeSecretDirectory(const std::string& path);

}  // namespace ptdoc::sync
