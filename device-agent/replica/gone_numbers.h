#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/ledger/ledger.h"
#include "device-agent/replica/table.h"

namespace ptdoc::sync {

// Links outlive what they link where no foreign key forbids it, and an app deletes them
// later, or never. Until another row gets the number they are known by the row that had it.

// As the ledger has noted them. For one pass; the ledger must outlive it.
class GoneNumbers final : public GoneRows {
 public:
  explicit GoneNumbers(Ledger& ledger) : ledger_(ledger) {}
  absl::StatusOr<std::optional<std::string>> OwnerOf(absl::string_view type,
                                                     int64_t local) const override {
    return ledger_.OwnerOfGone(type, local);
  }
  absl::StatusOr<std::optional<int64_t>> NumberOf(absl::string_view type,
                                                  absl::string_view id) const override {
    return ledger_.GoneNumberOf({std::string(type), std::string(id)});
  }

 private:
  Ledger& ledger_;
};

// Of a row that is gone or goes: notes what its integer meant, if links in `db` name it.
absl::Status NoteGoneNumber(sqlite::Database& db, const Table& table, Ledger& ledger,
                            const std::string& id, const Value& local);
// Forgets those that no link names any more, and those that other rows have now.
absl::Status PruneGoneNumbers(
    sqlite::Database& db, Ledger& ledger,
    const std::map<std::string, std::unique_ptr<Table>, std::less<>>& tables);

}  // namespace ptdoc::sync
