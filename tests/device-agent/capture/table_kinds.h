#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_replace.h"

namespace ptdoc::sync {

// Tables of one logical shape (a key K, perhaps with a second column that has a
// default, a unique U, a value V) in the forms that SQLite stores differently.
// In statements, {T} {K} {KEYS} {U} {V} stand for their names.
struct TableKind {
  std::string label;
  std::string create;  // {T} is created here
  std::string table = "T";
  std::string k = "K";
  std::string keys = "K";
  std::string u = "U";
  std::string v = "V";
  std::string configured_key;  // [[entity]] key; empty = the PRIMARY KEY

  std::string Fill(const std::string& sql) const {
    return absl::StrReplaceAll(
        sql, {{"{T}", table}, {"{KEYS}", keys}, {"{K}", k}, {"{U}", u}, {"{V}", v}});
  }
};

inline std::vector<TableKind> TableKinds() {
  std::vector<TableKind> kinds;
  const auto add = [&](const char* label, const char* create) -> TableKind& {
    kinds.emplace_back();
    kinds.back().label = label;
    kinds.back().create = create;
    return kinds.back();
  };
  add("Rowid", "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT UNIQUE, {V})");
  add("WithoutRowid", "CREATE TABLE {T}({K} TEXT PRIMARY KEY, {U} TEXT UNIQUE, {V}) WITHOUT ROWID");
  add("Composite",
      "CREATE TABLE {T}({V}, {K} TEXT, K2 TEXT NOT NULL DEFAULT 'z', {U} TEXT UNIQUE,"
      " PRIMARY KEY (K2, {K}))")
      .keys = "K2, K";
  add("CompositeWithInteger",
      "CREATE TABLE {T}({K} TEXT, K2 INTEGER DEFAULT 4, {U} TEXT UNIQUE, {V},"
      " PRIMARY KEY ({K}, K2)) WITHOUT ROWID")
      .keys = "K, K2";
  add("PartialUnique",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT, {V});"
      "CREATE UNIQUE INDEX PU ON {T}({U}) WHERE \"V\" IS NOT 'free' -- comment\n");
  add("StoredGenerated",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT, {V},"
      " G TEXT AS (lower({U})) STORED UNIQUE)");
  add("VirtualGenerated",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT, {V},"
      " G TEXT AS ({U} || 'x') VIRTUAL);"
      "CREATE UNIQUE INDEX GU ON {T}(G)");
  TableKind& odd =
      add("OddNames", "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT UNIQUE, {V})");
  odd.table = "\"select \"\"Größe\"\" 'x'\"";
  odd.k = odd.keys = "\"order by\"";
  odd.u = "\"NEW.\"\"ü]\"";
  odd.v = "\"rowid\"";
  add("NocaseUnique",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT, {V});"
      "CREATE UNIQUE INDEX NU ON {T}({U} COLLATE NOCASE)");
  add("NocaseColumn",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT COLLATE NOCASE, {V});"
      "CREATE UNIQUE INDEX BU ON {T}({U} COLLATE BINARY)");
  add("UniqueWithDefault",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL,"
      " {U} TEXT NOT NULL DEFAULT 'u2' UNIQUE, {V})");
  add("TypelessKey", "CREATE TABLE {T}({K} PRIMARY KEY, {U} UNIQUE, {V})");
  add("GuidTypedKey", "CREATE TABLE {T}({K} GUID PRIMARY KEY, {U} NUMERIC UNIQUE, {V})");
  add("BlobKey", "CREATE TABLE {T}({K} BLOB PRIMARY KEY, {U} REAL UNIQUE, {V}) WITHOUT ROWID");
  add("UniqueBesideInteger",
      "CREATE TABLE {T}(Id INTEGER PRIMARY KEY, {K} TEXT NOT NULL UNIQUE, {U} TEXT UNIQUE, {V})")
      .configured_key = "K";
  add("UniqueBesideText",
      "CREATE TABLE {T}(Old TEXT PRIMARY KEY DEFAULT (hex(randomblob(8))), {K} TEXT NOT NULL "
      "UNIQUE,"
      " {U} TEXT UNIQUE, {V})")
      .configured_key = "K";
  add("ConflictReplace",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY ON CONFLICT REPLACE,"
      " {U} TEXT UNIQUE ON CONFLICT REPLACE, {V})");
  add("WideUnique",
      "CREATE TABLE {T}({K} TEXT PRIMARY KEY NOT NULL, {U} TEXT, {V}, W TEXT UNIQUE,"
      " UNIQUE ({V}, {U}))");
  return kinds;
}

}  // namespace ptdoc::sync
