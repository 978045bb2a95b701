#pragma once

#include <optional>
#include <string>
#include <utility>

#include "common/base/hash.h"
#include "sync-service/store/name_table.h"

namespace ptdoc::sync {

// One connection to the store's file and what it has learned. One thread at a
// time. Not movable: the tables refer to the database.
struct StoreConnection {
  explicit StoreConnection(sqlite::Database database) : db(std::move(database)) {}
  StoreConnection(const StoreConnection&) = delete;
  StoreConnection& operator=(const StoreConnection&) = delete;

  // Stands for an entity in the table of heads. An index over keys as they are
  // (a tenant, a type, mostly a UUID) takes three times the room, and its pages
  // are what a push of new rows writes most. Keyed, so that no device can choose
  // entities that collide; those that do all the same are told apart by what
  // stands in their versions.
  absl::StatusOr<int64_t> KeyHash(int64_t tenant, int64_t type, absl::string_view entity_id);

  void Forget() {
    tenants.Forget();
    names.Forget();
  }

  sqlite::Database db;
  // A tenant that comes after a restore shares nothing with earlier epochs.
  NameTable tenants{db,
                    {.find = "SELECT TenantId FROM Tenants WHERE Name = ?",
                     .name = "SELECT Name FROM Tenants WHERE TenantId = ?",
                     .insert = "INSERT INTO Tenants (Name, SharedRevision) "
                               "VALUES (?, (SELECT 0 FROM Meta WHERE Key = 'restored'))"}};
  // Entity types, devices and users.
  NameTable names{db,
                  {.find = "SELECT NameId FROM Names WHERE Name = ?",
                   .name = "SELECT Name FROM Names WHERE NameId = ?",
                   .insert = "INSERT INTO Names (Name) VALUES (?)"}};

 private:
  std::optional<SipKey> hash_key_;
  std::string hashed_;  // kept for its memory
};

}  // namespace ptdoc::sync
