#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// A table that may be synced, with its configuration as the file spells it.
struct Candidate {
  const TableInfo* table = nullptr;
  EntityConfig config;
  std::vector<std::string> key;
  bool has_numeric_keys = false;  // its declared types leave it open, but rows have numbers
};

// Where foreign keys and `references` lead, among the tables that are synced
// together. It looks at its arguments whenever it is asked: both must outlive it.
class ReferenceMap {
 public:
  ReferenceMap(const std::vector<TableInfo>& schema, const std::vector<Candidate>& candidates)
      : schema_(schema), candidates_(candidates) {}

  // What becomes of this column's values on their way to other devices; absent:
  // they are the same everywhere.
  std::optional<Translation> Translate(const Candidate& child, const std::string& column) const;
  // The table (or type) that is not synced, but whose integers this column
  // holds; empty = none.
  std::string UnsyncedParent(const Candidate& child, const std::string& column) const;
  // A table whose rows the column may number, to judge by its name alone ("book" or
  // "book_id" by "books"); empty if no table is called so.
  std::string LikelyParent(absl::string_view column) const;
  // True if the identity of the table's rows hangs on rows of the same table.
  bool HasKeyCycle(const Candidate& candidate) const;

 private:
  // A column that another one refers to.
  struct Place {
    const TableInfo* table = nullptr;      // null: a type that is not synced
    const Candidate* candidate = nullptr;  // null: not synced
    std::string column;
    std::string name;  // of the table or type
  };
  using Seen = std::set<std::pair<const TableInfo*, std::string>>;

  const Candidate* ByTable(absl::string_view table) const;
  const Candidate* ByType(absl::string_view type) const;
  const TableInfo* FindTable(absl::string_view table) const;
  std::vector<Place> LeadsTo(const TableInfo& table, const Candidate* candidate,
                             const std::string& column) const;
  std::optional<Translation> Follow(const TableInfo& table, const Candidate* candidate,
                                    const std::string& column, Seen* seen) const;
  std::string FollowUnsynced(const TableInfo& table, const Candidate* candidate,
                             const std::string& column, Seen* seen) const;
  bool ReachesByKey(const Candidate& from, const Candidate& to,
                    std::set<const Candidate*>* seen) const;

  const std::vector<TableInfo>& schema_;
  const std::vector<Candidate>& candidates_;
};

// True if the configuration, apart from keys, makes the column's values content.
bool IsContent(const Candidate& candidate, const ColumnInfo& column);

// The rowid alias of a table that is synced by another key: each device chooses
// its values for itself. Empty if there is none.
std::string LocalKeyOf(const TableInfo& table, const std::vector<std::string>& key);

}  // namespace ptdoc::sync
