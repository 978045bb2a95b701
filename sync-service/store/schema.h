#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "common/model/change.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync {

// Rows that grow without end have one integer as their key: the tenant's number
// above, the tenant's own sequence number below. Each tenant's rows stand
// together and in order, new ones are appended at the end of a page, and no
// index is needed beside the table.
inline constexpr int kSequenceBits = 40;
inline constexpr int64_t kSequenceMax = (int64_t{1} << kSequenceBits) - 1;

constexpr int64_t RowId(int64_t tenant, int64_t sequence) {
  return tenant << kSequenceBits | sequence;
}
constexpr int64_t SequenceOf(int64_t row_id) {
  return row_id & kSequenceMax;
}

// Keys of table Meta.
inline constexpr char kMetaEpoch[] = "epoch";
inline constexpr char kMetaMacKey[] = "mac_key";
inline constexpr char kMetaCreatedAt[] = "created_at";
inline constexpr char kMetaRestored[] = "restored";

// Makes the store's tables in an empty file, or brings older ones up to date,
// and gives a new store its epoch and key. FAILED_PRECONDITION, changing
// nothing, if the file is some other program's database or a newer store.
absl::Status PrepareSchema(sqlite::Database& db, absl::Time now, Rng& rng);

// A value of table Meta. DATA_LOSS if there is none.
absl::StatusOr<std::string> ReadMeta(sqlite::Database& db, const char* key);

// FAILED_PRECONDITION unless the file is a store.
absl::Status CheckIsStore(sqlite::Database& db);

// Brings an older store's tables up to date. FAILED_PRECONDITION if the file is
// newer than this program.
absl::Status MigrateSchema(sqlite::Database& db);

// What a restored copy needs before it serves: a new epoch, and for each tenant
// the revision up to which every earlier epoch agrees with it.
absl::Status StartNewEpoch(sqlite::Database& db, Rng& rng);

}  // namespace ptdoc::sync
