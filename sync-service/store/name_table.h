#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// Small numbers for texts that come again and again (tenants, types, devices,
// users), so that a row holds a byte where it would hold a UUID. Rows of such a
// table are never changed or deleted, so what was read once stays true; only
// what a rollback took back must be forgotten. One thread at a time.
class NameTable {
 public:
  struct Sql {
    const char* find;    // name -> id
    const char* name;    // id -> name
    const char* insert;  // name
  };

  // `db` must outlive this.
  NameTable(sqlite::Database& db, Sql sql) : db_(db), sql_(sql) {}

  // Absent if the name has no number.
  absl::StatusOr<std::optional<int64_t>> Find(absl::string_view name);
  // Gives the name a number if it has none; inside a write transaction only.
  absl::StatusOr<int64_t> FindOrAdd(absl::string_view name);
  // DATA_LOSS if there is no such number. Valid until the next call.
  absl::StatusOr<absl::string_view> NameOf(int64_t id);

  // After every rollback, of a savepoint too.
  void Forget();

 private:
  static constexpr size_t kCachedMax = 10'000;

  void Remember(int64_t id, absl::string_view name);

  sqlite::Database& db_;
  Sql sql_;
  absl::flat_hash_map<std::string, int64_t> ids_;
  absl::flat_hash_map<int64_t, std::string> names_;
};

}  // namespace ptdoc::sync
