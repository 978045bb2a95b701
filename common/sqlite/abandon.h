#pragma once

#include "common/sqlite/sqlite.h"

namespace ptdoc::sqlite {

// For a connection whose -wal file somebody has deleted under it: when it is
// closed it writes nothing into the database, and deletes no -wal, which would
// be another program's by now.
void AbandonWal(Database& db);

}  // namespace ptdoc::sqlite
