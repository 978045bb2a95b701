#include "device-agent/capture/references.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ptdoc::sync {
namespace {

bool IsKeyColumn(const Candidate& candidate, absl::string_view column) {
  return std::any_of(candidate.key.begin(), candidate.key.end(),
                     [&](const std::string& name) { return absl::EqualsIgnoreCase(name, column); });
}

}  // namespace

bool IsContent(const Candidate& candidate, const ColumnInfo& column) {
  const EntityConfig& config = candidate.config;
  const auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), column.name) != names.end();
  };
  const bool stamp = IsStampColumn(config, column.name);
  const bool wanted = config.columns.empty() || has(config.columns);
  return wanted && !column.generated && !stamp && !has(config.exclude_columns);
}

std::string LocalKeyOf(const TableInfo& table, const std::vector<std::string>& key) {
  if (!table.rowid_alias) return std::string();
  const std::string& alias = table.primary_key[0];
  const bool in_key = std::any_of(key.begin(), key.end(), [&](const std::string& name) {
    return absl::EqualsIgnoreCase(name, alias);
  });
  return in_key ? std::string() : alias;
}

const TableInfo* ReferenceMap::FindTable(absl::string_view name) const {
  for (const TableInfo& table : schema_) {
    if (absl::EqualsIgnoreCase(table.name, name)) return &table;
  }
  return nullptr;
}

const Candidate* ReferenceMap::ByTable(absl::string_view name) const {
  for (const Candidate& candidate : candidates_) {
    if (absl::EqualsIgnoreCase(candidate.table->name, name)) return &candidate;
  }
  return nullptr;
}

const Candidate* ReferenceMap::ByType(absl::string_view type) const {
  for (const Candidate& candidate : candidates_) {
    if (candidate.config.type == type) return &candidate;
  }
  return nullptr;
}

std::vector<ReferenceMap::Place> ReferenceMap::LeadsTo(const TableInfo& table,
                                                       const Candidate* candidate,
                                                       const std::string& column) const {
  if (candidate != nullptr) {
    const auto said = candidate->config.references.find(column);
    if (said != candidate->config.references.end()) {
      if (said->second.empty()) return {};
      const Candidate* parent = ByType(said->second);
      if (parent == nullptr) return {{nullptr, nullptr, "", said->second}};
      const std::string local = LocalKeyOf(*parent->table, parent->key);
      return {{parent->table, parent, local.empty() ? parent->key[0] : local, said->second}};
    }
  }
  std::vector<Place> places;
  for (const ForeignKeyInfo& key : table.foreign_keys) {
    const TableInfo* parent = FindTable(key.parent_table);
    if (parent == nullptr) continue;
    const std::vector<std::string>& columns =
        key.parent_columns.empty() ? parent->primary_key : key.parent_columns;
    for (size_t i = 0; i < key.columns.size() && i < columns.size(); ++i) {
      if (!absl::EqualsIgnoreCase(key.columns[i], column)) continue;
      const bool itself = parent == &table && absl::EqualsIgnoreCase(columns[i], column);
      if (!itself) places.push_back({parent, ByTable(parent->name), columns[i], parent->name});
    }
  }
  return places;
}

std::optional<Translation> ReferenceMap::Follow(const TableInfo& table, const Candidate* candidate,
                                                const std::string& column, Seen* seen) const {
  for (const Place& place : LeadsTo(table, candidate, column)) {
    if (place.table == nullptr) continue;
    if (!seen->insert({place.table, absl::AsciiStrToLower(place.column)}).second) continue;
    if (place.candidate != nullptr) {
      const Candidate& parent = *place.candidate;
      if (absl::EqualsIgnoreCase(LocalKeyOf(*place.table, parent.key), place.column)) {
        return Translation{column, TranslationKind::kRow, parent.config.type};
      }
      if (parent.config.integer_key == IntegerKey::kRange && IsKeyColumn(parent, place.column)) {
        return Translation{column, TranslationKind::kNumber, parent.config.type};
      }
    }
    // A key that is a reference itself: a row of a table that extends another one.
    std::optional<Translation> further = Follow(*place.table, place.candidate, place.column, seen);
    if (further.has_value()) return Translation{column, further->kind, further->parent};
  }
  return std::nullopt;
}

std::optional<Translation> ReferenceMap::Translate(const Candidate& child,
                                                   const std::string& column) const {
  if (child.config.integer_key == IntegerKey::kRange && IsKeyColumn(child, column)) {
    return Translation{column, TranslationKind::kNumber, child.config.type};
  }
  Seen seen;
  return Follow(*child.table, &child, column, &seen);
}

std::string ReferenceMap::FollowUnsynced(const TableInfo& table, const Candidate* candidate,
                                         const std::string& column, Seen* seen) const {
  for (const Place& place : LeadsTo(table, candidate, column)) {
    if (place.table == nullptr) return place.name;
    if (!seen->insert({place.table, absl::AsciiStrToLower(place.column)}).second) continue;
    std::string further = FollowUnsynced(*place.table, place.candidate, place.column, seen);
    if (!further.empty()) return further;
    const bool is_alias = place.table->rowid_alias &&
                          absl::EqualsIgnoreCase(place.table->primary_key[0], place.column);
    if (place.candidate == nullptr && is_alias) return place.table->name;
  }
  return std::string();
}

std::string ReferenceMap::UnsyncedParent(const Candidate& child, const std::string& column) const {
  if (Translate(child, column).has_value()) return std::string();
  Seen seen;
  return FollowUnsynced(*child.table, &child, column, &seen);
}

std::string ReferenceMap::LikelyParent(absl::string_view column) const {
  std::string stem = absl::AsciiStrToLower(column);
  for (const absl::string_view end : {"_id", "id"}) {
    if (stem.size() > end.size() && absl::EndsWith(stem, end)) {
      stem.resize(stem.size() - end.size());
      break;
    }
  }
  for (const absl::string_view plural : {"", "s", "es"}) {
    const TableInfo* table = FindTable(absl::StrCat(stem, plural));
    if (table != nullptr && !table->is_virtual) return table->name;
  }
  return std::string();
}

bool ReferenceMap::ReachesByKey(const Candidate& from, const Candidate& to,
                                std::set<const Candidate*>* seen) const {
  for (const std::string& column : from.key) {
    const std::optional<Translation> translation = Translate(from, column);
    if (!translation.has_value() || translation->kind != TranslationKind::kRow) continue;
    const Candidate* parent = ByType(translation->parent);
    if (parent == nullptr) continue;
    if (parent == &to) return true;
    if (seen->insert(parent).second && ReachesByKey(*parent, to, seen)) return true;
  }
  return false;
}

bool ReferenceMap::HasKeyCycle(const Candidate& candidate) const {
  std::set<const Candidate*> seen;
  return ReachesByKey(candidate, candidate, &seen);
}

}  // namespace ptdoc::sync
