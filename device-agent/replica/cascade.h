#pragma once

#include <string>
#include <vector>

#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

// A row that a foreign key deletes or changes together with its parent. For
// apply.cc and cascade.cc only.
struct ReplicaImpl::Cascaded {
  std::string table;
  std::vector<std::string> columns;  // lower case: its key and what others refer to
  std::vector<Value> values;         // as they stood before
  bool deleted = false;
  std::vector<std::string> changed;  // columns that the key sets; lower case

  // Null if it is not among `columns`.
  const Value* Find(absl::string_view column) const;
};

}  // namespace ptdoc::sync
