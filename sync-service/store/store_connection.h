#pragma once

#include <utility>

#include "sync-service/store/name_table.h"

namespace ptdoc::sync {

// One connection to the store's file and what it has learned. One thread at a
// time. Not movable: the tables refer to the database.
struct StoreConnection {
  explicit StoreConnection(sqlite::Database database) : db(std::move(database)) {}
  StoreConnection(const StoreConnection&) = delete;
  StoreConnection& operator=(const StoreConnection&) = delete;

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
};

}  // namespace ptdoc::sync
