#include "common/sqlite/patience.h"

#include <sqlite3.h>

#include <algorithm>

#include "absl/time/clock.h"

namespace ptdoc::sqlite {
namespace {

constexpr int kStepsBetweenLooks = 10'000;  // a millisecond or less

}  // namespace

Patience::Patience(Database& db, absl::Duration patience) : db_(db), patience_(patience) {
  const absl::StatusOr<Value> mode = db.QueryValue("PRAGMA journal_mode");
  if (!mode.ok() || *mode == Value::Text("wal")) return;
  sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file_));
  sqlite3_progress_handler(db.handle(), kStepsBetweenLooks, &Patience::Look, this);
}

Patience::~Patience() {
  sqlite3_progress_handler(db_.handle(), 0, nullptr, nullptr);
}

int Patience::Look(void* self) {
  auto* patience = static_cast<Patience*>(self);
  auto* file = static_cast<sqlite3_file*>(patience->file_);
  int reserved = 0;
  const bool wanted = file != nullptr && file->pMethods != nullptr &&
                      file->pMethods->xCheckReservedLock(file, &reserved) == SQLITE_OK &&
                      reserved != 0;
  if (!wanted) {
    patience->wanted_since_ = absl::InfiniteFuture();
    return 0;
  }
  const absl::Time now = absl::Now();
  patience->wanted_since_ = std::min(patience->wanted_since_, now);
  patience->gave_way_ = now - patience->wanted_since_ >= patience->patience_;
  return patience->gave_way_ ? 1 : 0;
}

}  // namespace ptdoc::sqlite
