#pragma once

#include <string>
#include <vector>

#include "device-agent/capture/plan.h"
#include "device-agent/capture/schema.h"

namespace ptdoc::sync {

// The triggers of one table, in the smallest dialect (docs/SCHEMA.md). Pure:
// the same plan and table give the same texts. Their names are
// SyncT<number>_<letters>:
//   ai, ad      log the new row's key, the old row's
//   bd, bl      in place of ad, and before the local integer changes: of a table
//               whose integers are part of another one's key (logs_local_key)
//   au, ak      after an update: the key is the same, or has become another
//   bi, bu      log the rows that a REPLACE would push out unseen
//   si, su      stamp the app's own columns, where the configuration names some
std::vector<SchemaObject> TriggersFor(const TablePlan& plan, const TableInfo& table);

// True where a stamp, an UPDATE inside the app's own statement, would fire an
// UPDATE trigger of the app: SQLite runs the newest trigger first, so the app's
// would see the row before its own INSERT trigger has (an external-content FTS
// index is corrupt then). Such a table is not stamped, and the plan says so.
bool StampsWouldDisturb(const TableInfo& table, const EntityConfig& config);

// SyncLog and SyncControl, for keys of at most `key_columns` columns.
std::vector<SchemaObject> BaseTables(int key_columns);

}  // namespace ptdoc::sync
