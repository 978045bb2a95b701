#include "common/sqlite/abandon.h"

#include <sqlite3.h>

#include "common/base/status.h"

namespace ptdoc::sqlite {

void AbandonWal(Database& db, bool abandon) {
  PT_CHECK(sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, abandon ? 1 : 0,
                             nullptr) == SQLITE_OK);
}

}  // namespace ptdoc::sqlite
