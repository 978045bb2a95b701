#pragma once

#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// For a connection whose -wal file somebody has deleted under it, or whose database is
// damaged: when it is closed, the last of all, it moves nothing into the database, and
// deletes no -wal, which would be another program's by now, or is what can be mended
// with. False: as SQLite does it by itself.
void AbandonWal(Database& db, bool abandon = true);

}  // namespace ptdoc::sqlite
