#include "sync-service/store/name_table.h"

#include "common/base/status.h"

namespace ptdoc::sync {

absl::StatusOr<std::optional<int64_t>> NameTable::Find(absl::string_view name) {
  if (const auto it = ids_.find(name); it != ids_.end()) return it->second;
  PT_ASSIGN_OR_RETURN(sqlite::Statement find, db_.Prepare(sql_.find));
  find.Bind(1, name);
  PT_ASSIGN_OR_RETURN(const bool found, find.Step());
  if (!found) return std::nullopt;
  Remember(find.Int(0), name);
  return find.Int(0);
}

absl::StatusOr<int64_t> NameTable::FindOrAdd(absl::string_view name) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> known, Find(name));
  if (known.has_value()) return *known;
  PT_ASSIGN_OR_RETURN(sqlite::Statement insert, db_.Prepare(sql_.insert));
  insert.Bind(1, name);
  PT_RETURN_IF_ERROR(insert.Run());
  const int64_t id = db_.last_insert_rowid();
  Remember(id, name);
  return id;
}

absl::StatusOr<absl::string_view> NameTable::NameOf(int64_t id) {
  if (const auto it = names_.find(id); it != names_.end()) return absl::string_view(it->second);
  PT_ASSIGN_OR_RETURN(sqlite::Statement read, db_.Prepare(sql_.name));
  read.Bind(1, id);
  PT_ASSIGN_OR_RETURN(const bool found, read.Step());
  if (!found) return absl::DataLossError("a name that rows refer to is not in the store");
  Remember(id, read.Text(0));
  return absl::string_view(names_.find(id)->second);
}

void NameTable::Forget() {
  ids_.clear();
  names_.clear();
}

// Names of users come from outside: the cache must not grow with them.
void NameTable::Remember(int64_t id, absl::string_view name) {
  if (names_.size() >= kCachedMax) Forget();
  ids_[std::string(name)] = id;
  names_[id] = std::string(name);
}

}  // namespace ptdoc::sync
